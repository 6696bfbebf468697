/** The way to a host: a chain of routers whose addresses the test knows. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { createEngine, createStack, plug } from "ethertab";
import { ManualClock, settle } from "./support.mjs";

/** a ── r1 ── r2 ── b, over both families. */
async function chain(options = {}) {
  const engine = await createEngine(options);
  const host = (hostname, seed) => createStack({ hostname, engine, seed });
  const [a, r1, r2, b] = [
    await host("a", 1),
    await host("r1", 2),
    await host("r2", 3),
    await host("b", 4),
  ];
  const end = (stack, net, id, gateway) =>
    stack.addInterface({
      addresses: [`10.0.${net}.${id}/24`, `fd0${net}::${id}/64`],
      ...(gateway ? { gateway: [`10.0.${net}.${gateway}`, `fd0${net}::${gateway}`] } : {}),
      forwarding: gateway === undefined,
    });
  const first = plug(end(a, 1, 1, 9), end(r1, 1, 9));
  plug(end(r1, 2, 1), end(r2, 2, 2));
  plug(end(r2, 3, 9), end(b, 3, 1, 9));
  r1.addRoute({ to: "10.0.3.0/24", via: "10.0.2.2" });
  r1.addRoute({ to: "fd03::/64", via: "fd02::2" });
  r2.addRoute({ to: "10.0.1.0/24", via: "10.0.2.1" });
  r2.addRoute({ to: "fd01::/64", via: "fd02::1" });
  return { engine, a, b, r1, r2, first };
}

async function hopsOf(iterable) {
  const hops = [];
  for await (const hop of iterable) hops.push(hop);
  return hops;
}

const network = await chain();
after(() => network.engine.close());

const FAMILIES = [
  ["10.0.3.1", ["10.0.1.9", "10.0.2.2", "10.0.3.1"]],
  ["fd03::1", ["fd01::9", "fd02::2", "fd03::1"]],
];
for (const method of ["udp", "icmp", "tcp"]) {
  for (const [to, way] of FAMILIES) {
    test(`by ${method} to ${to}: each router once, then the host`, async () => {
      const hops = await hopsOf(network.a.traceroute(to, { method }));
      assert.deepEqual(
        hops.map(({ hop, reached }) => [hop, reached]),
        [
          [1, false],
          [2, false],
          [3, true],
        ],
      );
      for (const [index, { probes }] of hops.entries()) {
        assert.equal(probes.length, 3);
        for (const probe of probes) {
          assert.equal(probe.address, way[index]);
          assert.equal(probe.result, index === 2 ? "reached" : "exceeded");
          assert.ok(probe.rtt >= 0);
          assert.equal(probe.error, null);
        }
      }
    });
  }

  test(`by ${method}: an address may be written in any way`, async () => {
    const hops = await hopsOf(network.a.traceroute("FD03:0:0::0:1", { method, probes: 1 }));
    const { reached, probes } = hops.at(-1);
    assert.deepEqual([hops.length, reached, probes[0].address], [3, true, "fd03::1"]);
  });

  test(`by ${method}: a router that knows no way says so, which is the end`, async () => {
    const [hop, ...more] = await hopsOf(network.a.traceroute("10.9.9.9", { method, probes: 1 }));
    assert.deepEqual(more, []);
    assert.equal(hop.reached, false);
    const [{ address, result, error }] = hop.probes;
    assert.deepEqual([address, result, error.code], ["10.0.1.9", "unreachable", "EHOSTUNREACH"]);
  });

  test(`by ${method}: the signal and the stack's end are told, with their reasons`, async () => {
    const { engine, a, b, r2 } = await chain();
    // Nobody answers behind the first router.
    await r2.close();
    const controller = new AbortController();
    const trace = a.traceroute("10.0.3.1", { method, signal: controller.signal });
    assert.equal((await trace.next()).value.probes[0].address, "10.0.1.9");
    const silent = assert.rejects(trace.next(), { code: "ABORT_ERR", cause: "enough" });
    await settle();
    controller.abort("enough");
    await silent;
    const other = a.traceroute("10.0.3.1", { method });
    await other.next();
    const ended = assert.rejects(other.next(), { code: "ABORT_ERR" });
    await settle();
    await a.close();
    await ended;
    await b.close();
    engine.close();
  });
}

test("a listener is reached, and forgets the probes", async () => {
  const listener = network.b.listen({ port: 80 });
  const hops = await hopsOf(network.a.traceroute("10.0.3.1", { method: "tcp" }));
  assert.equal(hops.at(-1).reached, true);
  await listener.close();
  assert.deepEqual(network.a.connections(), []);
});

test("hops that stay silent cost their time, and are told as such", async () => {
  const clock = new ManualClock();
  const { engine, a, first } = await chain({ clock });
  first.unplug();
  const hops = [];
  const tracing = (async () => {
    const options = { method: "icmp", maxHops: 2, timeout: "1s" };
    for await (const hop of a.traceroute("10.0.3.1", options)) hops.push(hop);
  })();
  await clock.advance(999);
  assert.equal(hops.length, 0);
  await clock.advance(2);
  assert.equal(hops.length, 1);
  await clock.advance(1_001);
  await tracing;
  const silence = { address: null, rtt: null, result: "timeout", error: null };
  assert.deepEqual(
    hops.flatMap(({ probes }) => probes),
    Array(6).fill(silence),
  );
  engine.close();
});

test("a probe may begin further away, and options are checked by name", async () => {
  const hops = await hopsOf(network.a.traceroute("10.0.3.1", { firstHop: 2, probes: 1 }));
  assert.deepEqual(
    hops.map(({ hop }) => hop),
    [2, 3],
  );
  const wrong = (options) => () => network.a.traceroute("10.0.3.1", options);
  assert.throws(wrong({ method: "gre" }), /options\.method.*"gre"/);
  assert.throws(wrong({ maxHops: 256 }), /options\.maxHops.*256/);
  assert.throws(wrong({ probes: 0 }), /options\.probes.*0/);
  assert.throws(wrong({ port: 65_500 }), /options\.port.*65500/);
});

test("a ping with a short life dies on the way, and tells at which router", async () => {
  await assert.rejects(network.a.ping("10.0.3.1", { ttl: 2 }), {
    code: "EHOSTUNREACH",
    message: /hop limit was exceeded.*10\.0\.2\.2/,
  });
  assert.equal((await network.a.ping("10.0.3.1", { ttl: 3 })).ttl, 62);
});
