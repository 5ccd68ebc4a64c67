// The direction rows, and the switch between their lists: a slider in units of one standard deviation
// between two small pictures that show what it does; opened, a strip of five pictures and the range
// of layers it acts on.

import { setValue, signed } from "./controls.js";
import { directionLabel, methodOf, methodsOf } from "./directions.js";
import { put } from "./dom.js";
import { onChosen } from "./keys.js";
import { toJson, toQuery } from "./recipe.js";
import { editOf, methodShown } from "./reducer.js";

const STRIP = [-2, -1, 0, 1, 2]; // σ, as the server draws them
const REACH = 4; // σ either way, further only where a recipe asks for it
const HOVER_DELAY = 220; // milliseconds before hovering counts as interest

export function createRows(lab) {
  const { $, element, t, dispatch, settle } = lab;
  const list = $("#lab-directions");
  const template = $("#lab-direction");
  let rows = new Map(); // name → Row, of the list that is shown
  let found = new Map(); // method → rows, of this model
  let model = null; // whose directions the rows are
  let method = null; // that found them

  /** Shows the directions of the model; the first time takes seconds, and nothing waits for it. */
  async function load() {
    const { recipe } = lab.state();
    if (model === null || !isOurs(recipe)) [model, found] = [nameOf(recipe), new Map()];
    method = methodShown(lab.state());
    rows = found.get(method) ?? new Map();
    if (rows.size) return show();
    const [asked, here] = [model, method];
    const isShown = () => asked === model && here === method;
    list.setAttribute("aria-busy", "true");
    list.replaceChildren(...Array.from({ length: 10 }, skeleton));
    try {
      const { directions } = await lab.call("directions", { ...asked, method: here });
      if (!isShown()) return;
      directions.forEach(addRow);
      found.set(method, rows);
      show();
      for (const row of rows.values()) lab.aside(`icon ${row.name}`, () => drawIcons(row));
    } catch (error) {
      lab.complain(error);
      if (isShown()) list.replaceChildren(retryButton());
    }
  }

  function show() {
    list.replaceChildren(...[...rows.values()].map((row) => row.node));
    list.setAttribute("aria-busy", "false");
    sync();
  }

  /** Which weights the rows are of. */
  function nameOf({ model: name, revision }) {
    return { model: name, revision };
  }

  function isOurs(recipe) {
    const [asked, ours] = [lab.stamped(recipe), lab.stamped(model)];
    return asked.model === ours.model && asked.revision === ours.revision;
  }

  /** Five pictures for a look are too many where one takes seconds. */
  const isCheap = () => (lab.model()?.cost?.drag ?? "whole") !== "release";

  function addRow({ name, explained }) {
    const node = template.content.firstElementChild.cloneNode(true);
    const find = (selector) => node.querySelector(selector);
    const row = { name, explained, node, isOpen: false, stripKey: "" };
    Object.assign(row, { slider: find(".strength"), value: find(".value"), more: find(".more") });
    Object.assign(row, { number: find(".number"), from: find(".from"), to: find(".to") });
    Object.assign(row, { low: find(".low"), high: find(".high"), strip: find(".strip") });
    rows.set(name, row);
    node.dataset.direction = name;
    row.strip.append(...STRIP.map((sigma) => stripButton(row, sigma)));
    listen(row, find);
    label(row);
  }

  function label(row) {
    lab.translate(row.node);
    const [key, values] = directionLabel(row.name) ?? ["", {}];
    const name = key ? t(key, values) : row.name;
    row.number.textContent = values.number ?? row.name;
    row.number.title = t("explore.direction_open", { name });
    row.number.setAttribute("aria-label", row.number.title);
    row.slider.setAttribute("aria-label", t("explore.direction_slider", { name }));
    row.value.setAttribute("aria-label", t("explore.direction_slider", { name }));
    const percent = (row.explained * 100).toFixed(row.explained < 0.1 ? 1 : 0);
    const explained = row.node.querySelector(".explained");
    const kind = methodOf(row.name);
    explained.textContent = t(`directions.explained_${kind}`, { percent });
    explained.title = t(`directions.explained_hint_${kind}`);
  }

  function listen(row, find) {
    const edit = (patch, event) => dispatch({ type: "edit", direction: row.name, ...patch }, event);
    for (const input of [row.slider, row.value]) {
      input.addEventListener("input", (event) => {
        if (input.value !== "") edit({ strength: input.valueAsNumber }, event);
      });
      onChosen(input, (event) => {
        if (input.value === "") edit({ strength: 0 }, event);
        settle(event);
        sync();
      });
    }
    row.slider.addEventListener("dblclick", (event) => {
      edit({ strength: 0 }, event);
      settle(event);
    });
    row.number.addEventListener("click", () => open(row, !row.isOpen));
    listenHover(row);
    row.from.addEventListener("input", (event) => {
      const start = Math.min(row.from.valueAsNumber, row.to.valueAsNumber - 1);
      edit({ start }, event);
      sync();
    });
    row.to.addEventListener("input", (event) => {
      const end = Math.max(row.to.valueAsNumber, row.from.valueAsNumber + 1);
      edit({ end: end === Number(row.to.max) ? null : end }, event);
      sync();
    });
    for (const input of [row.from, row.to]) onChosen(input, settle);
    find("[data-row=reset]").addEventListener("click", (event) => {
      edit({ strength: 0, start: 0, end: null }, event);
      settle(event);
    });
    find("[data-row=lock]").addEventListener("click", () => {
      dispatch({ type: "lock", direction: row.name });
    });
  }

  function listenHover(row) {
    let timer = 0;
    row.node.addEventListener("pointerenter", (event) => {
      if (event.pointerType === "mouse") timer = setTimeout(() => drawStrip(row), HOVER_DELAY);
    });
    row.node.addEventListener("pointerleave", () => clearTimeout(timer));
    row.slider.addEventListener("pointerdown", () => clearTimeout(timer));
  }

  function open(row, isOpen) {
    row.isOpen = isOpen;
    row.more.hidden = !isOpen;
    row.number.setAttribute("aria-expanded", isOpen);
    row.node.classList.toggle("is-open", isOpen);
    sync();
  }

  function stripButton(row, sigma) {
    const button = Object.assign(document.createElement("button"), { type: "button" });
    const text = Object.assign(document.createElement("span"), {
      textContent: `${signed(sigma)}σ`,
    });
    button.append(Object.assign(document.createElement("img"), { alt: "" }), text);
    button.addEventListener("click", (event) => {
      dispatch({ type: "edit", direction: row.name, strength: sigma }, event);
      settle(event);
    });
    return button;
  }

  /** What the direction does to the average picture: the two icons beside its slider. */
  async function drawIcons(row) {
    if (row.stripKey || !isCheap()) return;
    const recipe = { ...model, seed: 0, psi: 0 };
    const { images } = await lab.call("strip", { recipe, direction: row.name });
    if (!row.stripKey) [row.low.src, row.high.src] = [images[0], images[4]];
  }

  /** What the direction does to this very picture. */
  function drawStrip(row) {
    lab.aside(`strip ${row.name}`, async () => {
      const { recipe } = lab.state();
      const key = stripKey(row, recipe);
      if (key === row.stripKey || !isOurs(recipe) || !isCheap()) return;
      const { images } = await lab.call("strip", { recipe: stripRecipe(row), direction: row.name });
      row.stripKey = key;
      [row.low.src, row.high.src] = [images[0], images[4]];
      row.strip.querySelectorAll("img").forEach((img, i) => (img.src = images[i]));
    });
  }

  /** The server takes the layers of the strip from the recipe's own edit: a row that is at rest but
   * has a range gets one that is too weak to see. */
  function stripRecipe(row) {
    const { recipe } = lab.state();
    const edit = editOf(lab.state(), row.name);
    if (edit.strength !== 0 || (edit.start === 0 && edit.end === null)) return toJson(recipe);
    return toJson({ ...recipe, edits: [...recipe.edits, { ...edit, strength: 0.0001 }] });
  }

  /** The recipe but for this direction's own strength, which the strip replaces. */
  function stripKey(row, recipe) {
    const { start, end } = editOf(lab.state(), row.name);
    const edits = recipe.edits.filter((edit) => edit.direction !== row.name);
    return `${toQuery({ ...recipe, edits })} ${start}-${end}`;
  }

  function sync() {
    const state = lab.state();
    if (model !== null && (!isOurs(state.recipe) || methodShown(state) !== method)) {
      return void load();
    }
    syncSwitch(state);
    const layers = lab.model()?.layers ?? [];
    const isSettled = state.recipe === state.settled;
    for (const row of rows.values()) {
      const edit = editOf(state, row.name);
      const reach = Math.abs(edit.strength) > REACH ? 10 : REACH;
      if (Number(row.slider.max) !== reach) [row.slider.min, row.slider.max] = [-reach, reach];
      setValue(row.slider, edit.strength);
      setValue(row.value, edit.strength);
      row.node.classList.toggle("is-on", edit.strength !== 0);
      if (row.isOpen) syncMore(row, edit, layers, isSettled);
    }
  }

  /** Which list is shown, and how many directions of each are pulled. */
  function syncSwitch({ recipe }) {
    const shown = method ?? methodShown(lab.state());
    const names = methodsOf(lab.model());
    put($(".methods-field"), { hidden: names.length < 2 });
    put($("#lab-directions-hint"), { textContent: t(`directions.hint_${shown}`) });
    for (const input of element.querySelectorAll("input[name=lab-method]")) {
      input.checked = input.value === shown;
      const pulled = recipe.edits.filter((edit) => methodOf(edit.direction) === input.value);
      const count = input.parentElement.querySelector(".count");
      put(count, {
        textContent: String(pulled.length || ""),
        hidden: !pulled.length || input.checked,
        title: t("directions.pulled", { count: pulled.length }),
      });
    }
  }

  function syncMore(row, edit, layers, isSettled) {
    const count = layers.length;
    const end = edit.end ?? count;
    for (const input of [row.from, row.to]) [input.min, input.max] = [0, count];
    row.from.value = edit.start;
    row.to.value = end;
    row.from.setAttribute("aria-valuetext", edit.start + 1); // counted as the text beside counts
    row.to.setAttribute("aria-valuetext", end);
    const range = row.from.parentElement;
    range.style.setProperty("--from", edit.start / count);
    range.style.setProperty("--to", end / count);
    const values = {
      from: edit.start + 1,
      to: end,
      low: layers[edit.start],
      high: layers[end - 1],
    };
    const text = t(
      edit.start === 0 && end === count ? "explore.layers_all" : "explore.layers_some",
      values,
    );
    put(row.node.querySelector(".layers-text"), { textContent: text });
    const isHeld = lab.state().locks.includes(row.name);
    row.node.querySelector("[data-row=lock]").setAttribute("aria-pressed", isHeld);
    if (isSettled) drawStrip(row);
  }

  function retryButton() {
    const button = Object.assign(document.createElement("button"), {
      type: "button",
      className: "add",
    });
    button.textContent = t("explore.directions_retry");
    button.addEventListener("click", load);
    return button;
  }

  element.addEventListener("change", ({ target }) => {
    if (target.name === "lab-method") dispatch({ type: "method", method: target.value });
  });

  function translate() {
    for (const each of found.values()) each.forEach(label);
    syncSwitch(lab.state());
  }

  return { load, sync, names: () => [...rows.keys()], translate };
}

function skeleton() {
  return Object.assign(document.createElement("div"), { className: "direction skeleton" });
}
