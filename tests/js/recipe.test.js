// gan/ui/live/recipe.js: the twin of gan/recipe.py, on the same vectors.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import * as recipes from "../../gan/ui/live/recipe.js";

const { fromJson, fromQuery, hasRecipe, round4, same, toJson, toQuery } = recipes;
const vectors = JSON.parse(readFileSync(new URL("../data/recipes.json", import.meta.url), "utf8"));

for (const { about, json, query, also = {} } of vectors.valid) {
  test(`valid: ${about}`, () => {
    const read = [json, ...(also.json ?? [])].map(fromJson);
    read.push(...[query, ...(also.query ?? [])].map(fromQuery));
    for (const recipe of read) {
      assert.deepEqual(recipe, read[0]);
      assert.equal(toQuery(recipe), query);
      assert.equal(JSON.stringify(toJson(recipe)), JSON.stringify(json)); // the order counts too
    }
  });
}

for (const { code, json, query } of vectors.invalid) {
  test(`invalid: ${code} ${(query ?? JSON.stringify(json)).slice(0, 60)}`, () => {
    const read = () => (query === undefined ? fromJson(json) : fromQuery(query));
    assert.throws(read, (error) => error instanceof recipes.RecipeError && error.code === code);
  });
}

test("a query that is far too long is refused before it is read", () => {
  const query = `m=avatars&e=${"pca0:1,".repeat(4000)}`;
  assert.throws(() => fromQuery(query), { code: "recipe_too_long" });
});

test("a page's other keys are not a recipe", () => {
  assert.equal(hasRecipe("?__theme=dark&view=api"), false);
  assert.equal(hasRecipe("?m=avatars"), true);
});

test("refused values are shown, but not at any length", () => {
  const caught = (json) => {
    try {
      return fromJson(json);
    } catch (error) {
      return error.values.value;
    }
  };
  assert.equal(caught({ model: "avatars", seed: -1 }), "-1");
  assert.equal(caught({ model: "x".repeat(5000) }).length, 200);
});

test("rounding", () => {
  assert.equal(round4(0.00005), 0.0001);
  assert.ok(Object.is(round4(-0.00001), 0));
  assert.ok(same(fromQuery("m=a&psi=0.70004"), fromQuery("m=a")));
});
