import assert from "node:assert/strict";
import test from "node:test";

import { put } from "../../gan/ui/live/dom.js";

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
