// The panel's controls but the direction rows: what they show (sync) and what they ask (dispatch).

import { directionLabel } from "./directions.js";
import { put } from "./dom.js";
import { onChosen } from "./keys.js";
import { costText, familyName, originText } from "./models.js";
import { isOlder } from "./moments.js";
import { round4, same } from "./recipe.js";
import { keyOf, modelOf } from "./reducer.js";

const FIRST_REPEAT = 380; // milliseconds that an arrow is held before it repeats
const NEXT_REPEAT = 90;
const MOST_CHIPS = 48; // classes; more become a list

export function createControls(lab) {
  const { $, element, t, dispatch, settle } = lab;
  const change = (patch, event) => dispatch({ type: "change", patch }, event);
  let shownModels = null;
  let shownModel = null;

  // --- what a person reads -------------------------------------------------------------------

  /** "psi 0.7 · Direction 1 +1.5σ": everything but the seed. */
  function settings(recipe) {
    const parts = [];
    if (recipe.seed2 !== null) {
      const percent = Math.round(recipe.blend * 100);
      parts.push(t("explore.caption_blend", { percent, seed: recipe.seed2 }));
    }
    const classes = lab.model()?.classes;
    if (classes && recipe.label !== null) {
      parts.push(t("explore.caption_class", { name: className(classes, recipe.label) }));
    }
    const reach = { count: recipe.cutoff };
    const cutoff = recipe.cutoff === null ? "" : ` ${t("explore.caption_cutoff", reach)}`;
    parts.push(`ψ ${signed(recipe.psi, false)}${cutoff}`);
    for (const edit of recipe.edits) parts.push(pull(edit));
    if (recipe.noise === "none") parts.push(t("explore.caption_noise_none"));
    else if (recipe.noise !== "const")
      parts.push(t("explore.caption_noise_seed", { seed: recipe.noise }));
    return parts.join(" · ");
  }

  /** "Direction 1 +1.5σ", "Direction 1 +1.5σ (layers 3–6)" */
  function pull({ direction, strength, start, end }) {
    const text = `${directionName(direction)} ${signed(strength)}σ`;
    if (start === 0 && end === null) return text;
    const to = end ?? lab.model()?.num_ws ?? "";
    return `${text} ${t("explore.caption_layers", { from: start + 1, to })}`;
  }

  /** A picture in words, drawn by `model`. */
  function description(recipe, model = lab.model()) {
    const values = { model: modelTitle(model, recipe.model), seed: recipe.seed };
    return t("explore.alt", { ...values, settings: settings(recipe) });
  }

  function directionName(name) {
    const [key, values] = directionLabel(name) ?? [];
    return key ? t(key, values) : name;
  }

  function modelTitle(model, name) {
    const language = document.documentElement.dataset.language;
    return model?.title?.[language] ?? model?.title?.en ?? name;
  }

  // --- what the controls show ----------------------------------------------------------------

  function sync() {
    const { recipe, past, future, settled } = lab.state();
    const model = lab.model();
    if (lab.state().models !== shownModels) syncModels();
    if (model !== shownModel) syncModel(model);
    setValue($("#lab-model"), model ? valueOf(model) : "");
    setValue($("#lab-seed"), recipe.seed);
    setValue($("#lab-psi"), recipe.psi);
    setValue($("#lab-psi-value"), recipe.psi);
    setValue($("#lab-cutoff"), recipe.cutoff ?? "");
    syncBlend(recipe);
    syncNoise(recipe.noise);
    const label = element.querySelector(`input[name=lab-class][value="${recipe.label}"]`);
    if (label) label.checked = true;
    const list = element.querySelector("#lab-class-list");
    if (list) setValue(list, recipe.label ?? 0);
    put($("[data-do=undo]"), { disabled: !past.length && same(recipe, settled) });
    put($("[data-do=redo]"), { disabled: !future.length });
    put($("[data-hold=compare]"), { disabled: !recipe.edits.length });
    put($(".caption-seed"), { textContent: t("explore.caption_seed", { seed: recipe.seed }) });
    put($(".caption-rest"), { textContent: settings(recipe) });
  }

  function syncBlend(recipe) {
    const isOn = recipe.seed2 !== null;
    put($(".blend"), { hidden: !isOn });
    put($("[data-do=blend-on]"), { hidden: isOn });
    if (!isOn) return;
    setValue($("#lab-seed2"), recipe.seed2);
    setValue($("#lab-blend"), recipe.blend);
    element.querySelector(`input[name=lab-space][value=${recipe.blend_space}]`).checked = true;
    syncEnds(recipe);
  }

  const ends = { key: "" };

  /** The two pictures at the ends of the blend slider. */
  function syncEnds(recipe) {
    if (lab.model()?.cost?.drag === "release") return; // two more pictures that take their time
    const plain = { model: recipe.model, revision: recipe.revision };
    Object.assign(plain, { psi: recipe.psi, label: recipe.label });
    const key = [recipe.model, recipe.revision, recipe.psi, recipe.label, recipe.seed, recipe.seed2].join();
    if (key === ends.key) return;
    ends.key = key;
    lab.aside("ends", async () => {
      for (const [id, seed] of [
        ["#lab-end-a", recipe.seed],
        ["#lab-end-b", recipe.seed2],
      ]) {
        const asked = { ...plain, seed };
        if (asked.label === null) delete asked.label;
        $(id).src = (await lab.call("draw", { id: 0, recipe: asked, quality: "preview" })).image;
      }
    });
  }

  function syncNoise(noise) {
    const kind = typeof noise === "number" ? "seed" : noise;
    element.querySelector(`input[name=lab-noise][value=${kind}]`).checked = true;
    put($("#lab-noise-seed"), { hidden: kind !== "seed" });
    if (kind === "seed") setValue($("#lab-noise-seed"), noise);
  }

  function syncModels() {
    shownModels = lab.state().models;
    const all = Object.values(shownModels);
    const options = all.map((model) => {
      const size = `${model.resolution} px`;
      const option = new Option(`${modelTitle(model, model.name)} · ${size}`, valueOf(model));
      option.hidden = isOlder(model, all);
      return option;
    });
    $("#lab-model").replaceChildren(...options);
    shownModel = null;
  }

  /** What stands for a model in the list: its name, where that is enough. */
  function valueOf(model) {
    const first = modelOf(lab.state().models, { model: model.name, revision: "" });
    return first === model ? model.name : keyOf(model);
  }

  /** "StyleGAN2 · 64 px · 10 classes" */
  function shortFacts(model) {
    const parts = [familyName(model.family), `${model.resolution} px`];
    if (model.classes?.length) parts.push(t("models.classes", { count: model.classes.length }));
    return parts.join(" · ");
  }

  /** The same, with its latent spaces, where it came from, and the hash of its weights. */
  function longFacts(model) {
    const parts = [shortFacts(model), t(`models.space_${model.latent_space ?? "w"}`)];
    const origin = originText(model);
    if (origin) parts.push(origin);
    parts.push(model.revision);
    return parts.join(" · ");
  }

  function syncFacts(model) {
    const cost = costText(model?.cost);
    $(".model-facts").textContent = model ? shortFacts(model) : "";
    $(".model-facts").title = model ? longFacts(model) : "";
    $(".model-cost").hidden = !cost;
    if (cost) $(".model-cost").textContent = t(...cost);
  }

  function syncModel(model) {
    shownModel = model;
    syncFacts(model);
    lab.models?.learn(model);
    const layers = model?.layers ?? [];
    const cutoffs = layers.slice(1).map((_, i) => {
      const values = { count: i + 1, pixels: layers[i] };
      return new Option(t("explore.cutoff_first", values), i + 1);
    });
    $("#lab-cutoff").replaceChildren(new Option(t("explore.cutoff_all"), ""), ...cutoffs);
    const classes = model?.classes ?? [];
    $(".classes-field").hidden = !classes.length;
    const isFew = classes.length <= MOST_CHIPS;
    const chips = isFew ? classes.map((_, i) => chip(classes, i)) : [classSelect(classes)];
    $("#lab-classes").replaceChildren(...chips);
  }

  function classSelect(classes) {
    const box = Object.assign(document.createElement("span"), { className: "select" });
    const select = Object.assign(document.createElement("select"), { id: "lab-class-list" });
    select.setAttribute("aria-labelledby", "lab-classes-label");
    select.append(...classes.map((_, i) => new Option(className(classes, i), i)));
    select.addEventListener("change", (event) => {
      change({ label: Number(select.value) }, event);
      settle(event);
    });
    box.append(select);
    box.insertAdjacentHTML("beforeend", '<svg class="icon"><use href="#i-down"/></svg>');
    return box;
  }

  function chip(classes, index) {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), {
      type: "radio",
      name: "lab-class",
      value: index,
    });
    const text = Object.assign(document.createElement("span"), {
      textContent: className(classes, index),
    });
    label.append(input, text);
    return label;
  }

  // --- what the controls ask -----------------------------------------------------------------

  function listenNumber(selector, patch) {
    const input = $(selector);
    input.addEventListener("input", (event) => {
      if (input.value !== "" && input.validity.valid) change(patch(input.valueAsNumber), event);
    });
    onChosen(input, (event) => {
      if (input.value !== "") change(patch(round4(input.valueAsNumber)), event);
      settle(event);
      sync();
    });
  }

  /** Arrow buttons that repeat while held, and settle once. */
  function listenStep(name, step) {
    const button = $(`[data-do=${name}]`);
    let timer = 0;
    let repeated = false;
    const stop = (event) => {
      clearTimeout(timer);
      if (repeated) settle(event);
    };
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      repeated = false;
      const again = () => {
        repeated = true;
        step();
        timer = setTimeout(again, NEXT_REPEAT);
      };
      timer = setTimeout(again, FIRST_REPEAT);
    });
    for (const type of ["pointerup", "pointerleave", "pointercancel"])
      button.addEventListener(type, stop);
    button.addEventListener("click", (event) => {
      if (repeated) return void (repeated = false);
      step(event);
      settle(event);
    });
  }

  function listenRadios(name, chosen) {
    element.addEventListener("change", (event) => {
      if (event.target.name !== name) return;
      chosen(event.target.value, event);
      settle(event);
    });
  }

  const step = (field, by) => (event) => change({ [field]: lab.state().recipe[field] + by }, event);
  const roll = (field) => (event) => change({ [field]: randomSeed() }, event);

  for (const [id, field] of [
    ["seed", "seed"],
    ["seed2", "seed2"],
  ]) {
    listenNumber(`#lab-${id}`, (value) => ({ [field]: value }));
    listenStep(`${id}-less`, step(field, -1));
    listenStep(`${id}-more`, step(field, 1));
    listenStep(`${id}-dice`, roll(field));
  }
  listenNumber("#lab-psi", (psi) => ({ psi }));
  listenNumber("#lab-psi-value", (psi) => ({ psi }));
  listenNumber("#lab-blend", (blend) => ({ blend }));
  listenNumber("#lab-noise-seed", (noise) => ({ noise }));
  listenRadios("lab-space", (blend_space, event) => change({ blend_space }, event));
  listenRadios("lab-class", (value, event) => change({ label: Number(value) }, event));
  listenRadios("lab-noise", (value, event) => {
    change({ noise: value === "seed" ? lab.state().recipe.seed : value }, event);
  });
  $("#lab-caption").addEventListener("pointerenter", ({ currentTarget: caption }) => {
    caption.title = caption.textContent.trim(); // it may be longer than its two lines
  });
  $("#lab-cutoff").addEventListener("change", (event) => {
    change({ cutoff: event.target.value === "" ? null : Number(event.target.value) }, event);
    settle(event);
  });
  $("#lab-model").addEventListener("change", (event) => {
    const chosen = Object.values(lab.state().models).find(
      (one) => valueOf(one) === event.target.value,
    );
    const revision = chosen.is_named ? "" : chosen.revision;
    dispatch({ type: "model", model: chosen.name, revision }, event);
  });
  $("[data-do=blend-on]").addEventListener("click", (event) => {
    change({ seed2: randomSeed(), blend: 0.5 }, event);
    settle(event);
    $("#lab-blend").focus();
  });
  $("[data-do=blend-off]").addEventListener("click", (event) => {
    change({ seed2: null }, event);
    settle(event);
    $("[data-do=blend-on]").focus();
  });

  /** Labels that depend on the model are made anew, in the page's language. */
  function translate() {
    shownModels = null;
    sync();
  }

  return { sync, translate, description, directionName, modelTitle, shortFacts, longFacts };
}

/** Shows `value` in an input without disturbing what a person is typing there. */
export function setValue(input, value) {
  const isTyping = input.type === "number" && document.activeElement === input;
  if (isTyping && (input.value === "" || Number(input.value) === value)) return;
  if (input.value !== String(value)) input.value = value;
  if (input.type === "range") fillTrack(input, value);
}

/** The coloured part of a slider runs from its zero (or its left end) to the thumb. */
function fillTrack(input, value) {
  const low = Number(input.min);
  const width = Number(input.max) - low;
  const at = (value - low) / width;
  const zero = Math.max(0, -low) / width;
  if (low >= 0) input.style.setProperty("--start", "0%");
  input.style.setProperty("--from", Math.min(at, zero));
  input.style.setProperty("--to", Math.max(at, zero));
}

/** "+1.5", "−0.2", "0". */
export function signed(value, hasPlus = true) {
  const text = String(Math.abs(round4(value)));
  if (value < 0) return `−${text}`;
  return hasPlus && value > 0 ? `+${text}` : text;
}

export function randomSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}

function className(classes, index) {
  return String(classes[index] ?? index);
}
