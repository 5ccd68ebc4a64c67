// The Train page's state and every way it may change: reduce(state, action) → state. Pure: no DOM,
// no clock, no server. What a run is doing is never decided here: it comes from the run's directory
// with each snapshot, and a reloaded page begins from the same facts.

export const MOST_POINTS = 500; // of a chart
const LESSON_MINUTES = 5; // after three, some have just gone wrong; see `LESSONS` in the trainer
export const LIVE = ["queued", "training", "paused"]; // states that change by themselves
const OVER = ["stopped", "dead", "failed", "finished"];

const EVERYWHERE = ["name", "loss", "penalties", "target_quality", "batch"]; // that a fork may change
const FORM = {
  data: "digits", // a bundled name, "own" or "hub"
  own: null, // {source, name, count?}: a folder of this machine, or what was uploaded
  hub: null, // {source, name, look?}: a data set on the Hub; `look` is the server's answer
  goal: "demo", // or "custom": the form was filled from a run
  preset: null, // of a custom one
  minutes: null, // null: the goal's
  images: null,
  resolution: null,
  loss: "relativistic",
  penalties: null, // null: those that the loss was published with
  target_quality: null,
  warm_start: null,
  batch: null, // null: the preset's
  seed: 0,
  name: "",
  lesson: null,
};

/** `facts`: what the page was served with: {goals, losses, lessons, datasets}. */
export function initialState(facts) {
  return {
    facts,
    view: "new", // "new" or "run"
    form: FORM,
    fork: null, // {run, name, images, request, places, images_seen}: the form goes on from one of
    // the `places`, [{seen, kind}], of a run with this request and a budget of so many images
    plan: null, // {command, estimate, error} of the form, null while it is being made
    isFilled: false, // the form was filled from a run
    isStarting: false, // a training was asked for, and the answer isn't there yet
    starts: null, // models that a training can begin with, [{name, title}]; null until they are told
    runs: null, // null until the first answer
    deleted: [], // runs that can be brought back for a day
    user: null, // the name of who is signed in with Hugging Face
    run: null, // id of the run that is watched
    watch: null, // what is known of it
    frame: null, // images seen of the picture that is shown; null: the newest
    isPlaying: false,
    picture: "samples", // or "raw", "reals", "neighbours"
    isProjected: false,
    pending: null, // {action} that was asked for and isn't done yet
  };
}

const ACTIONS = {
  /** {patch}: fields of the form. Another choice makes another plan. */
  form(state, { patch }) {
    const form = { ...state.form, ...patch };
    if (patch.loss !== undefined && patch.penalties === undefined) form.penalties = null;
    if (patch.data !== undefined && patch.data !== state.form.data) form.resolution = null;
    if (patch.goal !== undefined) Object.assign(form, { minutes: null, images: null });
    if (patch.lesson && !form.images && form.goal === "demo") {
      form.minutes ??= Math.min(LESSON_MINUTES, state.facts.most?.minutes ?? LESSON_MINUTES);
    }
    if (sameForm(form, state.form)) return state;
    return { ...state, form, plan: null };
  },

  /** {request, fork?}: the form filled from a run's own settings, to start another like it; or, with
   * `fork`, to go on from one of its places. */
  fill(state, { request, fork = null }) {
    const made = fork && { ...fork, request };
    const form = filled(made ? forked(made, state.facts) : request, state.facts);
    return { ...state, form, plan: null, view: "new", fork: made, isFilled: true };
  },

  /** {images_seen}: go on from another place of the same run; what both kinds may change stays. */
  forkAt(state, { images_seen }) {
    const fork = { ...state.fork, images_seen };
    const kept = Object.fromEntries(EVERYWHERE.map((name) => [name, state.form[name]]));
    const form = { ...filled(forked(fork, state.facts), state.facts), ...kept };
    return { ...state, form, fork, plan: null };
  },

  /** {plan}: the command line and the estimate of `form`; one for another form is dropped. */
  plan(state, { plan, form }) {
    return sameForm(form, state.form) ? { ...state, plan: { ...state.plan, ...plan } } : state;
  },

  /** {runs, deleted, user}: this browser's runs, and those of who is signed in, the newest first. */
  runs(state, { runs, deleted = [], user = null }) {
    return { ...state, runs, deleted, user };
  },

  /** {starts}: the models that a training can begin with now. */
  starts(state, { starts }) {
    return { ...state, starts };
  },

  /** {on}: the form's training was asked for; or the answer has come. */
  starting(state, { on }) {
    return state.isStarting === on ? state : { ...state, isStarting: on };
  },

  /** {run}: watch it. null: back to the form, a new one where it was filled from a run. */
  select(state, { run }) {
    if (run === null) {
      const fresh = state.isFilled ? { form: FORM, plan: null, isFilled: false } : {};
      return { ...state, ...fresh, view: "new", fork: null, isProjected: false, pending: null };
    }
    if (run === state.run) return { ...state, view: "run" };
    const fresh = { watch: null, frame: null, isPlaying: false, picture: "samples" };
    return { ...state, ...fresh, view: "run", run, pending: null };
  },

  /** {snapshot}: what the server says of the watched run; its `points` go on from ours unless it
   * says "restart" (the run went back to a checkpoint, or it is the first answer). */
  snapshot(state, { snapshot }) {
    if (snapshot.id !== state.run) return state;
    const before = snapshot.restart ? null : state.watch;
    const points = thinned([...(before?.points ?? []), ...snapshot.points]);
    const qualities = thinned([...(before?.qualities ?? []), ...snapshot.qualities]);
    const histogram = snapshot.histogram ?? before?.histogram ?? null;
    const watch = { ...snapshot, points, qualities, histogram };
    const isDone = state.pending && settles(state.pending, watch);
    return { ...state, watch, pending: isDone ? null : state.pending };
  },

  /** {action}: a wish that is sent; the buttons rest until the run has done it. */
  asked(state, { action }) {
    const { state: was, acknowledged, started } = state.watch ?? {};
    return { ...state, pending: { action, was, started, heard: acknowledged ?? 0 } };
  },

  /** The wish was refused. */
  refused(state) {
    return { ...state, pending: null };
  },

  /** {to}: show the sample picture at so many images seen; the last one follows the training. */
  frame(state, { to }) {
    const samples = state.watch?.samples ?? [];
    if (!samples.length) return state;
    const at = nearestIndex(samples, to);
    const frame = at === samples.length - 1 ? null : samples[at];
    return { ...state, frame, picture: "samples" };
  },

  /** One picture on, or back: by −1 or 1. */
  step(state, { by }) {
    const samples = state.watch?.samples ?? [];
    if (!samples.length) return state;
    const at = frameIndex(state) + by;
    return ACTIONS.frame(state, { to: samples[Math.min(Math.max(at, 0), samples.length - 1)] });
  },

  /** {on}: from the first picture (or from here) to the newest. */
  play(state, { on }) {
    const samples = state.watch?.samples ?? [];
    if (!on || samples.length < 2) return { ...state, isPlaying: false };
    const frame = state.frame ?? samples[0];
    return { ...state, isPlaying: true, frame, picture: "samples" };
  },

  /** The next picture of the play; at the newest it ends, and follows the training again. */
  tick(state) {
    if (!state.isPlaying) return state;
    const next = ACTIONS.step(state, { by: 1 });
    return next.frame === null ? { ...next, isPlaying: false } : next;
  },

  /** {picture}: "samples", "raw", "reals" or "neighbours". */
  picture(state, { picture }) {
    return { ...state, picture, isPlaying: false };
  },

  /** {on}: timeline, quality and lamps, large. */
  project(state, { on }) {
    return { ...state, isProjected: on && state.run !== null };
  },
};

/** The state after `action`; an action that changes nothing returns the same object. */
export function reduce(state, action) {
  const change = ACTIONS[action.type];
  if (!change) throw new Error(`no such action: ${action.type}`);
  return change(state, action);
}

/** What has to be filled in before anything can be asked for: "own" pictures, a data set on the
 * "hub", or one of its "parts"; null where nothing is open. */
export function missingOf({ form }) {
  const { data, own, hub } = form;
  if (data === "own") return own ? null : "own";
  if (data !== "hub") return null;
  if (!hub) return "hub";
  return hub.look?.missing ? "parts" : null;
}

/** What the form asks for, as the server reads it; null while it is incomplete. */
export function requestOf({ form, facts }) {
  if (missingOf({ form })) return null;
  const { source } = { own: form.own, hub: form.hub }[form.data] ?? { source: form.data };
  const goal = facts.goals.find(({ name }) => name === form.goal);
  const budget = form.images
    ? { images: form.images, minutes: null }
    : { images: null, minutes: form.minutes ?? goal?.minutes ?? null };
  const { resolution, target_quality, warm_start, batch, seed, name, lesson } = form;
  const preset = goal ? goal.preset : form.preset;
  const loss = lossOf({ form, facts });
  const own = lesson ? null : form.penalties; // the lesson brings its own
  const penalties = own && (own.join(",") || "none");
  const chosen = { resolution, loss, penalties, target_quality, warm_start, batch, seed, name };
  return { data: source, preset, ...budget, ...chosen, lesson };
}

const lessonOf = ({ form, facts }) => facts.lessons.find(({ name }) => name === form.lesson);

/** The loss that will be trained with: a lesson's own, or the person's. */
export function lossOf(state) {
  return lessonOf(state)?.loss ?? state.form.loss;
}

/** Penalties that are on: a lesson's, the person's, or the loss's own. */
export function penaltiesOf(state) {
  const { form, facts } = state;
  const lesson = lessonOf(state);
  if (lesson) return lesson.penalties;
  const loss = facts.losses.find(({ name }) => name === form.loss);
  return form.penalties ?? loss?.penalties ?? [];
}

/** The budget and the target of a run; of one that is over, those that it would go on with. */
export function budgetOf({ state, images, target_quality, request }) {
  const isOver = OVER.includes(state);
  const target = isOver ? (request?.target_quality ?? target_quality) : target_quality;
  return { images: (isOver && request?.images) || images || null, target_quality: target || null };
}

/** What a person's entries change of a run's budget: {images?, target_quality?}; null where they
 * change nothing. An empty target is none, which is asked for as 0. */
export function changesOf(watch, { images, target_quality }) {
  const now = budgetOf(watch);
  const changes = {};
  if (images > 0 && images !== now.images) changes.images = images;
  if ((target_quality || null) !== now.target_quality) changes.target_quality = target_quality || 0;
  return Object.keys(changes).length ? changes : null;
}

/** Whether what is finished has something to do again: a larger budget, or another target. */
function isReopened(watch) {
  const { images, target_quality: target } = budgetOf(watch);
  if (images <= watch.images_seen) return false;
  return watch.finished === "budget" || target !== (watch.target_quality || null);
}

/** Which buttons a run offers in its state. What trains on a rented machine (`job`) can only be
 * stopped, and followed again. A run whose budget is spent goes on with more minutes, or resumes
 * when it was given a larger one. */
export function controlsOf(watch) {
  const { state, mine, job } = watch ?? {};
  const isOurs = mine && !job;
  const isOver = OVER.includes(state);
  const isSpent = state === "finished" && !isReopened(watch);
  return {
    pause: isOurs && state === "training",
    resume: isOurs && (state === "paused" || (isOver && !isSpent)),
    save: isOurs && ["training", "paused"].includes(state),
    stop: mine && LIVE.includes(state),
    "follow-again": mine && Boolean(job) && isOver && state !== "finished",
    "go-on": isOurs && isOver,
    change: isOurs,
  };
}

/** Whether a button rests while a wish is under way: Stop must always be within reach. */
export function isResting(action, { pending, watch }) {
  if (watch?.stopping) return true;
  return action === "stop" ? pending?.action === "stop" : Boolean(pending);
}

/** The index of the picture that is shown. */
export function frameIndex({ watch, frame }) {
  const samples = watch?.samples ?? [];
  return frame === null ? samples.length - 1 : nearestIndex(samples, frame);
}

/** How soon there may be something new: "soon", "later", "seldom" (another hand may go on with what
 * is over), or null. */
export function urgencyOf({ view, watch, runs, pending }) {
  const watched = view === "run" ? watch : null;
  if (watched && (pending || watched.state === "training" || watched.publication?.alive))
    return "soon";
  const isWaiting = view === "run" && !watch;
  if (isWaiting || runs === null || LIVE.includes(watched?.state)) return "later";
  if (runs.some(({ state }) => LIVE.includes(state))) return "later";
  return watched ? "seldom" : null;
}

/** At most MOST_POINTS of `points`: where there are more, every second of the older ones goes. */
export function thinned(points) {
  let kept = points;
  while (kept.length > MOST_POINTS) {
    const last = kept.length - 1;
    kept = kept.filter((_, i) => i % 2 === 0 || i === last);
  }
  return kept;
}

/** Has the run done what was asked? A process says which orders it has carried out; one that is
 * gone carries out none. Whoever resumes is another process, even if it dies before it is seen. */
function settles({ action, was, started, heard }, watch) {
  const isAlive = ["training", "paused"].includes(watch.state);
  const isObeyed = (watch.obeyed ?? 0) > heard;
  if (action === "save") return !isAlive || isObeyed;
  if (action === "stop") return !LIVE.includes(watch.state);
  if (action === "pause") return watch.state !== "training" || isObeyed;
  if (["resume", "go_on"].includes(action))
    return watch.state !== was || watch.started !== started || isObeyed;
  if (action === "publish") return Boolean(watch.publication);
  return true;
}

function nearestIndex(samples, asked) {
  const seen = Math.min(asked, samples.at(-1)); // the newest may be asked for as ∞
  let best = 0;
  samples.forEach((each, i) => {
    if (Math.abs(each - seen) < Math.abs(samples[best] - seen)) best = i;
  });
  return best;
}

/** The places that a run can be forked from, ascending: [{seen, kind}], where "checkpoint" goes on
 * exactly, and "moment" is a warm start from its two networks. */
export function placesOf({ moments, checkpoints }) {
  const every = [...new Set([...moments, ...checkpoints])].sort((a, b) => a - b);
  const kind = (seen) => (checkpoints.includes(seen) ? "checkpoint" : "moment");
  return every.map((seen) => ({ seen, kind: kind(seen) }));
}

/** "checkpoint" or "moment": what the form goes on from; null where it begins anew. */
export function forkKind({ fork }) {
  return fork?.places.find(({ seen }) => seen === fork.images_seen)?.kind ?? null;
}

/** What a fork is asked for: from a checkpoint the old budget goes on, of which enough must be left
 * to be worth a training; from a moment it begins anew. */
function forked(fork, facts) {
  const { request, images, images_seen } = fork;
  const spent = forkKind({ fork }) === "checkpoint" && images ? images_seen / images : 0;
  return spent > 0.5 ? { ...request, ...doubled(request, facts) } : request;
}

/** The form with a request's settings. */
function filled(request, facts) {
  const known = facts.datasets.some(({ name }) => name === request.data);
  const isHub = request.data.startsWith("hub:");
  const place = known ? null : { source: request.data, name: baseName(request.data) };
  if (isHub) place.name = request.data.slice(4).split(/[@,]/)[0];
  const data = known ? request.data : isHub ? "hub" : "own";
  const given = Object.keys(FORM).filter((key) => request[key] !== undefined);
  const form = { ...FORM, ...Object.fromEntries(given.map((key) => [key, request[key]])) };
  const penalties = request.penalties?.split(",").filter((one) => one !== "none") ?? null;
  Object.assign(form, { own: null, hub: null, data, goal: "custom", penalties });
  return place ? { ...form, [data]: place } : form;
}

/** Twice the budget, as far as the host allows. */
function doubled({ images, minutes }, { most }) {
  if (images) return { images: 2 * images };
  return minutes ? { minutes: Math.min(2 * minutes, most?.minutes ?? Infinity) } : {};
}

function sameForm(a, b) {
  return JSON.stringify(a) === JSON.stringify(b);
}

function baseName(source) {
  return String(source)
    .split(/[/\\]/)
    .filter(Boolean)
    .at(-1);
}
