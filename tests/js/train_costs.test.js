// gan/ui/live/train_costs.js: nothing is measured twice, and nothing slow is kept for long.

import assert from "node:assert/strict";
import { test } from "node:test";

import { createCosts, keyOf, scaled } from "../../gan/ui/live/train_costs.js";

const REQUEST = { data: "digits", batch: null, minutes: 1, images: null, seed: 0, name: "" };

/** Costs over a server that counts what it is asked, and says `busy` as it is told. */
function counted() {
  const server = { asked: 0, busy: false, trains: false };
  const measure = async () => {
    server.asked += 1;
    if (server.fails) throw new Error("no");
    return { images_per_minute: 600, images: 600, minutes: 1, busy: server.busy };
  };
  return { server, costsOf: createCosts({ measure, isBusy: () => server.trains }) };
}

test("a budget is a matter of arithmetic", () => {
  const estimate = { images_per_minute: 600, images: 600, minutes: 1 };
  assert.equal(scaled(estimate, { images: null, minutes: 2.5 }).images, 1500);
  assert.equal(scaled(estimate, { images: 300, minutes: null }).minutes, 0.5);
  assert.equal(keyOf(REQUEST), keyOf({ ...REQUEST, minutes: null, images: 9, seed: 4, name: "x" }));
  assert.notEqual(keyOf(REQUEST), keyOf({ ...REQUEST, batch: 16 }));
});

test("typing a budget measures nothing again, not even while the first is on its way", async () => {
  const { server, costsOf } = counted();
  const both = await Promise.all([costsOf(REQUEST), costsOf({ ...REQUEST, minutes: 3 })]);
  assert.deepEqual(
    both.map(({ images }) => images),
    [600, 1800],
  );
  await costsOf({ ...REQUEST, batch: 16 });
  assert.equal(server.asked, 2);
});

test("what was measured beside another training is asked again when nothing trains", async () => {
  const { server, costsOf } = counted();
  Object.assign(server, { busy: true, trains: true });
  await costsOf(REQUEST);
  assert.equal((await costsOf({ ...REQUEST, minutes: 2 })).busy, true);
  assert.equal(server.asked, 1);
  Object.assign(server, { busy: false, trains: false });
  assert.equal((await costsOf(REQUEST)).busy, false);
  assert.equal(server.asked, 2);
});

test("a refusal is not kept", async () => {
  const { server, costsOf } = counted();
  server.fails = true;
  await assert.rejects(costsOf(REQUEST));
  server.fails = false;
  assert.equal((await costsOf(REQUEST)).images, 600);
});
