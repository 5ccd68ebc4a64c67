// Where models come from, as a person reads it: sizes, times, names, and the recent ones that this
// browser remembers. Pure: no DOM, no network; the caller brings the storage's text.

import { keyOf } from "./reducer.js";

const MOST_RECENT = 8;
const LONGEST_TEXT = 200; // characters of a title that is remembered
const KINDS = ["hub", "path", "file"];
const PICTURE = /\.png$/i;

/** 1234567 bytes → "1.2 MB"; the unit a person would choose. */
export function sizeText(bytes) {
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
  if (bytes < 1e9) return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

/** Seconds as a person would round them: "0.4", "7", "40", "90". */
export function secondsText(seconds) {
  if (seconds < 1) return seconds.toFixed(1);
  return String(seconds < 20 ? Math.round(seconds) : Math.round(seconds / 10) * 10);
}

/** "stylegan2" → "StyleGAN2". */
export function familyName(family) {
  const names = { stylegan2: "StyleGAN2", stylegan3: "StyleGAN3", dcgan: "DCGAN" };
  Object.assign(names, { biggan: "BigGAN-deep", r3gan: "R3GAN", fastgan: "FastGAN" });
  return names[family] ?? family;
}

/** What a drag and a picture cost, where that is worth a word: a key of the texts, with values. */
export function costText(cost) {
  if (!cost || cost.exact_seconds < 0.5) return null;
  const values = { seconds: secondsText(cost.exact_seconds), side: cost.preview_resolution };
  return [`models.cost_${cost.drag}`, values];
}

/** Where a model came from, in short: "owner/name · 0123456". */
export function originText(model) {
  const hub = hubSource(model.source);
  return hub ? `${hub.repo} · ${hub.commit.slice(0, 7)} · ${hub.file}` : "";
}

/** Is a dropped file a picture with a recipe, rather than a model? */
export function isPicture({ name, type }) {
  return type === "image/png" || PICTURE.test(name);
}

/** "hf://owner/name@commit:file" → {repo, commit, file}, null for anything else. */
export function hubSource(text) {
  const found = /^hf:\/\/([^@:]+)@([0-9a-f]{40}):(.+)$/.exec(text ?? "");
  return found && { repo: found[1], commit: found[2], file: found[3] };
}

/** The recent models with this one in front: {kind, name, title, model, revision, detail}. */
export function withRecent(list, item) {
  const key = (one) => keyOf({ name: one.model, revision: one.revision });
  return [item, ...list.filter((one) => key(one) !== key(item))].slice(0, MOST_RECENT);
}

/** The recent models from the browser's storage; what can't be read is left out. */
export function recentFromText(text) {
  let items;
  try {
    items = JSON.parse(text ?? "[]");
  } catch {
    return [];
  }
  return Array.isArray(items) ? items.filter(isRecent).slice(0, MOST_RECENT) : [];
}

/** {list, index}: the list without an item, and where that was; `withRecentAt` puts it back. */
export function withoutRecent(list, item) {
  const index = list.findIndex((one) => one.model === item.model && one.revision === item.revision);
  return { list: index < 0 ? list : list.toSpliced(index, 1), index };
}

export function withRecentAt(list, item, index) {
  return withoutRecent(list, item).list.toSpliced(index, 0, item).slice(0, MOST_RECENT);
}

/** The recent path at which the weights of a recipe were; by the name, where it tells no revision. */
export function recentPath(list, { model, revision }) {
  const isIt = (one) => (revision ? one.revision === revision : one.model === model);
  return list.find((one) => one.kind === "path" && isIt(one));
}

/** Was the recipe made with this model? The weights decide, whatever their file is called; the
 * name only where the recipe doesn't tell them. */
export function isModelOf(recipe, model) {
  if (recipe.revision) return recipe.revision === model.revision;
  return portableName(recipe.model) === portableName(model.name);
}

/** The name that a model has on the Hub, for everybody: a model that came by a person's token is
 * called by a name that nobody else knows (gan/openings.py). */
export function portableName(name) {
  return /^_private\.([^/]+\/.+)-[0-9a-f]{16}$/.exec(name)?.[1] ?? name;
}

/** A recipe as others may have it. */
export function portable(recipe) {
  return { ...recipe, model: portableName(recipe.model) };
}

/** The model with the weights of a recipe under another name: one that this person's token opened,
 * where the recipe is somebody else's, or older than this opening. */
export function ownOf(models, { model, revision }) {
  if (models[keyOf({ name: model, revision })]) return undefined;
  const isSame = (one) => portableName(one.name) === portableName(model);
  return Object.values(models).find(
    (one) => one.name !== model && one.revision === revision && isSame(one),
  );
}

function isRecent(item) {
  const texts = ["name", "title", "model", "revision", "detail"];
  return (
    typeof item === "object" &&
    item !== null &&
    KINDS.includes(item.kind) &&
    texts.every((name) => typeof item[name] === "string" && item[name].length <= LONGEST_TEXT * 5)
  );
}
