// gan/ui/live/charts.js and the pure parts of what feeds it.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  bandPath,
  dotsPath,
  extent,
  geometry,
  nearest,
  path,
  short,
  tickTexts,
  smoothed,
  ticks,
} from "../../gan/ui/live/charts.js";
import { newestQuality, series } from "../../gan/ui/live/train_figures.js";
import { known } from "../../gan/ui/live/train_lamps.js";
import { clock } from "../../gan/ui/live/train_watch.js";
import { chance } from "./helpers.js";

const same = (value) => value;

test("ticks are few, round, rising and inside", () => {
  assert.deepEqual(ticks(0, 1, 4), [0, 0.25, 0.5, 0.75, 1]);
  assert.deepEqual(ticks(0, 60_000, 5), [0, 20_000, 40_000, 60_000]);
  const random = chance(11);
  for (let i = 0; i < 300; i++) {
    const low = (random() - 0.5) * 10 ** (random() * 8 - 3);
    const high = low + random() * 10 ** (random() * 8 - 3) + 1e-6;
    const found = ticks(low, high, 3);
    assert.ok(found.length <= 5, `${found}`);
    const air = (high - low) * 1e-6;
    for (const [k, one] of found.entries()) {
      assert.ok(one >= low - air && one <= high + air);
      assert.ok(!k || one > found[k - 1]);
    }
  }
  assert.deepEqual(ticks(2, 2), [2]);
  assert.deepEqual(ticks(NaN, NaN).length, 1);
});

test("a range holds every value that is one", () => {
  const [low, high] = extent([1, NaN, 3, null, -2], [0]);
  assert.ok(low <= -2 && high >= 3);
  assert.deepEqual(extent([]), [0, 1]);
  assert.deepEqual(extent([0.2, 0.7], [0, 1]), [0, 1], "what is included is the edge");
  const [a, b] = extent([5]);
  assert.ok(a < 5 && b > 5);
});

test("a line has a gap where there is no number", () => {
  assert.equal(path([[0, 1], [1, 2], [2, NaN], [3, 4]], same, same), "M0.0 1.0L1.0 2.0M3.0 4.0");
  assert.equal(path([], same, same), "");
});

test("a band goes out along its upper edge and home along its lower one", () => {
  assert.equal(bandPath([[0, 1, 2], [1, 3, 4]], same, same), "M0.0 2.0L1.0 4.0L1.0 3.0L0.0 1.0Z");
  assert.equal(bandPath([[0, 1, 2], [1, null, null]], same, same), "");
  assert.equal(dotsPath([[0, 1], [2, NaN]], same, same), "M0.0 1.0h0");
});

test("smoothing keeps the number of points, and a constant", () => {
  const flat = Array.from({ length: 200 }, (_, i) => [i, 3]);
  assert.deepEqual(smoothed(flat), flat);
  const noisy = Array.from({ length: 200 }, (_, i) => [i, i % 2]);
  const calm = smoothed(noisy);
  assert.equal(calm.length, 200);
  assert.ok(calm.slice(20, 180).every(([, y]) => y > 0.3 && y < 0.7));
});

test("pixels and values are each other's inverse", () => {
  const { x, unx, y } = geometry(400, 200, [0, 1000], [-1, 1]);
  for (const value of [0, 250, 1000]) assert.ok(Math.abs(unx(x(value)) - value) < 1e-9);
  assert.ok(y(1) < y(-1), "up is more");
});

test("numbers beside an axis can be told apart", () => {
  assert.deepEqual(tickTexts([0, 0.25, 0.5]), ["0", "0.25", "0.5"]);
  assert.deepEqual(tickTexts([0.561, 0.562]), ["0.561", "0.562"]);
  assert.deepEqual(tickTexts([120, 120.5, 121]), ["120", "120.5", "121"]);
  assert.deepEqual(tickTexts([12_300, 12_350]), ["12.3k", "12.35k"]);
});

test("numbers are short", () => {
  assert.equal(short(1_234_567), "1.2M");
  assert.equal(short(12_345), "12.3k");
  assert.equal(short(0.01234), "0.012");
  assert.equal(short(0), "0");
});

test("the nearest point", () => {
  assert.deepEqual(nearest([[1, 0], [5, 0], [9, 0]], 6), [5, 0]);
  assert.equal(nearest([], 6), null);
});

test("a column of rows becomes points, without the missing", () => {
  const rows = [[1, 0.5, null], [2, null, 3], [3, 0.7, 4]];
  assert.deepEqual(series(rows, ["images_seen", "a", "b"], "a"), [[1, 0.5], [3, 0.7]]);
  assert.deepEqual(series(rows, ["images_seen", "a", "b"], "b"), [[2, 3], [3, 4]]);
});

test("the newest quality is the last that could be computed", () => {
  const columns = ["images_seen", "q", "kid"];
  assert.deepEqual(newestQuality([[1, 0.2, 3], [2, 0.4, 2], [3, null, 1]], columns), {
    images_seen: 2,
    q: 0.4,
    kid: 2,
  });
  assert.equal(newestQuality([], columns), null);
});

test("a lamp that has measured nothing isn't green", () => {
  const columns = ["images_seen", "loss_g", "pairs", "grad_g"];
  const facts = { columns, qualities: ["images_seen", "copies"] };
  const none = known({ points: [], qualities: [] }, facts);
  assert.ok(Object.values(none).every((isKnown) => !isKnown));
  assert.ok(Object.values(known(null, facts)).every((isKnown) => !isKnown));
  const some = known({ points: [[1, 0.5, null, null]], qualities: [[1, null]] }, facts);
  assert.deepEqual(some, {
    ...{ collapse: true, discriminator_won: false, nan: true, memorising: false, plateau: true },
  });
  const all = known({ points: [[1, 0.5, 0.9, 2]], qualities: [[1, 0]] }, facts);
  assert.ok(Object.values(all).every(Boolean));
});

test("time left is read at a glance", () => {
  assert.equal(clock(3725), "1:02:05");
  assert.equal(clock(65), "1:05");
  assert.equal(clock(5.4), "0:05");
});
