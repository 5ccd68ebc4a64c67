// The recipe in the page's address, and the link that a person copies. Pure functions of strings;
// `sendToParent` is the only one that touches the window.
//
// A Space shows the app in an iframe on https://huggingface.co/spaces/<owner>/<name>. That page
// passes its own query on to the iframe at load, and takes {queryString, hash} by postMessage to
// put into its own address bar. So inside a Space the recipe goes to the parent, and a copied link
// is the parent's. The parent's address can't be read from here (another origin): Python knows it
// from SPACE_ID.

import { QUERY_KEYS, fromJson, toQuery } from "./recipe.js";
import { hubSource } from "./sources.js";

export const HUB = "https://huggingface.co";

const BESIDE = "vs"; // the model that draws the same recipe beside: "avatars", "owner/name@revision"

/** The query of a picture and, where there is one, of the model {name, revision} beside it. */
export function queryOf(recipe, beside = null) {
  const query = toQuery(recipe);
  if (!beside) return query;
  const text = beside.revision ? `${beside.name}@${beside.revision}` : beside.name;
  const quoted = encodeURIComponent(text).replace(/%2F/g, "/").replace(/%40/g, "@");
  return `${query}&${BESIDE}=${quoted}`;
}

/** The model beside in a query; null where there is none. Throws RecipeError for no name. */
export function besideFrom(search) {
  const text = new URLSearchParams(search).get(BESIDE);
  if (text === null) return null;
  const [, given, revision] = /^(.*?)(?:@(.*))?$/s.exec(text);
  const { model: name } = fromJson({ model: given, revision: revision ?? "" });
  return { name, revision: revision ?? "" };
}

/** `search` ("?a=1&s=3") with both put in; keys that aren't ours stay. */
export function withRecipe(search, recipe, beside = null) {
  const others = new URLSearchParams(search);
  for (const key of [...QUERY_KEYS, BESIDE]) others.delete(key);
  const rest = others.toString();
  return `?${queryOf(recipe, beside)}${rest && `&${rest}`}`;
}

/**
 * The address that others can open.
 * `place`: {href, isFramed, referrer, ancestors: [origins], space: "owner/name" or ""}.
 */
export function shareLink(place, recipe, beside = null) {
  const query = queryOf(recipe, beside);
  if (isInSpacePage(place)) return `${HUB}/spaces/${place.space}?${query}`;
  const here = new URL(place.href);
  here.search = "";
  here.hash = "";
  return `${here.href}?${query}`;
}

/** Where a copied link opens: "everywhere"; "here", on this machine alone; or in this "program", as
 * long as it has those of the `models` open that have no name elsewhere. Unknown ones count as named. */
export function opensIn(link, models) {
  const isNamed = (model) => !model || model.is_named || Boolean(hubSource(model.source));
  if (!models.every(isNamed)) return "program";
  const { hostname } = new URL(link);
  return /^(localhost|127\.[\d.]+|\[::1\]|0\.0\.0\.0)$/.test(hostname) ? "here" : "everywhere";
}

/** Are we the iframe of a Space's page? */
export function isInSpacePage({ isFramed, referrer, ancestors, space }) {
  if (!isFramed || !space) return false;
  const parents = ancestors.length ? ancestors : [referrer && new URL(referrer).origin];
  return parents.includes(HUB);
}

/** Where this window stands. */
export function placeOf(window, space) {
  return {
    href: window.location.href,
    isFramed: window.parent !== window,
    referrer: window.document.referrer,
    ancestors: [...(window.location.ancestorOrigins ?? [])],
    space,
  };
}

/** Puts the recipe into the Space page's address bar; only huggingface.co ever receives it. */
export function sendToParent(window, place, recipe, beside = null) {
  if (!isInSpacePage(place)) return;
  window.parent.postMessage({ queryString: queryOf(recipe, beside), hash: "" }, HUB);
}
