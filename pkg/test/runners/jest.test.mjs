/** Tests that fail, in Jest: run by `testing_runners.test.mjs`. */

import { expect, test } from "@jest/globals";
import { createWorld, simulate } from "ethertab/testing";

test("passes", () => simulate({ seed: 1 }, (world) => world.clock.sleep("1s")));

test("fails", async () => {
  const world = await createWorld({ seed: 2 });
  world.cable(world.host("a"), world.host("b"));
  await world.run(world.host("a").ping("b"));
  world.close();
  expect(1).toBe(2);
});

test("fails in a scenario", () => simulate({ seed: 3 }, () => expect(1).toBe(2)));

test("takes too long", () => simulate({ seed: 4 }, (world) => world.hold(new Promise(() => {}))));
