// The slider through the time of a training: the same seed and edits, drawn by the generator as it
// was at the moments that the run has kept. Shown where a model on a canvas belongs to a run.

import { put } from "./dom.js";
import { createLoop } from "./loop.js";
import { Refused } from "./messages.js";

export const NEW_MODEL = "latentlab:model"; // an event of the window, {model, recipe}: show it
export const TOKEN_KEY = "latent-lab.token.v1"; // in the browser's storage: whose runs are its own

const RUN = /^run-[0-9a-f]{16}$/;

/** The places of the slider: images seen at each kept moment, then null for the newest. */
export function places(model) {
  return model?.run ? [...(model.moments ?? []), null] : [];
}

/** Is there a newer generator of the same training among `all`? The older ones are reached by
 * their slider, and fill no list. */
export function isOlder(model, all) {
  if (!model.run) return false;
  const own = all.filter((one) => one.run === model.run);
  return (own.findLast((one) => one.moment === null) ?? own.at(-1)) !== model;
}

/** What the server knows of a model by its name and revision; a run's one comes with its moments,
 * and is opened again where need be. A refusal is thrown. */
export async function factsOf(lab, { model, revision = "" }) {
  if (RUN.test(model)) return (await lab.call("explore", { run: model, revision })).model;
  return (await lab.call("facts", { model, revision })).model;
}

/** A slider in `box`, which holds an input and an output. `model()` is the model on its canvas,
 * `chosen({model, recipe})` takes another one of the same run. */
export function createMoments(lab, { box, model, chosen }) {
  const { t } = lab;
  const slider = box.querySelector("input");
  const output = box.querySelector("output");

  const loop = createLoop({
    draw: ({ run, seen }) => lab.call("explore", { run, images_seen: seen }),
    show: chosen,
    fail(error) {
      if (error instanceof Refused) lab.complain(error);
      return false;
    },
  });

  slider.addEventListener("input", () => {
    const { run } = model();
    const seen = places(model())[slider.valueAsNumber];
    show(seen, slider.valueAsNumber);
    loop.ask({ run, seen });
  });

  function sync() {
    const found = places(model());
    put(box, { hidden: found.length < 2 });
    if (found.length < 2 || loop.isBusy()) return;
    slider.max = found.length - 1;
    const at = found.indexOf(model().moment);
    slider.value = at < 0 ? found.length - 1 : at;
    show(found[slider.valueAsNumber], slider.valueAsNumber);
  }

  function show(seen, at) {
    slider.style.setProperty("--start", "0%");
    slider.style.setProperty("--to", at / Math.max(1, Number(slider.max)));
    const images = { seen: Number(seen ?? 0).toLocaleString("en-US") };
    const text = seen === null ? t("train.moment_newest") : t("train.at", images);
    if (text === output.textContent) return;
    output.textContent = text;
    slider.setAttribute("aria-valuetext", text);
  }

  return { sync };
}
