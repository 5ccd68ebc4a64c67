// The picture beside: the same recipe in lock-step, drawn by another moment of the training, another
// run, or another model. It follows whatever the stage asks for, with a loop and a line of its own.
//
// Two requests rather than one for both pictures: measured on two cores with both bundled models,
// the first picture then takes 3 to 10 % longer than alone, and 10 to 40 % longer in one answer with
// the second, for which it would have to wait.

import { createScreen, decode } from "./canvas.js";
import { put } from "./dom.js";
import { createLoop } from "./loop.js";
import { Refused } from "./messages.js";
import { TOKEN_KEY, createMoments, factsOf } from "./moments.js";
import { firstSecond, hasSecond, isAlike, seconds, seenText } from "./pairing.js";
import { toJson, toQuery } from "./recipe.js";
import { besideOf, keyOf } from "./reducer.js";

export function createBeside(lab, transport) {
  const { $, t, dispatch } = lab;
  const { memory } = window.LatentLab;
  const canvas = $("#lab-second-canvas");
  const select = $("#lab-second-model");
  const screen = createScreen(canvas);
  const client = String(Math.random()).slice(2);
  let drawings = 0;
  let shown = ""; // which model the pane shows; "" where it is closed
  let latest = null; // {recipe, model} of the last exact picture
  let runs = []; // this browser's trainings: {run, name}
  let lastAsked = 0; // of several models asked for the newest counts

  const second = () => besideOf(lab.state());

  // --- drawing -------------------------------------------------------------------------------

  const loop = createLoop({
    async draw({ id, recipe, quality, original, model }) {
      const by = { model: model.name, revision: model.revision };
      const asked = { id, recipe: toJson(recipe), quality, original, client, by };
      const seconds = quality === "exact" ? model.cost?.exact_seconds : model.cost?.preview_seconds;
      const answer = await transport.draw(asked, seconds ?? 0);
      if (answer.error) throw new Refused(answer.error);
      return answer;
    },
    show,
    /** → is it worth asking again? What is wrong with the line, the first picture tells. */
    fail(error) {
      if (error.code === "overtaken" || !lab.state().beside) return false;
      if (!(error instanceof Refused) || error.code === "busy") return true;
      note(lab.words(error));
      return false;
    },
  });

  /** The same that the first canvas asks for: {recipe, quality, original}. */
  function ask({ recipe, quality, original }) {
    const model = second();
    if (!model || (quality === "preview" && model.cost?.drag === "release")) return;
    drawings += 1;
    loop.ask({ id: drawings, recipe, quality, original, model });
  }

  async function show(answer, { recipe, quality, original, model }) {
    const image = await decode(answer.image);
    if (!second() || keyOf(model) !== keyOf(second())) return; // another one was chosen since
    note("");
    screen.show(image, quality === "preview");
    canvas.dataset.model = keyOf(model);
    canvas.dataset.recipe = original ? "" : toQuery(recipe);
    canvas.dataset.quality = quality;
    if (quality !== "exact" || original) return;
    latest = { recipe, model };
    describe();
  }

  function describe() {
    if (latest) canvas.setAttribute("aria-label", lab.describe(latest.recipe, latest.model));
  }

  /** Words in the place of the picture; "" shows the picture. */
  function note(text) {
    const place = $("#lab-second-note");
    place.hidden = !text;
    if (place.textContent !== text) place.textContent = text;
  }

  // --- which model ---------------------------------------------------------------------------

  function toggle() {
    if (lab.state()?.beside) close();
    else if (!$("[data-do=beside]").hidden) begin();
  }

  function close() {
    lastAsked += 1;
    const hadFocus = $("#lab-second").contains(document.activeElement);
    dispatch({ type: "beside", model: null });
    if (hadFocus) ($("[data-do=beside]").hidden ? $("#lab-picture") : $("[data-do=beside]")).focus();
  }

  async function begin() {
    const found = firstSecond(lab.model(), lab.state().models);
    if (found) await choose(found);
  }

  /** {model} that is known, or {run, images_seen} of a training. */
  async function choose({ model, ...moment }) {
    if (model) return void dispatch({ type: "beside", model });
    const asked = ++lastAsked;
    try {
      const detail = await lab.call("explore", moment);
      if (asked === lastAsked) take(detail);
    } catch (error) {
      if (asked !== lastAsked) return;
      lab.complain(error);
      syncList();
    }
  }

  function take({ model }) {
    dispatch({ type: "known", model });
    dispatch({ type: "beside", model });
  }

  /** A link names the model; where it can't be had, the pane says why. */
  async function open({ name, revision }) {
    const asked = ++lastAsked;
    dispatch({ type: "beside", model: { name, revision } });
    if (second()) return void dispatch({ type: "beside", model: second() }); // with its revision
    try {
      const model = await factsOf(lab, { model: name, revision });
      if (asked === lastAsked) take({ model });
    } catch (error) {
      if (asked !== lastAsked) return;
      if (error.code === "other_revision") {
        lab.complain(error);
        await open({ name, revision: "" });
      } else note(`${t("beside.not_here")} ${lab.words(error)}`);
    }
  }

  // --- what is shown -------------------------------------------------------------------------

  const moments = createMoments(lab, {
    box: $("#lab-second-moments"),
    model: second,
    chosen: (detail) => lab.state().beside && take(detail),
  });

  function sync() {
    const { beside, models, recipe } = lab.state();
    const model = second();
    const button = $("[data-do=beside]");
    const isHidden = !beside && !hasSecond(lab.model(), models);
    put(button, { hidden: isHidden, ariaPressed: String(Boolean(beside)) });
    const key = model ? keyOf(model) : beside ? `${keyOf(beside)}, not known yet` : "";
    if (Boolean(key) !== Boolean(shown)) showPane(Boolean(key));
    const isOther = key !== shown;
    shown = key;
    if (!key) return;
    moments.sync();
    syncList();
    syncWords(model);
    if (!isOther) return;
    if (model) ask({ recipe, quality: "exact", original: false });
    else note(t("beside.looking"));
  }

  function showPane(isOpen) {
    $("#lab").classList.toggle("is-beside", isOpen);
    for (const selector of ["#lab-second", "#lab-first-head", "#lab-beside-hint"])
      $(selector).hidden = !isOpen;
    note("");
    latest = null;
    if (isOpen) {
      screen.setCrisp(lab.stage.setView({}).crisp);
      transport.open();
      learnRuns();
    } else transport.close();
  }

  function syncWords(model) {
    const first = lab.model();
    words($("#lab-first-head"), first);
    const seen = $("#lab-second-seen");
    const isRun = Boolean(model?.run);
    seen.textContent = isRun ? seenText(model, t) : model ? lab.shortFacts(model) : "";
    const isSame = first?.run && first.run === model?.run;
    $("#lab-beside-hint").textContent = t(isSame ? "beside.hint_run" : "beside.hint_apart");
  }

  function words(head, model) {
    head.querySelector("b").textContent = model ? nameOf(model) : "";
    head.querySelector("span").textContent = !model
      ? ""
      : model.run
        ? seenText(model, t)
        : lab.shortFacts(model);
  }

  const nameOf = (model) => model.run_name ?? lab.titleOf(model);

  function syncList() {
    const { models } = lab.state();
    const model = second();
    const first = lab.model();
    const here = seconds(first, models);
    const options = here.map((one) => {
      const option = new Option(nameOf(one.model), valueOf(one.model));
      if (!one.isAlike) option.text += ` · ${t("beside.unlike")}`;
      option.disabled = !one.isAlike;
      return option;
    });
    const known = new Set(here.map((one) => one.model.run));
    options.push(
      ...runs.filter((one) => !known.has(one.run)).map((one) => new Option(one.name, one.run)),
    );
    const chosen = model ? valueOf(model) : "";
    if (!options.some((option) => option.value === chosen))
      options.unshift(new Option(model ? nameOf(model) : t("beside.choose"), chosen));
    const text = (list) => [...list].map((one) => `${one.value} ${one.text} ${one.disabled}`).join();
    if (text(options) !== text(select.options)) select.replaceChildren(...options);
    select.value = chosen;
    select.setAttribute("aria-invalid", Boolean(model) && !isAlike(first, model));
  }

  /** What stands for a model in the list: its training, or itself. */
  const valueOf = (model) => model.run ?? keyOf(model);

  select.addEventListener("change", () => {
    const { value } = select;
    const model = lab.state().models[value];
    choose(model ? { model } : { run: value, images_seen: null });
  });

  /** The trainings of this browser that Explore hasn't seen yet. */
  async function learnRuns() {
    const token = memory.get(TOKEN_KEY);
    if (!token) return;
    try {
      runs = (await lab.call("own_runs", { token })).runs;
      if (lab.state()?.beside) syncList();
    } catch (error) {
      console.info("Latent Lab:", error);
    }
  }

  function translate() {
    if (!lab.state().beside) return;
    syncList();
    moments.sync();
    syncWords(second());
    describe();
  }

  return { ask, toggle, open, sync, translate, isBusy: loop.isBusy, setCrisp: screen.setCrisp };
}
