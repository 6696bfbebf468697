import assert from "node:assert/strict";
import { test } from "node:test";
import { createEngine, createStack, functionPort, plug, SocketError } from "ethertab";
import { settle, until } from "./support.mjs";

const ROUTER_MAC = [2, 0, 0, 0, 0, 1];
const ROUTER = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const ALL_NODES = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const PREFIX = [0xfd, 0, 0, 9, 0, 8, 0, 7];
/** On another link, so that questions go to the router. */
const NAME_SERVER = [0xfd, 0, 0, 0x53, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53];
const ICMPV6 = 58;
const UDP = 17;
const AAAA = 28;

const u16 = (value) => [(value >> 8) & 255, value & 255];
const u32 = (value) => [...u16(value >>> 16), ...u16(value)];

/** An IPv6 packet in a frame from the router; the checksum is written at `at` of the payload. */
function frame({ mac, source, destination, next, payload, at }) {
  const pseudo = [...source, ...destination, ...u32(payload.length), ...u32(next)];
  const bytes = [...payload];
  // RFC 1071.
  const summed = [...pseudo, ...payload, 0];
  let sum = 0;
  for (let i = 0; i + 1 < summed.length; i += 2) sum += (summed[i] << 8) | summed[i + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  bytes.splice(at, 2, ...u16(~sum & 0xffff));
  const ip = [0x60, 0, 0, 0, ...u16(payload.length), next, 255, ...source, ...destination];
  return Uint8Array.from([...mac, ...ROUTER_MAC, 0x86, 0xdd, ...ip, ...bytes]);
}

/** A router advertisement (RFC 4861 §4.2) with a prefix, a DNS server and a search domain (RFC 8106). */
function routerAdvertisement({ namesLifetime = 600 } = {}) {
  const payload = [
    ...[134, 0, 0, 0, 64, 0, ...u16(1800), ...u32(0), ...u32(0)],
    ...[1, 1, ...ROUTER_MAC],
    ...[3, 4, 64, 0xc0, ...u32(7200), ...u32(3600), ...u32(0), ...PREFIX, ...u32(0), ...u32(0)],
    ...[25, 3, 0, 0, ...u32(namesLifetime), ...NAME_SERVER],
    ...[31, 2, 0, 0, ...u32(namesLifetime), 3, ...Buffer.from("lan"), 0, 0, 0, 0],
  ];
  const mac = [0x33, 0x33, 0, 0, 0, 1];
  return frame({ mac, source: ROUTER, destination: ALL_NODES, next: ICMPV6, payload, at: 2 });
}

/** The DNS query in a frame to the name server; null if it holds none. */
function queryOf(bytes) {
  const at = 14 + 40;
  const port = (bytes[at + 2] << 8) | bytes[at + 3];
  if (bytes[12] !== 0x86 || bytes[20] !== UDP || port !== 53) return null;
  const message = [...bytes.slice(at + 8)];
  const labels = [];
  let end = 12;
  while (message[end] !== 0) {
    labels.push(Buffer.from(message.slice(end + 1, end + 1 + message[end])).toString());
    end += 1 + message[end];
  }
  return {
    mac: [...bytes.slice(6, 12)],
    source: [...bytes.slice(22, 38)],
    destination: [...bytes.slice(38, 54)],
    port: (bytes[at] << 8) | bytes[at + 1],
    name: labels.join("."),
    type: (message[end + 1] << 8) | message[end + 2],
    message: message.slice(0, end + 5),
  };
}

/** Its answer: one AAAA record, or none of another type. */
function answerTo({ mac, source, destination, port, type, message }, address) {
  const record = [0xc0, 12, ...u16(AAAA), ...u16(1), ...u32(60), ...u16(16), ...address];
  const found = type === AAAA ? record : [];
  const counts = [...u16(1), ...u16(found.length > 0 ? 1 : 0), ...u16(0), ...u16(0)];
  const dns = [...message.slice(0, 2), 0x81, 0x80, ...counts, ...message.slice(12), ...found];
  const payload = [...u16(53), ...u16(port), ...u16(8 + dns.length), 0, 0, ...dns];
  return frame({ mac, source: destination, destination: source, next: UDP, payload, at: 6 });
}

const isRouterSolicitation = (bytes) => bytes[12] === 0x86 && bytes[54] === 133;

/** A host whose only neighbour is the test, which sees in `seen` what it sends. */
async function host() {
  const engine = await createEngine();
  const stack = await createStack({ hostname: "guest", engine, seed: 7 });
  const nic = stack.addInterface({ slaac: true });
  const seen = [];
  const router = functionPort({ send: (bytes) => seen.push(bytes.slice()) });
  plug(nic, router);
  return { engine, stack, nic, seen, router };
}

test("an interface configures itself by what a router advertises", async () => {
  const { engine, nic, seen, router } = await host();
  await until(() => seen.some(isRouterSolicitation), "a solicitation");
  assert.deepEqual(
    nic.addressInfo().map(({ origin }) => origin),
    ["linkLocal"],
  );
  router.receive(routerAdvertisement());
  await nic.configured;
  const made = nic.addressInfo().find(({ origin }) => origin === "advertised");
  assert.match(made.prefix, /^fd00:9:8:7:.*\/64$/);
  assert.ok(["optimistic", "preferred"].includes(made.state), made.state);
  assert.ok(nic.addresses.includes(made.prefix));
  engine.close();
});

test("the name servers and domains that a router advertises are asked", async () => {
  const { engine, stack, nic, seen, router } = await host();
  // The resolver is there before the advertisement, and learns of it.
  await assert.rejects(stack.resolve("printer.lan"), { code: "ENOTFOUND" });
  router.receive(routerAdvertisement());
  await nic.configured;
  const lookup = stack.resolve("printer", { family: 6 });
  const query = () => seen.map(queryOf).find((found) => found !== null);
  await until(query, "a query");
  const { name, source, destination } = query();
  assert.deepEqual([name, destination], ["printer.lan", NAME_SERVER]);
  assert.deepEqual(source.slice(0, 8), PREFIX);
  router.receive(answerTo(query(), [...PREFIX, 0, 0, 0, 0, 0, 0, 0, 0x77]));
  assert.deepEqual(await lookup, ["fd00:9:8:7::77"]);
  // RFC 8106 §5.1: "A value of zero means that the RDNSS addresses MUST no longer be used."
  router.receive(routerAdvertisement({ namesLifetime: 0 }));
  await settle();
  await assert.rejects(stack.resolve("scanner.lan"), { code: "ENOTFOUND" });
  engine.close();
});

test("an interface that is closed before it has an address says so", async () => {
  const { engine, nic } = await host();
  nic.close();
  assert.deepEqual(nic.addressInfo(), []);
  await assert.rejects(
    nic.configured,
    (error) => error instanceof SocketError && error.code === "ABORT_ERR",
  );
  engine.close();
});

test("an interface with a static address is configured at once", async () => {
  const engine = await createEngine();
  const stack = await createStack({ engine, seed: 7 });
  const nic = stack.addInterface({ addresses: ["10.0.0.1/24"] });
  await nic.configured;
  const found = nic.addressInfo().find(({ prefix }) => prefix === "10.0.0.1/24");
  assert.equal(found.origin, "static");
  engine.close();
});

test("an interface whose MTU is below that of IPv6 cannot ask routers", async () => {
  const engine = await createEngine();
  const stack = await createStack({ engine, seed: 7 });
  assert.throws(() => stack.addInterface({ slaac: true, mtu: 1_279 }), RangeError);
  engine.close();
});
