import assert from "node:assert/strict";
import { test } from "node:test";
import { createEngine, createGateway, createStack, createSwitch, SocketError } from "ethertab";
import { until } from "./support.mjs";

const hasCode = (code) => (error) => error instanceof SocketError && error.code === code;

/** A gateway and a host that asks it for everything. */
async function network(options = {}) {
  const engine = await createEngine();
  const asked = [];
  const gateway = await createGateway({
    engine,
    network: "10.0.2.0/24",
    dns: {
      hosts: { "shop.test": ["10.0.2.2", "fd00::2"], "dead.test": ["10.0.2.200", "10.0.2.2"] },
      resolve: (name, type) => {
        asked.push(`${name} ${type}`);
        if (name === "many.test" && type === "A") {
          return Array.from({ length: 200 }, (_, n) => `10.1.0.${n}`);
        }
        if (name === "slow.test") return new Promise(() => {});
        return null;
      },
    },
    ...options,
  });
  const stack = await createStack({ hostname: "guest", engine, seed: 7 });
  const lan = await createSwitch({ engine });
  lan.plug(gateway);
  const nic = stack.addInterface({ dhcp: true });
  lan.plug(nic);
  return { engine, gateway, stack, nic, lan, asked };
}

test("an interface gets its address, route and name server by DHCP", async () => {
  const { engine, gateway, stack, nic } = await network();
  assert.equal(nic.lease, null);
  await nic.configured;
  const { address, server, routes, dnsServers, domain, expires } = nic.lease;
  assert.match(address, /^10\.0\.2\.\d+\/24$/);
  const { state, origin } = nic.addressInfo().find(({ prefix }) => prefix === address);
  assert.deepEqual([state, origin], ["preferred", "dhcp"]);
  assert.equal(server, gateway.address);
  assert.deepEqual(routes, [{ to: "0.0.0.0/0", via: gateway.address }]);
  assert.deepEqual(dnsServers, [gateway.address]);
  assert.equal(domain, gateway.domain);
  assert.ok(expires > Date.now());
  const lease = gateway.leases().find(({ state }) => state === "bound");
  assert.equal(`${lease.address}/24`, address);
  assert.deepEqual([lease.mac, lease.hostname], [nic.mac, "guest"]);
  assert.ok((await stack.ping(gateway.address)).rtt >= 0);
  engine.close();
});

test("two interfaces of a stack have leases of their own, and one that is closed has none", async () => {
  const { engine, stack, nic, lan } = await network();
  const second = stack.addInterface({ dhcp: true });
  const third = stack.addInterface({ dhcp: true });
  lan.plug(second);
  await Promise.all([nic.configured, second.configured]);
  assert.notEqual(nic.lease.address, second.lease.address);
  third.close();
  await assert.rejects(third.configured, hasCode("ABORT_ERR"));
  nic.close();
  assert.equal(nic.lease, null);
  engine.close();
});

test("names have addresses", async () => {
  const { engine, stack, nic, asked } = await network();
  await nic.configured;
  // The host has no way to fd00::2 (RFC 6724 §6, rule 1).
  assert.deepEqual(await stack.resolve("shop.test"), ["10.0.2.2", "fd00::2"]);
  assert.deepEqual(await stack.resolve("SHOP.test.", { family: 4 }), ["10.0.2.2"]);
  assert.deepEqual(await stack.resolve("10.1.2.3"), ["10.1.2.3"]);
  assert.deepEqual(await stack.resolve("localhost"), ["::1", "127.0.0.1"]);
  await assert.rejects(stack.resolve("none.test"), hasCode("ENOTFOUND"));
  await assert.rejects(stack.resolve("a..b"), hasCode("ENOTFOUND"));
  await assert.rejects(stack.resolve("shop.test", { family: 5 }), TypeError);
  // What does not fit a datagram comes by TCP.
  assert.equal((await stack.resolve("many.test", { family: 4 })).length, 8);
  const before = asked.length;
  await stack.resolve("many.test", { family: 4 });
  assert.equal(asked.length, before, "the cache has it");
  engine.close();
});

test("a lookup ends when it is aborted, and when the stack is closed", async () => {
  const { engine, stack, nic } = await network();
  await nic.configured;
  const controller = new AbortController();
  const aborted = stack.resolve("slow.test", { signal: controller.signal });
  const closed = stack.resolve("slow.test");
  controller.abort("enough");
  await assert.rejects(aborted, hasCode("ABORT_ERR"));
  await assert.rejects(
    stack.resolve("slow.test", { signal: controller.signal }),
    hasCode("ABORT_ERR"),
  );
  await stack.close();
  await assert.rejects(closed, hasCode("ABORT_ERR"));
  engine.close();
});

test("without a name server there are no names", async () => {
  const engine = await createEngine();
  const stack = await createStack({ engine });
  await assert.rejects(stack.resolve("shop.test"), hasCode("ENOTFOUND"));
  await assert.rejects(stack.connect("shop.test:80").opened, hasCode("ENOTFOUND"));
  engine.close();
});

test("a connection by name finds the address that answers", async () => {
  const { engine, gateway, stack, nic } = await network();
  gateway.serve("http://shop.test", () => new Response("hello"));
  await nic.configured;
  // fd00::2 has no route and 10.0.2.200 is nobody's.
  for (const host of ["shop.test", "dead.test"]) {
    const socket = stack.connect({ hostname: host, port: 80 });
    assert.deepEqual([socket.local, socket.info(), socket.readableBytes], [null, null, 0]);
    socket.setNoDelay(true);
    const { remoteAddress } = await socket.opened;
    assert.equal(remoteAddress, `${host}:80`);
    assert.equal(socket.tcpSettings().noDelay, true);
    const writer = socket.writable.getWriter();
    await writer.write(new TextEncoder().encode("GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n"));
    let text = "";
    for await (const chunk of socket.readable) text += new TextDecoder().decode(chunk);
    assert.match(text, /hello$/);
    await socket.closed;
  }
  engine.close();
});

test("a connection by name ends by refusal, abort and close", async () => {
  const { engine, stack, nic } = await network();
  await nic.configured;
  await assert.rejects(stack.connect("shop.test:81").opened, hasCode("ECONNREFUSED"));
  await assert.rejects(stack.connect("none.test:81").closed, hasCode("ENOTFOUND"));
  const controller = new AbortController();
  const aborted = stack.connect("slow.test:80", { signal: controller.signal });
  const closed = stack.connect("slow.test:80");
  controller.abort();
  await assert.rejects(aborted.opened, hasCode("ABORT_ERR"));
  await closed.close();
  await assert.rejects(closed.opened, hasCode("ABORT_ERR"));
  await until(() => stack.connections().length === 0, "no connection is left");
  engine.close();
});

test("leases survive the gateway that granted them", async () => {
  const first = await network();
  await first.nic.configured;
  const { address } = first.nic.lease;
  const kept = JSON.parse(JSON.stringify(first.gateway.leases()));
  await first.gateway.close();
  const gateway = await createGateway({
    engine: first.engine,
    network: "10.0.2.0/24",
    dhcp: { restore: kept },
  });
  assert.deepEqual(
    gateway.leases().map(({ expires: _, ...lease }) => lease),
    kept.map(({ expires: _, ...lease }) => lease),
  );
  assert.ok(Math.abs(gateway.leases()[0].expires - kept[0].expires) < 5_000);
  first.lan.plug(gateway);
  // Another host gets another address.
  const other = await createStack({ engine: first.engine, seed: 8 });
  const nic = other.addInterface({ dhcp: true });
  first.lan.plug(nic);
  await nic.configured;
  assert.notEqual(nic.lease.address, address);
  await assert.rejects(
    createGateway({ engine: first.engine, dhcp: { restore: [{ ...kept[0], mac: "x" }] } }),
    RangeError,
  );
  first.engine.close();
});

/** RFC 4330 §5: a question of version 4 with a nonce. */
test("a gateway tells the time, and DHCP where to ask for it", async () => {
  const { engine, gateway, stack, nic } = await network();
  await nic.configured;
  assert.deepEqual(nic.lease.ntpServers, [gateway.address]);
  const socket = stack.bindUdp();
  const question = new Uint8Array(48);
  question[0] = (4 << 3) | 3;
  question.set([1, 2, 3, 4, 5, 6, 7, 8], 40);
  const to = { remoteAddress: gateway.address, remotePort: 123 };
  socket.send(Uint8Array.of(1, 2, 3), to);
  socket.send(question, to);
  const { data } = await socket.receive();
  const view = new DataView(data.buffer, data.byteOffset);
  assert.deepEqual([data.byteLength, data[0], data[1]], [48, (4 << 3) | 4, 3]);
  assert.deepEqual([...data.subarray(24, 32)], [1, 2, 3, 4, 5, 6, 7, 8]);
  const told = (view.getUint32(40) - 2_208_988_800) * 1_000;
  assert.ok(Math.abs(told - Date.now()) < 5_000);
  engine.close();
});

const RECORDS = {
  "shop.org A": ["10.9.9.9"],
  "shop.org MX": ["10 mail.shop.org", "20 backup.shop.org"],
  "shop.org TXT": [`v=spf1 -all ${"x".repeat(300)}`],
  "_http._tcp.shop.org SRV": ["0 5 80 shop.org"],
  "www.shop.org CNAME": ["shop.org"],
  "9.9.9.10.in-addr.arpa PTR": ["shop.org"],
  "shop.org NS": ["ns.shop.org"],
  "shop.org SOA": ["ns.shop.org root.shop.org 1 2 3 4 5"],
  "shop.org TYPE65": ["\\# 3 0001ff"],
  "shop.org TYPE257": [],
};

/** A server of all kinds of records at 10.0.2.2, and one at 10.0.2.3 that asks it. */
async function servers() {
  const engine = await createEngine();
  const asked = [];
  const resolve = (name, type) => {
    asked.push(`${name} ${type}`);
    return RECORDS[`${name} ${type}`];
  };
  const origin = await createGateway({ engine, dns: { resolve } });
  const forwarder = await createGateway({
    engine,
    address: "10.0.2.3",
    hostname: "forwarder",
    dhcp: false,
    dns: {
      upstream: origin.address,
      resolve: (name) => (name === "mine.org" ? ["10.0.2.77"] : null),
    },
  });
  const lan = await createSwitch({ engine });
  lan.plug(origin);
  lan.plug(forwarder);
  const stackFor = async (server) => {
    const stack = await createStack({ engine, dns: { servers: [server] } });
    lan.plug(stack.addInterface({ addresses: [`10.0.2.${server.at(-1)}0/24`] }));
    return stack;
  };
  const stacks = [await stackFor("10.0.2.2"), await stackFor("10.0.2.3")];
  return { engine, origin, forwarder, stacks, asked };
}

test("a server has records of all types, and gives on those of another", async () => {
  const { engine, stacks, asked } = await servers();
  for (const stack of stacks) {
    for (const [question, data] of Object.entries(RECORDS)) {
      const [name, type] = question.split(" ");
      if (data.length === 0) {
        await assert.rejects(stack.resolveRecords(name, type), hasCode("ENOTFOUND"));
        continue;
      }
      const records = await stack.resolveRecords(name, type.toLowerCase());
      assert.deepEqual(
        records.map((record) => record.data),
        data,
        question,
      );
      assert.deepEqual([records[0].name, records[0].type, records[0].ttl], [name, type, 60]);
    }
    await assert.rejects(stack.resolveRecords("none.org", "MX"), hasCode("ENOTFOUND"));
    await assert.rejects(stack.resolveRecords("shop.org", "NONSENSE"), hasCode("ENOTFOUND"));
    await assert.rejects(stack.resolveRecords("shop.org", 15), TypeError);
  }
  const [, through] = stacks;
  assert.deepEqual(await through.resolve("shop.org"), ["10.9.9.9"]);
  assert.deepEqual(await through.resolve("mine.org"), ["10.0.2.77"]);
  asked.length = 0;
  await assert.rejects(through.resolve("nobody.lan"), hasCode("ENOTFOUND"));
  assert.deepEqual(asked, [], "names of its own domain are not given on");
  engine.close();
});

test("without its upstream a server says that it has failed", async () => {
  const { engine, origin, stacks } = await servers();
  const [, through] = stacks;
  assert.deepEqual(await through.resolve("shop.org"), ["10.9.9.9"]);
  await origin.close();
  const signal = AbortSignal.timeout(100);
  await assert.rejects(through.resolveRecords("shop.org", "MX", { signal }), hasCode("ABORT_ERR"));
  engine.close();
});

test("addresses come in the order in which they are to be tried", async () => {
  const engine = await createEngine();
  const addresses = ["fd00::2", "2001:db8::2", "10.0.2.9", "192.0.2.9"];
  const gateway = await createGateway({ engine, dns: { hosts: { "shop.test": addresses } } });
  const stack = await createStack({ engine, dns: { servers: [gateway.address] } });
  const lan = await createSwitch({ engine });
  lan.plug(gateway);
  const nic = stack.addInterface({ addresses: ["10.0.2.20/24"] });
  lan.plug(nic);
  // RFC 6724 §6, rule 1: what can be reached.
  assert.deepEqual((await stack.resolve("shop.test")).slice(0, 1), ["10.0.2.9"]);
  nic.addAddress("fd00::20/64");
  await until(() => nic.addressInfo().every(({ state }) => state === "preferred"));
  // Rule 6: the precedence of IPv4 (35) is above that of fc00::/7 (3).
  const sorted = await stack.resolve("shop.test");
  assert.deepEqual(sorted.slice(0, 2), ["10.0.2.9", "fd00::2"]);
  engine.close();
});

test("a lease is given back when its interface or stack is closed", async () => {
  const { engine, gateway, stack, nic, lan } = await network();
  const second = stack.addInterface({ dhcp: true });
  lan.plug(second);
  await Promise.all([nic.configured, second.configured]);
  const bound = () => gateway.leases().filter(({ state }) => state === "bound").length;
  assert.equal(bound(), 2);
  nic.close();
  await until(() => bound() === 1);
  await stack.close();
  await until(() => bound() === 0);
  engine.close();
});

test("a DHCP client that cannot begin is told of, also where routers may configure the interface", async () => {
  const { engine, lan } = await network();
  const stack = await createStack({ engine });
  stack.bindUdp({ port: 68 });
  const nic = stack.addInterface({ dhcp: true, slaac: true });
  assert.equal(nic.dhcpError, null);
  lan.plug(nic);
  await until(() => nic.dhcpError !== null);
  assert.equal(nic.dhcpError.code, "EADDRINUSE");
  nic.configured.catch(() => {});
  engine.close();
});

test("an interface gets an IPv6 address and a name server by DHCPv6, and gives it back", async () => {
  const { engine, gateway, lan } = await network({ network6: "fd00::/64" });
  const stack = await createStack({ engine, hostname: "six" });
  const nic = stack.addInterface({ dhcp6: true });
  lan.plug(nic);
  await nic.configured;
  const { address, dnsServers, search, expires } = nic.lease6;
  assert.match(address, /^fd00::/);
  assert.deepEqual([dnsServers, search], [[gateway.address6], [gateway.domain]]);
  assert.ok(expires > Date.now());
  const { origin } = nic.addressInfo().find(({ prefix }) => prefix === `${address}/128`);
  assert.equal(origin, "dhcp");
  const bound = () => gateway.leases6().filter(({ state }) => state === "bound");
  assert.deepEqual(
    bound().map((lease) => lease.address),
    [address],
  );
  await stack.close();
  await until(() => bound().length === 0);
  engine.close();
});

test("routers say whether DHCPv6 is for addresses or for settings", async () => {
  for (const managed of [true, false]) {
    const { engine, gateway, lan } = await network({
      network6: "fd00::/64",
      advertise: { managed, otherConfig: true, dnsServers: [] },
    });
    const stack = await createStack({ engine, hostname: "six" });
    const nic = stack.addInterface({ slaac: true });
    lan.plug(nic);
    await until(() => nic.lease6 !== null);
    assert.equal(nic.lease6.address !== null, managed);
    assert.deepEqual(nic.lease6.dnsServers, [gateway.address6]);
    assert.ok((await stack.resolve("shop.test")).length > 0);
    engine.close();
  }
});

test("a connection by name reads the end of a stream that was there when it began", async () => {
  const { engine, stack, nic, lan } = await network({
    dns: { hosts: { "shop.test": ["10.0.2.77"] } },
  });
  const shop = await createStack({ engine });
  lan.plug(shop.addInterface({ addresses: ["10.0.2.77/24"] }));
  await nic.configured;
  const listener = shop.listen({ port: 80 });
  // Bytes and FIN go out in the turn in which the connection is there.
  listener.onready = () => {
    const socket = listener.tryAccept();
    socket?.tryWrite(new TextEncoder().encode("hi"));
    socket?.shutdown();
  };
  const client = stack.connect({ hostname: "shop.test", port: 80 });
  assert.equal(await new Response(client.readable).text(), "hi");
  await client.closed;
  engine.close();
});

test("an address of a name that cannot be connected to gives way to the next", async () => {
  const { engine, stack, nic, gateway } = await network({
    dns: { hosts: { "shop.test": ["10.0.2.255", "10.0.2.2"], "only.test": ["127.0.0.1"] } },
  });
  await nic.configured;
  const server = gateway.stack?.listen({ port: 80 });
  assert.ok(server, "the gateway's own stack");
  await stack.connect({ hostname: "shop.test", port: 80 }).opened;
  const nowhere = stack.connect({ hostname: "only.test", port: 80 });
  await assert.rejects(nowhere.opened, hasCode("ENETUNREACH"));
  engine.close();
});
