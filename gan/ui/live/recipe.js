// A recipe: everything that determines one picture. The twin of gan/recipe.py, tested on the same
// vectors (tests/data/recipes.json). Pure: no DOM, no network, no clock.
//
// A recipe is valid and canonical from the moment it exists: numbers have four decimals at most,
// edits of strength 0 are dropped, and without a second seed there is no blend.

const MOST_SEED = 2 ** 32 - 1;
const MOST_LABEL = 99_999;
const MOST_ROWS = 64;
const MOST_EDITS = 32;
const LONGEST_TEXT = 16_384;

/** [least, most] of what a person can set. */
export const LIMITS = {
  seed: [0, MOST_SEED],
  blend: [0, 1],
  psi: [-1, 1.5],
  strength: [-10, 10],
  rows: MOST_ROWS,
};

const DEFAULTS = {
  model: undefined,
  revision: "",
  seed: 0,
  seed2: null,
  blend: 0,
  blend_space: "w",
  label: null,
  psi: 0.7,
  cutoff: null,
  noise: "const",
  edits: [],
};
const EDIT_DEFAULTS = { direction: undefined, strength: undefined, start: 0, end: null };

const FIELD_OF = {
  m: "model",
  r: "revision",
  s: "seed",
  s2: "seed2",
  b: "blend",
  bs: "blend_space",
  c: "label",
  psi: "psi",
  cut: "cutoff",
  n: "noise",
  e: "edits",
};
const FROM_TEXT = {
  seed: (text) => wholeFrom(text, "bad_seed"),
  seed2: (text) => wholeFrom(text, "bad_seed"),
  blend: (text) => numberFrom(text, "bad_blend"),
  label: (text) => wholeFrom(text, "bad_label"),
  psi: (text) => numberFrom(text, "bad_psi"),
  cutoff: (text) => wholeFrom(text, "bad_cutoff"),
  noise: (text) => (WHOLE_TEXT.test(text) ? Number(text) : text),
  edits: editsFrom,
};

// Latin, Greek, Cyrillic, kana, Chinese and Hangul, as the same set in Python and in JavaScript.
const LETTER = "0-9A-Za-z_\u00c0-\u052f\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3";
const NAME = `[${LETTER}](?:[${LETTER}-]|[.](?![.])){0,95}`;
const MODEL = new RegExp(`^${NAME}(?:/${NAME})?$`);
const DIRECTION = new RegExp(`^[${LETTER}][${LETTER}-]{0,39}$`);
const REVISION = /^(?:[0-9a-f]{12})?$/;
const WHOLE_TEXT = /^[0-9]{1,10}$/;
const NUMBER_TEXT = /^-?[0-9]{1,4}(?:\.[0-9]{1,20})?$/;
const EDIT_TEXT = /^([^:]*):([^:]*)(?::([0-9]{1,4})-([0-9]{0,4}))?$/;

/** The keys of a query that belong to a recipe. */
export const QUERY_KEYS = Object.keys(FIELD_OF);

/** Refused input: a code of `error.<code>` in the texts, with its values. */
export class RecipeError extends Error {
  constructor(code, values = {}) {
    super(code);
    this.code = code;
    this.values = values;
  }
}

/** A whole recipe (every field there) from plain JSON; throws RecipeError. */
export function fromJson(given) {
  if (!isObject(given)) refuse("bad_recipe", given);
  if (!Object.hasOwn(given, "model")) refuse("bad_model", "");
  const json = { ...DEFAULTS, ...knownFields(given, DEFAULTS) };
  const hasBlend = json.seed2 !== null;
  const blend = number(json.blend, ...LIMITS.blend, "bad_blend");
  const space = oneOf(json.blend_space, ["w", "z"], "bad_blend_space");
  return {
    model: matching(MODEL, json.model, "bad_model"),
    revision: matching(REVISION, json.revision, "bad_revision"),
    seed: whole(json.seed, 0, MOST_SEED, "bad_seed"),
    seed2: hasBlend ? whole(json.seed2, 0, MOST_SEED, "bad_seed") : null,
    blend: hasBlend ? blend : 0,
    blend_space: hasBlend ? space : "w",
    label: orNull(json.label, (value) => whole(value, 0, MOST_LABEL, "bad_label")),
    psi: number(json.psi, ...LIMITS.psi, "bad_psi"),
    cutoff: orNull(json.cutoff, (value) => whole(value, 0, MOST_ROWS, "bad_cutoff")),
    noise: noise(json.noise),
    edits: edits(json.edits),
  };
}

/** The recipe as small JSON: model and seed always, the rest where it isn't the default. */
export function toJson(recipe) {
  const json = withoutDefaults(recipe, DEFAULTS, ["seed"]);
  if (recipe.edits.length)
    json.edits = recipe.edits.map((edit) => withoutDefaults(edit, EDIT_DEFAULTS));
  else delete json.edits;
  return json;
}

/** The recipe as a link's query: `m=avatars&s=12&psi=0.5&e=pca0:1.5:0-8,pca3:-2`. */
export function toQuery(recipe) {
  const json = toJson(recipe);
  if (json.edits) json.edits = recipe.edits.map(editToText).join(",");
  return Object.entries(FIELD_OF)
    .filter(([, name]) => name in json)
    .map(([key, name]) => `${key}=${quoted(short(json[name]))}`)
    .join("&");
}

/** Does a query name a recipe at all? */
export function hasRecipe(query) {
  return new URLSearchParams(query).has("m");
}

/** The recipe in a query, with or without `?`; keys that aren't ours are ignored. Throws
 * RecipeError, also where one of our keys appears twice. */
export function fromQuery(query) {
  if (query.length > LONGEST_TEXT)
    throw new RecipeError("recipe_too_long", { length: query.length });
  const json = {};
  for (const [key, text] of new URLSearchParams(query)) {
    if (!Object.hasOwn(FIELD_OF, key)) continue;
    const name = FIELD_OF[key];
    if (name in json) throw new RecipeError("repeated_key", { name: key });
    json[name] = FROM_TEXT[name] ? FROM_TEXT[name](text) : text;
  }
  return fromJson(json);
}

/** Are two recipes the same in every word? */
export function same(a, b) {
  return a === b || toQuery(a) === toQuery(b);
}

/** At most four decimals, a half away from zero, never −0. */
export function round4(value) {
  return Number(value.toFixed(4)) + 0;
}

// --- reading -------------------------------------------------------------------------------

function refuse(code, value) {
  const shown = typeof value === "object" ? JSON.stringify(value) : String(value);
  throw new RecipeError(code, { value: shown.length > 200 ? `${shown.slice(0, 199)}…` : shown });
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function knownFields(given, known) {
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(known, name)) throw new RecipeError("unknown_field", { name });
  }
  return given;
}

function orNull(value, read) {
  return value === null ? null : read(value);
}

function matching(pattern, value, code) {
  if (typeof value !== "string" || !pattern.test(value)) refuse(code, value);
  return value;
}

function whole(value, least, most, code) {
  if (!Number.isInteger(value) || value < least || value > most) refuse(code, value);
  return value + 0;
}

function number(value, least, most, code) {
  if (typeof value !== "number" || !(value >= least && value <= most)) refuse(code, value);
  return round4(value);
}

function oneOf(value, known, code) {
  if (!known.includes(value)) refuse(code, value);
  return value;
}

function noise(value) {
  if (value === "const" || value === "none") return value;
  return whole(value, 0, MOST_SEED, "bad_noise");
}

function edits(list) {
  if (!Array.isArray(list)) refuse("bad_edits", list);
  if (list.length > MOST_EDITS) refuse("bad_edits", list.length);
  return list.map(edit).filter((one) => one.strength !== 0);
}

function edit(given) {
  const isWhole =
    isObject(given) && Object.hasOwn(given, "direction") && Object.hasOwn(given, "strength");
  if (!isWhole) refuse("bad_edit", given);
  const json = { ...EDIT_DEFAULTS, ...knownFields(given, EDIT_DEFAULTS) };
  const rows = (value, least, most) => {
    if (!Number.isInteger(value) || value < least || value > most) {
      refuse("bad_layers", `${json.start}-${json.end ?? ""}`);
    }
    return value;
  };
  const start = rows(json.start, 0, MOST_ROWS - 1);
  return {
    direction: matching(DIRECTION, json.direction, "bad_direction"),
    strength: number(json.strength, ...LIMITS.strength, "bad_strength"),
    start,
    end: orNull(json.end, (value) => rows(value, start + 1, MOST_ROWS)),
  };
}

function wholeFrom(text, code) {
  if (!WHOLE_TEXT.test(text)) refuse(code, text);
  return Number(text);
}

function numberFrom(text, code) {
  if (!NUMBER_TEXT.test(text)) refuse(code, text);
  return Number(text);
}

function editsFrom(text) {
  const parts = text.split(",");
  if (parts.length > MOST_EDITS) refuse("bad_edits", parts.length);
  return parts.map((part) => {
    const found = EDIT_TEXT.exec(part);
    if (!found) refuse("bad_edit", part);
    const [, direction, strength, start, end] = found;
    const pull = numberFrom(strength, "bad_strength");
    return { direction, strength: pull, start: Number(start ?? 0), end: end ? Number(end) : null };
  });
}

// --- writing -------------------------------------------------------------------------------

function withoutDefaults(value, defaults, always = []) {
  const fields = Object.keys(defaults);
  const told = fields.filter((name) => always.includes(name) || value[name] !== defaults[name]);
  return Object.fromEntries(told.map((name) => [name, value[name]]));
}

function editToText({ direction, strength, start, end }) {
  const text = `${direction}:${short(strength)}`;
  return start === 0 && end === null ? text : `${text}:${start}-${end ?? ""}`;
}

/** A number without trailing zeros or exponent (four decimals never need one). */
function short(value) {
  return typeof value === "number" ? String(round4(value)) : value;
}

/** Percent-encoded but for `:`, `,` and `/`, as Python's quote(safe=":,/"). */
function quoted(text) {
  const strict = encodeURIComponent(text).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return strict.replace(/%3A/g, ":").replace(/%2C/g, ",").replace(/%2F/g, "/");
}
