// gan/ui/live/train_reducer.js: what is shown follows from the snapshots, whatever a hand does.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  MOST_POINTS,
  budgetOf,
  changesOf,
  controlsOf,
  forkKind,
  frameIndex,
  initialState,
  isResting,
  lossOf,
  missingOf,
  penaltiesOf,
  placesOf,
  reduce,
  requestOf,
  thinned,
  urgencyOf,
} from "../../gan/ui/live/train_reducer.js";
import { chance } from "./helpers.js";

const FACTS = {
  lessons: [
    { name: "collapse", loss: "nonsaturating", penalties: [] },
    { name: "memorise", loss: "nonsaturating", penalties: ["r1"] },
  ],
  datasets: [{ name: "digits" }, { name: "avatars" }],
  goals: [
    { name: "demo", minutes: 1, preset: null },
    { name: "gpu", minutes: 120, preset: "gpu" },
  ],
  losses: [
    { name: "nonsaturating", penalties: ["r1"] },
    { name: "relativistic", penalties: ["r1", "r2"] },
  ],
};
const start = () => initialState(FACTS);
const play = (state, ...actions) => actions.reduce(reduce, state);
const form = (patch) => ({ type: "form", patch });

/** A snapshot of run "a" as the server sends it. */
const snapshot = (more = {}) => ({
  type: "snapshot",
  snapshot: {
    ...{ id: "a", state: "training", mine: true, restart: true, points: [], qualities: [] },
    ...{ samples: [], moments: [], histogram: null, seen: 0 },
    ...more,
  },
});
const watching = (more) => play(start(), { type: "select", run: "a" }, snapshot(more));

test("the page begins with a request that can be sent as it is", () => {
  const request = requestOf(start());
  assert.equal(request.data, "digits");
  assert.equal(request.minutes, 1);
  assert.equal(request.penalties, null);
  assert.deepEqual(
    Object.keys(request).toSorted(),
    [
      ...["batch", "data", "images", "lesson", "loss", "minutes", "name", "penalties", "preset"],
      ...["resolution", "seed", "target_quality", "warm_start"],
    ],
  );
});

test("a data set from the Hub can be trained on when every choice is made", () => {
  const source = "hub:o/n@abc,column=image";
  const hub = { source, name: "o/n", look: { missing: "column" } };
  const open = play(start(), form({ data: "hub", hub }));
  assert.equal(requestOf(play(start(), form({ data: "hub" }))), null);
  assert.equal(requestOf(open), null);
  const chosen = play(open, form({ hub: { ...hub, look: { missing: null } } }));
  assert.equal(requestOf(chosen).data, source);
  const again = play(start(), { type: "fill", request: requestOf(chosen) });
  assert.equal(again.form.data, "hub");
  assert.equal(again.form.hub.name, "o/n");
  assert.equal(again.form.own, null);
  assert.equal(requestOf(again).data, source);
});

test("a lesson gets the minutes that it takes, unless the person says how many", () => {
  const lesson = form({ lesson: "collapse" });
  assert.equal(requestOf(play(start(), lesson)).minutes, 5);
  assert.equal(requestOf(play(start(), form({ minutes: 2 }), lesson)).minutes, 2);
  assert.equal(requestOf(play(start(), form({ images: 900 }), lesson)).minutes, null);
  assert.equal(requestOf(play(start(), form({ goal: "gpu" }), lesson)).minutes, 120);
});

test("a lesson's own loss and penalties take the place of what is chosen", () => {
  const chosen = play(start(), form({ loss: "relativistic", penalties: ["r1", "r2"] }));
  const lesson = reduce(chosen, form({ lesson: "collapse" }));
  assert.equal(lossOf(lesson), "nonsaturating");
  assert.deepEqual(penaltiesOf(lesson), []);
  const { loss, penalties } = requestOf(lesson);
  assert.deepEqual({ loss, penalties }, { loss: "nonsaturating", penalties: null });
  const healthy = reduce(lesson, form({ lesson: null }));
  assert.equal(requestOf(healthy).penalties, "r1,r2", "what was chosen comes back");
});

test("a goal brings its minutes and preset, a person's own budget takes their place", () => {
  const gpu = play(start(), form({ minutes: 7 }), form({ goal: "gpu" }));
  assert.equal(requestOf(gpu).preset, "gpu");
  assert.equal(requestOf(gpu).minutes, 120);
  const own = reduce(gpu, form({ images: 5000, minutes: null }));
  assert.equal(requestOf(own).images, 5000);
  assert.equal(requestOf(own).minutes, null);
});

test("a loss brings its own penalties until they are chosen", () => {
  const relativistic = reduce(start(), form({ loss: "relativistic" }));
  assert.deepEqual(penaltiesOf(relativistic), ["r1", "r2"]);
  assert.equal(requestOf(relativistic).penalties, null);
  assert.equal(requestOf(reduce(relativistic, form({ penalties: ["r2"] }))).penalties, "r2");
  const none = reduce(relativistic, form({ penalties: [] }));
  assert.equal(requestOf(none).penalties, "none");
  assert.deepEqual(penaltiesOf(reduce(none, form({ loss: "nonsaturating" }))), ["r1"]);
});

test("what is missing for a plan is named, and nothing is planned before it is there", () => {
  const missing = (...patches) => missingOf(play(start(), ...patches.map(form)));
  assert.equal(missing(), null);
  assert.equal(missing({ data: "hub" }), "hub");
  assert.equal(missing({ data: "own" }), "own");
  const hub = { source: "hub:o/n", name: "o/n" };
  assert.equal(missing({ data: "hub", hub: { ...hub, look: { missing: "column" } } }), "parts");
  assert.equal(missing({ data: "hub", hub }), null);
  assert.equal(missing({ data: "hub", hub }, { data: "own" }), "own");
  const unnamed = play(start(), { type: "plan", plan: { command: "x" }, form: start().form });
  assert.equal(reduce(unnamed, form({ data: "hub" })).plan, null, "the digits' command is gone");
});

test("own pictures can be asked for once they are there", () => {
  const empty = reduce(start(), form({ data: "own" }));
  assert.equal(requestOf(empty), null);
  const filled = reduce(empty, form({ own: { source: "/data/p.zip", name: "p.zip" } }));
  assert.equal(requestOf(filled).data, "/data/p.zip");
});

test("another choice throws the plan away, and a late plan is not taken", () => {
  const before = start();
  const changed = reduce(before, form({ batch: 16 }));
  const late = { type: "plan", plan: { command: "old" }, form: before.form };
  assert.equal(reduce(changed, late).plan, null);
  const planned = reduce(changed, { type: "plan", plan: { command: "new" }, form: changed.form });
  assert.equal(planned.plan.command, "new");
  assert.equal(reduce(planned, form({ seed: 4 })).plan, null);
  assert.equal(reduce(planned, form({ batch: 16 })), planned, "the same again changes nothing");
});

test("a clone asks for the very request it was made from", () => {
  const request = {
    ...{ data: "digits", preset: "tiny", resolution: 16, minutes: null, images: 900 },
    ...{ loss: "hinge", penalties: "r1,r2", target_quality: 0.8, warm_start: "digits", batch: 8, seed: 3 },
    ...{ name: "mine", lesson: null },
  };
  const filled = reduce(start(), { type: "fill", request });
  assert.equal(filled.view, "new");
  assert.deepEqual(requestOf(filled), request);
  const folder = { ...request, data: "/data/cats", penalties: "none" };
  assert.deepEqual(requestOf(reduce(start(), { type: "fill", request: folder })), folder);
});

const PLACES = [
  { seen: 500, kind: "moment" },
  { seen: 900, kind: "checkpoint" },
];
const forkAt = (images_seen) => ({ run: "a", name: "a", images: 900, places: PLACES, images_seen });

test("a fork is forgotten with the next plain form", () => {
  const fork = forkAt(500);
  const filled = reduce(start(), { type: "fill", request: { data: "digits" }, fork });
  assert.deepEqual(filled.fork, { ...fork, request: { data: "digits" } });
  assert.equal(forkKind(filled), "moment");
  assert.equal(reduce(filled, { type: "select", run: null }).fork, null);
});

test("a run is forked from every checkpoint and every kept moment", () => {
  const places = placesOf({ moments: [0, 500, 900], checkpoints: [900, 1000] });
  assert.deepEqual(
    places.map(({ seen, kind }) => `${seen} ${kind}`),
    ["0 moment", "500 moment", "900 checkpoint", "1000 checkpoint"],
  );
});

test("another place of a fork has another budget, and keeps what was changed", () => {
  const request = { data: "digits", images: 900, minutes: null, seed: 3 };
  let state = reduce(start(), { type: "fill", request, fork: forkAt(500) });
  assert.equal(requestOf(state).images, 900, "from a moment the budget begins anew");
  state = play(state, form({ loss: "hinge", seed: 4 }), { type: "forkAt", images_seen: 900 });
  assert.equal(forkKind(state), "checkpoint");
  assert.equal(requestOf(state).images, 1800, "from a checkpoint it goes on");
  assert.deepEqual([state.form.loss, state.form.seed], ["hinge", 3], "a checkpoint has its seed");
});

test("a new training after a clone begins with a new form", () => {
  const request = { data: "digits", name: "old", seed: 7, images: 900 };
  const again = play(start(), { type: "fill", request }, { type: "select", run: null });
  assert.deepEqual(requestOf(again), requestOf(start()));
  const own = play(start(), form({ seed: 7 }), { type: "select", run: null });
  assert.equal(own.form.seed, 7, "what a person has filled in stays");
});

test("a fork from near the end is filled with a budget that it can go on with", () => {
  const filled = (request, images, facts = FACTS) => {
    const fork = { ...forkAt(900), images };
    const fill = { type: "fill", request: { data: "digits", ...request }, fork };
    const { images: asked, minutes } = requestOf(reduce(initialState(facts), fill));
    return asked ?? minutes;
  };
  assert.equal(filled({ images: 900, minutes: null }, 900), 1800);
  assert.equal(filled({ images: null, minutes: 3 }, 900), 6);
  assert.equal(filled({ images: null, minutes: 3 }, 3000), 3, "most of it is left");
  assert.equal(filled({ images: null, minutes: 3 }, 900, { ...FACTS, most: { minutes: 5 } }), 5);
});

test("reports go on from ours, and begin anew after a restart", () => {
  const first = watching({ points: [[1, 2], [2, 3]], seen: 2 });
  const more = reduce(first, snapshot({ restart: false, points: [[3, 4]], seen: 3 }));
  assert.deepEqual(more.watch.points, [[1, 2], [2, 3], [3, 4]]);
  const back = reduce(more, snapshot({ points: [[1, 2]], seen: 1 }));
  assert.deepEqual(back.watch.points, [[1, 2]]);
});

test("a snapshot of another run is dropped", () => {
  const state = watching();
  assert.equal(reduce(state, snapshot({ id: "b" })), state);
});

test("the histogram stays until there is a newer one", () => {
  const histogram = { edges: [0, 1], real: [1], fake: [2] };
  const state = reduce(watching({ histogram }), snapshot({ restart: false }));
  assert.deepEqual(state.watch.histogram, histogram);
});

test("however long it is watched, a chart has few points, in order, with the newest", () => {
  const random = chance(3);
  let points = [];
  let seen = 0;
  for (let step = 0; step < 400; step++) {
    const news = Array.from({ length: Math.floor(random() * 9) }, () => [++seen]);
    points = thinned([...points, ...news]);
    assert.ok(points.length <= MOST_POINTS);
    if (seen) assert.equal(points.at(-1)[0], seen);
    assert.ok(points.every(([x], i) => !i || x > points[i - 1][0]));
  }
  assert.ok(seen > 2 * MOST_POINTS);
  assert.equal(points[0][0], 1);
});

test("the timeline follows the training until a hand moves it, and at its end again", () => {
  const state = watching({ samples: [0, 500, 600] });
  assert.equal(frameIndex(state), 2);
  const newer = reduce(state, snapshot({ restart: false, samples: [0, 500, 600, 700] }));
  assert.equal(frameIndex(newer), 3);
  const held = reduce(newer, { type: "frame", to: 510 });
  assert.equal(frameIndex(held), 1);
  const later = reduce(held, snapshot({ restart: false, samples: [0, 500, 600, 700, 800] }));
  assert.equal(frameIndex(later), 1);
  assert.equal(reduce(later, { type: "frame", to: Infinity }).frame, null);
});

test("play runs from the first picture to the newest, and ends there", () => {
  let state = reduce(watching({ samples: [0, 500, 600, 700] }), { type: "play", on: true });
  const shown = [frameIndex(state)];
  while (state.isPlaying) {
    state = reduce(state, { type: "tick" });
    shown.push(frameIndex(state));
  }
  assert.deepEqual(shown, [0, 1, 2, 3]);
  assert.equal(state.frame, null);
  assert.equal(reduce(state, { type: "tick" }), state);
});

test("one picture, or none, can't be played", () => {
  for (const samples of [[], [0]]) {
    const state = reduce(watching({ samples }), { type: "play", on: true });
    assert.equal(state.isPlaying, false);
  }
});

test("buttons follow the state on disk, and only for the owner", () => {
  const offered = (state, mine = true) =>
    Object.entries(controlsOf({ state, mine }))
      .filter(([, isOffered]) => isOffered)
      .map(([name]) => name);
  assert.deepEqual(offered("queued"), ["stop", "change"]);
  assert.deepEqual(offered("training"), ["pause", "save", "stop", "change"]);
  assert.deepEqual(offered("paused"), ["resume", "save", "stop", "change"]);
  assert.deepEqual(offered("stopped"), ["resume", "go-on", "change"]);
  assert.deepEqual(offered("dead"), ["resume", "go-on", "change"]);
  assert.deepEqual(offered("failed"), ["resume", "go-on", "change"]);
  assert.deepEqual(offered("finished"), ["go-on", "change"]);
  for (const state of ["queued", "training", "paused", "stopped", "dead", "finished"])
    assert.deepEqual(offered(state, false), []);
});

test("what is finished resumes when it was given a larger budget", () => {
  const done = { state: "finished", finished: "budget", mine: true, images: 900, images_seen: 900 };
  assert.equal(controlsOf({ ...done, request: { images: 900 } }).resume, false);
  assert.equal(controlsOf({ ...done, request: { images: 1800 } }).resume, true);
  const good = { ...done, finished: "quality", images_seen: 500, target_quality: 0.8 };
  assert.equal(controlsOf({ ...good, request: { images: 900 } }).resume, false);
  const better = { images: 900, target_quality: 0.9 };
  assert.equal(controlsOf({ ...good, request: better }).resume, true);
});

test("what is over shows the budget that it would go on with", () => {
  const watch = { images: 900, target_quality: 0.8, request: { images: 1800, target_quality: 0 } };
  assert.deepEqual(budgetOf({ ...watch, state: "stopped" }), { images: 1800, target_quality: null });
  assert.deepEqual(budgetOf({ ...watch, state: "training" }), { images: 900, target_quality: 0.8 });
});

test("only what differs is a change, and an empty target is none", () => {
  const watch = { state: "training", images: 900, target_quality: 0.8 };
  const changes = (images, target_quality) => changesOf(watch, { images, target_quality });
  assert.equal(changes(900, 0.8), null);
  assert.deepEqual(changes(900, NaN), { target_quality: 0 });
  assert.deepEqual(changes(1800, 0.8), { images: 1800 });
  assert.equal(changes(NaN, 0.8), null);
  assert.equal(changesOf({ state: "training", images: 900 }, { images: 900, target_quality: NaN }), null);
});

test("only a stop that is under way rests Stop", () => {
  const watch = { state: "training", stopping: false };
  const rests = (action, pending, more) =>
    isResting(action, { pending: pending && { action: pending }, watch: { ...watch, ...more } });
  for (const wish of ["save", "pause", "publish"]) {
    assert.equal(rests("stop", wish), false, wish);
    assert.equal(rests("pause", wish), true, wish);
  }
  assert.equal(rests("stop", "stop"), true);
  assert.equal(rests("stop", null, { stopping: true }), true);
  assert.equal(rests("stop", null), false);
});

test("a second click doesn't start a second training", () => {
  const asked = reduce(start(), { type: "starting", on: true });
  assert.equal(asked.isStarting, true);
  assert.equal(reduce(asked, { type: "starting", on: true }), asked);
  const answered = play(asked, { type: "select", run: "a" }, { type: "starting", on: false });
  assert.equal(answered.isStarting, false);
});

test("a wish rests the buttons until the run has done it", () => {
  const state = reduce(watching(), { type: "asked", action: "stop" });
  assert.equal(state.pending.action, "stop");
  const still = reduce(state, snapshot({ restart: false, acknowledged: 3 }));
  assert.equal(still.pending.action, "stop", "heard, but it has not stopped");
  assert.equal(reduce(still, snapshot({ restart: false, state: "stopped" })).pending, null);
  const heard = { acknowledged: 3, obeyed: 3 };
  const saving = reduce(watching(heard), { type: "asked", action: "save" });
  assert.ok(reduce(saving, snapshot(heard)).pending);
  assert.ok(reduce(saving, snapshot({ acknowledged: 4, obeyed: 3 })).pending, "not written yet");
  assert.equal(reduce(saving, snapshot({ acknowledged: 4, obeyed: 4 })).pending, null);
  const pausing = reduce(watching(heard), { type: "asked", action: "pause" });
  const resumed = snapshot({ acknowledged: 5, obeyed: 5 });
  assert.equal(reduce(pausing, resumed).pending, null, "paused, and resumed by another hand");
  assert.equal(reduce(state, { type: "refused" }).pending, null);
});

test("resuming a dead run waits until it is anything else, or has died again", () => {
  const dead = watching({ state: "dead", started: 7.5 });
  const asked = reduce(dead, { type: "asked", action: "resume" });
  assert.ok(reduce(asked, snapshot({ state: "dead", started: 7.5 })).pending);
  assert.equal(reduce(asked, snapshot({ state: "dead", started: 9.5 })).pending, null);
  assert.equal(reduce(asked, snapshot({ state: "queued" })).pending, null);
});

test("the server is asked as often as there may be something new", () => {
  assert.equal(urgencyOf(start()), "later", "the list isn't known yet");
  const list = (state) => ({ type: "runs", runs: [{ state }] });
  assert.equal(urgencyOf(reduce(start(), list("finished"))), null);
  assert.equal(urgencyOf(reduce(start(), list("training"))), "later");
  const beside = (state, other) => urgencyOf(reduce(watching({ state }), list(other)));
  assert.equal(beside("training", "finished"), "soon");
  assert.equal(beside("paused", "finished"), "later");
  assert.equal(beside("stopped", "training"), "later", "another one in the list goes on");
  for (const state of ["stopped", "dead", "failed", "finished"])
    assert.equal(beside(state, "stopped"), "seldom", "another hand may go on with it");
  const known = reduce(watching({ state: "stopped" }), list("stopped"));
  const asked = reduce(known, { type: "asked", action: "resume" });
  assert.equal(urgencyOf(asked), "soon");
  assert.equal(urgencyOf(reduce(asked, { type: "select", run: null })), null, "not from the form");
});

test("a rented machine can be stopped, and followed again", () => {
  const at = (state) => controlsOf({ state, mine: true, job: { repo: "me/x" } });
  const offered = (state) => Object.keys(at(state)).filter((name) => at(state)[name]);
  assert.deepEqual(offered("training"), ["stop"]);
  assert.equal(at("stopped").change, false, "its budget was rented");
  assert.deepEqual(offered("dead"), ["follow-again"]);
  assert.deepEqual(offered("finished"), []);
});

test("an upload is followed to its end", () => {
  const sent = (alive) => watching({ state: "finished", publication: { alive } });
  assert.equal(urgencyOf(sent(true)), "soon");
  assert.notEqual(urgencyOf(sent(false)), "soon");
  const asked = reduce(watching({ state: "finished" }), { type: "asked", action: "publish" });
  assert.ok(reduce(asked, snapshot({ state: "finished", publication: null })).pending);
  const begun = snapshot({ state: "finished", publication: { alive: true } });
  assert.equal(reduce(asked, begun).pending, null);
});

test("an action that isn't one is a fault", () => {
  assert.throws(() => reduce(start(), { type: "dance" }), /no such action/);
});
