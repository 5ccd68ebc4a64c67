// gan/ui/live/pairing.js: what can stand beside what, and what does at first.

import assert from "node:assert/strict";
import { test } from "node:test";

import { isOlder } from "../../gan/ui/live/moments.js";
import { firstSecond, hasSecond, isAlike, seconds, seenText } from "../../gan/ui/live/pairing.js";

const latents = ["w", 128, 128, 0];
const one = { name: "one", revision: "1", latents };
const other = { name: "other", revision: "2", latents: [...latents] };
const unlike = { name: "unlike", revision: "3", latents: ["w", 64, 64, 10] };
const run = { name: "run-1", run: "run-1", moments: [500, 2000, 9000], latents };
const newest = { ...run, revision: "9", moment: null, images_seen: 9500 };
const early = { ...run, revision: "5", moment: 500, images_seen: 500 };

const here = (...models) => Object.fromEntries(models.map((each, i) => [i, each]));
const names = (list) => list.map(({ model, isAlike: fits }) => [model.name, fits]);

test("same latents and classes go together", () => {
  assert.ok(isAlike(one, other));
  assert.ok(!isAlike(one, unlike));
});

test("with one model alone, or none that is alike, there is nothing to compare with", () => {
  assert.ok(!hasSecond(undefined, {}));
  assert.ok(!hasSecond(one, here(one)));
  assert.ok(!hasSecond(one, here(one, unlike)));
  assert.equal(firstSecond(one, here(one, unlike)), null);
});

test("another model that is alike stands beside, the unlike are listed as such", () => {
  const models = here(one, unlike, other);
  assert.ok(hasSecond(one, models));
  assert.deepEqual(firstSecond(one, models), { model: other });
  assert.deepEqual(names(seconds(one, models)), [
    ["unlike", false],
    ["other", true],
  ]);
});

test("a training has its own moments beside: halfway beside the newest, else the newest", () => {
  assert.ok(hasSecond(newest, here(newest)));
  assert.deepEqual(firstSecond(newest, here(one, newest)), { run: "run-1", images_seen: 2000 });
  assert.deepEqual(firstSecond(early, here(early)), { run: "run-1", images_seen: null });
  const single = { ...newest, moments: [500] };
  assert.deepEqual(firstSecond(single, here(single)), { run: "run-1", images_seen: 500 });
});

test("a training is in the list once, by its newest generator", () => {
  const models = here(newest, early, one);
  assert.ok(isOlder(early, [newest, early, one]));
  assert.ok(!isOlder(newest, [newest, early, one]));
  assert.deepEqual(names(seconds(one, models)), [["run-1", true]]);
  assert.deepEqual(names(seconds(early, models)), [
    ["run-1", true],
    ["one", true],
  ]);
});

test("a generator is told by the images it has seen", () => {
  const t = (key, values) => `${key} ${values?.seen ?? ""}`.trim();
  assert.equal(seenText(early, t), "beside.seen 500");
  assert.equal(seenText(newest, t), "beside.seen_newest 9,500");
  assert.equal(seenText({ ...newest, images_seen: null }, t), "beside.earlier");
});
