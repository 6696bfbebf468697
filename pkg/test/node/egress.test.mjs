// A guest's way out by sockets of this computer. Its servers are node:net, node:dgram and node:http; what the guest sees of them is what they did.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import dgram from "node:dgram";
import http from "node:http";
import net from "node:net";
import { test } from "node:test";
import { createEngine, createStack, createSwitch, SocketError } from "ethertab";
import { embeddedIpv4, isPublic } from "../../dist/gateway/egress/prefixes.js";
import { createGateway, noEgress } from "../../dist/gateway/index.js";
import { ipText, parseIp } from "../../dist/ip.js";
import { connectFirst, interleaved } from "../../dist/node/egress/attempts.js";
import { Policy } from "../../dist/node/egress/policy.js";
import { createHttpAgent, createNet, nodeEgress } from "../../dist/node/index.js";
import { readAll, until } from "../support.mjs";

const hasCode = (code) => (error) => error instanceof SocketError && error.code === code;
const bytes = (text) => new TextEncoder().encode(text);
const LOOPBACK = ["127.0.0.0/8", "::1"];

/** A gateway by `options`, and a guest. */
async function network(t, options = {}, gatewayOptions = {}) {
  const engine = await createEngine();
  const lan = await createSwitch({ engine });
  const egress = nodeEgress({ allow: ["*", ...LOOPBACK], ...options });
  const gateway = await createGateway({
    engine,
    seed: 1,
    network6: "fd00::/64",
    egress,
    ...gatewayOptions,
  });
  lan.plug(gateway);
  const errors = [];
  gateway.addEventListener("error", (event) => {
    event.preventDefault();
    errors.push(event.detail.error);
  });
  const guest = await createStack({ engine, seed: 2, dns: { servers: ["10.0.2.2"] } });
  lan.plug(
    guest.addInterface({
      addresses: ["10.0.2.15/24", "fd00::15/64"],
      gateway: ["10.0.2.2", "fd00::2"],
    }),
  );
  t.after(async () => {
    await gateway.close();
    engine.close();
    assert.deepEqual(errors, []);
  });
  return { engine, gateway, guest, egress };
}

/** A name server on loopback with these answers: `{ "a.test": { A: [...], ... } }`. */
async function nameServer(t, zone) {
  const socket = dgram.createSocket("udp4");
  const kinds = { 1: "A", 28: "AAAA", 15: "MX", 16: "TXT" };
  const nameOf = (name) =>
    Buffer.concat([
      ...name.split(".").map((label) => Buffer.from([label.length, ...Buffer.from(label)])),
      Buffer.from([0]),
    ]);
  const dataOf = {
    A: (text) => Buffer.from(text.split(".").map(Number)),
    AAAA: (text) =>
      Buffer.from(
        parseIp(text).flatMap((word) => [
          word >>> 24,
          (word >>> 16) & 255,
          (word >>> 8) & 255,
          word & 255,
        ]),
      ),
    MX: (text) =>
      Buffer.concat([Buffer.from([0, Number(text.split(" ")[0])]), nameOf(text.split(" ")[1])]),
    TXT: (text) => Buffer.from([text.length, ...Buffer.from(text)]),
  };
  socket.on("message", (query, { port, address }) => {
    let at = 12;
    const labels = [];
    while (query[at] > 0) {
      labels.push(query.toString("latin1", at + 1, at + 1 + query[at]));
      at += query[at] + 1;
    }
    const question = query.subarray(12, at + 5);
    const kind = kinds[query.readUInt16BE(at + 1)];
    const records = zone[labels.join(".").toLowerCase()];
    const data = (records?.[kind] ?? []).map(dataOf[kind]);
    const head = Buffer.from(query.subarray(0, 12));
    head.writeUInt16BE(records === undefined ? 0x8183 : 0x8180, 2);
    for (const [place, count] of [1, data.length, 0, 0].entries())
      head.writeUInt16BE(count, 4 + place * 2);
    const answers = data.map((one) => {
      const fixed = Buffer.from([0xc0, 12, 0, query[at + 2], 0, 1, 0, 0, 0, 60, 0, one.length]);
      return Buffer.concat([fixed, one]);
    });
    socket.send(Buffer.concat([head, question, ...answers]), port, address);
  });
  socket.bind(0, "127.0.0.1");
  await new Promise((resolve) => socket.once("listening", resolve));
  t.after(() => socket.close());
  return `127.0.0.1:${socket.address().port}`;
}

/** Listens on loopback until the test ends; gives the port. */
async function listen(t, serve, options = {}) {
  const sockets = new Set();
  const server = net.createServer({ allowHalfOpen: true, ...options }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    serve(socket);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return server.address().port;
}

const ZONE = {
  "here.test": { A: ["127.0.0.1"], MX: ["10 mail.test"], TXT: ["v=spf1 -all"] },
  "six.test": { AAAA: ["::1"] },
  "two.test": { A: ["127.0.0.2", "127.0.0.1"] },
};

test("bytes both ways, half-close both ways, by name and to an address of IPv6", async (t) => {
  const dns = [await nameServer(t, ZONE)];
  const { guest, gateway } = await network(t, { dns });
  const port = await listen(t, async (socket) => {
    // Answers only after the guest has ended its side.
    const pieces = [];
    for await (const piece of socket.iterator({ destroyOnReturn: false })) pieces.push(piece);
    socket.end(Buffer.concat([Buffer.from("got "), ...pieces]));
  });
  const socket = guest.connect(`here.test:${port}`, { allowHalfOpen: true });
  await socket.opened;
  const writer = socket.writable.getWriter();
  await writer.write(bytes("all of it"));
  await writer.close();
  assert.equal((await readAll(socket.readable)).toString(), "got all of it");
  await socket.closed;
  await until(() => gateway.flows().length === 0, "the end of the flow");

  const greeting = await listen(t, (socket) => {
    socket.end("server first");
    socket.on("data", (piece) => heard.push(piece.toString()));
  });
  const heard = [];
  const second = guest.connect(`here.test:${greeting}`, { allowHalfOpen: true });
  assert.equal((await readAll(second.readable)).toString(), "server first");
  const late = second.writable.getWriter();
  await late.write(bytes("after your end"));
  await late.close();
  await second.closed;
  await until(() => heard.join("") === "after your end", "the rest");
});

test("a large transfer each way, equal sums, held back by whom is slow", async (t) => {
  const dns = [await nameServer(t, ZONE)];
  const { guest } = await network(t, { dns });
  const data = Buffer.alloc(16 * 1024 * 1024);
  for (let at = 0; at < data.length; at += 4)
    data.writeUInt32LE(Math.imul(at, 2654435761) >>> 0, at);
  const sum = createHash("sha256").update(data).digest("hex");
  const port = await listen(t, (socket) => {
    const hash = createHash("sha256");
    socket.on("data", (piece) => hash.update(piece));
    socket.on("end", () => socket.end(hash.digest("hex")));
  });
  const upload = guest.connect(`here.test:${port}`, { allowHalfOpen: true });
  const writer = upload.writable.getWriter();
  await writer.write(data);
  await writer.close();
  assert.equal((await readAll(upload.readable)).toString(), sum);

  let sent;
  const source = await listen(t, (socket) => {
    sent = socket;
    socket.end(data);
  });
  const download = guest.connect(`here.test:${source}`);
  await download.opened;
  await until(() => sent !== undefined, "the server");
  // Nobody reads: what the server has sent stays far below all of it.
  await new Promise((resolve) => setTimeout(resolve, 100));
  const { bytesWritten, writableLength } = sent;
  assert.ok(bytesWritten - writableLength < data.length, "the server is held back");
  const hash = createHash("sha256");
  for await (const piece of download.readable) hash.update(piece);
  assert.equal(hash.digest("hex"), sum);

  // A server that does not read holds the guest back.
  const deaf = await listen(t, (socket) => socket.pause());
  const held = guest.connect(`here.test:${deaf}`);
  held.closed.catch(() => {});
  await held.opened;
  let taken = 0;
  let rest = data;
  held.onready = () => {
    const count = held.tryWrite(rest);
    taken += count;
    rest = rest.subarray(count);
  };
  held.onready();
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.ok(taken < data.length, `${taken} bytes were taken by nobody`);
  held.onready = null;
  held.abort();
});

test("the outcome of a connect is that outside: refused, unreachable, denied, no such name, no answer", async (t) => {
  const dns = [await nameServer(t, { ...ZONE, "group.test": { A: ["224.0.0.1"] } })];
  const { guest, egress, gateway } = await network(t, {
    dns,
    allow: ["*", ...LOOPBACK, "224.0.0.0/4"],
  });
  const port = await listen(t, () => {});
  const closed = await new Promise((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
  await assert.rejects(guest.connect(`here.test:${closed}`).opened, hasCode("ECONNREFUSED"));
  await assert.rejects(guest.connect("nobody.test:80").opened, hasCode("ENOTFOUND"));
  // No system opens connections to a group.
  const group = await guest
    .connect("group.test:80", { connectTimeout: "2s" })
    .opened.catch(({ code }) => code);
  assert.ok(["ENETUNREACH", "EHOSTUNREACH", "ETIMEDOUT"].includes(group), String(group));
  assert.equal(egress.counters().unreachable, 1);
  // The second address of a name is tried when the first refuses.
  const two = guest.connect(`two.test:${port}`);
  await two.opened;
  two.abort();
  const { refused, connections } = egress.counters();
  assert.ok(refused >= 1 && connections >= 1);
  assert.ok(gateway.counters().egress.node.connections >= 1);
});

test("resets pass both ways", async (t) => {
  const dns = [await nameServer(t, ZONE)];
  const { guest } = await network(t, { dns });
  const port = await listen(t, (socket) => socket.once("data", () => socket.resetAndDestroy()));
  const socket = guest.connect(`here.test:${port}`);
  await socket.opened;
  socket.tryWrite(bytes("x"));
  await assert.rejects(socket.closed, hasCode("ECONNRESET"));

  const seen = new Promise((resolve) => {
    listen(t, (host) => host.on("error", ({ code }) => resolve(code)).resume()).then(
      async (port) => {
        const aborted = guest.connect(`here.test:${port}`);
        aborted.closed.catch(() => {});
        await aborted.opened;
        aborted.abort();
      },
    );
  });
  assert.equal(await seen, "ECONNRESET");
});

test("private addresses are denied after the name was looked up, unless they are allowed as addresses", async (t) => {
  const zone = {
    "rebound.test": { A: ["127.0.0.1"] },
    "rebound6.test": { AAAA: ["::ffff:127.0.0.1"] },
    "blocked.test": { A: ["127.0.0.1"] },
  };
  const dns = [await nameServer(t, zone)];
  const port = await listen(t, (socket) => socket.end("reached"));
  // With a rule by which a name's egress is not known, addresses stand for names, and the lookup is at the dial.
  const standIns = (egress) => ({
    egress: [{ port: 1, egress: { name: "other", tcp: (flow) => flow.refuse() } }, { egress }],
  });
  for (const around of [() => ({}), standIns]) {
    for (const allow of [
      undefined,
      ["*"],
      ["*.test"],
      [{ host: "127.0.0.1", port: port + 1 }],
      [{ host: "127.0.0.1", protocol: "udp" }],
    ]) {
      const egress = nodeEgress({ dns, ...(allow && { allow }) });
      const { guest } = await network(t, {}, { egress, ...around(egress) });
      for (const name of ["rebound.test", "rebound6.test"]) {
        const socket = guest.connect(`${name}:${port}`, { connectTimeout: 1_000 });
        await assert.rejects(socket.opened, (error) =>
          ["EHOSTUNREACH", "ETIMEDOUT", "ENOTFOUND"].includes(error.code),
        );
      }
      const literal = guest.connect(`192.168.255.1:${port}`, { connectTimeout: 1_000 });
      await assert.rejects(literal.opened, (error) =>
        ["EHOSTUNREACH", "ETIMEDOUT"].includes(error.code),
      );
      assert.equal(egress.counters().connections, 0);
      assert.ok(egress.counters().denied >= 1);
    }
    const egress = nodeEgress({ dns, allow: [{ host: LOOPBACK, port }], deny: ["blocked.test"] });
    const { guest } = await network(t, {}, { egress, ...around(egress) });
    const reached = guest.connect(`rebound.test:${port}`);
    assert.equal((await readAll(reached.readable)).toString(), "reached");
    await assert.rejects(guest.connect(`blocked.test:${port}`, { connectTimeout: 1_000 }).opened);
  }
});

test("which addresses are public", () => {
  const not =
    `0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 169.254.169.254 172.16.0.1 172.31.255.255
    192.0.0.1 192.0.0.170 192.0.2.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
    :: ::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 ::8.8.8.8 ::ffff:0:8.8.8.8 64:ff9b::7f00:1 64:ff9b::10.0.0.1 64:ff9b::0.0.0.0 64:ff9b::100.64.0.1
    64:ff9b:1::1 64:ff9b:1:808:8:800:: 100::1 2001::1 2001:0:808:808::f7f7:f7f7 2001:db8::1 2a00::5efe:10.0.0.1 2a00::200:5efe:127.0.0.1
    2002:7f00:1:: 2002:a00:1::1 fc00::1 fd00::1 fe80::1 fec0::1 ff02::1 3fff::1 4000::1`.split(
      /\s+/,
    );
  const yes =
    `1.1.1.1 8.8.8.8 100.63.0.1 100.128.0.1 172.15.0.1 172.32.0.1 192.0.1.1 198.17.0.1 198.20.0.1 223.255.255.255
    ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2001:4860:4860::8888 2002:808:808:: 2606:4700::1111 2a00::1 2a00::5efe:8.8.8.8`.split(
      /\s+/,
    );
  for (const address of not) assert.equal(isPublic(parseIp(address)), false, address);
  for (const address of yes) assert.equal(isPublic(parseIp(address)), true, address);
});

test("the IPv4 addresses that stand in addresses of IPv6", () => {
  const cases = {
    "2a00::1": [],
    "192.0.2.33": [],
    "::192.0.2.33": ["192.0.2.33"],
    "::ffff:0:192.0.2.33": ["192.0.2.33"],
    "64:ff9b::192.0.2.33": ["192.0.2.33"],
    "2002:c000:221::1": ["192.0.2.33"],
    // RFC 4380 §4: the server, and the client with its bits inverted.
    "2001:0:c000:202::3fff:fdde": ["192.0.2.2", "192.0.2.33"],
    "fe80::5efe:c000:221": ["192.0.2.33"],
    "2a00::200:5efe:192.0.2.33": ["192.0.2.33"],
  };
  for (const [address, embedded] of Object.entries(cases))
    assert.deepEqual(
      embeddedIpv4(parseIp(address)).map((numbers) => ipText(numbers)),
      embedded,
      address,
    );
  // RFC 6052 §2.2: prefixes of 48, 56, 64 and 96 bits, which nobody but the network's owner tells apart.
  for (const address of [
    "64:ff9b:1:c000:2:2100::",
    "64:ff9b:1:c0:0:221::",
    "64:ff9b:1:0:c0:2:2100:0",
    "64:ff9b:1::192.0.2.33",
  ])
    assert.ok(
      embeddedIpv4(parseIp(address))
        .map((numbers) => ipText(numbers))
        .includes("192.0.2.33"),
      address,
    );
});

test("what is denied is denied within addresses of IPv6 too; what is allowed is allowed only as it is", () => {
  const permits = (lists, address, { hostname = address, port = 80, protocol = "tcp" } = {}) =>
    new Policy(new Map(), lists.allow, lists.deny).permits({ protocol, hostname, port }, address);
  for (const allow of [undefined, ["*"], ["*", "::/0", "0.0.0.0/0"]]) {
    const lists = { allow, deny: ["8.8.8.0/24"] };
    for (const address of [
      "8.8.8.8",
      "::ffff:8.8.8.8",
      "::8.8.8.8",
      "64:ff9b::8.8.8.8",
      "64:ff9b:1:808:8:800::",
      "2002:808:808::1",
      "2001:0:808:808::1",
      "2001::f7f7:f7f7",
      "2a00::5efe:808:808",
    ])
      assert.equal(permits(lists, address), false, `${address}, allow ${allow}`);
    assert.equal(permits(lists, "2a00::1"), true);
    assert.equal(permits(lists, "64:ff9b::8.8.4.4"), true);
  }
  const inside = { allow: ["10.0.0.0/8", "fe80::/10", "64:ff9b:1::/48"] };
  assert.equal(permits(inside, "10.0.0.1"), true);
  assert.equal(permits(inside, "::ffff:10.0.0.1"), true);
  assert.equal(permits(inside, "64:ff9b::10.0.0.1"), false);
  assert.equal(permits(inside, "2002:a00:1::"), false);
  assert.equal(permits(inside, "64:ff9b:1::10.0.0.1"), true);
  // What nobody can say the meaning of: a link of this computer, and texts that only some systems take.
  for (const odd of [
    "fe80::1%eth0",
    "fe80::1%25eth0",
    "127.1",
    "0x7f000001",
    "010.0.0.1",
    "",
    "::1%lo",
  ])
    assert.equal(permits({ allow: ["0.0.0.0/0", "::/0"] }, odd), false, odd);
});

test("a name of `hosts` leads where `allow` has the name itself or the address, and not where a glob has it", async (t) => {
  const hosts = new Map([["db.test", ["127.0.0.1"]]]);
  const permits = (allow, wanted = {}, address = "127.0.0.1") =>
    new Policy(hosts, allow, undefined).permits(
      { protocol: "tcp", hostname: "db.test", port: 5432, ...wanted },
      address,
    );
  for (const allow of [undefined, [], ["*"], ["*.test"], ["**"], [{ port: 5432 }], ["other.test"]])
    assert.equal(permits(allow), false, JSON.stringify(allow));
  const entry = [{ host: ["db.test"], port: 5432, protocol: "tcp" }];
  assert.equal(permits(["DB.test"]), true);
  assert.equal(permits(["127.0.0.0/8"]), true);
  assert.equal(permits(entry), true);
  assert.equal(permits(entry, { port: 22 }), false);
  assert.equal(permits(entry, { protocol: "udp" }), false);
  assert.equal(permits(entry, { hostname: "127.0.0.1" }), false);
  assert.equal(permits(entry, {}, "127.0.0.2"), false);

  const open = await listen(t, (socket) => socket.end("open"));
  const other = await listen(t, (socket) => socket.end("not for guests"));
  const { guest, egress } = await network(t, {
    hosts: { "DB.Test.": "127.0.0.1" },
    allow: ["*", { host: "db.test", port: open }],
  });
  const { readable } = guest.connect(`db.test:${open}`);
  assert.equal((await readAll(readable)).toString(), "open");
  await assert.rejects(guest.connect(`db.test:${other}`).opened, hasCode("EHOSTUNREACH"));
  assert.equal(egress.counters().denied, 1);
});

/** Attempts to connect, whose outcomes are the test's, by a clock that stands still until `advance`. */
function attempts(addresses, timeout = 10_000) {
  const timers = new Set();
  let time = 0;
  const log = [];
  const running = new Map();
  const clock = {
    now: () => time,
    setTimer(callback, delay) {
      const timer = { at: time + delay, callback };
      timers.add(timer);
      return timer;
    },
    clearTimer: (timer) => timers.delete(timer),
  };
  const advance = (span) => {
    const end = time + span;
    for (;;) {
      const [due] = [...timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (due === undefined) break;
      timers.delete(due);
      time = due.at;
      due.callback();
    }
    time = end;
  };
  const begin = (address, done) => {
    log.push(`${time} ${address}`);
    running.set(address, done);
    return () => log.push(`${time} gives up ${address}`);
  };
  const leave = new AbortController();
  const outcome = connectFirst({ addresses, clock, timeout, signal: leave.signal, begin });
  return {
    outcome,
    log,
    advance,
    timers,
    leave,
    answer: (address, how) => running.get(address)(how),
  };
}

test("RFC 8305: an address that is silent costs a quarter of a second, and one that fails none", async () => {
  const silent = attempts(["2a00::1", "192.0.2.1", "192.0.2.2"]);
  silent.advance(249);
  assert.deepEqual(silent.log, ["0 2a00::1"]);
  silent.advance(1);
  silent.answer("192.0.2.1", { open: "socket" });
  assert.deepEqual(await silent.outcome, { open: "socket" });
  assert.deepEqual(silent.log, ["0 2a00::1", "250 192.0.2.1", "250 gives up 2a00::1"]);
  assert.equal(silent.timers.size, 0);

  const slow = attempts(["2a00::1", "192.0.2.1"]);
  slow.advance(300);
  slow.answer("2a00::1", { open: "the first, after all" });
  assert.deepEqual(await slow.outcome, { open: "the first, after all" });
  assert.equal(slow.log.at(-1), "300 gives up 192.0.2.1");

  const failing = attempts(["2a00::1", "192.0.2.1", "192.0.2.2"]);
  failing.answer("2a00::1", { code: "ENETUNREACH" });
  failing.answer("192.0.2.1", { code: "ECONNREFUSED" });
  failing.advance(1);
  failing.answer("192.0.2.2", { code: "EHOSTUNREACH" });
  assert.deepEqual(await failing.outcome, { code: "ECONNREFUSED" });
  assert.deepEqual(failing.log, ["0 2a00::1", "0 192.0.2.1", "0 192.0.2.2"]);
  assert.equal(failing.timers.size, 0);

  // One that failed while another waits is not the end.
  const late = attempts(["192.0.2.1", "192.0.2.2"]);
  late.advance(250);
  late.answer("192.0.2.2", { code: "ECONNREFUSED" });
  late.advance(5_000);
  late.answer("192.0.2.1", { open: "late" });
  assert.deepEqual(await late.outcome, { open: "late" });
});

test("attempts end together: by the time they have, and with the guest", async () => {
  const silent = attempts(["192.0.2.1", "192.0.2.2"], 1_000);
  silent.advance(1_000);
  assert.deepEqual(await silent.outcome, { code: "ETIMEDOUT" });
  assert.deepEqual(silent.log.slice(2), ["1000 gives up 192.0.2.1", "1000 gives up 192.0.2.2"]);
  const left = attempts(["192.0.2.1", "192.0.2.2"]);
  left.leave.abort();
  left.advance(60_000);
  assert.deepEqual(await left.outcome, { code: "ECONNABORTED" });
  assert.deepEqual(left.log, ["0 192.0.2.1", "0 gives up 192.0.2.1"]);
  // A name's owner says how many addresses it has, and not how many are dialled.
  const many = attempts(Array.from({ length: 500 }, (_, host) => `192.0.2.${host}`));
  many.advance(9_999);
  assert.equal(many.log.length, 16);
  many.leave.abort();
  const order = ["2a00::1", "2a00::2", "2a00::3", "192.0.2.1"];
  assert.deepEqual(interleaved(order), ["2a00::1", "192.0.2.1", "2a00::2", "2a00::3"]);
  assert.deepEqual(interleaved(order.toReversed()), ["192.0.2.1", "2a00::3", "2a00::2", "2a00::1"]);
  assert.deepEqual(interleaved([]), []);
});

test("datagrams go to the first address to which there is a way", async (t) => {
  const echo = dgram.createSocket("udp4");
  echo.on("message", (data, { port, address }) => echo.send(data, port, address));
  await new Promise((resolve) => echo.bind(0, "127.0.0.1", resolve));
  t.after(() => echo.close());
  // The system refuses to connect to a broadcast address, as it does where it has no route.
  const { guest, egress } = await network(t, {
    hosts: { "two.test": ["127.255.255.255", "127.0.0.1"] },
    allow: ["127.0.0.0/8"],
  });
  const [remoteAddress] = await guest.resolve("two.test");
  const client = guest.bindUdp();
  client.send(bytes("hello"), { remoteAddress, remotePort: echo.address().port });
  assert.equal(Buffer.from((await client.receive()).data).toString(), "hello");
  assert.equal(egress.counters().unreachable, 0);
});

test("datagrams go and come, and a port that nobody has is told", async (t) => {
  const { guest, egress } = await network(t, {
    hosts: { "here.test": "127.0.0.1", "six.test": ["::1"] },
    allow: ["here.test", "six.test"],
  });
  const client = guest.bindUdp();
  const told = [];
  client.onerror = ({ code }) => told.push(code);
  for (const [name, kind, bind] of [
    ["here.test", "udp4", "127.0.0.1"],
    ["six.test", "udp6", "::1"],
  ]) {
    const echo = dgram.createSocket(kind);
    echo.on("message", (data, { port, address }) => echo.send(data, port, address));
    await new Promise((resolve) => echo.bind(0, bind, resolve));
    const { port: remotePort } = echo.address();
    const [remoteAddress] = await guest.resolve(name);
    assert.match(remoteAddress, /^198\.18\./);
    for (const text of ["one", "two"]) {
      client.send(bytes(text), { remoteAddress, remotePort });
      const answer = await client.receive();
      assert.deepEqual(
        [Buffer.from(answer.data).toString(), answer.remoteAddress],
        [text, remoteAddress],
      );
    }
    await new Promise((resolve) => echo.close(resolve));
    // Linux tells of it; the guest is told by its next datagrams.
    told.length = 0;
    const again = setInterval(() => client.send(bytes("x"), { remoteAddress, remotePort }), 20);
    try {
      await until(() => told.length > 0, "the refusal");
    } finally {
      clearInterval(again);
    }
    assert.equal(told[0], "ECONNREFUSED");
  }
  assert.ok(egress.counters().udpFlows >= 2);
});

test("datagrams to a host to which this computer has no way are told to be unreachable", async (t) => {
  // The system refuses to connect to a broadcast address, as it does where it has no route.
  const { guest, gateway, egress } = await network(t, {
    hosts: { "nowhere.test": "127.255.255.255" },
  });
  const changes = [];
  gateway.addEventListener("flow", ({ detail }) => changes.push(detail));
  const [address] = await guest.resolve("nowhere.test");
  const socket = guest.bindUdp();
  socket.send(bytes("?"), { remoteAddress: address, remotePort: 5000 });
  await until(() => changes.length > 0);
  assert.equal(changes[0].kind, "refused");
  assert.equal(changes[0].reason, "prohibited unreachable");
  assert.equal(egress.counters().unreachable, 1);
});

test("records of other types, names that do not exist, and name servers that do not answer", async (t) => {
  const dns = [await nameServer(t, ZONE)];
  const { guest } = await network(t, { dns });
  const data = async (type) =>
    (await guest.resolveRecords("here.test", type)).map(({ data }) => data);
  assert.deepEqual(await data("MX"), ["10 mail.test"]);
  assert.deepEqual(await data("TXT"), ["v=spf1 -all"]);
  // Addresses that never leave a guest are stood for.
  for (const name of ["here.test", "six.test"])
    assert.match((await guest.resolve(name))[0], /^198\.18\./);
  await assert.rejects(guest.resolve("nobody.test"), hasCode("ENOTFOUND"));
});

test("Node's HTTP over the guest's stack reaches a server of this computer", async (t) => {
  const dns = [await nameServer(t, ZONE)];
  const { guest } = await network(t, { dns });
  const server = http.createServer((request, response) => request.pipe(response));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const agent = createHttpAgent(guest);
  const body = await new Promise((resolve, reject) => {
    const { port } = server.address();
    const request = http.request(
      { agent, host: "here.test", port, method: "POST" },
      async (response) => {
        const pieces = [];
        for await (const piece of response) pieces.push(piece);
        resolve(Buffer.concat(pieces).toString());
      },
    );
    request.on("error", reject);
    request.end("echoed");
  });
  agent.destroy();
  assert.equal(body, "echoed");
  assert.equal(typeof createNet(guest).connect, "function");
});

test("what cannot be an option is said to be none", () => {
  const wrong = [
    [{ allow: "x" }, /options\.allow must be an array/],
    [{ allow: ["a b"] }, /options\.allow\[0\]/],
    [{ deny: [{ port: 0 }] }, /options\.deny\[0\]\.port/],
    [{ deny: [{ protocol: "icmp" }] }, /options\.deny\[0\]\.protocol/],
    [{ dns: ["nonsense"] }, /options\.dns/],
    [{ hosts: { "a.test": "b" } }, /options\.hosts\["a\.test"\]/],
    [{ connectTimeout: "30s" }, /options\.connectTimeout/],
    [{ idleTimeout: -1 }, /options\.idleTimeout/],
  ];
  for (const [options, message] of wrong) assert.throws(() => nodeEgress(options), message);
});

test("connections that nobody answers do not keep the guest from others", async (t) => {
  const silent = { host: "203.0.113.0/24", egress: noEgress({ answer: "drop" }) };
  const { guest } = await network(
    t,
    {},
    { egress: [silent, { egress: noEgress({ answer: "refuse" }) }] },
  );
  const waiting = [];
  for (let port = 1; port <= 200; port += 1) {
    const socket = guest.connect({ hostname: "203.0.113.1", port });
    waiting.push(socket.closed.catch(() => {}));
    socket.opened.catch(() => {});
  }
  const other = guest.connect({ hostname: "192.0.2.1", port: 443 });
  await assert.rejects(other.opened, hasCode("ECONNREFUSED"));
  other.closed.catch(() => {});
});
