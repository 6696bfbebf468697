/** A world in Jest, which runs ES modules with `node --experimental-vm-modules`. */

import { expect, test } from "@jest/globals";
import { simulate } from "ethertab/testing";

test("who is cut off is reached again when the network has healed", () =>
  simulate({ seeds: 3 }, async (world) => {
    const [a, b] = [world.host("a"), world.host("b")];
    const lan = world.switch("lan");
    for (const host of [a, b]) world.cable(host, lan, { latency: "1ms" });
    const isReached = () =>
      a.ping("b", { timeout: "1s" }).then(
        () => true,
        () => false,
      );
    expect(await isReached()).toBe(true);
    world.partition([a], [b]);
    expect(await isReached()).toBe(false);
    world.heal();
    expect(await isReached()).toBe(true);
  }));

test("timers of the process are the world's", () =>
  simulate({ fakeTimers: true }, async (world) => {
    const began = Date.now();
    await new Promise((resolve) => setTimeout(resolve, 3_600_000));
    expect(Date.now() - began).toBe(3_600_000);
    expect(world.clock.now()).toBe(3_600_000);
  }));
