// The form of a new training: what is chosen, what it will cost here, and the command that runs.

import { putCommand } from "./dom.js";
import { createCosts } from "./train_costs.js";
import { createHubPicker } from "./train_hub.js";
import { LIVE, forkKind, lossOf, missingOf, penaltiesOf, requestOf } from "./train_reducer.js";

const PLAN_DELAY = 300; // milliseconds after the last change
const SIZES = [8, 16, 32, 64, 128, 256, 512, 1024];
const AT_ONCE = 4; // uploads
const REST = 2000; // milliseconds without a choice, before other goals' networks are measured

export function createForm(lab) {
  const { $, element, t, facts, dispatch } = lab;
  const form = $("#train-form");
  const costsOf = createCosts({
    measure: (request) => lab.call("estimate", { token: lab.token, request }),
    isBusy: () => (lab.state().runs ?? []).some((one) => LIVE.includes(one.state)),
  });
  let planTimer = 0;
  let shownLanguage = null;
  let shownForm = null;
  const hub = createHubPicker(lab, change);

  // --- what the form shows -------------------------------------------------------------------

  function sync(before) {
    const state = lab.state();
    if (state.view !== "new" || !facts.enabled) return;
    const { language } = document.documentElement.dataset;
    if (language !== shownLanguage) build(language);
    if (!before || state.runs !== before.runs || state.starts !== before.starts)
      offerStarts(state, language);
    showStart(state);
    const isNew = state.form !== shownForm;
    if (isNew) show(state);
    if (isNew || !before || state.plan !== before.plan) showPlan(state);
  }

  function show(state) {
    const { form: asked } = state;
    shownForm = asked;
    check("train-data-tile", asked.data);
    check("train-goal-tile", asked.goal);
    $("#train-own").hidden = asked.data !== "own";
    $("#train-path-field").hidden = !facts.own_paths;
    set("#train-own-name", asked.own?.name ?? t("train.own_choose"));
    const count = asked.own?.count;
    const { files, megabytes } = facts.most;
    const limits = t("train.own_limits", { files, megabytes, each: facts.most.file_megabytes });
    set("#train-own-hint", count ? t("train.own_count", { count }) : limits);
    hub.show(asked.hub, asked.data === "hub");
    const hint = asked.data === "own" ? "train.own_hint" : `train.data_${asked.data}_hint`;
    set("#train-data-hint", t(hint));
    value("#train-name-field", asked.name);
    value("#train-resolution", asked.resolution ?? "");
    const goal = facts.goals.find(({ name }) => name === asked.goal);
    value("#train-minutes", asked.images ? "" : (asked.minutes ?? goal?.minutes ?? ""));
    value("#train-images", asked.images ?? "");
    value("#train-target", asked.target_quality ?? 0);
    fillTrack($("#train-target"));
    const target = asked.target_quality;
    set("#train-target-text", target ? target.toFixed(2) : t("train.target_none"));
    const isLesson = Boolean(asked.lesson);
    value("#train-loss", lossOf(state));
    set("#train-loss-hint", t(isLesson ? "train.lesson_sets" : `train.loss_${asked.loss}_hint`));
    set("#train-penalties-hint", t(isLesson ? "train.lesson_sets" : "train.penalties_hint"));
    const penalties = penaltiesOf(state);
    $("#train-r1").checked = penalties.includes("r1");
    $("#train-r2").checked = penalties.includes("r2");
    for (const name of ["loss", "r1", "r2"]) $(`#train-${name}`).disabled = isLesson;
    offerStarts(state, shownLanguage);
    value("#train-lesson", asked.lesson ?? "");
    set("#train-lesson-hint", t(`train.lesson_${asked.lesson ?? "none"}_hint`));
    value("#train-batch", asked.batch ?? "");
    $("#train-batch").placeholder = t("train.usual");
    value("#train-seed", asked.seed);
    showFork(state);
    const go = state.fork ? "train.go_fork" : "train.go";
    const { data } = asked;
    const isBrought = data === "own" || data === "hub";
    const name = isBrought ? (asked[data]?.name ?? "…") : t(`train.data_${data}`);
    set("#train-go-text", t(go, { data: name, seen: number(state.fork?.images_seen ?? 0) }));
    plan();
  }

  /** Where a fork goes on from; what can't change from there is out of the way. */
  function showFork(state) {
    const { fork } = state;
    const kind = forkKind(state);
    form.dataset.fork = kind ?? "";
    $("#train-fork").hidden = !fork;
    if (!fork) return;
    set("#train-fork-of", t("train.fork_of", { name: fork.name }));
    const said = ({ seen, kind: its }) => t(`train.fork_${its}`, { seen: number(seen) });
    options(
      "#train-fork-at",
      fork.places.map((one) => [one.seen, said(one)]),
    );
    $("#train-fork-at").value = fork.images_seen;
    set("#train-fork-hint", t(`train.fork_${kind}_hint`));
  }

  /** A second click must not start a second training. */
  function showStart(state) {
    const button = $("[data-train=start]");
    button.disabled = state.isStarting || requestOf(state) === null;
    button.setAttribute("aria-busy", state.isStarting);
  }

  function showPlan(state) {
    const { plan: known } = state;
    const missing = missingOf(state);
    form.querySelector(".command-box").hidden = Boolean(missing);
    form.querySelector(".rent-offer").hidden = Boolean(missing);
    if (missing) forgetGoals();
    if (known?.command) putCommand($("#train-command"), known.command);
    const text = $("#train-estimate");
    text.classList.toggle("is-busy", !missing && !known?.estimate && !known?.error);
    if (missing) text.textContent = t(`train.fill_${missing}`);
    else if (known?.error) text.textContent = words(known.error);
    else text.textContent = known?.estimate ? costs(known.estimate) : t("train.measuring");
  }

  /** "2,400 images in 1 minute · 41 images/s at 32 px · 310 MB memory · 12 MB disk". */
  function costs(estimate) {
    const speeds = Object.entries(estimate.images_per_second).map(([size, rate]) =>
      t("train.rate_at", { rate: Math.round(rate), size }),
    );
    const { images, minutes, memory_bytes: memory, disk_bytes: disk } = estimate;
    const parts = [
      t(estimate.busy ? "train.estimate_busy" : "train.estimate", {
        images: number(images),
        minutes: rounded(minutes),
      }),
      speeds.join(", "),
    ];
    if (memory) parts.push(t("train.memory", { megabytes: number(Math.round(memory / 1e6)) }));
    parts.push(t("train.disk", { megabytes: number(Math.round(disk / 1e6)) }));
    return parts.filter(Boolean).join(" · ");
  }

  function words({ code, values }) {
    const key = `error.${code}`;
    const told = t(key, values ?? {});
    return told === key ? t("explore.unknown_error", { code }) : told;
  }

  // --- what can be chosen --------------------------------------------------------------------

  function build(language) {
    shownLanguage = language;
    shownForm = null;
    const tiles = facts.datasets.map((one) => dataTile(one));
    const own = tile("train-data-tile", "own", t("train.data_own"), t("train.data_own_about"));
    own.querySelector(".tile-art").innerHTML = '<svg class="icon"><use href="#i-plus"/></svg>';
    const fromHub = tile("train-data-tile", "hub", t("train.data_hub"), t("train.data_hub_about"));
    fromHub.querySelector(".tile-art").innerHTML = '<svg class="icon"><use href="#i-globe"/></svg>';
    fromHub.hidden = !facts.hub_data.allowed;
    $("#train-data").replaceChildren(...tiles, own, fromHub);
    const goals = facts.goals.map(({ name, minutes }) =>
      tile("train-goal-tile", name, t(`train.goal_${name}`), t(`train.goal_${name}_about`), {
        aside: duration(minutes),
      }),
    );
    $("#train-goals").replaceChildren(...goals);
    options("#train-resolution", [
      ["", t("train.resolution_own")],
      ...SIZES.filter((size) => size <= facts.most.resolution).map((size) => [
        size,
        `${size} px`,
      ]),
    ]);
    options(
      "#train-loss",
      facts.losses.map(({ name }) => [name, t(`train.loss_${name}`)]),
    );
    options("#train-lesson", [
      ["", t("train.lesson_none")],
      ...facts.lessons.map(({ name }) => [name, t(`train.lesson_${name}`)]),
    ]);
    $("#train-lesson").closest(".setting").hidden = !facts.lessons.length;
  }

  /** What a training can begin with: the models that are here, and one's own runs. */
  function offerStarts({ starts, runs, form: asked }, language) {
    const titleOf = ({ title }) => title[language] ?? title.en;
    const models = (starts ?? []).map((one) => [one.name, titleOf(one)]);
    const own = (runs ?? []).filter((one) => one.images_seen > 0);
    const found = [...models, ...own.map((one) => [one.run_id, one.name])];
    const { warm_start: chosen } = asked;
    if (chosen && !found.some(([name]) => name === chosen)) {
      found.push([chosen, chosen.split(/[/\\]/).at(-1)]); // of a run that was made elsewhere
    }
    options("#train-warm", [["", t("train.warm_none")], ...found]);
    $("#train-warm").value = chosen ?? "";
  }

  function dataTile({ name, count, resolution, licence }) {
    const about = t("train.data_about", { count: number(count), resolution });
    const made = tile("train-data-tile", name, t(`train.data_${name}`), about, {
      title: t("train.licence", { licence }),
    });
    sight(name).then((source) => {
      if (!source) return;
      const image = Object.assign(new Image(), { src: source, alt: "" });
      image.classList.toggle("crisp", resolution <= 16);
      made.querySelector(".tile-art").replaceChildren(image);
    });
    return made;
  }

  const sights = new Map();

  function sight(name) {
    if (!sights.has(name)) {
      const asked = lab.call("sight", { data: name }).then(({ image }) => image);
      sights.set(
        name,
        asked.catch(() => null),
      );
    }
    return sights.get(name);
  }

  function tile(group, name, title, about, { aside = "", title: tip = "" } = {}) {
    const label = Object.assign(document.createElement("label"), { className: "tile", title: tip });
    label.innerHTML = `<input type="radio"><span class="tile-body"><span class="tile-art"></span>
      <span class="tile-text"><b></b><span class="about"></span><span class="goal-images"></span>
      </span><i></i></span>`;
    const input = label.firstElementChild;
    Object.assign(input, { name: group, value: name });
    label.querySelector("b").textContent = title;
    label.querySelector(".about").textContent = about;
    label.querySelector("i").textContent = aside;
    return label;
  }

  // --- what is asked -------------------------------------------------------------------------

  function change(patch) {
    dispatch({ type: "form", patch });
  }

  function listen() {
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", ({ target }) => {
      if (target.name === "train-data-tile") change({ data: target.value });
      if (target.name === "train-goal-tile") change({ goal: target.value });
    });
    $("#train-fork-at").addEventListener("change", ({ target }) =>
      dispatch({ type: "forkAt", images_seen: Number(target.value) }),
    );
    on("#train-name-field", "input", ({ value: name }) => ({ name }));
    on("#train-resolution", "change", ({ value: size }) => ({ resolution: Number(size) || null }));
    on("#train-minutes", "input", (input) => ({ minutes: positive(input), images: null }));
    on("#train-images", "input", (input) => ({ images: positive(input), minutes: null }));
    on("#train-target", "input", ({ valueAsNumber: q }) => ({ target_quality: q || null }));
    on("#train-loss", "change", ({ value: loss }) => ({ loss }));
    on("#train-r1", "change", penalties);
    on("#train-r2", "change", penalties);
    on("#train-warm", "change", ({ value: model }) => ({ warm_start: model || null }));
    on("#train-lesson", "change", ({ value: lesson }) => ({ lesson: lesson || null }));
    on("#train-batch", "input", (input) => ({ batch: whole(input, null) }));
    on("#train-seed", "input", (input) => ({ seed: whole(input, 0) }));
    on("#train-path", "change", ({ value: source }) => ({
      own: source.trim() ? { source: source.trim(), name: source.trim() } : null,
    }));
    $("#train-drop").addEventListener("click", () => $("#train-files").click());
    $("#train-files").addEventListener("change", ({ target }) => {
      const files = [...target.files];
      target.value = "";
      gather(files);
    });
    listenDrop();
  }

  const on = (selector, type, patch) =>
    $(selector).addEventListener(type, ({ target }) => change(patch(target)));
  const penalties = () => ({
    penalties: ["r1", "r2"].filter((name) => $(`#train-${name}`).checked),
  });

  /** Pictures may be dropped anywhere on this page. The document hears of them before the window,
   * where Explore waits for files. */
  function listenDrop() {
    const zone = $("#train-drop");
    const isHere = () => document.documentElement.dataset.page === "train";
    const isTaken = () => lab.state().view === "new" && facts.enabled;
    const on = (type, handler) =>
      document.addEventListener(type, (event) => {
        if (!isHere() || !event.dataTransfer?.types.includes("Files")) return;
        event.preventDefault();
        event.stopPropagation();
        handler(event);
      });
    for (const type of ["dragenter", "dragover"])
      on(type, () => zone.classList.toggle("is-over", isTaken()));
    on("dragleave", () => zone.classList.remove("is-over"));
    on("drop", (event) => {
      zone.classList.remove("is-over");
      if (isTaken()) gather([...event.dataTransfer.files]);
    });
  }

  /** Uploads a person's pictures, a few at once, and makes them a data set. */
  async function gather(files) {
    const { files: most, megabytes } = facts.most;
    if (!files.length) return;
    if (files.length > most) {
      return void lab.complain({ code: "too_many_files", values: { count: files.length, most } });
    }
    const size = files.reduce((sum, file) => sum + file.size, 0);
    if (size > megabytes * 2 ** 20) {
      const values = { megabytes: Math.round(size / 2 ** 20), most: megabytes };
      return void lab.complain({ code: "data_too_large", values });
    }
    const large = files.find((file) => file.size > facts.most.file_megabytes * 2 ** 20);
    if (large) {
      const values = { name: large.name, most: facts.most.file_megabytes };
      return void lab.complain({ code: "upload_file_too_large", values });
    }
    await lab.attempt(async () => {
      const sent = await uploaded(files);
      const own = await lab.call("gather", { token: lab.token, files: sent });
      change({ data: "own", own });
    });
    show(lab.state());
  }

  async function uploaded(files) {
    const sent = new Array(files.length);
    let next = 0;
    let done = 0;
    const worker = async () => {
      while (next < files.length) {
        const at = next++;
        const { path } = await lab.upload(files[at]);
        sent[at] = { path, name: files[at].name };
        done += 1;
        set("#train-own-name", t("train.uploading", { done, total: files.length }));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    return sent;
  }

  // --- what it will cost ---------------------------------------------------------------------

  function plan() {
    clearTimeout(planTimer);
    if (lab.state().plan) return;
    planTimer = setTimeout(makePlan, PLAN_DELAY);
  }

  async function makePlan() {
    const state = lab.state();
    const request = requestOf(state);
    if (!request) return;
    const { form: asked } = state;
    const told = (made) => dispatch({ type: "plan", plan: made, form: asked });
    try {
      told(await lab.call("command", { request }));
      const estimate = await costsOf(request);
      told({ estimate });
      forgetGoals();
      const { preset } = request;
      await showGoals(state, (goal) => goal.preset === preset);
      await new Promise((resolve) => setTimeout(resolve, REST));
      await showGoals(state, (goal) => goal.preset !== preset && isCheap(goal, estimate));
    } catch (error) {
      if (error.code) told({ error: { code: error.code, values: error.values } });
    }
  }

  /** Other networks are measured too, where nothing else wants the machine; large ones on a GPU. */
  function isCheap({ preset }, { busy, device }) {
    return !busy && (preset !== "gpu" || device.kind !== "cpu");
  }

  /** What the `chosen` goals come to, one after the other, until another choice is made. */
  async function showGoals(state, chosen) {
    for (const { name } of facts.goals.filter(chosen)) {
      if (lab.state().form !== state.form || lab.state().isStarting) return;
      const asked = { ...state.form, goal: name, minutes: null, images: null };
      const found = await costsOf(requestOf({ ...state, form: asked })).catch(() => null);
      if (lab.state().form !== state.form) return;
      const note = element.querySelector(`.tile:has([value="${name}"]) .goal-images`);
      note.textContent = found ? t("train.goal_images", { images: number(found.images) }) : "";
    }
  }

  /** What the goals would come to belongs to the data that was chosen before. */
  function forgetGoals() {
    for (const note of element.querySelectorAll(".goal-images")) note.textContent = "";
  }

  // --- small things --------------------------------------------------------------------------

  function check(name, chosen) {
    for (const input of element.querySelectorAll(`input[name=${name}]`))
      input.checked = input.value === chosen;
  }

  function set(selector, text) {
    if ($(selector).textContent !== text) $(selector).textContent = text;
  }

  function value(selector, shown) {
    const input = $(selector);
    if (document.activeElement === input && input.type !== "range") return;
    if (input.value !== String(shown)) input.value = shown;
  }

  /** A list that is open stays open where nothing has changed. */
  function options(selector, pairs) {
    const made = JSON.stringify(pairs);
    if ($(selector).dataset.made === made) return;
    $(selector).dataset.made = made;
    $(selector).replaceChildren(...pairs.map(([one, text]) => new Option(text, one)));
  }

  function duration(minutes) {
    if (minutes >= 90) return t("train.hours", { hours: rounded(minutes / 60) });
    return t("train.minutes_short", { minutes: rounded(minutes) });
  }

  listen();
  return { sync };
}

function fillTrack(input) {
  const at = (input.value - input.min) / (input.max - input.min);
  input.style.setProperty("--start", "0%");
  input.style.setProperty("--to", at);
}

const number = (value) => Number(value).toLocaleString("en-US");
const rounded = (value) => Number(Number(value).toPrecision(2));
const positive = (input) => (input.valueAsNumber > 0 ? input.valueAsNumber : null);
const whole = (input, otherwise) =>
  Number.isInteger(input.valueAsNumber) ? input.valueAsNumber : otherwise;
