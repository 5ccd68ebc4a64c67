import assert from "node:assert/strict";
import test from "node:test";

import { betweenPresses, put } from "../../gan/ui/live/dom.js";

/** An element that counts how often something is written to it. */
function counted(properties) {
  const written = [];
  const node = new Proxy(properties, {
    set(target, name, value) {
      written.push(name);
      target[name] = value;
      return true;
    },
  });
  return { node, written };
}

test("what is new is written", () => {
  const { node, written } = counted({ textContent: "PC 1 +1", hidden: false });
  put(node, { textContent: "PC 1 +2", hidden: true });
  assert.deepEqual([node.textContent, node.hidden], ["PC 1 +2", true]);
  assert.deepEqual(written, ["textContent", "hidden"]);
});

test("what is there already is left alone", () => {
  const { node, written } = counted({ textContent: "Seed 4", hidden: false, title: "" });
  put(node, { textContent: "Seed 4", hidden: false, title: "" });
  assert.deepEqual(written, []);
});

test("what is rebuilt waits until a press is a click", async () => {
  globalThis.window = new EventTarget();
  const root = new EventTarget();
  const done = [];
  const patient = betweenPresses(root, 10);
  const press = (button = 0) => root.dispatchEvent(Object.assign(new Event("pointerdown"), { button }));
  patient(() => done.push("nobody presses"));
  window.dispatchEvent(new Event("pointerup")); // of a press elsewhere
  patient(() => done.push("nor here"));
  assert.deepEqual(done, ["nobody presses", "nor here"]);
  press();
  patient(() => done.push("overtaken"));
  patient(() => done.push("late"));
  window.dispatchEvent(new Event("pointerup"));
  await new Promise((resolve) => setTimeout(resolve, 2)); // on a phone a click takes a moment
  done.push("click");
  root.dispatchEvent(new Event("click"));
  assert.deepEqual(done.slice(2), ["click", "late"]);
  patient(() => done.push("afterwards"));
  assert.equal(done.at(-1), "afterwards");
  press(2);
  patient(() => done.push("a menu"));
  assert.equal(done.at(-1), "a menu");
});

test("a press that becomes no click holds nothing up for long", async () => {
  globalThis.window = new EventTarget();
  const root = new EventTarget();
  const patient = betweenPresses(root, 5);
  root.dispatchEvent(Object.assign(new Event("pointerdown"), { button: 0 }));
  const done = new Promise((resolve) => patient(resolve));
  window.dispatchEvent(new Event("pointercancel"));
  await done;
});
