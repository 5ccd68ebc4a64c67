// gan/ui/live/train_poll.js: it asks while somebody looks, and never otherwise.

import assert from "node:assert/strict";
import { test } from "node:test";

import { createPoll } from "../../gan/ui/live/train_poll.js";

/** A poll with a clock in the test's hand. */
function made() {
  const at = { asked: 0, isWanted: true, waits: [] };
  const wait = (pause) => new Promise((resolve) => at.waits.push({ pause, resolve }));
  const ask = async () => void (at.asked += 1);
  const poll = createPoll({ ask, isWanted: () => at.isWanted, pace: () => 1500, wait });
  return { at, poll };
}
const settled = () => new Promise((resolve) => setTimeout(resolve));

test("it asks at its pace while it is wanted", async () => {
  const { at, poll } = made();
  poll.wake();
  for (let look = 1; look <= 3; look++) {
    await settled();
    assert.equal(at.asked, look);
    assert.equal(at.waits.at(-1).pause, 1500);
    at.waits.at(-1).resolve();
  }
});

test("unwanted it asks once when it is woken, then never", async () => {
  const { at, poll } = made();
  at.isWanted = false;
  poll.wake();
  await settled();
  assert.equal(at.asked, 1);
  assert.equal(at.waits.length, 0);
  assert.equal(poll.isRunning(), false);
});

test("it ends at the next look when nobody looks any more, and goes on when woken", async () => {
  const { at, poll } = made();
  poll.wake();
  await settled();
  at.isWanted = false;
  at.waits.at(-1).resolve();
  await settled();
  assert.equal(poll.isRunning(), false);
  assert.equal(at.asked, 1);
  at.isWanted = true;
  poll.wake();
  await settled();
  assert.equal(at.asked, 2);
});

test("woken while it waits, it asks at once, and only once", async () => {
  const { at, poll } = made();
  poll.wake();
  await settled();
  poll.wake();
  poll.wake();
  await settled();
  assert.equal(at.asked, 2);
});

test("woken while it asks, it asks again", async () => {
  let release = null;
  let asked = 0;
  const ask = () => new Promise((resolve) => ((release = resolve), (asked += 1)));
  const poll = createPoll({ ask, isWanted: () => false, pace: () => 1, wait: async () => {} });
  poll.wake();
  poll.wake();
  release();
  await settled();
  assert.equal(asked, 2);
  release();
  await settled();
  assert.equal(poll.isRunning(), false);
});
