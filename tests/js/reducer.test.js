// gan/ui/live/reducer.js: whatever a hand does, the recipe is valid, and undo goes back.

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromJson, fromQuery, same, toJson, toQuery } from "../../gan/ui/live/recipe.js";
import {
  LONGEST_SHELF,
  besideOf,
  editOf,
  initialState,
  keyOf,
  modelOf,
  reduce,
  shelfFromText,
  shelfToText,
  unedited,
} from "../../gan/ui/live/reducer.js";
import { MODELS, anyAction, chance } from "./helpers.js";

const start = () => initialState({ model: "avatars", seed: 4 }, MODELS);
const play = (state, ...actions) => actions.reduce(reduce, state);
const change = (patch) => ({ type: "change", patch });
const edit = (direction, strength, more = {}) => ({ type: "edit", direction, strength, ...more });
const settle = { type: "settle" };
const undo = { type: "undo" };
const redo = { type: "redo" };

/** Runs `check` on the states along 200 walks of 30 random actions. */
function alongWalks(check) {
  for (let seed = 1; seed <= 200; seed++) {
    const random = chance(seed);
    let state = start();
    for (let step = 0; step < 30; step++) {
      const before = state;
      const action = anyAction(random);
      state = reduce(state, action);
      check(state, before, action);
    }
  }
}

test("whatever is asked, the recipe is valid and fits its model", () => {
  alongWalks((state) => {
    const { recipe } = state;
    assert.deepEqual(fromJson(toJson(recipe)), recipe);
    const { num_ws: rows, classes } = modelOf(state.models, recipe);
    for (const { start: first, end } of recipe.edits)
      assert.ok(first < (end ?? rows) && (end ?? 0) < rows);
    assert.ok(recipe.cutoff === null || recipe.cutoff < rows);
    assert.ok(classes ? recipe.label < classes.length : recipe.label === null);
  });
});

test("any state's recipe survives the link", () => {
  alongWalks(({ recipe }) => assert.deepEqual(fromQuery(toQuery(recipe)), recipe));
});

test("undo after any settled action is the recipe before it, and redo brings it back", () => {
  alongWalks((_, before, action) => {
    const settled = reduce(before, settle);
    const done = play(settled, action, settle);
    if (same(done.recipe, settled.recipe)) return;
    const back = reduce(done, undo);
    assert.deepEqual(back.recipe, settled.recipe);
    assert.deepEqual(back.settled, settled.recipe);
    assert.deepEqual(reduce(back, redo).recipe, done.recipe);
  });
});

test("undo to the first recipe and redo to the last", () => {
  const random = chance(7);
  const visited = [start().recipe];
  let state = start();
  for (let step = 0; step < 40; step++) {
    state = play(state, anyAction(random), settle);
    if (!same(state.recipe, visited.at(-1))) visited.push(state.recipe);
  }
  assert.ok(visited.length > 10);
  for (const recipe of visited.toReversed().slice(1)) {
    state = reduce(state, undo);
    assert.deepEqual(state.recipe, recipe);
  }
  assert.deepEqual(reduce(state, undo).recipe, visited[0]);
  for (const recipe of visited.slice(1)) {
    state = reduce(state, redo);
    assert.deepEqual(state.recipe, recipe);
  }
});

test("states are never changed in place", () => {
  alongWalks((_, before, action) => {
    const copy = structuredClone(before);
    reduce(before, action);
    assert.deepEqual(before, copy);
  });
});

test("a drag of many moves is one step of undo", () => {
  const dragged = play(start(), ...[0.1, 0.2, 0.9, 1.4].map((s) => edit("pca0", s)), settle);
  assert.equal(dragged.past.length, 1);
  assert.deepEqual(reduce(dragged, undo).recipe, start().recipe);
});

test("undo in the middle of a drag goes back to where it began", () => {
  const state = play(start(), edit("pca0", 1), settle, edit("pca0", 2), undo);
  assert.equal(editOf(state, "pca0").strength, 1);
});

test("a new step ends what could be redone", () => {
  const state = play(start(), change({ seed: 1 }), settle, undo, change({ seed: 2 }), settle);
  assert.deepEqual(state.future, []);
  assert.equal(reduce(state, redo).recipe.seed, 2);
});

test("settling without a change is no step", () => {
  const state = play(start(), change({ seed: 9 }), change({ seed: 4 }), settle, settle);
  assert.equal(state.past.length, 0);
});

test("values out of range are clamped", () => {
  const cases = [
    [{ seed: -3 }, "seed", 0],
    [{ seed: 2 ** 40 }, "seed", 2 ** 32 - 1],
    [{ psi: 7 }, "psi", 1.5],
    [{ psi: -7 }, "psi", -1],
    [{ psi: 0.123456 }, "psi", 0.1235],
    [{ seed2: 5, blend: 2 }, "blend", 1],
    [{ cutoff: 99 }, "cutoff", null],
    [{ noise: -1 }, "noise", 0],
  ];
  for (const [patch, field, expected] of cases) {
    assert.equal(reduce(start(), change(patch)).recipe[field], expected, JSON.stringify(patch));
  }
  assert.equal(reduce(start(), edit("pca0", 99)).recipe.edits[0].strength, 10);
});

test("strength 0 takes the edit out and keeps its layers for the next pull", () => {
  const pulled = play(start(), edit("pca2", 1.5, { start: 2, end: 6 }), edit("pca2", 0));
  assert.deepEqual(pulled.recipe.edits, []);
  assert.deepEqual(editOf(pulled, "pca2"), { direction: "pca2", strength: 0, start: 2, end: 6 });
  assert.deepEqual(reduce(pulled, edit("pca2", 1)).recipe.edits[0], {
    direction: "pca2",
    strength: 1,
    start: 2,
    end: 6,
  });
});

test("an edit stays in its place among the others, and others stay as they are", () => {
  const recipe = {
    model: "avatars",
    edits: [
      { direction: "pca0", strength: 1, end: 4 },
      { direction: "pca1", strength: 2 },
      { direction: "pca0", strength: 3, start: 4 },
    ],
  };
  const state = play(start(), { type: "open", recipe }, edit("pca0", -1));
  assert.deepEqual(
    state.recipe.edits.map((one) => one.strength),
    [-1, 2, 3],
  );
});

test("reset keeps model, seed and class only", () => {
  const state = play(
    start(),
    { type: "model", model: "digits" },
    change({ label: 2, psi: 1, noise: "none" }),
    edit("pca0", 1),
    { type: "reset" },
  );
  assert.deepEqual(toJson(state.recipe), { model: "digits", seed: 4, label: 2 });
});

test("another model keeps the seed and drops the edits, which were the other's", () => {
  const state = play(start(), edit("pca0", 1), settle, { type: "model", model: "digits" });
  assert.deepEqual(toJson(state.recipe), { model: "digits", seed: 4, label: 0 });
  assert.equal(reduce(state, undo).recipe.edits.length, 1);
});

test("surprise leaves locked directions alone and is one step", () => {
  const numbers = [0.9, 0.1, 0.5, 0.9, 0.9, 0.05, 0.7, 0.25, 0.5];
  const action = { type: "surprise", numbers, directions: ["pca0", "pca1", "pca2", "pca3"] };
  const before = play(start(), edit("pca1", 2.5), settle, { type: "lock", direction: "pca1" });
  const after = reduce(before, action);
  assert.equal(editOf(after, "pca1").strength, 2.5);
  assert.equal(after.recipe.edits.length, 4);
  assert.equal(after.recipe.seed, 2 ** 30);
  assert.deepEqual(reduce(after, undo).recipe, before.recipe);
  assert.deepEqual(reduce(before, action), after); // chance comes in with the action
});

test("a lock that is pressed twice is open", () => {
  const lock = { type: "lock", direction: "pca4" };
  assert.deepEqual(play(start(), lock).locks, ["pca4"]);
  assert.deepEqual(play(start(), lock, lock).locks, []);
});

test("unedited is the same picture without its edits", () => {
  const { recipe } = play(start(), change({ psi: 1 }), edit("pca0", 1));
  assert.deepEqual(unedited(recipe), { ...recipe, edits: [] });
});

// The shelf

const keep = (id) => ({ type: "keep", id, thumbnail: `data:image/jpeg;base64,${id}` });

test("kept pictures are in front, once each, and survive the browser's storage", () => {
  const state = play(
    start(),
    keep("a"),
    change({ seed: 5 }),
    keep("b"),
    change({ seed: 4 }),
    keep("c"),
  );
  assert.deepEqual(
    state.shelf.map((item) => item.id),
    ["c", "b"],
  );
  assert.deepEqual(shelfFromText(shelfToText(state.shelf)), state.shelf);
});

test("what is taken off the shelf can come back to its place", () => {
  const kept = play(
    start(),
    keep("a"),
    change({ seed: 5 }),
    keep("b"),
    change({ seed: 6 }),
    keep("c"),
  );
  const without = reduce(kept, { type: "forget", id: "b" });
  assert.deepEqual(
    without.shelf.map((item) => item.id),
    ["c", "a"],
  );
  assert.deepEqual(reduce(without, { type: "restore" }).shelf, kept.shelf);
});

test("the shelf is bounded", () => {
  let state = start();
  for (let seed = 0; seed < 100; seed++) state = play(state, change({ seed }), keep(String(seed)));
  assert.equal(state.shelf.length, LONGEST_SHELF);
  assert.equal(state.shelf[0].id, "99");
});

test("a full shelf says that its oldest went, and takes that back", () => {
  let state = start();
  for (let seed = 0; seed < LONGEST_SHELF; seed++) {
    state = play(state, change({ seed }), keep(String(seed)));
    assert.equal(state.forgotten, null, "nothing has gone");
  }
  const full = state.shelf;
  assert.equal(play(state, keep("again")).forgotten, null, "a picture of the shelf takes no place");
  const next = play(state, change({ seed: 999 }), keep("next"));
  assert.equal(next.forgotten, full);
  assert.ok(!next.shelf.some((item) => item.id === "0"));
  assert.deepEqual(reduce(next, { type: "restore" }).shelf, full);
});

test("a kept recipe names the weights that drew it, and is the same with and without them", () => {
  const kept = play(start(), keep("a"));
  const { revision } = modelOf(kept.models, kept.recipe);
  assert.equal(kept.recipe.revision, "");
  assert.equal(kept.shelf[0].recipe.revision, revision);
  const again = initialState(kept.shelf[0].recipe, MODELS, kept.shelf); // as after a reload
  assert.deepEqual(
    play(again, keep("b")).shelf.map((item) => item.id),
    ["b"],
  );
  const trained = { ...kept, models: { "avatars@0": { ...MODELS[0], revision: "0" } } };
  assert.equal(play(trained, keep("c")).shelf.length, 2, "other weights, another picture");
});

test("what is kept is what was asked for, wherever the hand is by now", () => {
  const asked = start().recipe;
  const state = play(start(), change({ seed: 77 }), { ...keep("a"), recipe: asked });
  assert.equal(state.shelf[0].recipe.seed, asked.seed);
});

test("a broken or hostile storage is an emptier shelf, not an error", () => {
  const good = {
    id: "a",
    recipe: { model: "avatars", seed: 1 },
    thumbnail: "data:image/jpeg;base64,AA",
  };
  const bad = [
    null,
    3,
    {},
    { ...good, recipe: { model: "../x" } },
    { ...good, thumbnail: "https://elsewhere/x.png" },
  ];
  assert.deepEqual(shelfFromText(null), []);
  assert.deepEqual(shelfFromText("{"), []);
  assert.deepEqual(shelfFromText('{"a": 1}'), []);
  assert.equal(shelfFromText(JSON.stringify([...bad, good])).length, 1);
});

test("a recipe for an unknown model is kept as it is until the models are known", () => {
  const state = initialState({ model: "owner/faces", seed: 1, cutoff: 12, label: 7 }, MODELS);
  assert.equal(state.recipe.cutoff, 12);
  const models = [{ name: "owner/faces", num_ws: 8, classes: ["cat"] }];
  const fitted = reduce(state, { type: "models", models }).recipe;
  assert.equal(fitted.cutoff, null);
  assert.equal(fitted.label, 0);
});

test("two models of one name are told apart by their revision", () => {
  const facts = (revision, num_ws) => ({ name: "o/n", revision, num_ws, classes: null });
  let state = play(start(), { type: "known", model: facts("a".repeat(12), 8) });
  state = play(state, { type: "known", model: facts("b".repeat(12), 4) });
  state = play(state, { type: "model", model: "o/n", revision: "b".repeat(12) });
  assert.equal(state.recipe.revision, "b".repeat(12));
  assert.equal(modelOf(state.models, state.recipe).num_ws, 4);
  assert.equal(play(state, change({ cutoff: 3 })).recipe.cutoff, 3);
  const other = play(state, { type: "model", model: "o/n", revision: "a".repeat(12) });
  assert.equal(modelOf(other.models, other.recipe).num_ws, 8);
  assert.equal(play(state, { type: "model", model: "o/n", revision: "b".repeat(12) }), state);
  assert.equal(play(other, { type: "reset" }).recipe.revision, "a".repeat(12));
  assert.deepEqual(play(other, undo).recipe, state.recipe);
});

test("a new list of models keeps those that only this person knows of", () => {
  const mine = { name: "_file/mine", revision: "c".repeat(12), num_ws: 6, classes: null };
  const named = MODELS.map((model) => ({ ...model, is_named: true }));
  let state = initialState({ model: "avatars" }, named);
  state = play(state, { type: "known", model: mine }, { type: "models", models: [named[0]] });
  assert.deepEqual(Object.keys(state.models), [keyOf(named[0]), keyOf(mine)]);
  const cost = { exact_seconds: 2 };
  state = play(state, { type: "known", model: { ...mine, cost } });
  assert.equal(modelOf(state.models, { model: mine.name, revision: mine.revision }).cost, cost);
});

test("an unknown action is a mistake of ours", () => {
  assert.throws(() => reduce(start(), { type: "no-such" }));
});

test("the model beside is no part of the recipe, and undo leaves it alone", () => {
  const beside = (model) => ({ type: "beside", model });
  const second = MODELS[0];
  const opened = play(start(), change({ seed: 5 }), settle, beside(second));
  assert.deepEqual(opened.beside, { name: second.name, revision: second.revision });
  assert.equal(besideOf(opened), second);
  assert.equal(reduce(opened, beside(second)), opened, "the same again changes nothing");
  const undone = reduce(opened, undo);
  assert.equal(undone.recipe.seed, 4);
  assert.deepEqual(undone.beside, opened.beside);
  assert.equal(reduce(opened, beside(null)).beside, null);
  assert.equal(besideOf(start()), null);
});

test("a model beside that isn't known has no facts until it is; by name alone any will do", () => {
  const waiting = reduce(start(), { type: "beside", model: { name: "later", revision: "0".repeat(12) } });
  assert.equal(besideOf(waiting), null);
  const later = { name: "later", revision: "0".repeat(12), num_ws: 10, classes: null };
  assert.equal(besideOf(reduce(waiting, { type: "known", model: later })), later);
  const named = reduce(start(), { type: "beside", model: { name: "digits" } });
  assert.equal(besideOf(named), MODELS[1]);
});
