// gan/ui/live/train_figures.js: quality at one resolution is no line with that at another.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bandPath } from "../../gan/ui/live/charts.js";
import { alarmKey, byResolution } from "../../gan/ui/live/train_figures.js";

test("evaluations are parted where the resolution changes", () => {
  const rows = [
    [100, 16, 0.2],
    [200, 16, 0.4],
    [300, 32, 0.1],
  ];
  const columns = ["images_seen", "resolution", "q"];
  assert.deepEqual(byResolution(rows, columns), [rows.slice(0, 2), rows.slice(2)]);
  const unknown = rows.map(([seen, , q]) => [seen, null, q]);
  assert.deepEqual(byResolution(unknown, columns), [unknown], "older runs don't say it");
  assert.deepEqual(byResolution([], columns), []);
});

test("a band has a gap where its line has one", () => {
  const same = (value) => value;
  const gap = [2, NaN, NaN];
  const points = [[0, 0, 1], [1, 0, 1], gap, [2, 0, 1], [3, 0, 1]];
  assert.equal(bandPath(points, same, same).match(/Z/g).length, 2);
  assert.equal(bandPath(points.slice(0, 2), same, same).match(/Z/g).length, 1);
  assert.equal(bandPath([[0, 0, 1], gap], same, same), "");
});

test("a warning isn't called an alarm", () => {
  const [warning, alarm] = [{ level: "warn" }, { level: "alarm" }];
  assert.equal(alarmKey([warning]), "train.has_warning");
  assert.equal(alarmKey([warning, alarm]), "train.has_alarm");
});
