// A gateway's IPv6: router advertisements, DHCPv6, names, served origins.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createEngine, createStack, createSwitch } from "ethertab";
import { createGateway } from "ethertab/gateway";
import { until } from "./support.mjs";

const SERVERS = "ff02::1:2";

async function home(options = {}) {
  const engine = await createEngine();
  const lan = await createSwitch({ engine });
  const gateway = await createGateway({ engine, seed: 1, network6: "fd00::/64", ...options });
  lan.plug(gateway);
  const guest = await createStack({ hostname: "guest", engine, seed: 2 });
  return { engine, lan, gateway, guest };
}

test("a guest needs nothing but the gateway's advertisements to find it, by name, over IPv6", async () => {
  const { engine, lan, gateway, guest } = await home({ mtu: 1_400, domain: "home.test" });
  const nic = guest.addInterface({ slaac: true });
  lan.plug(nic);
  await nic.configured;
  const own = nic.addressInfo().find(({ origin }) => origin === "advertised").prefix;
  assert.match(own, /^fd00::.*\/64$/);
  gateway.serve(
    "http://shop.test",
    (request, { remote }) => new Response(`${request.url} ${remote.address}`),
  );
  assert.deepEqual(await guest.resolve("shop.test", { family: 6 }), ["fd00::2"]);
  // The search domain is advertised too.
  assert.deepEqual(await guest.resolve("gateway", { family: 6 }), ["fd00::2"]);
  const socket = guest.connect("shop.test:80");
  await socket.opened;
  const writer = socket.writable.getWriter();
  await writer.write(new TextEncoder().encode("GET /a HTTP/1.0\r\nHost: shop.test\r\n\r\n"));
  const text = await new Response(socket.readable).text();
  assert.ok(text.endsWith(`http://shop.test/a ${own.split("/")[0]}`), text);
  assert.ok(guest.routes().some(({ to, origin }) => to === "::/0" && origin === "advertised"));
  assert.ok((await guest.ping("fd00::2")).rtt >= 0);

  await gateway.close();
  const isDefault = ({ to }) => to === "::/0";
  await until(() => !guest.routes().some(isDefault), "the end of the default route");
  engine.close();
});

/** An option of DHCPv6 (RFC 9915 §21.1). */
const option = (code, ...value) => [0, code, value.length >> 8, value.length & 255, ...value];
const CLIENT = [0, 3, 0, 1, 2, 0, 0, 0, 0, 0x15];
const ORDER = option(6, 0, 23, 0, 24);

/** A conversation with the server: sends a message, gives the answer's type and its options by code. */
async function ask(socket, nic, type, ...options) {
  const transaction = [7, 8, 9];
  const message = [type, ...transaction, ...option(1, ...CLIENT), ...options.flat()];
  socket.send(Uint8Array.from(message), { remoteAddress: SERVERS, remotePort: 547, nic });
  const { data, remoteAddress } = await socket.receive();
  assert.match(remoteAddress, /^fe80:/);
  assert.deepEqual([...data.subarray(1, 4)], transaction);
  const found = new Map();
  for (let at = 4; at < data.length; ) {
    const length = (data[at + 2] << 8) | data[at + 3];
    found.set((data[at] << 8) | data[at + 1], [...data.subarray(at + 4, at + 4 + length)]);
    at += 4 + length;
  }
  return { type: data[0], options: found };
}

const SOLICIT = 1;
const ADVERTISE = 2;
const REQUEST = 3;
const REPLY = 7;
const RELEASE = 8;
const DECLINE = 9;
const INFORMATION_REQUEST = 11;
const IA = option(3, ...[0, 0, 0, 5], ...[0, 0, 0, 0], ...[0, 0, 0, 0]);

test("addresses are leased by DHCPv6, remembered, and taken up by the next gateway", async () => {
  const { engine, lan, gateway, guest } = await home();
  const nic = guest.addInterface({});
  lan.plug(nic);
  const socket = guest.bindUdp({ port: 546 });
  const told = [];
  const tell = ({ detail: { kind, lease } }) => told.push([kind, lease.address, lease.state]);
  gateway.addEventListener("lease6", tell);
  const offer = await ask(socket, nic, SOLICIT, IA, ORDER);
  assert.equal(offer.type, ADVERTISE);
  // Name server fd00::2, and the domain as RFC 1035 §3.1 writes it.
  assert.deepEqual(offer.options.get(23), [0xfd, ...new Array(14).fill(0), 2]);
  assert.deepEqual(offer.options.get(24), [3, ...Buffer.from("lan"), 0]);
  assert.deepEqual(gateway.leases6(), []);
  const server = option(2, ...offer.options.get(2));
  const reply = await ask(socket, nic, REQUEST, server, option(3, ...offer.options.get(3)));
  assert.equal(reply.type, REPLY);
  const [lease] = gateway.leases6();
  assert.match(lease.address, /^fd00::1:[0-9a-f]+$/);
  assert.deepEqual(
    { ...lease, address: "", expires: 0 },
    { address: "", client: "00030001020000000015", iaid: 5, state: "bound", expires: 0 },
  );
  assert.ok(Math.abs(lease.expires - Date.now() - 24 * 3_600_000) < 60_000);
  nic.addAddress(`${lease.address}/128`);
  assert.deepEqual(gateway.counters().dhcp6.replies, 1);
  await ask(socket, nic, REQUEST, server, option(3, ...offer.options.get(3)));
  assert.deepEqual(
    told,
    [["granted", lease.address, "bound"]],
    "once: that it is extended is no news",
  );
  await gateway.close();

  const restore = JSON.parse(JSON.stringify([lease]));
  const next = await createGateway({ engine, network6: "fd00::/64", dhcp6: { restore } });
  lan.plug(next);
  assert.equal(next.leases6()[0].address, lease.address);
  const again = await ask(socket, nic, SOLICIT, IA, ORDER);
  const again6 = option(3, ...again.options.get(3));
  next.addEventListener("lease6", tell);
  const holder = option(2, ...again.options.get(2));
  await ask(socket, nic, RELEASE, holder, again6);
  assert.equal(next.leases6()[0].state, "ended");
  await ask(socket, nic, REQUEST, holder, again6);
  await ask(socket, nic, DECLINE, holder, again6);
  assert.deepEqual(told.slice(1), [
    ["released", lease.address, "ended"],
    ["granted", lease.address, "bound"],
    ["declined", lease.address, "declined"],
  ]);
  engine.close();
});

test("a gateway may tell parameters only, or nothing", async () => {
  const { engine, lan, gateway, guest } = await home({ dhcp6: { range: null }, advertise: false });
  const nic = guest.addInterface({ slaac: true });
  lan.plug(nic);
  const socket = guest.bindUdp({ port: 546 });
  const reply = await ask(socket, nic, INFORMATION_REQUEST, ORDER);
  assert.equal(reply.type, REPLY);
  assert.equal(reply.options.get(23).length, 16);
  const refused = await ask(socket, nic, SOLICIT, IA);
  // RFC 9915 §21.13: NoAddrsAvail.
  assert.deepEqual(refused.options.get(3).slice(12, 18), [
    0,
    13,
    ...refused.options.get(3).slice(14, 16),
    0,
    2,
  ]);
  assert.equal(nic.addresses.length, 1);
  assert.deepEqual(gateway.leases6(), []);

  const none = await createGateway({ engine, network6: "fd01::/64", dhcp6: false });
  assert.deepEqual([none.leases6(), none.counters().dhcp6], [[], {}]);
  const old = await createGateway({ engine });
  assert.deepEqual([old.address6, old.leases6(), old.counters().dhcp6], [null, [], {}]);
  engine.close();
});

test("options of IPv6 that cannot be are named", async () => {
  const engine = await createEngine();
  const network6 = "fd00::/64";
  for (const [options, message] of [
    [{ network6: "fd00::1" }, /options\.network6 must be an IPv6 network/],
    [{ network6, mtu: 1_000 }, /options\.mtu must be 1280 at least with options\.network6/],
    [{ network6, address6: "fd00" }, /options\.address6 must be an IP address/],
    [{ network6, dhcp6: { range: ["fd00::1"] } }, /options\.dhcp6\.range must be two addresses/],
    [
      { network6, dhcp6: { range: ["fd01::1", "fd01::2"] } },
      /fd01::1 to fd01::2 is no part of fd00::\/64/,
    ],
    [{ network6, dhcp6: { leaseTime: "1s" } }, /options\.dhcp6\.leaseTime must be a minute/],
    [{ network6, dhcp6: { restore: [{}] } }, /options\.dhcp6\.restore\[0\]\.address/],
    [{ network6, advertise: { interval: 1 } }, /options\.advertise\.interval/],
    [{ network6, advertise: { preference: "best" } }, /options\.advertise\.preference/],
  ]) {
    await assert.rejects(createGateway({ engine, ...options }), message);
  }
  assert.equal(engine.blocksInUse, 0);
  engine.close();
});
