import assert from "node:assert/strict";
import { test } from "node:test";
import { PatternCheck, pattern } from "../../src/model/pattern.js";

test("a pattern is the same each time, of any length, and not constant", () => {
  assert.deepEqual(pattern(1001), pattern(1001));
  assert.equal(pattern(1001).length, 1001);
  assert.ok(new Set(pattern(4096)).size > 250);
  assert.notDeepEqual(pattern(64, 1), pattern(64, 2));
});

test("a check follows the block around its end, in pieces of any size", () => {
  const block = pattern(101);
  const stream = new Uint8Array([...block, ...block, ...block]);
  const check = new PatternCheck(block);
  for (let at = 0; at < stream.length; at += 37) check.add(stream.subarray(at, at + 37));
  assert.equal(check.received, 303);
});

test("a check names the byte that changed", () => {
  const block = pattern(101);
  const check = new PatternCheck(block);
  check.add(block);
  const changed = block.slice(0, 50);
  changed[7] = (changed[7] ?? 0) ^ 1;
  assert.throws(() => check.add(changed), /^Error: byte 108 arrived changed$/);
});
