/** Tests that fail, in node:test: run by `testing_runners.test.mjs`. */

import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { createWorld, simulate } from "ethertab/testing";

test("passes", (t) => simulate({ seed: 1, test: t }, (world) => world.clock.sleep("1s")));

describe("of a hook", () => {
  let world;
  beforeEach(async (t) => {
    world = await createWorld({ seed: 2, test: t });
  });

  test("fails", async () => {
    world.cable(world.host("a"), world.host("b"));
    await world.run(world.host("a").ping("b"));
    world.close();
    assert.equal(1, 2);
  });
});

test("fails in a scenario", (t) => simulate({ seed: 3, test: t }, () => assert.equal(1, 2)));

test("takes too long", { timeout: 3_000 }, (t) => {
  // A process that waits for nothing real would end.
  const timer = setInterval(() => {}, 1_000);
  t.after(() => clearInterval(timer));
  return simulate({ seed: 4, test: t }, (world) => world.hold(new Promise(() => {})));
});
