// The page's state and every way it may change: reduce(state, action) → state. Pure: no DOM, no
// clock, no chance (random numbers come in with the action). Nothing else on the page remembers.
//
// `recipe` is what the canvas shows; `settled` is the last recipe of a finished gesture. A drag
// changes `recipe` many times and settles once, so one drag is one step of undo.

import { FIRST_METHOD, methodOf, methodsOf } from "./directions.js";
import { LIMITS, fromJson, round4, same } from "./recipe.js";

const SURPRISE = 1.6; // σ either way: far enough to see, near enough to be drawn well
const LONGEST_HISTORY = 200;
export const LONGEST_SHELF = 60;

/** The state of a page that shows `recipe`. `models` are the facts that `models()` returned. */
export function initialState(recipe, models = [], shelf = []) {
  const state = { recipe: null, settled: null, past: [], future: [], method: FIRST_METHOD };
  Object.assign(state, { models: {}, ranges: {}, locks: [], shelf, forgotten: null, beside: null });
  state.models = byKey(models);
  state.recipe = state.settled = fitted(fromJson(recipe), state.models);
  state.method = methodInSight(state);
  return state;
}

const ACTIONS = {
  /** {models}: what the server can draw; the recipe is fitted to its model. */
  models(state, { models }) {
    // Those that only this person knows of stay.
    const own = Object.values(state.models).filter((model) => !model.is_named);
    const known = byKey([...models, ...own.filter((one) => !byKey(models)[keyOf(one)])]);
    const recipe = fitted(state.recipe, known);
    return { ...state, models: known, recipe, settled: fitted(state.settled, known) };
  },

  /** {model}: one more model whose facts are known; or new facts of one. */
  known(state, { model }) {
    const models = { ...state.models, [keyOf(model)]: model };
    const recipe = fitted(state.recipe, models);
    return { ...state, models, recipe, settled: fitted(state.settled, models) };
  },

  /** {patch}: fields of the recipe, live; values out of range are clamped. */
  change(state, { patch }) {
    return withRecipe(state, { ...state.recipe, ...patch });
  },

  /** {direction, strength?, start?, end?}: one direction, live. Strength 0 takes its edit out, but
   * the layer range stays with the direction for the next pull. */
  edit(state, { direction, strength, start, end }) {
    const before = editOf(state, direction);
    const range = {
      start: start === undefined ? before.start : start,
      end: end === undefined ? before.end : end,
    };
    const pull = clamp(strength ?? before.strength, LIMITS.strength);
    const edits = [...state.recipe.edits];
    const at = edits.findIndex((edit) => edit.direction === direction);
    const put = pull === 0 ? [] : [{ direction, strength: pull, ...range }];
    edits.splice(at < 0 ? edits.length : at, at < 0 ? 0 : 1, ...put);
    const ranges = { ...state.ranges, [direction]: range };
    return withRecipe({ ...state, ranges }, { ...state.recipe, edits });
  },

  /** The gesture is over: what it changed is one step of undo. */
  settle(state) {
    if (same(state.recipe, state.settled)) return state;
    const past = [...state.past, state.settled].slice(-LONGEST_HISTORY);
    return { ...state, settled: state.recipe, past, future: [] };
  },

  /** {recipe}: another whole recipe: from a link, a PNG, the shelf. */
  open(state, { recipe }) {
    const opened = withRecipe({ ...state, ranges: {} }, fromJson(recipe));
    return ACTIONS.settle(ACTIONS.method(opened, { method: methodInSight(opened) }));
  },

  undo(state) {
    const settled = ACTIONS.settle(state);
    if (!settled.past.length) return settled;
    const recipe = settled.past.at(-1);
    const future = [settled.settled, ...settled.future];
    const past = settled.past.slice(0, -1);
    return { ...settled, recipe, settled: recipe, past, future, ranges: {} };
  },

  redo(state) {
    if (!state.future.length || !same(state.recipe, state.settled)) return state;
    const [recipe, ...future] = state.future;
    const past = [...state.past, state.settled];
    return { ...state, recipe, settled: recipe, past, future, ranges: {} };
  },

  /** Back to the plain picture of this model, seed and class. */
  reset(state) {
    const { model, revision, seed, label } = state.recipe;
    return ACTIONS.open(state, { recipe: { model, revision, seed, label } });
  },

  /** {model, revision?}: another model, same seed; edits belong to a model and go. */
  model(state, { model, revision = "" }) {
    const now = modelOf(state.models, state.recipe);
    const next = modelOf(state.models, { model, revision });
    if (model === state.recipe.model && now === next) return state;
    const { seed, psi } = state.recipe;
    return ACTIONS.open(state, { recipe: { model, revision, seed, psi } });
  },

  /** {numbers, directions}: another picture by chance: a new seed, and two or three directions
   * pulled. A locked direction keeps its strength. `numbers`: at least 9 in [0, 1). */
  surprise(state, { numbers, directions }) {
    const { recipe, locks } = state;
    const model = modelOf(state.models, recipe);
    const free = directions.filter((name) => !locks.includes(name));
    const kept = recipe.edits.filter((edit) => locks.includes(edit.direction));
    const edits = [];
    const count = Math.min(free.length, numbers[0] < 0.5 ? 2 : 3);
    for (let i = 0; i < count; i++) {
      const [direction] = free.splice(Math.floor(numbers[1 + i] * free.length), 1);
      const strength = round4(Math.round((numbers[4 + i] * 2 - 1) * SURPRISE * 10) / 10);
      if (strength !== 0) edits.push({ direction, strength, start: 0, end: null });
    }
    const classes = model?.classes?.length;
    const label = classes ? Math.floor(numbers[8] * classes) : recipe.label;
    const seed = Math.floor(numbers[7] * 2 ** 32);
    const changed = { ...recipe, seed, label, seed2: null, blend: 0, edits: [...kept, ...edits] };
    return ACTIONS.settle(withRecipe({ ...state, ranges: {} }, changed));
  },

  /** {method}: the list of directions that is shown. */
  method(state, { method }) {
    return method === state.method ? state : { ...state, method };
  },

  /** {model}: {name, revision} of the model that draws a second picture beside; null for none. It
   * is no part of the recipe, and undo leaves it alone. It may not be known (yet). */
  beside(state, { model }) {
    const beside = model && { name: model.name, revision: model.revision ?? "" };
    const isSame = (beside && keyOf(beside)) === (state.beside && keyOf(state.beside));
    return isSame ? state : { ...state, beside };
  },

  /** {direction}: keep it (or no longer) when the page surprises. */
  lock(state, { direction }) {
    const held = state.locks.includes(direction);
    const others = state.locks.filter((name) => name !== direction);
    return { ...state, locks: held ? others : [...others, direction] };
  },

  /** {id, thumbnail, recipe?}: the recipe goes on the shelf, in front, with the weights that drew
   * it; a picture is there only once. A full shelf lets its oldest go; `restore` takes that back. */
  keep(state, { id, thumbnail, recipe = state.recipe }) {
    const kept = stamped(state.models, recipe);
    const others = state.shelf.filter((item) => !same(stamped(state.models, item.recipe), kept));
    const shelf = [{ id, recipe: kept, thumbnail }, ...others].slice(0, LONGEST_SHELF);
    const forgotten = others.length < LONGEST_SHELF ? null : state.shelf;
    return { ...state, shelf, forgotten };
  },

  /** {id}: off the shelf; `restore` brings it back. */
  forget(state, { id }) {
    const shelf = state.shelf.filter((item) => item.id !== id);
    return shelf.length === state.shelf.length ? state : { ...state, shelf, forgotten: state.shelf };
  },

  /** The shelf as it was before something went off it. */
  restore(state) {
    return state.forgotten ? { ...state, shelf: state.forgotten, forgotten: null } : state;
  },

  /** {shelf}: another tab of this browser changed the shelf. */
  shelf(state, { shelf }) {
    return { ...state, shelf, forgotten: null };
  },
};

/** The state after `action`; an action that changes nothing returns the same object. */
export function reduce(state, action) {
  const change = ACTIONS[action.type];
  if (!change) throw new Error(`no such action: ${action.type}`);
  return change(state, action);
}

/** What tells models apart: two may have one name, with other weights. */
export function keyOf({ name, revision }) {
  return `${name}@${revision ?? ""}`;
}

/** The facts of a recipe's model: of the revision it names, else of the first with its name. */
export function modelOf(models, { model, revision }) {
  const exact = models[keyOf({ name: model, revision })];
  return exact ?? Object.values(models).find((one) => one.name === model);
}

/** A recipe with its model's revision: it says which weights draw it. */
export function stamped(models, recipe) {
  const revision = recipe.revision || (modelOf(models, recipe)?.revision ?? "");
  return { ...recipe, revision };
}

/** The method whose directions are listed: the one that was chosen, where the model has it. */
export function methodShown(state) {
  const methods = methodsOf(modelOf(state.models, state.recipe));
  return methods.includes(state.method) ? state.method : FIRST_METHOD;
}

/** The chosen method; but a recipe that pulls only directions of another list shows that one. */
function methodInSight({ recipe, method }) {
  const pulled = recipe.edits.map((edit) => methodOf(edit.direction)).filter(Boolean);
  return !pulled.length || pulled.includes(method) ? method : pulled[0];
}

/** The facts of the model that draws beside; null where there is none, or none that is known. */
export function besideOf({ beside, models }) {
  if (!beside) return null;
  const named = beside.revision ? null : modelOf(models, { model: beside.name, revision: "" });
  return models[keyOf(beside)] ?? named ?? null;
}

function byKey(models) {
  return Object.fromEntries(models.map((model) => [keyOf(model), model]));
}

/** What the row of a direction shows: its edit, or strength 0 with the range it last had. */
export function editOf(state, direction) {
  const edit = state.recipe.edits.find((one) => one.direction === direction);
  const range = state.ranges[direction] ?? { start: 0, end: null };
  return edit ?? { direction, strength: 0, ...range };
}

/** The same picture without its edits: what "compare" shows. */
export function unedited(recipe) {
  return recipe.edits.length ? { ...recipe, edits: [] } : recipe;
}

/** The shelf as text for the browser's storage, and back; what can't be read is left out. */
export function shelfToText(shelf) {
  return JSON.stringify(shelf);
}

export function shelfFromText(text) {
  let items;
  try {
    items = JSON.parse(text ?? "[]");
  } catch {
    return [];
  }
  return Array.isArray(items) ? items.flatMap(shelfItem).slice(0, LONGEST_SHELF) : [];
}

function shelfItem(item) {
  try {
    const thumbnail = String(item.thumbnail);
    if (!thumbnail.startsWith("data:image/")) return [];
    return [{ id: String(item.id), recipe: fromJson(item.recipe), thumbnail }];
  } catch {
    return [];
  }
}

function withRecipe(state, changed) {
  const recipe = fitted(changed, state.models);
  return same(recipe, state.recipe) ? state : { ...state, recipe };
}

/** Every value inside its limits, and inside what the model has (rows of ws, classes). */
function fitted(recipe, models) {
  const model = modelOf(models, recipe);
  const rows = model?.num_ws ?? LIMITS.rows;
  const fit = { ...recipe };
  fit.seed = clampWhole(recipe.seed, LIMITS.seed);
  fit.seed2 = recipe.seed2 === null ? null : clampWhole(recipe.seed2, LIMITS.seed);
  fit.blend = fit.seed2 === null ? 0 : clamp(recipe.blend, LIMITS.blend);
  fit.blend_space = fit.seed2 === null ? "w" : recipe.blend_space;
  fit.psi = clamp(recipe.psi, LIMITS.psi);
  const cutoff = recipe.cutoff === null ? null : clampWhole(recipe.cutoff, [0, rows]);
  fit.cutoff = cutoff === null || (model && cutoff >= rows) ? null : cutoff;
  if (typeof recipe.noise === "number") fit.noise = clampWhole(recipe.noise, LIMITS.seed);
  if (model) fit.label = fittedLabel(recipe.label, model.classes);
  fit.edits = recipe.edits.map((edit) => fittedEdit(edit, rows, Boolean(model)));
  return fit;
}

function fittedLabel(label, classes) {
  if (!classes?.length) return null;
  return clampWhole(label ?? 0, [0, classes.length - 1]);
}

function fittedEdit(edit, rows, isKnown) {
  const start = clampWhole(edit.start, [0, rows - 1]);
  let end = edit.end === null ? null : clampWhole(edit.end, [start + 1, rows]);
  if (isKnown && end === rows) end = null;
  const strength = clamp(edit.strength, LIMITS.strength);
  return { direction: edit.direction, strength, start, end };
}

function clamp(value, [low, high]) {
  return round4(Math.min(high, Math.max(low, Number.isFinite(value) ? value : low)));
}

function clampWhole(value, limits) {
  return Math.trunc(clamp(value, limits));
}
