// Routes, forwarding, translation, router advertisements.

import assert from "node:assert/strict";
import { test } from "node:test";
import { capture, createEngine, createStack, plug, SocketError } from "ethertab";
import { pattern, until } from "./support.mjs";

const hasCode = (code) => (error) => error instanceof SocketError && error.code === code;

/** A host on each side of a router: 10.1.0.2 and fd01::2, 10.2.0.2 and fd02::2. The router is 1. */
async function twoNetworks({ forwarding = true, outside = {} } = {}) {
  const engine = await createEngine();
  const [left, router, right] = await Promise.all(
    ["left", "router", "right"].map((hostname, index) =>
      createStack({ hostname, engine, seed: index + 1 }),
    ),
  );
  const side = (number, host, hostOptions) => {
    const nic = router.addInterface({
      addresses: [`10.${number}.0.1/24`, `fd0${number}::1/64`],
      forwarding,
    });
    const far = host.addInterface({
      addresses: [`10.${number}.0.2/24`, `fd0${number}::2/64`],
      gateway: [`10.${number}.0.1`, `fd0${number}::1`],
      ...hostOptions,
    });
    plug(nic, far);
    return { nic, far };
  };
  const [a, b] = [side(1, left, {}), side(2, right, outside)];
  return { engine, left, router, right, inside: a.nic, outside: b.nic, leftNic: a.far };
}

test("routes are added, listed and removed, each by the way it leads", async () => {
  const engine = await createEngine();
  const stack = await createStack({ hostname: "host", engine });
  const nic = stack.addInterface({ addresses: ["10.0.0.2/24", "fd00::2/64"], gateway: "10.0.0.1" });
  const other = stack.addInterface({ addresses: ["10.9.0.2/24"] });
  const shown = () =>
    stack
      .routes()
      .filter(({ origin }) => origin === "static")
      .map(({ to, via, nic, metric }) => [to, via, nic, metric].join(" "));
  assert.deepEqual(shown(), ["0.0.0.0/0 10.0.0.1 host:0 0"]);
  stack.addRoute({ to: "10.1.2.3/16", via: "10.0.0.9", metric: 5 });
  stack.addRoute({ to: "10.1.0.0/16", via: "10.9.0.1" });
  stack.addRoute({ to: "default", via: "fd00::1" });
  stack.addRoute({ to: "fd07::/64", via: "fe80::1", nic });
  stack.addRoute({ to: "192.0.2.0/24", nic: other });
  assert.deepEqual(shown().sort(), [
    "0.0.0.0/0 10.0.0.1 host:0 0",
    "10.1.0.0/16 10.0.0.9 host:0 5",
    "10.1.0.0/16 10.9.0.1 host:1 0",
    "192.0.2.0/24  host:1 0",
    "::/0 fd00::1 host:0 0",
    "fd07::/64 fe80::1 host:0 0",
  ]);
  const connected = stack.routes().find(({ to }) => to === "10.0.0.0/24");
  assert.deepEqual(connected, {
    to: "10.0.0.0/24",
    via: null,
    nic: "host:0",
    metric: 0,
    preference: "medium",
    origin: "connected",
    expires: null,
  });
  const known = { to: "10.1.0.0/16", via: "10.9.0.1" };
  assert.throws(() => stack.addRoute(known), /10\.1\.0\.0\/16 is configured already/);
  stack.removeRoute({ to: "10.1.0.0/16", via: "10.0.0.9" });
  assert.deepEqual(
    stack
      .routes()
      .filter(({ to }) => to === "10.1.0.0/16")
      .map(({ via }) => via),
    ["10.9.0.1"],
  );
  stack.removeRoute("10.1.0.0/16");
  assert.throws(() => stack.removeRoute("10.1.0.0/16"), /10\.1\.0\.0\/16 is not configured/);
  assert.throws(() => stack.removeRoute("10.0.0.0/24"), RangeError);
  assert.throws(() => stack.addRoute({ to: "10.3.0.0/16" }), /needs the next hop, via/);
  assert.throws(() => stack.addRoute({ to: "10.3.0.0/16", via: "172.16.0.1" }), /in no network/);
  assert.throws(() => stack.addRoute({ to: "10.3.0.0/16", via: "fd00::1" }), /another family/);
  assert.throws(() => stack.addRoute({ ...known, metric: -1 }), /route\.metric must be/);
  engine.close();
});

test("a stack forwards between its interfaces, over both families, as far as they are told to", async () => {
  const { engine, left, router, right, inside, outside } = await twoNetworks();
  const server = right.bindUdp({ port: 7 });
  const client = left.bindUdp({ ttl: 9 });
  for (const [from, to] of [
    ["10.1.0.2", "10.2.0.2"],
    ["fd01::2", "fd02::2"],
  ]) {
    client.send(pattern(3_000), { remoteAddress: to, remotePort: 7 });
    const { data, remoteAddress, ttl } = await server.receive();
    assert.deepEqual(data, pattern(3_000));
    assert.deepEqual([remoteAddress, ttl], [from, 8]);
    assert.equal((await left.ping(to)).ttl, 63);
  }
  assert.deepEqual(inside.forwarding(), {
    ipv4: true,
    ipv6: true,
    reversePath: "strict",
    redirects: true,
  });
  outside.setForwarding({ ipv4: false });
  await assert.rejects(left.ping("10.2.0.2", { timeout: 50 }));
  await left.ping("fd02::2");
  assert.equal(outside.setForwarding(false).ipv6, false);
  await assert.rejects(left.ping("fd02::2", { timeout: 50 }));
  assert.throws(() => inside.setForwarding({ reversePath: "maybe" }), /forwarding\.reversePath/);
  assert.throws(() => inside.setForwarding({ ipv5: true }), /ipv5 is no setting of forwarding/);
  assert.ok(router.counters().forwarded >= 8);
  engine.close();
});

test("addresses are translated, and ports lead inside", async () => {
  // The host outside knows nothing of the network inside.
  const { engine, left, router, right, outside } = await twoNetworks({ outside: { gateway: [] } });
  await assert.rejects(left.ping("10.2.0.2", { timeout: 50 }));
  router.setNat({ outside, udpTimeout: "2m" });
  await left.ping("10.2.0.2");

  const listener = right.listen({ port: 80 });
  const socket = left.connect("10.2.0.2:80", { localPort: 4_000 });
  const accepted = await listener.accept();
  assert.deepEqual(accepted.remote, { address: "10.2.0.1", port: 4_000 });
  const flow = router.natFlows().find(({ protocol }) => protocol === "tcp");
  assert.deepEqual(
    { ...flow, idle: 0 },
    {
      protocol: "tcp",
      inside: { address: "10.1.0.2", port: 4_000 },
      outside: { address: "10.2.0.1", port: 4_000 },
      remote: { address: "10.2.0.2", port: 80 },
      established: true,
      idle: 0,
    },
  );
  assert.ok(router.natFlows().some(({ protocol }) => protocol === "icmp"));
  await socket.opened;
  socket.abort();

  const forward = { protocol: "tcp", port: 8_080, to: "10.1.0.2:8000" };
  router.forwardPort(forward);
  assert.deepEqual(router.portForwards(), [forward]);
  assert.throws(() => router.forwardPort(forward), hasCode("EADDRINUSE"));
  const inner = left.listen({ port: 8_000 });
  const outer = right.connect("10.2.0.1:8080");
  assert.equal((await inner.accept()).remote.address, "10.2.0.2");
  await outer.opened;
  router.unforwardPort({ protocol: "tcp", port: 8_080 });
  assert.deepEqual(router.portForwards(), []);
  assert.throws(() => router.unforwardPort({ protocol: "tcp", port: 8_080 }), RangeError);
  await assert.rejects(right.connect("10.2.0.1:8080").opened, hasCode("ECONNREFUSED"));

  router.setNat(null);
  assert.deepEqual(router.natFlows(), []);
  await assert.rejects(left.ping("10.2.0.2", { timeout: 50 }));

  assert.throws(() => router.setNat({ outside: left.interfaces[0] }), /must be an interface/);
  assert.throws(() => router.setNat({ outside, filtering: "all" }), /options\.filtering/);
  assert.throws(() => router.forwardPort({ ...forward, protocol: "icmp" }), /forward\.protocol/);
  assert.throws(() => router.forwardPort({ ...forward, to: "[fd01::2]:80" }), /only IPv4/);
  assert.throws(() => router.forwardPort({ ...forward, to: "10.1.0.2" }), /forward\.to must be/);
  engine.close();
});

test("hosts configure themselves by what a stack advertises, until it says that it is none", async () => {
  const { engine, router, inside, outside } = await twoNetworks();
  const host = await createStack({ hostname: "host", engine, seed: 9 });
  const server = await createStack({ hostname: "server", engine, seed: 10 });
  const [lan, wan] = [3, 4].map((number) =>
    router.addInterface({ addresses: [`fd0${number}::1/64`], forwarding: true }),
  );
  const nic = host.addInterface({ slaac: true });
  const far = server.addInterface({ slaac: true });
  plug(lan, nic);
  plug(wan, far);
  await lan.advertise({
    dnsServers: ["fd03::53"],
    searchDomains: ["lab.test"],
    routes: [{ to: "fd77::/48", preference: "high", lifetime: "10m" }],
    preference: "low",
    mtu: 1_400,
  });
  await wan.advertise();
  await Promise.all([nic.configured, far.configured]);
  const address = (of) =>
    of
      .addressInfo()
      .find(({ origin }) => origin === "advertised")
      .prefix.split("/")[0];
  assert.match(address(nic), /^fd03:/);
  // Both have a default route now.
  assert.equal((await host.ping(address(far))).ttl, 63);
  const found = host.routes().filter(({ origin }) => origin === "advertised");
  const [own] = lan.addresses.filter((text) => text.startsWith("fe80"));
  const via = own.split("/")[0];
  assert.deepEqual(
    found.map(({ to, via, preference }) => [to, via, preference].join(" ")).sort(),
    [`::/0 ${via} low`, "fd03::/64  medium", `fd77::/48 ${via} high`].sort(),
  );
  const route = found.find(({ to }) => to === "fd77::/48");
  assert.ok(Math.abs(route.expires - Date.now() - 600_000) < 30_000);

  await lan.advertise(null);
  const isDefault = ({ to }) => to === "::/0";
  await until(() => !host.routes().some(isDefault), "the end of the default route");
  // RFC 4861 §6.2.5: the prefix stays.
  assert.match(address(nic), /^fd03:/);

  await assert.rejects(inside.advertise({ interval: "1s" }), /options\.interval/);
  await assert.rejects(inside.advertise({ prefixes: ["fd00::/64,x"] }), /prefixes\[0\]/);
  await assert.rejects(inside.advertise({ prefixes: ["10.0.0.0/8"] }), /no IPv6 network/);
  await assert.rejects(outside.advertise({ dnsServers: ["10.0.0.1"] }), /not an IPv6 address/);
  engine.close();
});

test("an interface listens to the groups that it has joined", async () => {
  const { engine, left, inside, router, leftNic } = await twoNetworks();
  const socket = router.bindUdp({ port: 5_353 });
  const client = left.bindUdp({ multicastTtl: 7 });
  for (const group of ["239.1.2.3", "ff15::9"]) {
    const send = () =>
      client.send(Uint8Array.of(1), { remoteAddress: group, remotePort: 5_353, nic: leftNic });
    send();
    await left.ping("10.1.0.1");
    inside.joinGroup(group);
    send();
    const { localAddress, ttl, nic } = await socket.receive();
    assert.deepEqual([localAddress, ttl, nic], [group, 7, inside]);
    inside.leaveGroup(group);
    send();
    await left.ping("10.1.0.1");
    assert.equal(socket.tryReceive(), null);
    assert.throws(() => inside.leaveGroup(group), /was not joined/);
  }
  assert.throws(() => inside.joinGroup("10.0.0.1"), /is no group/);
  engine.close();
});

test("an interface that is a querier asks for groups in both families", async () => {
  const { engine, inside } = await twoNetworks();
  const seen = capture(inside);
  inside.setGroupQuerier(true);
  const summaries = [];
  const following = (async () => {
    for await (const { summary } of seen.frames) summaries.push(summary);
  })();
  const isAsked = (pattern) => summaries.some((summary) => pattern.test(summary));
  await until(() => isAsked(/> 224\.0\.0\.1 protocol 2/), "a query of IGMP");
  await until(() => isAsked(/> ff02::1 ICMPv6 multicast listener query/), "a query of MLD");
  seen.stop();
  await following;
  inside.setGroupQuerier(false);
  assert.throws(() => inside.setGroupQuerier(1), /isOn must be/);
  engine.close();
});
