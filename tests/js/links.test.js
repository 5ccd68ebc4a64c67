// gan/ui/live/links.js and shell.js: addresses, languages, texts.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  HUB,
  besideFrom,
  isInSpacePage,
  opensIn,
  queryOf,
  sendToParent,
  shareLink,
  withRecipe,
} from "../../gan/ui/live/links.js";
import { fromJson, fromQuery } from "../../gan/ui/live/recipe.js";
import { chooseLanguage, fill } from "../../gan/ui/live/shell.js";

const recipe = fromJson({ model: "avatars", seed: 12, psi: 0.5 });
const alone = {
  href: "http://localhost:7860/?m=digits&x=1#about",
  isFramed: false,
  referrer: "",
  ancestors: [],
  space: "",
};
const inSpace = {
  ...alone,
  href: "https://owner-lab.hf.space/",
  isFramed: true,
  ancestors: [HUB],
  space: "owner/lab",
};

test("the recipe goes into the address and what isn't ours stays", () => {
  const search = withRecipe("?__theme=dark&s=1&m=old&e=pca0:1", recipe);
  assert.equal(search, "?m=avatars&s=12&psi=0.5&__theme=dark");
  assert.deepEqual(fromQuery(search), recipe);
  assert.equal(withRecipe("", recipe), "?m=avatars&s=12&psi=0.5");
});

test("the model beside has a key of its own, and goes when it is closed", () => {
  const beside = { name: "owner/name", revision: "0123456789ab" };
  const search = withRecipe("?__theme=dark&vs=old", recipe, beside);
  assert.equal(search, "?m=avatars&s=12&psi=0.5&vs=owner/name@0123456789ab&__theme=dark");
  assert.deepEqual(besideFrom(search), beside);
  assert.deepEqual(fromQuery(search), recipe);
  assert.equal(withRecipe(search, recipe), "?m=avatars&s=12&psi=0.5&__theme=dark");
  assert.equal(queryOf(recipe, { name: "数字", revision: "" }).split("&vs=")[1].length, 18);
  assert.match(shareLink(alone, recipe, beside), /&vs=owner\/name@0123456789ab$/);
});

test("what stands beside by a link is a model's name, or is refused", () => {
  assert.equal(besideFrom("?m=avatars"), null);
  assert.deepEqual(besideFrom("?vs=%E6%95%B0%E5%AD%97"), { name: "数字", revision: "" });
  for (const text of ["", "a@b", "@0123456789ab", "../x", "a@0123456789ab@1", "%3Cscript%3E"])
    assert.throws(() => besideFrom(`?vs=${text}`), ({ code }) => /^bad_(model|revision)$/.test(code), text);
});

test("a link from the app itself is the app's address with nothing but the recipe", () => {
  assert.equal(shareLink(alone, recipe), "http://localhost:7860/?m=avatars&s=12&psi=0.5");
});

test("a link from inside a Space is the Space's page", () => {
  assert.equal(
    shareLink(inSpace, recipe),
    "https://huggingface.co/spaces/owner/lab?m=avatars&s=12&psi=0.5",
  );
});

test("a browser without ancestorOrigins is told by the referrer", () => {
  assert.ok(isInSpacePage({ ...inSpace, ancestors: [], referrer: "https://huggingface.co/" }));
  assert.ok(!isInSpacePage({ ...inSpace, ancestors: [], referrer: "" }));
});

test("another site's frame, or no Space, is no Space's page", () => {
  assert.ok(!isInSpacePage({ ...inSpace, ancestors: ["https://school.example"] }));
  assert.ok(!isInSpacePage({ ...inSpace, space: "" }));
  assert.ok(!isInSpacePage({ ...inSpace, isFramed: false }));
});

test("only a Space's page is told the recipe, and nobody else can listen", () => {
  const sent = [];
  const parent = { postMessage: (...message) => sent.push(message) };
  sendToParent({ parent }, inSpace, recipe);
  sendToParent({ parent }, alone, recipe);
  sendToParent({ parent }, { ...inSpace, ancestors: ["https://school.example"] }, recipe);
  assert.deepEqual(sent, [
    [{ queryString: "m=avatars&s=12&psi=0.5", hash: "" }, "https://huggingface.co"],
  ]);
});

test("the first language that we have", () => {
  assert.equal(chooseLanguage(["de-DE", "zh-TW", "en"], ["en", "zh"]), "zh");
  assert.equal(chooseLanguage(["en-GB", "zh"], ["en", "zh"]), "en");
  assert.equal(chooseLanguage(["fr"], ["en", "zh"]), "en");
  assert.equal(chooseLanguage([], ["en", "zh"]), "en");
});

test("placeholders are filled once, with the value as it is", () => {
  assert.equal(
    fill("Seed {seed}: {seed}, {other}", { seed: "{other}" }),
    "Seed {other}: {other}, {other}",
  );
});

test("a copied link says how far it carries", () => {
  const named = { is_named: true, source: "" };
  const hub = { is_named: false, source: `hf://owner/name@${"0".repeat(40)}:model.safetensors` };
  const dropped = { is_named: false, source: "face.pkl" };
  const [far, near] = ["https://lab.example/?m=a", "http://127.0.0.1:7860/?m=a"];
  assert.equal(opensIn(far, [named, null]), "everywhere");
  assert.equal(opensIn(far, [hub, named]), "everywhere");
  assert.equal(opensIn(far, [undefined, null]), "everywhere");
  for (const link of [near, "http://localhost:7860/?m=a", "http://[::1]:7860/?m=a"])
    assert.equal(opensIn(link, [named, null]), "here");
  assert.equal(opensIn("http://192.168.0.7:7860/?m=a", [named]), "everywhere");
  for (const link of [far, near]) assert.equal(opensIn(link, [named, dropped]), "program");
});
