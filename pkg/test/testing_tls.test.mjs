/** TLS in worlds: it is loaded in no time, trusts certificates by the clocks of hosts, and draws what it needs of the seed. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { createAuthority } from "ethertab";
import { createWorld } from "ethertab/testing";

const DAY = 24 * 60 * 60 * 1_000;
/** The certificates are valid for 397 days from now, and clocks are wrong by a year at most. */
const START = Date.now() + 100 * DAY;
const authority = await createAuthority();
const server = authority.issue("shop");
const tls = { ca: authority.cert };

/** A shop with TLS, and a customer who knows whom to trust. */
async function shopping(t, options = {}) {
  const world = await createWorld({
    seed: 1,
    start: START,
    failures: null,
    ...(t && { test: t }),
    ...options,
  });
  const [customer, shop] = [world.host("customer"), world.host("shop")];
  world.cable(customer, shop, { latency: "10ms", loss: 0.05 });
  const listener = shop.listen({ port: 443, tls: server });
  void (async () => {
    for await (const socket of listener) {
      // Those that do not come about are the customer's to tell of.
      socket.readable.pipeTo(socket.writable).catch(() => {});
    }
  })();
  const echo = async (what) => {
    const socket = customer.connect("shop:443", { secureTransport: "on", tls });
    await socket.writable.getWriter().write(new TextEncoder().encode(what));
    const { value } = await socket.readable.getReader().read();
    return new TextDecoder().decode(value);
  };
  return { world, customer, shop, echo };
}

test("TLS in a world has the bytes of the seed, whether its module is loaded already or not", async () => {
  const captures = [];
  for (const seed of [1, 1, 2]) {
    const { world, customer, shop, echo } = await shopping(null, { seed });
    // Who does something at the moment at which the module is loaded does it before, whatever that takes.
    const others = (async () => {
      for (let round = 0; round < 5; round += 1) {
        await new Promise((resolve) => setImmediate(resolve));
        const to = { remoteAddress: shop.address, remotePort: 9 };
        customer.bindUdp().send(Uint8Array.of(round), to);
      }
    })();
    assert.equal(await world.run(echo("two books")), "two books");
    await others;
    assert.ok(world.clock.now() < 5_000);
    captures.push(Buffer.from(world.capture.pcapng()));
    world.close();
  }
  assert.ok(captures[0].equals(captures[1]));
  assert.ok(!captures[0].equals(captures[2]));
});

test("certificates expire by the clock of the host that looks at them", async (t) => {
  const { world, customer, shop, echo } = await shopping(t);
  const skewed = world.faults.clockSkew(customer, { offset: 350 * DAY });
  await assert.rejects(world.run(echo("")), { code: "CERT_HAS_EXPIRED" });
  const asked = () => customer.fetch("https://shop/", { tls });
  await assert.rejects(world.run(asked), ({ cause }) => cause.code === "CERT_HAS_EXPIRED");
  skewed.heal();
  world.faults.clockSkew(shop, { offset: 350 * DAY });
  assert.equal(await world.run(echo("the customer's counts")), "the customer's counts");
});

test("a handshake that is not answered is over when its time is, which the program is told", async (t) => {
  const { world, customer, shop } = await shopping(t);
  shop.net.createServer(() => {}).listen(80);
  const socket = customer.connect("shop:80", {
    secureTransport: "on",
    tls: { ...tls, handshakeTimeout: 7_000 },
  });
  await assert.rejects(world.run(socket.opened), { code: "ETIMEDOUT" });
  assert.ok(world.clock.now() >= 7_000 && world.clock.now() < 9_000);
});
