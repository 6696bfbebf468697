// Ways out of a gateway's network: rules, names, limits, bandwidth, and services at any address. The egresses here are made by hand.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createEngine, createStack, createSwitch, functionPort, SocketError } from "ethertab";
import { Rules } from "../dist/gateway/egress/rules.js";
import { createGateway, noEgress } from "../dist/gateway/index.js";
import { ManualClock, readAll, settle, until } from "./support.mjs";

const hasCode = (code) => (error) => error instanceof SocketError && error.code === code;
const bytes = (text) => new TextEncoder().encode(text);

/** A gateway with a guest that has the address 10.0.2.15, on one switch. */
async function network(t, options = {}, { clock } = {}) {
  const engine = await createEngine(clock ? { clock } : {});
  const lan = await createSwitch({ engine });
  const gateway = await createGateway({ engine, seed: 1, network6: "fd00::/64", ...options });
  lan.plug(gateway);
  const changes = [];
  const errors = [];
  gateway.addEventListener("flow", ({ detail }) => changes.push(detail));
  gateway.addEventListener("error", (event) => {
    event.preventDefault();
    errors.push(event.detail.error);
  });
  const guestAt = async (address, seed, mac) => {
    const stack = await createStack({
      engine,
      seed,
      hostname: `guest${seed}`,
      dns: { servers: ["10.0.2.2"] },
    });
    const nic = stack.addInterface({
      mac,
      addresses: [`${address}/24`, `fd00::${address.split(".")[3]}/64`],
      gateway: ["10.0.2.2", "fd00::2"],
    });
    lan.plug(nic);
    return stack;
  };
  const guest = await guestAt("10.0.2.15", 15, "52:54:00:00:00:15");
  t.after(async () => {
    await gateway.close();
    engine.close();
  });
  return { engine, lan, gateway, guest, guestAt, changes, errors };
}

/** An egress that answers each connection with what `talk` does, and keeps its flows. */
function echoEgress(name, more = {}) {
  const flows = [];
  return {
    name,
    flows,
    async tcp(flow) {
      flows.push(flow);
      const socket = await flow.accept({ allowHalfOpen: true });
      await socket.readable.pipeTo(socket.writable);
    },
    udp(flow) {
      flows.push(flow);
      const socket = flow.accept();
      const answer = () => {
        for (let next = socket.tryReceive(); next; next = socket.tryReceive())
          socket.send(next.data);
      };
      socket.onready = answer;
      answer();
    },
    ...more,
  };
}

/** What comes back of a text. */
async function exchange(guest, address, text) {
  const socket = guest.connect(address);
  await socket.opened;
  const writer = socket.writable.getWriter();
  await writer.write(bytes(text));
  await writer.close();
  return (await readAll(socket.readable)).toString();
}

test("a gateway without an egress says at once that there is no way out, and names do not exist", async (t) => {
  const { guest, changes, gateway } = await network(t);
  for (const hostname of ["192.0.2.7", "2001:db8::7"]) {
    const socket = guest.connect({ hostname, port: 80 }, { connectTimeout: "3s" });
    await assert.rejects(socket.opened, (error) =>
      ["ENETUNREACH", "EHOSTUNREACH", "ETIMEDOUT"].includes(error.code),
    );
  }
  assert.deepEqual(
    changes.map(({ kind, reason, flow }) => [kind, reason, flow.egress]),
    Array(2).fill(["refused", "network unreachable", "none"]),
  );
  await assert.rejects(guest.resolve("example.test"), hasCode("ENOTFOUND"));
  assert.equal(gateway.counters().flows.refused, 2);
});

test("a flow is told with its name, carries bytes both ways, and is counted to its end", async (t) => {
  const egress = echoEgress("echo");
  const { gateway, guest, changes } = await network(t, { egress });
  assert.equal(await exchange(guest, "Example.test:7", "hello"), "hello");
  await until(() => changes.length === 2, "the end");
  const [flow] = egress.flows;
  assert.equal(flow.hostname, "example.test");
  assert.match(flow.local.address, /^198\.18\./);
  assert.ok(flow.signal.aborted);
  assert.deepEqual(
    changes.map(({ kind }) => kind),
    ["opened", "closed"],
  );
  const { bytesUp, bytesDown, protocol, hostname, remote } = changes[1].flow;
  assert.deepEqual([bytesUp, bytesDown, protocol, hostname], [5, 5, "tcp", "example.test"]);
  assert.equal(remote.address, "10.0.2.15");
  // An address that nobody has looked up is its own name.
  for (const address of ["192.0.2.7", "[2001:db8::7]"]) {
    assert.equal(await exchange(guest, `${address}:7`, "x"), "x");
    assert.equal(egress.flows.at(-1).hostname, address.replace(/[[\]]/g, ""));
  }
  await until(() => gateway.flows().length === 0, "no flow");
  const { opened, closed, open, bytesUp: up } = gateway.counters().flows;
  assert.deepEqual([opened, closed, open, up], [3, 3, 0, 7]);
});

test("datagrams go out and come back, by name and by address", async (t) => {
  const egress = echoEgress("echo");
  const { guest } = await network(t, { egress });
  const [address] = await guest.resolve("time.test", { family: 4 });
  const socket = guest.bindUdp();
  for (const remoteAddress of [address, "192.0.2.9", "2001:db8::9"]) {
    socket.send(bytes("ping"), { remoteAddress, remotePort: 7 });
    const answer = await socket.receive();
    assert.deepEqual([answer.remoteAddress, answer.remotePort], [remoteAddress, 7]);
  }
  assert.deepEqual(
    egress.flows.map(({ hostname }) => hostname),
    ["time.test", "192.0.2.9", "2001:db8::9"],
  );
});

test("the first rule that fits counts: names, networks, ports and protocols", async (t) => {
  const [byName, byNetwork, byPort, rest] = ["name", "network", "port", "rest"].map((name) =>
    echoEgress(name),
  );
  const { guest, changes } = await network(t, {
    egress: [
      { host: ["*.example.test", "example.test"], port: "1-99", egress: byName },
      { host: ["192.0.2.0/24", "2001:db8::/32"], egress: byNetwork },
      { protocol: "udp", egress: noEgress({ answer: "refuse" }) },
      { port: [8080, "9000-9010"], egress: byPort },
      { host: "blocked.test", egress: noEgress({ answer: "refuse" }) },
      { egress: rest },
    ],
  });
  const cases = [
    ["a.b.example.test:80", byName],
    ["example.test:80", byName],
    ["example.test:100", rest],
    ["notexample.test:80", rest],
    ["192.0.2.200:80", byNetwork],
    ["[2001:db8:1::1]:80", byNetwork],
    ["192.0.3.1:80", rest],
    ["other.test:9005", byPort],
    ["other.test:9011", rest],
  ];
  for (const [address, egress] of cases) {
    assert.equal(await exchange(guest, address, "x"), "x", address);
    assert.equal(egress.flows.length, 1, `${address} by ${egress.name}`);
    egress.flows.length = 0;
  }
  await assert.rejects(guest.connect("blocked.test:80").opened, hasCode("ECONNREFUSED"));
  assert.equal(changes.at(-1).flow.egress, "none");
  const socket = guest.bindUdp();
  const errors = [];
  socket.onerror = (error) => errors.push(error.code);
  socket.send(bytes("x"), { remoteAddress: "203.0.113.1", remotePort: 9000 });
  await until(() => errors.length > 0, "the refusal");
  assert.deepEqual(errors, ["ECONNREFUSED"]);
});

test("whom rules mean, however a name or an address is written", () => {
  const fits = (host, { hostname, address = null }, egress = { name: "some" }) => {
    const rules = new Rules([{ host, egress }]);
    return rules.find({ protocol: "tcp", hostname, address, port: 80 }) === egress;
  };
  const byName = {
    "example.test": ["example.test"],
    "Example.TEST.": ["example.test"],
    "*.Example.test.": ["a.example.test", "a.b.example.test"],
    "bücher.test": ["xn--bcher-kva.test"],
    "BÜCHER.Test.": ["xn--bcher-kva.test"],
    "*.bücher.test": ["a.xn--bcher-kva.test"],
    "xn--bcher-kva.test": ["xn--bcher-kva.test"],
    "bücher。test": ["xn--bcher-kva.test"],
    "straße.test": ["xn--strae-oqa.test"],
    "_dmarc.example.test": ["_dmarc.example.test"],
  };
  for (const [host, names] of Object.entries(byName)) {
    for (const hostname of names) assert.ok(fits(host, { hostname }), `${host}: ${hostname}`);
    for (const hostname of ["test", "other.test", "xexample.test", "example.test.other"]) {
      assert.ok(!fits(host, { hostname }), `${host}: not ${hostname}`);
    }
  }
  for (const host of ["bü*er.test", "a..test", ".test", "", "a b.test", "a/b", "ü\u0000.test"]) {
    assert.throws(() => fits(host, { hostname: "x.test" }), RangeError, host);
  }
  // RFC 4291 §2.5.5.2: a mapped address is one of IPv4.
  const same = ["10.1.2.3", "::ffff:10.1.2.3", "::FFFF:0A01:0203"];
  const embedded = [
    "64:ff9b::10.1.2.3",
    "64:ff9b:1::10.1.2.3",
    "::10.1.2.3",
    "2002:a01:203::1",
    "2a00::5efe:10.1.2.3",
    "2001:0:a01:203::1",
  ];
  const others = ["11.1.2.3", "::ffff:11.1.2.3", "64:ff9b::11.1.2.3", "2a00::1"];
  for (const host of ["10.0.0.0/8", "10.1.2.3", "::ffff:10.1.2.3", "[::ffff:10.0.0.0]/104"]) {
    const all = (addresses, ...egress) =>
      addresses.map((address) => fits(host, { hostname: address, address }, ...egress));
    assert.deepEqual(all(same), [true, true, true], host);
    assert.deepEqual(new Set(all(embedded)), new Set([false]), host);
    assert.deepEqual(new Set(all([...same, ...embedded], noEgress())), new Set([true]), host);
    assert.deepEqual(new Set([...all(others), ...all(others, noEgress())]), new Set([false]), host);
  }
});

test("an egress that looks names up is asked, and flows to its addresses have their names", async (t) => {
  const asked = [];
  const resolving = echoEgress("dns", {
    resolve(name, type) {
      asked.push([name, type]);
      if (name === "broken.test") throw new SocketError("ETIMEDOUT", "no answer");
      if (name !== "real.test") return null;
      return type === "A" ? ["192.0.2.80"] : type === "MX" ? ["10 mail.real.test"] : [];
    },
  });
  const { guest, errors } = await network(t, {
    egress: [{ host: "blocked.test", egress: noEgress() }, { egress: resolving }],
  });
  assert.deepEqual(await guest.resolve("real.test"), ["192.0.2.80"]);
  assert.equal(await exchange(guest, "real.test:80", "x"), "x");
  assert.equal(resolving.flows[0].hostname, "real.test");
  assert.equal(resolving.flows[0].local.address, "192.0.2.80");
  await assert.rejects(guest.resolve("nobody.test"), hasCode("ENOTFOUND"));
  await assert.rejects(guest.resolve("broken.test"));
  asked.length = 0;
  for (const name of ["blocked.test", "single", "printer.local", "nobody.lan"]) {
    await assert.rejects(guest.resolve(name), hasCode("ENOTFOUND"), name);
  }
  assert.deepEqual(asked, []);
  assert.deepEqual(errors, []);
});

test("what an egress throws refuses the flow and is an error event; what is missing is unreachable", async (t) => {
  const failing = {
    async tcp(flow) {
      if (flow.local.port === 1) throw new Error("thrown");
      flow.drop();
      flow.refuse();
    },
  };
  const { guest, errors, changes } = await network(t, { egress: failing });
  await assert.rejects(guest.connect("192.0.2.1:1").opened, hasCode("ECONNREFUSED"));
  assert.equal(errors[0].message, "thrown");
  const socket = guest.connect("192.0.2.1:2", { connectTimeout: 50 });
  await assert.rejects(socket.opened, hasCode("ETIMEDOUT"));
  assert.deepEqual(
    changes.map(({ reason }) => reason),
    ["the egress failed", "not answered"],
  );
  const udp = guest.bindUdp();
  const told = [];
  udp.onerror = (error) => told.push(error.code);
  udp.send(bytes("x"), { remoteAddress: "192.0.2.1", remotePort: 9 });
  await until(() => told.length > 0, "the error");
  assert.match(told[0], /E(NET|HOST)UNREACH/);
});

test("a guest has so many flows, all have so many, and what is over is refused", async (t) => {
  const holding = { name: "holding", tcp: (flow) => void flow.accept() };
  const { gateway, guest, guestAt } = await network(t, {
    egress: holding,
    flows: { perGuest: 3, total: 5 },
  });
  const other = await guestAt("10.0.2.16", 16, "52:54:00:00:00:16");
  const open = async (stack, port) => {
    const socket = stack.connect(`192.0.2.1:${port}`);
    return (await socket.opened.catch((error) => error.code)) instanceof Object
      ? socket
      : "refused";
  };
  const held = [];
  for (const port of [1, 2, 3]) held.push(await open(guest, port));
  assert.equal(await open(guest, 4), "refused");
  // Its other address is no other guest, as soon as the gateway knows whose it is.
  await guest.ping("fd00::2");
  const six = guest.connect("[2001:db8::1]:5");
  await assert.rejects(six.opened, hasCode("ECONNREFUSED"));
  for (const port of [1, 2]) assert.notEqual(await open(other, port), "refused");
  assert.equal(await open(other, 3), "refused");
  held[0].closed.catch(() => {});
  held[0].abort();
  await until(() => gateway.flows().length === 4, "room");
  assert.notEqual(await open(other, 3), "refused");
  assert.equal(gateway.counters().flows.overLimit, 3);
});

/** The ones' complement sum of 16-bit words (RFC 1071). */
function checksum(data) {
  let sum = 0;
  for (let at = 0; at < data.length; at += 2) sum += data.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** A frame with an IPv4 packet of 10.0.2.66 for 192.0.2.1: a SYN, or a datagram of no bytes. */
function rawFrame(to, protocol, sourcePort) {
  const [source, target] = [Buffer.from([10, 0, 2, 66]), Buffer.from([192, 0, 2, 1])];
  const segment = Buffer.alloc(protocol === 6 ? 20 : 8);
  segment.writeUInt16BE(sourcePort, 0);
  segment.writeUInt16BE(443, 2);
  if (protocol === 6) segment.writeUInt16BE(0x5002, 12);
  if (protocol === 6) segment.writeUInt16BE(65_535, 14);
  else segment.writeUInt16BE(8, 4);
  const pseudo = Buffer.concat([
    source,
    target,
    Buffer.from([0, protocol, 0, segment.length]),
    segment,
  ]);
  segment.writeUInt16BE(checksum(pseudo), protocol === 6 ? 16 : 6);
  const header = Buffer.from([
    0x45,
    0,
    0,
    20 + segment.length,
    0,
    0,
    0x40,
    0,
    64,
    protocol,
    0,
    0,
    ...source,
    ...target,
  ]);
  header.writeUInt16BE(checksum(header), 10);
  const mac = (text) => Buffer.from(text.replaceAll(":", ""), "hex");
  const frame = [mac(to), mac("52:54:00:00:00:66"), Buffer.from([8, 0]), header, segment];
  return Buffer.concat([...frame, Buffer.alloc(26 - segment.length)]);
}

for (const [what, protocol] of [
  ["SYNs", 6],
  ["datagrams", 17],
]) {
  test(`a flood of ${what} takes one guest's flows, is counted, and takes nothing from others`, async (t) => {
    const limits = { perGuest: 20, total: 60, udp: 10 };
    const egress = echoEgress("echo");
    const { gateway, guest, lan } = await network(t, { egress, flows: limits });
    const wire = functionPort({ send() {} });
    lan.plug(wire);
    await guest.ping("10.0.2.2");
    const { mac } = guest.neighbors().find(({ address }) => address === "10.0.2.2");
    const socket = guest.bindUdp();
    const echoed = async (text) => {
      socket.send(bytes(text), { remoteAddress: "192.0.2.7", remotePort: 5_000 });
      return Buffer.from((await socket.receive()).data).toString();
    };
    assert.equal(await echoed("before"), "before");
    let most = 0;
    gateway.addEventListener("flow", () => {
      most = Math.max(most, gateway.flows().length);
    });
    const flood = 5_000;
    for (let port = 1; port <= flood; port += 1) {
      wire.receive(rawFrame(mac, protocol, port));
      // No more than wait for a decision at a time.
      if (port % 100 === 0) await settle();
    }
    await until(() => egress.flows.length > 9, "the flood");
    await settle();
    assert.ok(most <= 1 + limits.perGuest + 1, `${most} flows`);
    const { overLimit, udpEvicted, open } = gateway.counters().flows;
    if (protocol === 6) assert.deepEqual([overLimit, open], [flood - limits.perGuest, 21]);
    else assert.deepEqual([udpEvicted, open], [flood + 1 - limits.udp, limits.udp]);
    assert.equal(gateway.flows()[0].remote.address, "10.0.2.15");
    assert.equal(await echoed("after"), "after");
    assert.equal(await exchange(guest, "192.0.2.7:443", "hello"), "hello");
    // The flow of before has served both.
    const own = egress.flows.filter(
      ({ protocol, remote }) => protocol === "udp" && remote.address === "10.0.2.15",
    );
    assert.equal(own.length, 1);
  });
}

test("flows of datagrams end when idle, and make room for others", async (t) => {
  const clock = new ManualClock();
  const egress = echoEgress("echo");
  const { gateway, guest, changes } = await network(
    t,
    { egress, flows: { udp: 2, udpTimeout: "20s" } },
    { clock },
  );
  const socket = guest.bindUdp();
  const send = async (port) => {
    socket.send(bytes("x"), { remoteAddress: "192.0.2.1", remotePort: port });
    await clock.advance(100);
  };
  await clock.advance(3_000);
  for (const port of [1, 2, 1, 3]) await send(port);
  assert.deepEqual(
    gateway.flows().map(({ local }) => local.port),
    [1, 3],
  );
  assert.equal(gateway.counters().flows.udpEvicted, 1);
  await clock.advance(12_000);
  await send(1);
  await clock.advance(13_000);
  assert.deepEqual(
    gateway.flows().map(({ local }) => local.port),
    [1],
  );
  await clock.advance(30_000);
  assert.equal(gateway.flows().length, 0);
  assert.ok(changes.every(({ kind }) => kind !== "refused"));
  assert.equal(changes.filter(({ kind }) => kind === "closed").length, 3);
});

test("an address that stands for a name lasts while a flow uses it, and no guest takes another's", async (t) => {
  const egress = echoEgress("echo");
  const { gateway, guest, guestAt } = await network(t, { egress });
  const other = await guestAt("10.0.2.16", 16, "52:54:00:00:00:16");
  const [mine] = await other.resolve("mine.test", { family: 4 });
  const [first] = await guest.resolve("held.test", { family: 4 });
  const held = guest.connect({ hostname: first, port: 7 });
  await held.opened;
  const seen = new Set([first, mine]);
  const names = Array.from({ length: 2_200 }, (_, index) => `n${index}.test`);
  for (let from = 0; from < names.length; from += 50) {
    const batch = names.slice(from, from + 50).map((name) => guest.resolve(name, { family: 4 }));
    for (const [address] of await Promise.all(batch)) {
      assert.ok(!seen.has(address), `${address} again`);
      seen.add(address);
    }
  }
  assert.ok(gateway.counters().flows.names <= 2_049, String(gateway.counters().flows.names));
  // The oldest that no flow uses was taken back, and leads to nobody.
  const lost = guest.connect({ hostname: [...seen][2], port: 7 }, { connectTimeout: "1s" });
  await assert.rejects(lost.opened);
  assert.equal(await exchange(guest, `${first}:7`, "still"), "still");
  assert.equal(egress.flows.at(-1).hostname, "held.test");
  assert.equal(await exchange(other, `${mine}:7`, "still"), "still");
  assert.equal(egress.flows.at(-1).hostname, "mine.test");
  held.abort();
});

test("a guest has its bandwidth, both ways, shared by its flows, and other guests have theirs", async (t) => {
  const clock = new ManualClock();
  const egress = echoEgress("echo");
  const sent = new Uint8Array(400_000);
  egress.tcp = async (flow) => {
    egress.flows.push(flow);
    const socket = await flow.accept({ allowHalfOpen: true });
    if (flow.local.port === 1) {
      const writer = socket.writable.getWriter();
      await writer.write(sent).catch(() => {});
      await writer.close().catch(() => {});
    } else {
      for await (const _ of socket.readable);
      await socket.close();
    }
  };
  const { gateway, guest, guestAt } = await network(
    t,
    {
      egress,
      bandwidth: {
        up: "800kbit",
        down: "1600kbit",
        guests: { "52:54:00:00:00:16": { down: "16mbit" } },
      },
    },
    { clock },
  );
  const other = await guestAt("10.0.2.16", 16, "52:54:00:00:00:16");
  await clock.advance(3_000);
  /** Milliseconds until all of `jobs` are done, in virtual time. */
  const time = async (...jobs) => {
    let done = 0;
    for (const job of jobs) job.then(() => (done += 1));
    const began = clock.now();
    while (done < jobs.length) await clock.advance(5);
    return clock.now() - began;
  };
  const download = async (stack) => {
    const socket = stack.connect("192.0.2.1:1");
    const got = await readAll(socket.readable);
    assert.equal(got.length, sent.length);
  };
  const upload = async (stack) => {
    const socket = stack.connect("192.0.2.1:2");
    const writer = socket.writable.getWriter();
    await writer.write(sent);
    await writer.close();
    for await (const _ of socket.readable);
  };
  const near = (value, wanted) =>
    assert.ok(value > wanted * 0.85 && value < wanted * 1.15, `${value} ms, and not ${wanted}`);
  // 400,000 bytes at 200,000 bytes a second, and at 100,000.
  near(await time(download(guest)), 2_000);
  near(await time(download(guest), download(guest)), 4_000);
  near(await time(upload(guest)), 4_000);
  // A bucket that is full lasts for 50 ms.
  near(await time(download(other)), 150);
  gateway.setBandwidth("52:54:00:00:00:15", { down: "16mbit" });
  near(await time(download(guest)), 150);
  gateway.setBandwidth("52:54:00:00:00:15", null);
  gateway.setBandwidth(null, null);
  assert.ok((await time(download(guest), upload(guest))) < 200);
  // Datagrams over it are dropped, and counted.
  gateway.setBandwidth(null, { down: "80kbit" });
  egress.udp = (flow) => {
    const socket = flow.accept();
    for (let count = 0; count < 100; count += 1) socket.send(new Uint8Array(1_000));
  };
  guest.bindUdp().send(bytes("x"), { remoteAddress: "192.0.2.1", remotePort: 9 });
  await clock.advance(100);
  const [{ bytesDown }] = gateway.flows();
  assert.ok(bytesDown >= 6_000 && bytesDown <= 8_000, String(bytesDown));
});

test("serveTcp and serveUdp: at an address of the network, outside it, and at names with all their ports", async (t) => {
  const egress = echoEgress("echo");
  const { gateway, guest, errors } = await network(t, { egress });
  const greet =
    (text) =>
    async (socket, { hostname, local, remote }) => {
      const writer = socket.writable.getWriter();
      await writer.write(bytes(`${text} ${hostname} ${local.port} ${remote.address}`));
      await writer.close();
    };
  const served = [
    gateway.serveTcp("10.0.2.100:22", greet("inside")),
    gateway.serveTcp("[fd00::100]:22", greet("inside6")),
    gateway.serveTcp("203.0.113.7:25", greet("outside")),
    gateway.serveTcp({ hostname: "DB.test", port: 5432 }, greet("named")),
    gateway.serveTcp("db.test:22", greet("ssh")),
    gateway.serveTcp("other.test:22", greet("ssh")),
    gateway.serveTcp("10.0.2.2:2222", greet("own")),
  ];
  const ask = async (address) => {
    const socket = guest.connect(address, { connectTimeout: "2s" });
    await socket.opened;
    return (await readAll(socket.readable)).toString();
  };
  const cases = {
    "10.0.2.100:22": "inside 10.0.2.100 22 10.0.2.15",
    "[fd00::100]:22": "inside6 fd00::100 22 fd00::15",
    "203.0.113.7:25": "outside 203.0.113.7 25 10.0.2.15",
    "db.test:5432": "named db.test 5432 10.0.2.15",
    "db.test:22": "ssh db.test 22 10.0.2.15",
    "other.test:22": "ssh other.test 22 10.0.2.15",
    "10.0.2.2:2222": "own 10.0.2.2 2222 10.0.2.15",
  };
  for (const [address, answer] of Object.entries(cases)) assert.equal(await ask(address), answer);
  for (const again of ["db.test:22", "DB.Test.:22"]) {
    assert.throws(() => gateway.serveTcp(again, greet("again")), /served already/, again);
  }
  assert.throws(() => gateway.serveTcp("10.0.2.2:2222", greet("again")), hasCode("EADDRINUSE"));
  // A served origin at the same name is found at the same address.
  const origin = gateway.serve("http://db.test", () => new Response("web"));
  assert.match(
    await exchange(
      guest,
      "db.test:80",
      "GET / HTTP/1.1\r\nHost: db.test\r\nConnection: close\r\n\r\n",
    ),
    /web$/,
  );
  origin.close();

  const udp = [
    gateway.serveUdp("10.0.2.101:69", ({ data }, reply) => reply(data)),
    gateway.serveUdp("tftp.test:69", ({ data }, reply) => reply(data)),
  ];
  const socket = guest.bindUdp();
  for (const remoteAddress of [
    "10.0.2.101",
    (await guest.resolve("tftp.test", { family: 4 }))[0],
  ]) {
    socket.send(bytes("file"), { remoteAddress, remotePort: 69 });
    const { data, remoteAddress: from } = await socket.receive();
    assert.deepEqual([Buffer.from(data).toString(), from], ["file", remoteAddress]);
  }
  for (const service of [...served, ...udp]) service.close();
  await assert.rejects(ask("10.0.2.2:2222"), hasCode("ECONNREFUSED"));
  assert.deepEqual(
    gateway.port.addresses.filter((prefix) => /100|101/.test(prefix)),
    [],
  );
  assert.equal(await exchange(guest, "203.0.113.7:25", "x"), "x");
  const failing = gateway.serveTcp("fails.test:1", () => {
    throw new Error("broken on purpose");
  });
  const broken = guest.connect("fails.test:1");
  await assert.rejects(broken.closed, hasCode("ECONNRESET"));
  await until(() => errors.length === 1, "the error");
  failing.close();
});

test("guests that ask other name and time servers are answered where datagrams are not carried", async (t) => {
  const web = { name: "web", tcp: (flow) => flow.refuse() };
  const { gateway, guest, engine, lan } = await network(t, { egress: web });
  gateway.serve("http://shop.test", () => new Response("shop"));
  const stubborn = await createStack({ engine, seed: 17, dns: { servers: ["8.8.8.8"] } });
  lan.plug(stubborn.addInterface({ addresses: ["10.0.2.17/24"], gateway: "10.0.2.2" }));
  assert.deepEqual(await stubborn.resolve("shop.test", { family: 4 }), ["10.0.2.2"]);
  assert.match((await stubborn.resolve("example.test", { family: 4 }))[0], /^198\.18\./);
  const socket = guest.bindUdp();
  const question = new Uint8Array(48);
  question[0] = 0x23;
  socket.send(question, { remoteAddress: "192.0.2.123", remotePort: 123 });
  const { data } = await socket.receive();
  const seconds = new DataView(data.buffer, data.byteOffset).getUint32(40) - 2_208_988_800;
  assert.ok(Math.abs(seconds - Date.now() / 1_000) < 5);
});

test("closing the gateway ends all flows, tells the egresses, and aborts their signals", async (t) => {
  let closed = 0;
  const egress = echoEgress("echo", {
    close() {
      closed += 1;
    },
  });
  egress.udp = (flow) => void egress.flows.push(flow);
  const { gateway, guest } = await network(t, { egress: [{ port: 7, egress }, { egress }] });
  const socket = guest.connect("192.0.2.1:7");
  await socket.opened;
  guest.bindUdp().send(bytes("x"), { remoteAddress: "192.0.2.1", remotePort: 9 });
  await until(() => egress.flows.length === 2, "both");
  const signals = egress.flows.map(({ signal }) => signal);
  await gateway.close();
  assert.equal(closed, 1);
  assert.deepEqual(
    signals.map(({ aborted }) => aborted),
    [true, true],
  );
  assert.throws(() => egress.flows[1].accept(), hasCode("ECONNRESET"));
  await assert.rejects(socket.closed, hasCode("ECONNRESET"));
  await settle();
});

test("what is no egress, rule, rate, limit or address is said to be none", async () => {
  const wrong = [
    [{ egress: 7 }, /options\.egress must be an egress/],
    [{ egress: { tcp: 7 } }, /options\.egress\.tcp must be a function/],
    [{ egress: [{}] }, /options\.egress\[0\]\.egress must be an egress/],
    [
      { egress: [{ host: "a b", egress: noEgress() }] },
      /options\.egress\[0\]\.host must be a name/,
    ],
    [{ egress: [{ host: "10.0.0.0/33", egress: noEgress() }] }, /options\.egress\[0\]\.host/],
    [{ egress: [{ port: 0, egress: noEgress() }] }, /options\.egress\[0\]\.port/],
    [{ egress: [{ port: "9-1", egress: noEgress() }] }, /port or a range/],
    [{ egress: [{ protocol: "icmp", egress: noEgress() }] }, /options\.egress\[0\]\.protocol/],
    [{ bandwidth: { up: "fast" } }, /options\.bandwidth\.up/],
    [{ bandwidth: { guests: { "10.0.2.15": { down: 0 } } } }, /guests\["10\.0\.2\.15"\]\.down/],
    [{ bandwidth: { guests: { nobody: {} } } }, /guests\["nobody"\]/],
    [{ flows: { perGuest: 0 } }, /options\.flows\.perGuest/],
    [{ flows: { udpTimeout: "1" } }, /options\.flows\.udpTimeout/],
  ];
  for (const [options, message] of wrong) {
    await assert.rejects(createGateway(options), (error) => {
      assert.ok(error instanceof TypeError || error instanceof RangeError, String(error));
      assert.match(error.message, message);
      return true;
    });
  }
  assert.throws(() => noEgress({ answer: "maybe" }), /options\.answer/);
  const gateway = await createGateway({ egress: false });
  assert.throws(() => gateway.serveTcp("nonsense", () => {}), /address must be like/);
  assert.throws(() => gateway.serveTcp("a.test:80"), /handler must be a function/);
  assert.throws(() => gateway.serveTcp("203.0.113.7:80", () => {}), /outside the network/);
  gateway.stack.acceptAny(gateway.port, { onflow: (flow) => flow.refuse() }).close();
  await gateway.close();
});
