// gan/ui/live/asides.js: what can wait does wait, one at a time.

import assert from "node:assert/strict";
import { test } from "node:test";

import { createAsides } from "../../gan/ui/live/asides.js";

function setUp() {
  const world = { busy: false, done: [], failed: [], waits: [] };
  const aside = createAsides({
    isBusy: () => world.busy,
    fail: (error) => world.failed.push(error.message),
    wait(milliseconds) {
      world.waits.push(milliseconds);
      return new Promise((resolve) => setImmediate(resolve));
    },
  });
  const turns = async (count) => {
    for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
  };
  const task = (name) => async () => void world.done.push(name);
  return { world, aside, turns, task };
}

test("nothing runs while there is something better to do", async () => {
  const { world, aside, turns, task } = setUp();
  world.busy = true;
  aside("a", task("a"));
  await turns(10);
  assert.deepEqual(world.done, []);
  world.busy = false;
  await turns(3);
  assert.deepEqual(world.done, ["a"]);
});

test("a newer task with the same key replaces the older, at the end of the queue", async () => {
  const { world, aside, turns, task } = setUp();
  aside("a", task("old a"));
  aside("b", task("b"));
  aside("a", task("new a"));
  await turns(10);
  assert.deepEqual(world.done, ["b", "new a"]);
});

test("one that fails doesn't stop the next", async () => {
  const { world, aside, turns, task } = setUp();
  aside("a", async () => {
    throw new Error("broken");
  });
  aside("b", task("b"));
  await turns(10);
  assert.deepEqual(world.failed, ["broken"]);
  assert.deepEqual(world.done, ["b"]);
  aside("c", task("c"));
  await turns(5);
  assert.deepEqual(world.done, ["b", "c"]);
});
