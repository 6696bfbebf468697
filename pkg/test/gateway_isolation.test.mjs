// Isolated guests: none has what is for another, or counts as several, by the addresses that it says it has.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  createEngine,
  createGateway,
  createStack,
  createSwitch,
  functionPort,
  noEgress,
} from "ethertab";
import { ManualClock, settle } from "./support.mjs";

const ATTACKER = "02:00:00:00:00:66";
const VICTIM = "02:00:00:00:00:51";
const BROADCAST = "ff:ff:ff:ff:ff:ff";
const GATEWAY6 = "fd00::2";

const hex = (text) => [...Buffer.from(text.replaceAll(/[^0-9a-f]/gi, ""), "hex")];
const v4 = (address) => address.split(".").map(Number);
const u16 = (number) => [number >> 8, number & 255];
function v6(address) {
  const [head, tail = ""] = address.split("::");
  const groups = (text) =>
    (text === "" ? [] : text.split(":")).map((group) => Number(`0x${group}`));
  const [first, last] = [groups(head), groups(tail)];
  const missing = address.includes("::") ? 8 - first.length - last.length : 0;
  return [...first, ...Array(missing).fill(0), ...last].flatMap(u16);
}

const frame = (type, body, from = ATTACKER) =>
  Uint8Array.from([...hex(BROADCAST), ...hex(from), ...u16(type), ...body]);
const arp = (address, { card = ATTACKER, operation = 2 } = {}) => [
  ...[0, 1, 8, 0, 6, 4, 0, operation],
  ...[...hex(card), ...v4(address), ...hex(BROADCAST), ...v4("10.0.2.2")],
];
const ipv4 = (source, { protocol = 1, body = Array(8).fill(0), fragment = 0 } = {}) => [
  ...[0x45, 0, ...u16(20 + body.length), 0, 0, ...u16(fragment), 64, protocol, 0, 0],
  ...[...v4(source), ...v4("10.0.2.2"), ...body],
];
const udp = (from, to, body = []) => [
  ...u16(from),
  ...u16(to),
  ...u16(8 + body.length),
  0,
  0,
  ...body,
];
const dhcp = ({ card = ATTACKER, relay = "0.0.0.0", options = [] } = {}) => [
  ...[1, 1, 6, 0, ...Array(20).fill(0), ...v4(relay), ...hex(card), ...Array(202).fill(0)],
  ...[99, 130, 83, 99, 53, 1, 1, ...options, 255],
];
const request = (options) =>
  ipv4("0.0.0.0", { protocol: 17, body: udp(68, 67, dhcp(options)), ...options });
const ipv6 = (source, next, body) => [
  ...[0x60, 0, 0, 0, ...u16(body.length), next, 255, ...v6(source), ...v6("ff02::1"), ...body],
];
const icmp6 = (type, body = Array(4).fill(0)) => [type, 0, 0, 0, ...body];
/** A solicitation or advertisement of an address, with an option for a card. */
const neighbor = (type, target, card = ATTACKER) =>
  icmp6(type, [0, 0, 0, 0, ...v6(target), type - 134, 1, ...hex(card)]);

/** A gateway with a switch; a victim that is heard of; an attacker that sends whatever frames. */
async function home(
  t,
  { isolate = true, victim = {}, clock = new ManualClock(), ...options } = {},
) {
  const engine = await createEngine({ clock });
  t.after(() => engine.close());
  const gateway = await createGateway({
    engine,
    seed: 1,
    network6: "fd00::/64",
    isolate,
    ...options,
  });
  const lan = await createSwitch({ engine });
  lan.plug(gateway);
  const stack = await createStack({ engine, hostname: "victim", seed: 2 });
  const nic = stack.addInterface({
    mac: VICTIM,
    addresses: ["10.0.2.200/24", "fd00::200/64"],
    ...victim,
  });
  lan.plug(nic);
  const attacker = functionPort({ send() {} });
  lan.plug(attacker);
  const got = [];
  gateway.port.hook = (frame, direction) => {
    if (direction === "in") got.push(Buffer.from(frame).toString("hex"));
  };
  /** Whether the gateway gets what the attacker sends. */
  const passes = async (sent) => {
    got.length = 0;
    attacker.receive(sent);
    await settle();
    return got.includes(Buffer.from(sent).toString("hex"));
  };
  /** Runs something that needs time to pass. */
  const during = async (promise) => {
    let isDone = false;
    const done = promise.finally(() => {
      isDone = true;
    });
    done.catch(() => {});
    for (let turn = 0; turn < 200 && !isDone; turn += 1) await clock.advance(100);
    return done;
  };
  await during(nic.configured);
  await clock.advance(5_000);
  // What it has of its own is heard of, and was found free.
  for (const address of [gateway.address, GATEWAY6]) {
    await during(stack.ping(address)).catch(() => {});
  }
  return { clock, engine, gateway, lan, stack, nic, attacker, passes, during };
}

const linkLocal = (nic) =>
  nic.addresses.find((address) => address.startsWith("fe80:")).replace(/\/.*/, "");

describe("a guest cannot pose as another, or as the gateway", () => {
  const OWN = "10.0.2.66";
  const OWN6 = "fd00::66";
  const spoofed = {
    "an ARP answer for a guest's address": frame(0x0806, arp("10.0.2.200")),
    "an ARP question from a guest's address": frame(0x0806, arp("10.0.2.200", { operation: 1 })),
    "an ARP answer for the gateway's address": frame(0x0806, arp("10.0.2.2")),
    "an ARP answer with another card than the frame's": frame(0x0806, arp(OWN, { card: VICTIM })),
    "ARP from a group": frame(0x0806, arp("224.0.0.1")),
    "a packet from a guest's address": frame(0x0800, ipv4("10.0.2.200")),
    "a packet from the gateway's address": frame(0x0800, ipv4("10.0.2.2")),
    "a packet from nowhere": frame(0x0800, ipv4("0.0.0.0")),
    "a packet from the loopback": frame(0x0800, ipv4("127.0.0.1")),
    "a packet from a broadcast address": frame(0x0800, ipv4("255.255.255.255")),
    "a packet in a VLAN tag": frame(0x8100, [0, 0, ...u16(0x0800), ...ipv4("10.0.2.200")]),
    "a later fragment from a guest's address": frame(0x0800, ipv4("10.0.2.200", { fragment: 5 })),
    "a guest's card": frame(0x0800, ipv4(OWN), VICTIM),
    "an IPv6 packet from a guest's address": frame(0x86dd, ipv6("fd00::200", 59, [])),
    "an IPv6 packet from the gateway's address": frame(0x86dd, ipv6(GATEWAY6, 59, [])),
    "an IPv6 packet from nowhere": frame(0x86dd, ipv6("::", 58, icmp6(128))),
    "an IPv6 packet from a group": frame(0x86dd, ipv6("ff02::1", 59, [])),
    "an IPv6 packet from an IPv4 address": frame(0x86dd, ipv6("::ffff:a00:2c8", 59, [])),
    "a neighbour advertisement for a guest": frame(
      0x86dd,
      ipv6(OWN6, 58, neighbor(136, "fd00::200")),
    ),
    "a neighbour advertisement for the gateway": frame(
      0x86dd,
      ipv6(OWN6, 58, neighbor(136, GATEWAY6)),
    ),
    "duplicate address detection for a guest's address": frame(
      0x86dd,
      ipv6("::", 58, neighbor(135, "fd00::200")),
    ),
    "a neighbour solicitation with another card": frame(
      0x86dd,
      ipv6(OWN6, 58, neighbor(135, GATEWAY6, VICTIM)),
    ),
    "a lease for another card": frame(0x0800, request({ card: VICTIM })),
    "a lease by another card's identifier": frame(
      0x0800,
      request({ options: [61, 7, 1, ...hex(VICTIM)] }),
    ),
  };
  const advertisement = icmp6(134, Array(12).fill(0));
  const rogue = {
    "a router advertisement": frame(0x86dd, ipv6("fe80::66", 58, advertisement)),
    "one behind other headers": frame(
      0x86dd,
      ipv6("fe80::66", 0, [60, 0, 1, 4, 0, 0, 0, 0, 58, 0, 1, 4, 0, 0, 0, 0, ...advertisement]),
    ),
    "one in the first fragment": frame(
      0x86dd,
      ipv6("fe80::66", 44, [58, 0, 0, 1, 0, 0, 0, 1, ...advertisement]),
    ),
    "a first fragment without all headers": frame(
      0x86dd,
      ipv6("fe80::66", 44, [60, 0, 0, 1, 0, 0, 0, 1, 58, 1, 1, 4, 0, 0, 0, 0]),
    ),
    "a redirect": frame(0x86dd, ipv6("fe80::66", 58, icmp6(137, Array(36).fill(0)))),
    "a query for listeners": frame(0x86dd, ipv6("fe80::66", 58, icmp6(130, Array(20).fill(0)))),
    "a query for members": frame(
      0x0800,
      ipv4(OWN, { protocol: 2, body: [0x11, 0, 0, 0, 0, 0, 0, 0] }),
    ),
    "an answer of a DHCP server": frame(0x0800, ipv4(OWN, { protocol: 17, body: udp(67, 68) })),
    "an answer of a DHCPv6 server": frame(0x86dd, ipv6("fe80::66", 17, udp(547, 546))),
    "a relayed DHCP message": frame(0x0800, request({ relay: OWN })),
    "a DHCP message in fragments": frame(0x0800, request({ fragment: 0x2000 })),
    "a DHCP message with two identifiers": frame(
      0x0800,
      request({ options: [61, 2, 0, 1, 61, 2, 0, 2] }),
    ),
    "a DHCP message with options elsewhere": frame(0x0800, request({ options: [52, 1, 3] })),
  };
  const honest = {
    "an ARP answer": frame(0x0806, arp(OWN)),
    "an ARP probe, for whatever address": frame(0x0806, arp("0.0.0.0", { operation: 1 })),
    "a packet": frame(0x0800, ipv4(OWN)),
    "a packet from another network": frame(0x0800, ipv4("192.0.2.1")),
    "a packet in a VLAN tag": frame(0x8100, [0, 0, ...u16(0x0800), ...ipv4(OWN)]),
    "joining a group": frame(
      0x0800,
      ipv4("0.0.0.0", { protocol: 2, body: [0x16, 0, 0, 0, 0, 0, 0, 0] }),
    ),
    "a DHCP message": frame(0x0800, request({ options: [61, 7, 1, ...hex(ATTACKER)] })),
    "a DHCP message with a DUID": frame(0x0800, request({ options: [61, 3, 255, 1, 2] })),
    "an IPv6 packet": frame(0x86dd, ipv6(OWN6, 59, [])),
    "an IPv6 packet with extension headers": frame(
      0x86dd,
      ipv6(OWN6, 60, [17, 0, 1, 4, 0, 0, 0, 0, ...udp(1, 2)]),
    ),
    "a fragment": frame(0x86dd, ipv6(OWN6, 44, [17, 0, 0, 8, 0, 0, 0, 1, 0, 0, 2, 34])),
    "a router solicitation from nowhere": frame(0x86dd, ipv6("::", 58, icmp6(133))),
    "duplicate address detection": frame(0x86dd, ipv6("::", 58, neighbor(135, "fd00::67"))),
    "a neighbour solicitation": frame(0x86dd, ipv6(OWN6, 58, neighbor(135, "fd00::200"))),
    "a neighbour advertisement": frame(0x86dd, ipv6(OWN6, 58, neighbor(136, OWN6))),
  };

  test("what is another's, or what only routers and servers say, is dropped and counted", async (t) => {
    const { lan, passes, gateway } = await home(t);
    const own = linkLocal(gateway.port);
    const asRouter = frame(0x86dd, ipv6("fe80::66", 58, neighbor(136, own)));
    const kinds = { spoofed: { ...spoofed, "the router's link-local address": asRouter }, rogue };
    for (const [reason, frames] of Object.entries(kinds)) {
      for (const [what, sent] of Object.entries(frames)) {
        const before = lan.counters();
        assert.equal(await passes(sent), false, what);
        assert.equal(lan.counters()[reason], before[reason] + 1, what);
      }
    }
  });

  test("what is its own passes", async (t) => {
    const { lan, passes } = await home(t);
    for (const [what, sent] of Object.entries(honest)) assert.ok(await passes(sent), what);
    assert.deepEqual([lan.counters().spoofed, lan.counters().rogue], [0, 0]);
  });

  test("between guests that are not isolated, the switch is a switch", async (t) => {
    const { lan, passes } = await home(t, { isolate: false });
    const frames = { ...spoofed, ...rogue, ...honest };
    for (const [what, sent] of Object.entries(frames)) assert.ok(await passes(sent), what);
    assert.deepEqual([lan.counters().spoofed, lan.counters().rogue], [0, 0]);
  });
});

describe("an address stays with its guest", () => {
  for (const [kind, victim] of Object.entries({
    "of its own": {},
    "leased and by SLAAC": { addresses: [], dhcp: true, slaac: true },
    "leased by DHCPv6": { addresses: [], slaac: true, dhcp6: true },
  })) {
    test(`${kind}, though another host takes it as well`, async (t) => {
      const { engine, gateway, lan, nic, during } = await home(t, { victim });
      const addresses = nic.addresses
        .map((prefix) => prefix.replace(/\/.*/, ""))
        .filter((address) => !address.startsWith("fe80:"));
      assert.ok(addresses.length > 0);
      for (const address of addresses) await during(gateway.stack.ping(address));
      const thief = await createStack({ engine, hostname: "thief", seed: 3 });
      const taken = thief.addInterface({ addresses: nic.addresses });
      lan.plug(taken);
      const heard = [];
      taken.hook = (frame, direction) => {
        if (direction === "in" && (frame[0] & 1) === 0) heard.push(frame);
      };
      for (const address of addresses) {
        // It announces the address, and asks with it.
        await during(
          thief.ping(address.includes(":") ? GATEWAY6 : "10.0.2.2", { timeout: 500 }),
        ).catch(() => {});
        assert.ok((await during(gateway.stack.ping(address))).rtt >= 0, address);
        const known = gateway.stack.neighbors().filter((entry) => entry.address === address);
        assert.deepEqual(
          known.map(({ mac }) => mac),
          [nic.mac],
        );
      }
      assert.deepEqual(heard, [], "nothing was for it");
      assert.ok(lan.counters().spoofed > 0);
    });
  }

  test("until it is unplugged or isolated no more", async (t) => {
    const { lan, nic, passes } = await home(t);
    const stolen = frame(0x0800, ipv4("10.0.2.200"));
    assert.equal(await passes(stolen), false);
    lan.unplug(nic);
    assert.equal(await passes(stolen), true);
    lan.plug(nic, { isolated: false });
    assert.equal(await passes(stolen), false, "that of one who is trusted, heard of or not");
  });

  test("that the gateway gets later is no guest's any more", async (t) => {
    const { gateway, passes } = await home(t);
    const sent = frame(0x0800, ipv4("10.0.2.100"));
    assert.equal(await passes(sent), true);
    const served = gateway.serveTcp("10.0.2.100:22", (socket) => socket.close());
    assert.equal(await passes(sent), false);
    served.close();
    assert.equal(await passes(sent), true);
  });

  test("in the DHCP server's range, without a lease: nobody else is offered it", async (t) => {
    const { engine, gateway, lan, during } = await home(t, {
      victim: { addresses: ["10.0.2.15/24"] },
    });
    const stack = await createStack({ engine, hostname: "other", seed: 4 });
    const nic = stack.addInterface({ dhcp: true });
    lan.plug(nic);
    await during(nic.configured);
    assert.ok(nic.addresses.includes("10.0.2.16/24"), String(nic.addresses));
    assert.deepEqual(
      gateway.leases().map(({ address, state }) => [address, state]),
      [
        ["10.0.2.15", "declined"],
        ["10.0.2.16", "bound"],
      ],
    );
  });

  test("when a lease is given back, its next holder has it", async (t) => {
    const { engine, lan, nic, during, gateway } = await home(t, {
      victim: { addresses: [], dhcp: true },
      dhcp: { range: ["10.0.2.15", "10.0.2.15"] },
    });
    nic.close();
    await settle();
    const stack = await createStack({ engine, hostname: "next", seed: 5 });
    const next = stack.addInterface({ dhcp: true });
    lan.plug(next);
    await during(next.configured);
    assert.ok(next.addresses.includes("10.0.2.15/24"));
    assert.ok((await during(gateway.stack.ping("10.0.2.15"))).rtt >= 0);
  });
});

describe("a guest is one, whatever it sends", () => {
  test("it has 64 addresses at a time; what it has not used for five minutes makes room", async (t) => {
    const { clock, passes, stack, during, gateway } = await home(t);
    const from = (number) => frame(0x0800, ipv4(`10.0.${4 + (number >> 8)}.${number & 255}`));
    let passed = 0;
    for (let number = 0; number < 100; number += 1) passed += (await passes(from(number))) ? 1 : 0;
    assert.equal(passed, 63, "beside its card's");
    assert.ok((await during(stack.ping(gateway.address))).rtt >= 0);
    assert.equal(await passes(from(200)), false);
    await clock.advance(300_000);
    assert.equal(await passes(from(200)), true);
  });

  test("its flood does not keep another from finding its router", async (t) => {
    const { attacker, engine, lan, during, gateway } = await home(t);
    const sent = frame(0x0806, arp("10.0.2.66"));
    for (let count = 0; count < 30_000; count += 1) {
      attacker.receive(sent);
      if (count % 500 === 0) await settle();
    }
    await settle();
    assert.ok(lan.counters().stormDropped >= 9_000, "it is over its limit");
    const stack = await createStack({ engine, hostname: "other", seed: 6 });
    lan.plug(stack.addInterface({ addresses: ["10.0.2.201/24"] }));
    // Without time passing, so that no limit is filled up again.
    const ping = stack.ping(gateway.address);
    await settle();
    assert.ok((await during(ping)).rtt < 100, "by its first ARP question");
  });

  test("its flows are counted together, whatever addresses and cards they come from", async (t) => {
    for (const isolate of [true, false]) {
      const { gateway, attacker } = await home(t, {
        isolate,
        egress: { ...noEgress(), tcp() {} },
        flows: { perGuest: 4 },
      });
      const syn = (number) =>
        Uint8Array.from([
          ...hex(gateway.port.mac),
          ...hex(ATTACKER.replace(/..$/, String(10 + number))),
          ...u16(0x0800),
          ...tcpSyn(`10.0.2.${100 + number}`),
        ]);
      for (let number = 0; number < 10; number += 1) attacker.receive(syn(number));
      await settle();
      assert.equal(gateway.flows().length, isolate ? 4 : 10);
    }
  });
});

/** A SYN to a server outside, with right checksums. */
function tcpSyn(source) {
  const ip = ipv4(source, { protocol: 6, body: [] });
  ip.splice(2, 2, ...u16(40));
  ip.splice(16, 4, ...v4("203.0.113.5"));
  ip.splice(10, 2, ...checksum(ip));
  const tcp = [...u16(4000), ...u16(80), 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 255, 255, 0, 0, 0, 0];
  tcp.splice(16, 2, ...checksum([...ip.slice(12, 20), 0, 6, 0, 20, ...tcp]));
  return [...ip, ...tcp];
}

function checksum(octets) {
  let sum = 0;
  for (let at = 0; at < octets.length; at += 2) sum += octets[at] * 256 + octets[at + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return u16(~sum & 0xffff);
}
