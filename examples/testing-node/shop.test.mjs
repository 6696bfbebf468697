/** A retry bug, found by running the same story in many networks: `node --test examples/testing-node/shop.test.mjs`. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { createWorld, SimulationError, simulate } from "ethertab/testing";
import { buildNetwork, openShop, orderCarelessly, orderOnce } from "./shop.mjs";

const ORDERS = 10;

/** Ten orders, one after the other; `order` is the client that is tried. */
const shopping = (order) => async (world) => {
  const { customer, shop } = buildNetwork(world);
  const orders = openShop(shop);
  for (let number = 1; number <= ORDERS; number += 1) {
    await order(customer, world.clock, `book ${number}`, `order-${number}`).catch(() => {});
  }
  const twice = orders.filter((what, index) => orders.indexOf(what) !== index);
  assert.deepEqual(twice, [], "each book is ordered once");
};

test("a client that only tries again orders twice, sooner or later", async () => {
  const search = simulate({ seeds: 500, failures: null }, shopping(orderCarelessly));
  const error = await search.then(
    () => assert.fail("no seed has shown the bug"),
    (error) => error,
  );
  assert.ok(error instanceof SimulationError);
  assert.match(error.message, /ETHERTAB_SEED=\d+/);

  // The seed that failed fails again, each time.
  const again = simulate({ seed: error.seed, failures: null }, shopping(orderCarelessly));
  await assert.rejects(again, { seed: error.seed });
});

test("with a key for each order, no network makes it order twice", async () => {
  await simulate({ seeds: 20 }, shopping(orderOnce));
});

test("the bug by hand, once it is known: the answer is lost for three seconds", async (t) => {
  for (const [order, expected] of [
    [orderCarelessly, ["book", "book"]],
    [orderOnce, ["book"]],
  ]) {
    const world = await createWorld({ seed: 1, test: t });
    const { customer, shop, cable } = buildNetwork(world);
    const orders = openShop(shop);
    const lost = cable.drop(({ from, text }) => from === "shop" && text.startsWith("HTTP/1.1 200"));
    world.clock.setTimeout(() => lost.heal(), "3s");
    await world.run(order(customer, world.clock, "book", "order-1"));
    assert.deepEqual(orders, expected);
    assert.ok(lost.count > 0);
  }
});
