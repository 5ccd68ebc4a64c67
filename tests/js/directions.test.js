// The names of directions: the same table as Python's, and the list that the page shows.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { directionLabel, methodOf, methodsOf } from "../../gan/ui/live/directions.js";
import { editOf, initialState, methodShown, reduce } from "../../gan/ui/live/reducer.js";

const TABLE = JSON.parse(readFileSync(new URL("../data/directions.json", import.meta.url)));
const BOTH = { name: "avatars", num_ws: 10, revision: "0123456789ab", methods: ["pca", "sefa"] };
const ONE = { name: "plain", num_ws: 1, revision: "ba9876543210", methods: ["pca"] };
const start = (edits = [], model = BOTH) =>
  initialState({ model: model.name, edits }, [BOTH, ONE]);
const pull = (direction, strength = 1) => ({ direction, strength });

test("names are read as in Python", () => {
  for (const { name, method, number } of TABLE) {
    assert.equal(methodOf(name), method, name);
    const label = method && [`directions.name_${method}`, { number }];
    assert.deepEqual(directionLabel(name), label, name);
  }
});

test("a model offers what its facts say, and always the first", () => {
  assert.deepEqual(methodsOf(BOTH), ["pca", "sefa"]);
  assert.deepEqual(methodsOf({ methods: ["sefa", "pca", "magic"] }), ["pca", "sefa"]);
  for (const model of [ONE, {}, undefined]) assert.deepEqual(methodsOf(model), ["pca"]);
});

test("the list is switched without touching the recipe, and both kinds of edits live in it", () => {
  let state = reduce(start(), { type: "edit", ...pull("pca0") });
  const { recipe } = state;
  state = reduce(state, { type: "method", method: "sefa" });
  assert.equal(methodShown(state), "sefa");
  assert.equal(state.recipe, recipe);
  assert.equal(reduce(state, { type: "method", method: "sefa" }), state);
  state = reduce(state, { type: "edit", ...pull("sefa2", -2), start: 1, end: 4 });
  state = reduce(state, { type: "settle" });
  assert.deepEqual(
    state.recipe.edits.map((edit) => edit.direction),
    ["pca0", "sefa2"],
  );
  state = reduce(state, { type: "undo" });
  assert.deepEqual(state.recipe.edits, []);
  assert.equal(methodShown(state), "sefa");
  state = reduce(state, { type: "redo" });
  assert.deepEqual(editOf(state, "sefa2"), { ...pull("sefa2", -2), start: 1, end: 4 });
});

test("a model without the method shows the first list; the choice is kept for the next", () => {
  let state = reduce(start(), { type: "method", method: "sefa" });
  state = reduce(state, { type: "model", model: "plain" });
  assert.equal(methodShown(state), "pca");
  state = reduce(state, { type: "model", model: "avatars" });
  assert.equal(methodShown(state), "sefa");
});

test("a recipe that pulls only the other kind shows it; a mixed one leaves the list alone", () => {
  assert.equal(methodShown(start([pull("sefa1")])), "sefa");
  assert.equal(methodShown(start([pull("sefa1"), pull("pca1")])), "pca");
  assert.equal(methodShown(start([pull("smile")])), "pca");
  assert.equal(methodShown(start([pull("sefa1")], ONE)), "pca");
  const opened = reduce(start(), {
    type: "open",
    recipe: { model: "avatars", edits: [pull("sefa3")] },
  });
  assert.equal(methodShown(opened), "sefa");
  const back = { type: "open", recipe: { model: "avatars", edits: [pull("pca3")] } };
  assert.equal(methodShown(reduce(opened, back)), "pca");
  assert.equal(methodShown(reduce(opened, { type: "reset" })), "sefa");
});
