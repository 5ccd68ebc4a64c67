// Which models can stand beside which, and what a person reads of them. Pure.
//
// Two go together where a seed, a class and an edit mean the same to both: the server decides by the
// same four facts (gan/lockstep.py), and refuses with a reason.

import { isOlder, places } from "./moments.js";

/** Do two models have the same latents and classes? */
export function isAlike(first, second) {
  return JSON.stringify(first?.latents) === JSON.stringify(second?.latents);
}

/** The models that may be chosen beside `first`: {model, isAlike}, each training once. */
export function seconds(first, models) {
  const all = Object.values(models);
  const shown = all.filter((one) => !isOlder(one, all) && (one !== first || places(one).length > 1));
  return shown.map((model) => ({ model, isAlike: isAlike(first, model) }));
}

/** Is there anything to compare `first` with? */
export function hasSecond(first, models) {
  if (!first) return false;
  return places(first).length > 1 || seconds(first, models).some((one) => one.isAlike);
}

/** What stands beside at first: {run, images_seen} of the model's own training, a halfway moment
 * beside the newest and the newest beside any moment; else {model}; null where there is nothing. */
export function firstSecond(first, models) {
  const found = places(first);
  if (found.length > 1) {
    const halfway = found[Math.floor((found.length - 2) / 2)];
    return { run: first.run, images_seen: first.moment === null ? halfway : null };
  }
  const alike = seconds(first, models).find((one) => one.isAlike && one.model !== first);
  return alike ? { model: alike.model } : null;
}

/** Images seen by a run's generator, as far as they are known: the line under its name. */
export function seenText(model, t) {
  const seen = model.moment ?? model.images_seen ?? null;
  if (seen === null) return t("beside.earlier");
  const images = { seen: Number(seen).toLocaleString("en-US") };
  return t(model.moment === null ? "beside.seen_newest" : "beside.seen", images);
}
