/** Tests that fail, in Vitest: run by `testing_runners.test.mjs`. */

import { createWorld, simulate } from "ethertab/testing";
import { beforeEach, describe, expect, test } from "vitest";

test("passes", (test) => simulate({ seed: 1, test }, (world) => world.clock.sleep("1s")));

describe("of a hook", () => {
  let world;
  beforeEach(async (test) => {
    world = await createWorld({ seed: 2, test });
  });

  test("fails", async () => {
    world.cable(world.host("a"), world.host("b"));
    await world.run(world.host("a").ping("b"));
    world.close();
    expect(1).toBe(2);
  });
});

test("fails in a scenario", (test) => simulate({ seed: 3, test }, () => expect(1).toBe(2)));

test("takes too long", (test) =>
  simulate({ seed: 4, test }, (world) => world.hold(new Promise(() => {}))));
