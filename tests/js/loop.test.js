// gan/ui/live/loop.js and meter.js: newest wins, one in flight, the last is always drawn.

import assert from "node:assert/strict";
import { test } from "node:test";

import { createLoop } from "../../gan/ui/live/loop.js";
import { createMeter } from "../../gan/ui/live/meter.js";

/** A server that answers when told to. */
function slowServer() {
  const open = [];
  let mostOpen = 0;
  const draw = (job) =>
    new Promise((resolve, reject) => {
      open.push({ job, resolve: () => resolve(job), reject });
      mostOpen = Math.max(mostOpen, open.length);
    });
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  return {
    draw,
    open,
    mostOpen: () => mostOpen,
    async answer() {
      open.shift().resolve();
      await turn();
    },
    async refuse(error) {
      open.shift().reject(error);
      await turn();
    },
  };
}

function setUp({ isCut = false } = {}) {
  const server = slowServer();
  const shown = [];
  const failed = [];
  const waits = [];
  const loop = createLoop({
    draw: server.draw,
    show: (_, job) => void shown.push(job),
    fail: (error, job) => (failed.push([error.message, job]), isCut),
    wait: (ms) => (waits.push(ms), Promise.resolve()),
  });
  return { server, shown, failed, waits, loop };
}

test("of many asked in flight only the newest is drawn next", async () => {
  const { server, shown, loop } = setUp();
  for (let job = 1; job <= 20; job++) loop.ask(job);
  assert.equal(server.open.length, 1);
  await server.answer();
  assert.deepEqual(
    server.open.map((one) => one.job),
    [20],
  );
  await server.answer();
  await loop.settled();
  assert.deepEqual(shown, [1, 20]);
  assert.equal(loop.isBusy(), false);
});

test("never more than one in flight, and the last is always drawn", async () => {
  const { server, shown, loop } = setUp();
  for (let job = 0; job < 300; job++) {
    loop.ask(job);
    if (job % 7 === 0 && server.open.length) await server.answer();
  }
  while (server.open.length) await server.answer();
  await loop.settled();
  assert.equal(server.mostOpen(), 1);
  assert.equal(shown.at(-1), 299);
  assert.deepEqual(
    shown,
    shown.toSorted((a, b) => a - b),
  );
});

test("the next is drawn while one is shown, and they are shown one at a time, in order", async () => {
  const server = slowServer();
  const showing = [];
  const begun = [];
  const show = (_, job) => (begun.push(job), new Promise((resolve) => showing.push(resolve)));
  const loop = createLoop({ draw: server.draw, show, fail: () => false });
  loop.ask(1);
  loop.ask(2);
  await server.answer();
  assert.deepEqual([begun, server.open.map((one) => one.job)], [[1], [2]]);
  loop.ask(3);
  await server.answer();
  assert.deepEqual([begun, server.open.length], [[1], 0]); // a slow screen isn't flooded
  showing.shift()();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([begun, server.open.map((one) => one.job)], [[1, 2], [3]]);
  await server.answer();
  showing.shift()();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(loop.isBusy(), true);
  showing.shift()();
  await loop.settled();
  assert.deepEqual(begun, [1, 2, 3]);
});

test("what can't be shown is asked for again, where that may help", async () => {
  const server = slowServer();
  const shown = [];
  const show = async (_, job) => {
    if (shown.push(job) === 1) throw new Error("half a picture");
  };
  const loop = createLoop({ draw: server.draw, show, fail: () => true, wait: () => null });
  loop.ask(1);
  await server.answer();
  await server.answer();
  await loop.settled();
  assert.deepEqual(shown, [1, 1]);
});

test("a refusal is told and the loop goes on", async () => {
  const { server, shown, failed, loop } = setUp();
  loop.ask("bad");
  loop.ask("good");
  await server.refuse(new Error("refused"));
  await server.answer();
  await loop.settled();
  assert.deepEqual(failed, [["refused", "bad"]]);
  assert.deepEqual(shown, ["good"]);
});

test("after a cut the same is asked again, later and later, until it is answered", async () => {
  const { server, shown, waits, loop } = setUp({ isCut: true });
  loop.ask("picture");
  for (let i = 0; i < 8; i++) await server.refuse(new Error("cut"));
  await server.answer();
  await loop.settled();
  assert.deepEqual(shown, ["picture"]);
  assert.deepEqual(waits, [400, 800, 1600, 3200, 6400, 8000, 8000, 8000]);
});

test("what is newer wins over what was cut", async () => {
  const { server, shown, loop } = setUp({ isCut: true });
  loop.ask("old");
  loop.ask("new");
  await server.refuse(new Error("cut"));
  await server.answer();
  await loop.settled();
  assert.deepEqual(shown, ["new"]);
});

test("a picture answers every move up to its own", () => {
  const meter = createMeter();
  meter.moved(1, 100);
  meter.moved(2, 110);
  meter.moved(3, 120);
  meter.drawn(2, 130, 4);
  assert.deepEqual(meter.read(), { p50: 30, rate: null, model: 4 });
  meter.drawn(3, 160, 5);
  assert.equal(meter.read().p50, 30); // of 30, 20, 40
});

test("the rate counts pictures that a hand asked for", () => {
  const meter = createMeter();
  for (let id = 1; id <= 60; id++) {
    meter.moved(id, id * 20 - 10);
    meter.drawn(id, id * 20, 3);
  }
  assert.equal(Math.round(meter.read().rate), 50);
  meter.drawn(61, 60_000, 3); // nobody moved
  assert.equal(Math.round(meter.read().rate), 50);
});

test("nothing to read before the first move", () => {
  assert.equal(createMeter().read(), null);
});
