// gan/ui/live/keys.js: what a key means depends on where it was pressed.

import assert from "node:assert/strict";
import { test } from "node:test";

import { meaningOf, onChosen } from "../../gan/ui/live/keys.js";

const ON_PAGE = { isShown: true, isTyping: false, isInDialog: false, isAtPicture: false };
const press = (key, more = {}) => ({ key, repeat: false, ...more });

test("letters work anywhere on the page, in either case", () => {
  for (const key of ["s", "K", "p", "f", "r", "c"])
    assert.equal(meaningOf(press(key), ON_PAGE), key.toLowerCase());
});

test("no key works where a person types, in a dialog, or on another page", () => {
  for (const where of [{ isTyping: true }, { isInDialog: true }, { isShown: false }]) {
    for (const event of [press("s"), press("z", { ctrlKey: true }), press("ArrowLeft")])
      assert.equal(meaningOf(event, { ...ON_PAGE, isAtPicture: true, ...where }), null);
  }
});

test("arrows belong to the picture only while it has the focus", () => {
  assert.equal(meaningOf(press("ArrowUp"), ON_PAGE), null);
  assert.equal(meaningOf(press("ArrowUp"), { ...ON_PAGE, isAtPicture: true }), "arrowup");
});

test("with Ctrl or the command key there is undo and redo, and nothing of ours else", () => {
  const meant = (key, more) => meaningOf(press(key, more), ON_PAGE);
  assert.equal(meant("z", { ctrlKey: true }), "undo");
  assert.equal(meant("Z", { metaKey: true, shiftKey: true }), "redo");
  assert.equal(meant("y", { ctrlKey: true }), "redo");
  for (const key of ["s", "r", "p", "c", "f"]) assert.equal(meant(key, { ctrlKey: true }), null);
  assert.equal(meant("s", { altKey: true }), null);
});

test("a letter that is held counts once; undo and seeds run on", () => {
  const held = (key, more) => meaningOf(press(key, { repeat: true, ...more }), ON_PAGE);
  for (const key of ["s", "k", "p", "f", "c"]) assert.equal(held(key), null);
  assert.equal(held("r"), "r");
  assert.equal(held("z", { ctrlKey: true }), "undo");
});

/** An input that hears events; → how often it settled. */
function listen(type, events) {
  const input = new EventTarget();
  input.type = type;
  let settled = 0;
  onChosen(input, () => (settled += 1));
  for (const [name, key] of events) input.dispatchEvent(Object.assign(new Event(name), { key }));
  return settled;
}

test("a key that is held on a slider settles once, when it is let go", () => {
  const repeats = Array.from({ length: 300 }, () => [
    ["keydown", "ArrowRight"],
    ["change"],
  ]).flat();
  assert.equal(listen("range", repeats), 0);
  assert.equal(listen("range", [...repeats, ["keyup", "ArrowRight"], ["blur"]]), 1);
  assert.equal(listen("range", [...repeats, ["blur"]]), 1);
});

test("a drag settles when it ends, and a caret that moves in a number settles nothing", () => {
  assert.equal(listen("range", [["change"]]), 1);
  assert.equal(listen("number", [["keydown", "ArrowLeft"], ["keyup", "ArrowLeft"]]), 0);
  assert.equal(listen("number", [["keydown", "ArrowUp"], ["change"], ["keyup", "ArrowUp"]]), 1);
});
