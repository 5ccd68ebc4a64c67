// The stage: asks for pictures, shows the newest, times them, compares with the unedited one.

import { createScreen, decode, thumbnail } from "./canvas.js";
import { put } from "./dom.js";
import { createLoop } from "./loop.js";
import { Refused } from "./messages.js";
import { createMeter } from "./meter.js";
import { same, toJson, toQuery } from "./recipe.js";
import { secondsText } from "./sources.js";

const VIEW_KEY = "latent-lab.view.v1";
const REST_DELAY = 350; // milliseconds: a hand that rests so long gets the exact picture
const METER_DELAY = 250;
const WORTH_TELLING = 0.8; // seconds that a picture takes

/** `transport.draw(json)` draws; `refused(error, job)` hears what can't be drawn. */
export function createStage(lab, transport, refused) {
  const { $, t } = lab;
  const { memory } = window.LatentLab;
  const canvas = $("#lab-canvas");
  const screen = createScreen(canvas);
  const meter = createMeter();
  const view = { crisp: false, meter: true, ...storedView() };
  const client = String(Math.random()).slice(2); // the server drops what this page no longer wants
  let drawings = 0;
  let isHolding = false; // "compare" is pressed
  let latest = null; // {image, recipe, quality}: the last picture that isn't a comparison
  let restTimer = 0;
  let meterTimer = 0;
  let waitTimer = 0;

  const loop = createLoop({
    async draw({ id, recipe, quality, original }) {
      const asked = { id, recipe: toJson(recipe), quality, original, client };
      const cost = lab.costOf(recipe);
      const seconds = (quality === "exact" ? cost?.exact_seconds : cost?.preview_seconds) ?? 0;
      if (seconds >= WORTH_TELLING) showWait(seconds);
      const answer = await transport.draw(asked, seconds).finally(hideWait);
      if (answer.error) throw new Refused(answer.error);
      return answer;
    },
    show,
    /** → is it worth asking again? */
    fail(error, job) {
      if (error.code === "overtaken") return false;
      const isTried = !(error instanceof Refused) || error.code === "busy";
      lab.complain(error, isTried);
      if (isTried) return true;
      refused(error, job);
      return false;
    },
  });

  /** Asks for the state's picture. `event` is the input event behind it, whose answer is timed. */
  function ask(quality, event) {
    clearTimeout(restTimer);
    const { recipe } = lab.state();
    if (quality === "preview" && lab.costOf(recipe)?.drag === "release") return; // it takes seconds
    drawings += 1;
    if (event) meter.moved(drawings, event.timeStamp);
    loop.ask({ id: drawings, recipe, quality, original: isHolding });
    askBeside(quality);
  }

  /** Whatever is asked for here, the picture beside asks for too. */
  function askBeside(quality) {
    lab.beside.ask({ recipe: lab.state().recipe, quality, original: isHolding });
  }

  async function show(answer, job) {
    const image = await decode(answer.image);
    if (!job.original) latest = { image, recipe: job.recipe, quality: job.quality };
    if (job.original === isHolding) screen.show(image, job.quality === "preview");
    meter.drawn(job.id, performance.now(), answer.ms);
    if (!job.original) tell();
    canvas.dataset.drawn = job.id;
    showMeter();
    clearTimeout(restTimer);
    const isQuick = (lab.costOf(job.recipe)?.exact_seconds ?? 0) < WORTH_TELLING;
    if (job.quality === "preview" && isQuick) {
      restTimer = setTimeout(() => ask("exact"), REST_DELAY);
    }
  }

  /** Says what a slow picture will take, and how far it should be. */
  function showWait(seconds) {
    const wait = $("#lab-wait");
    wait.querySelector("span").textContent = t("models.drawing", { seconds: secondsText(seconds) });
    wait.style.setProperty("--seconds", `${seconds}s`);
    clearTimeout(waitTimer);
    waitTimer = setTimeout(() => (wait.hidden = false), METER_DELAY);
  }

  function hideWait() {
    clearTimeout(waitTimer);
    put($("#lab-wait"), { hidden: true });
  }

  /** What is on the canvas, for those who read the page instead of looking at it. */
  function tell() {
    put(canvas.dataset, { recipe: toQuery(latest.recipe), quality: latest.quality });
    if (latest.quality === "exact") canvas.setAttribute("aria-label", lab.describe(latest.recipe));
    put($("#lab").dataset, { state: "ready" });
    put($(".first"), { hidden: true });
  }

  /** Shows the picture that came with the page: it is exact, and needs no round trip. */
  async function showFirst(dataUrl) {
    const image = await decode(dataUrl);
    if (latest) return;
    latest = { image, recipe: lab.state().recipe, quality: "exact" };
    screen.show(image, false);
    tell();
  }

  /** Shows the picture without its edits while `on`. */
  function hold(on) {
    if (!lab.state()) return;
    const { recipe } = lab.state();
    if (on === isHolding || (on && !recipe.edits.length)) return;
    isHolding = on;
    for (const tag of lab.element.querySelectorAll(".unedited")) tag.hidden = !on;
    if (!on && latest && same(latest.recipe, recipe)) {
      screen.show(latest.image, false);
      if (latest.quality === "exact") return void askBeside("exact");
    }
    ask("exact");
  }

  /** A thumbnail of a recipe's picture: that on the canvas once all is drawn, or, where the hand
   * has moved on meanwhile, one that is drawn for it. */
  async function thumbnailOf(recipe) {
    await loop.settled();
    if (latest && same(latest.recipe, recipe)) return thumbnail(latest.image);
    const asked = { id: 0, recipe: toJson(recipe), quality: "exact" };
    return thumbnail(await decode((await lab.call("draw", asked)).image));
  }

  /** Is the exact picture of the state on the canvas, and nothing else on its way? */
  function isExact() {
    const isDrawn = latest?.quality === "exact" && same(latest.recipe, lab.state().recipe);
    return isDrawn && !loop.isBusy();
  }

  function showMeter() {
    if (meterTimer || !view.meter) return;
    meterTimer = setTimeout(() => {
      meterTimer = 0;
      const read = meter.read();
      const output = $("#lab-meter");
      output.hidden = !read || !view.meter;
      if (!read) return;
      const rate = read.rate ? t("explore.meter_rate", { rate: Math.round(read.rate) }) : "";
      output.textContent = t("explore.meter_text", { p50: Math.round(read.p50), rate });
    }, METER_DELAY);
  }

  /** {crisp} or {meter}: how pictures are shown; remembered. → all of it. */
  function setView(change) {
    Object.assign(view, change);
    memory.set(VIEW_KEY, JSON.stringify(view));
    screen.setCrisp(view.crisp);
    lab.beside?.setCrisp(view.crisp);
    $("[data-do=pixels]").setAttribute("aria-pressed", view.crisp);
    $("[data-do=meter]").setAttribute("aria-pressed", view.meter);
    $("#lab-meter").hidden = !view.meter || !meter.read();
    return view;
  }

  function storedView() {
    try {
      return JSON.parse(memory.get(VIEW_KEY));
    } catch {
      return null;
    }
  }

  return {
    ask,
    showFirst,
    hold,
    isHolding: () => isHolding,
    thumbnailOf,
    isExact,
    isBusy: loop.isBusy,
    setView,
    hasDrawn: () => latest !== null,
  };
}
