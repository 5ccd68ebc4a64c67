import assert from "node:assert/strict";
import test from "node:test";

import { isRepoName } from "../../gan/ui/live/train_publish.js";

test("a repository is owner/name and nothing else", () => {
  for (const good of ["me/my-gan", "Some-Org/a.b_c", "9/x"]) assert.ok(isRepoName(good), good);
  const bad = ["", "me", "me/", "/x", "me/x/y", "me/x@main", "me/a b", "me/a..b", "me/a--b", "hf_x"];
  for (const each of bad) assert.ok(!isRepoName(each), each);
});
