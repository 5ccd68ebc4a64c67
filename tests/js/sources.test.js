// gan/ui/live/sources.js: what a person reads of where a model comes from.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  costText,
  familyName,
  hubSource,
  isPicture,
  isModelOf,
  originText,
  ownOf,
  portable,
  portableName,
  recentFromText,
  recentPath,
  secondsText,
  sizeText,
  withRecent,
  withRecentAt,
  withoutRecent,
} from "../../gan/ui/live/sources.js";

const item = (number, more = {}) => ({
  kind: "hub",
  name: `o/n${number}`,
  title: `Model ${number}`,
  model: `o/n${number}`,
  revision: "0123456789ab",
  detail: "StyleGAN2 · 64 px",
  ...more,
});

test("sizes and times are rounded as a person would", () => {
  const sizes = [1, 2_000, 999_999, 1_234_567, 117_000_000, 2_500_000_000].map(sizeText);
  assert.deepEqual(sizes, ["1 kB", "2 kB", "1000 kB", "1.2 MB", "117 MB", "2.5 GB"]);
  const times = [0.42, 1, 7.4, 19.4, 34, 95].map(secondsText);
  assert.deepEqual(times, ["0.4", "1", "7", "19", "30", "100"]);
});

test("a PNG is a picture, anything else may be a model", () => {
  assert.ok(isPicture({ name: "a.png", type: "image/png" }));
  assert.ok(isPicture({ name: "A.PNG", type: "" }));
  assert.ok(!isPicture({ name: "network.pkl", type: "" }));
  assert.ok(!isPicture({ name: "png.safetensors", type: "application/octet-stream" }));
});

test("the newest recent model is in front, each is there once, and they are few", () => {
  let list = [];
  for (let i = 0; i < 20; i++) list = withRecent(list, item(i));
  assert.equal(list.length, 8);
  assert.equal(list[0].name, "o/n19");
  list = withRecent(list, item(15, { title: "again" }));
  assert.equal(list.length, 8);
  assert.deepEqual([list[0].title, list.filter((one) => one.model === "o/n15").length], ["again", 1]);
  list = withRecent(list, item(15, { revision: "ba9876543210" }));
  assert.equal(list.filter((one) => one.model === "o/n15").length, 2);
});

test("a recent model is taken off and put back where it was", () => {
  const list = [1, 2, 3].map((number) => item(number));
  const { list: fewer, index } = withoutRecent(list, item(2, { title: "renamed since" }));
  assert.deepEqual([fewer, index], [[item(1), item(3)], 1]);
  assert.deepEqual(withRecentAt(fewer, item(2), index), list);
  const again = withRecentAt(withRecent(fewer, item(2)), item(2), index);
  assert.deepEqual(again, [item(1), item(2), item(3)], "opened meanwhile: it is there once");
  assert.deepEqual(withoutRecent(list, item(9)).list, list);
  const full = Array.from({ length: 8 }, (_, number) => item(number));
  assert.equal(withRecentAt(full, item(20), 3).length, 8);
});

test("a model that came by a token has the Hub's name for others, and draws their recipes", () => {
  const name = "_private.o/n-x.y-0123456789abcdef";
  const revision = "ba9876543210";
  assert.equal(portableName(name), "o/n-x.y");
  for (const other of ["o/n", "avatars", "_file/mine", "_private.o/n-short"]) {
    assert.equal(portableName(other), other);
  }
  assert.deepEqual(portable({ model: name, revision, seed: 3 }), { model: "o/n-x.y", revision, seed: 3 });
  const own = { name, revision };
  const models = { [`${name}@${revision}`]: own, other: { name: "o/n-x.y", revision: "0".repeat(12) } };
  assert.equal(ownOf(models, { model: "o/n-x.y", revision }), own);
  assert.equal(ownOf(models, { model: "o/n-x.y", revision: "" }), undefined);
  assert.equal(ownOf(models, { model: name.replace("0123", "9999"), revision }), own, "of last week");
  assert.equal(ownOf(models, { model: name, revision }), undefined, "it is found by its name");
});

test("a recipe's model is known by its weights, and by its name where those aren't told", () => {
  const model = { name: "_file/faces-1", revision: "0123456789ab" };
  assert.ok(isModelOf({ model: "_file/faces", revision: "0123456789ab" }, model));
  assert.ok(!isModelOf({ model: "_file/faces-1", revision: "ffffffffffff" }, model));
  assert.ok(isModelOf({ model: "_file/faces-1", revision: "" }, model));
  assert.ok(!isModelOf({ model: "_file/faces", revision: "" }, model));
});

test("the recent path of a recipe's weights is found again", () => {
  const one = { kind: "path", name: "/a/one", title: "", model: "one", revision: "aaa", detail: "" };
  const hub = { ...one, kind: "hub", name: "o/one", revision: "bbb" };
  const list = [hub, one];
  assert.equal(recentPath(list, { model: "renamed", revision: "aaa" }), one);
  assert.equal(recentPath(list, { model: "one", revision: "" }), one);
  assert.equal(recentPath(list, { model: "one", revision: "bbb" }), undefined);
});

test("what the storage holds is read with care", () => {
  assert.deepEqual(recentFromText(null), []);
  for (const bad of ["{", "5", "null", "{}"]) assert.deepEqual(recentFromText(bad), []);
  const bad = [null, 5, {}, item(1, { kind: "url" }), item(2, { title: 5 })];
  bad.push(item(3, { name: "x".repeat(2000) }));
  assert.deepEqual(recentFromText(JSON.stringify([...bad, item(4)])), [item(4)]);
});

test("where a model came from is told in short", () => {
  const source = `hf://owner/name@${"0".repeat(40)}:deep/file.pkl`;
  assert.deepEqual(hubSource(source), {
    repo: "owner/name",
    commit: "0".repeat(40),
    file: "deep/file.pkl",
  });
  for (const other of ["", undefined, "/runs/digits", "hf://owner/name"]) {
    assert.equal(hubSource(other), null);
  }
  assert.equal(originText({ source }), "owner/name · 0000000 · deep/file.pkl");
  assert.equal(originText({ source: "" }), "");
  assert.equal(familyName("stylegan3"), "StyleGAN3");
  assert.equal(familyName("something"), "something");
});

test("a cost is told where it matters", () => {
  const cost = { exact_seconds: 0.02, preview_seconds: 0.01, preview_resolution: null };
  assert.equal(costText(null), null);
  assert.equal(costText({ ...cost, drag: "whole" }), null);
  const slow = { ...cost, exact_seconds: 31, preview_resolution: 64, drag: "small" };
  assert.deepEqual(costText(slow), ["models.cost_small", { seconds: "30", side: 64 }]);
  assert.equal(costText({ ...slow, drag: "release" })[0], "models.cost_release");
});
