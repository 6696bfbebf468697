/** Worlds in virtual time: what time does, what faults do, and that the same seed gives the same bytes. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance as imported } from "node:perf_hooks";
import { test } from "node:test";
import { scheduler, setTimeout as sleepImported } from "node:timers/promises";
import { createWorld, rewind, SimulationError, simulate, WorldStuckError } from "ethertab/testing";
import { storm } from "./testing_storm.mjs";

const { gc } = globalThis;

/** A world with two hosts at a cable, which ends with the test. */
async function pair(t, options = {}, weather = { latency: "20ms" }) {
  const world = await createWorld({ seed: 1, test: t, failures: null, ...options });
  const a = world.host("a");
  const b = world.host("b");
  return { world, a, b, cable: world.cable(a, b, weather) };
}

test("time moves inside run, until and step only", async (t) => {
  const { world, a, b } = await pair(t);
  b.serve(80, () => new Response("hello"));
  const fetched = a.fetch("http://b/");
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(world.clock.now(), 0);
  assert.equal(
    world.capture.sent().some(({ tcp }) => tcp !== null),
    false,
  );
  const response = await world.run(fetched);
  assert.equal(await world.run(response.text()), "hello");
  assert.ok(world.clock.now() >= 80, "four times the latency at least");
  const before = world.clock.now();
  await world.step("1.5s");
  assert.equal(world.clock.now(), before + 1500);
});

test("timers of the clock fire in order, at their times, with the program's turn between", async (t) => {
  const { world } = await pair(t);
  const seen = [];
  world.clock.setTimeout(() => seen.push(["b", world.clock.now()]), "2ms");
  world.clock.setTimeout(() => {
    seen.push(["a", world.clock.now()]);
    Promise.resolve().then(() => seen.push(["after a", world.clock.now()]));
    world.clock.setTimeout(() => seen.push(["c", world.clock.now()]), 0.5);
  }, "1ms");
  const forgotten = world.clock.setTimeout(() => seen.push(["never", 0]), 1);
  world.clock.clearTimeout(forgotten);
  await world.step(10);
  assert.deepEqual(seen, [
    ["a", 1],
    ["after a", 1],
    ["c", 1.5],
    ["b", 2],
  ]);
  const controller = new AbortController();
  const slept = world.clock.sleep("1h", { signal: controller.signal });
  controller.abort(new Error("enough"));
  await assert.rejects(slept, /enough/);
});

test("an hour of talk takes no time to speak of, and step may be called in a run", async (t) => {
  const { world, a, b } = await pair(t, {}, { latency: "40ms", loss: 0.02 });
  b.net.createServer((socket) => socket.pipe(socket)).listen(7);
  const heard = await world.run(async () => {
    const socket = a.net.connect(7, "b");
    await once(socket, "connect");
    let bytes = 0;
    socket.on("data", (data) => {
      bytes += data.length;
    });
    for (let minute = 0; minute < 60; minute += 1) {
      socket.write("tick");
      await world.step("1m");
    }
    return bytes;
  });
  assert.equal(heard, 240);
  assert.ok(world.clock.now() >= 3_600_000);
});

test("the memory of a small world does not grow, which JavaScript's collector would take for garbage", async (t) => {
  const { world, a, b } = await pair(t);
  const { memoryBytes } = world.engine;
  b.serve(80, () => new Response("hello"));
  for (let times = 0; times < 100; times += 1) {
    await world.run(async () => (await a.fetch("http://b/")).text());
  }
  assert.equal(world.engine.memoryBytes, memoryBytes);
});

test("where nothing is due, until and run reject with who waits for what", async (t) => {
  const { world, a, b } = await pair(t);
  const listener = b.listen({ port: 7 });
  const accepted = listener.accept();
  const socket = a.connect({ hostname: b.address, port: 7 });
  await world.run(socket.opened);
  await world.run(accepted);
  const read = socket.readable.getReader().read();
  void listener.accept().catch(() => {});
  await assert.rejects(
    world.until(() => false),
    (error) => {
      assert.ok(error instanceof WorldStuckError);
      assert.deepEqual(error.waits, [`a: read from ${b.address}:7`, "b: accept on port 7"]);
      assert.match(error.message, /nothing is due.*world\.hold/);
      assert.match(error.message, /ETHERTAB_SEED=1/);
      return true;
    },
  );
  await assert.rejects(world.run(read), WorldStuckError);
  await assert.rejects(
    world.until(() => Promise.resolve(true)),
    TypeError,
  );
  world.clock.setTimeout(() => {}, "2h");
  await assert.rejects(
    world.until(() => false, { limit: "1h" }),
    /not in the time allowed/,
  );
});

test("timers of the process are among what is waited for, and what to do about them is told", async (t) => {
  const { world } = await pair(t, { fakeTimers: true });
  const timers = [setTimeout(() => {}, 7_200_000), setInterval(() => {}, 1_800_000)];
  await assert.rejects(
    world.until(() => false, { limit: "1h" }),
    ({ waits }) => {
      assert.deepEqual(waits, ["setInterval, due at 5400 s", "setTimeout, due at 7200 s"]);
      return true;
    },
  );
  for (const timer of timers) clearTimeout(timer);
  world.close();
  const other = await pair(t);
  const real = setTimeout(() => {}, 60_000);
  await assert.rejects(
    other.world.until(() => false),
    /use world\.clock, or createWorld\(\{ fakeTimers: true \}\)/,
  );
  clearTimeout(real);
});

test("a socket's timeout is in virtual time, and who waits for it goes on", async (t) => {
  const { world, a, b } = await pair(t);
  b.net.createServer(() => {}).listen(7);
  const socket = a.net.connect(7, b.address);
  await world.run(once(socket, "connect"));
  const began = world.clock.now();
  socket.setTimeout(90_000);
  await world.run(once(socket, "timeout"));
  assert.equal(Math.round(world.clock.now() - began), 90_000);
});

test("names that are asked for are among what is waited for", async (t) => {
  const { world, a, b } = await pair(t);
  const fault = world.faults.slowDns("1m");
  const ends = Promise.allSettled([
    world.run(a.ping("b")),
    world.run(a.dns.promises.resolveMx("b")),
    world.until(() => false, { limit: "1s" }),
  ]);
  await world.step("1ms");
  const asks = world.waits().filter((line) => line.includes("resolve"));
  assert.deepEqual(asks, ["a: resolve b", "a: resolve b, type MX"]);
  const [, , { reason }] = await ends;
  assert.match(reason.message, /\n {2}a: resolve b\n {2}a: resolve b, type MX\n/);
  fault.heal();
  await world.run(a.ping(b.address));
  assert.equal(
    world.waits().some((line) => line.includes("resolve")),
    false,
  );
});

test("a program that never waits is told so", async (t) => {
  const { world } = await pair(t);
  let isOver = false;
  t.after(() => {
    isOver = true;
  });
  await assert.rejects(
    world.run(async () => {
      while (!isOver) {
        world.clock.clearTimeout(world.clock.setTimeout(() => {}, "1s"));
        await new Promise((resolve) => setImmediate(resolve));
      }
    }),
    /never waits/,
  );
  isOver = true;
});

test("time stands still while a promise is held", async (t) => {
  const { world } = await pair(t);
  const order = [];
  world.clock.setTimeout(() => order.push("timer"), 1);
  const real = new Promise((resolve) => setTimeout(resolve, 20)).then(() => order.push("real"));
  world.hold(real);
  await world.step(1);
  assert.deepEqual(order, ["real", "timer"]);
});

test("names, addresses and routes are there by themselves, over routers and switches", async (t) => {
  const world = await createWorld({ seed: 3, test: t, failures: null });
  const [client, server] = [world.host("client"), world.host("server")];
  const [left, right] = [world.router("left"), world.router("right")];
  const lan = world.switch("lan", { network: "192.168.7.0/24", network6: "fd07::/64" });
  world.cable(client, lan);
  world.cable(lan, left);
  world.cable(left, right, { latency: "5ms" });
  world.cable(right, server);
  assert.equal(client.address, "192.168.7.1");
  assert.equal(client.address6, "fd07::1");
  server.serve(80, () => new Response("far"));
  const text = await world.run(async () => (await client.fetch("http://SERVER/")).text());
  assert.equal(text, "far");
  const { ttl } = await world.run(client.ping(server.address));
  assert.equal(ttl, 62);
  assert.deepEqual(await world.run(client.resolve("server")), [server.address, server.address6]);
  world.name("api.test", [server.address]);
  assert.deepEqual(await world.run(client.resolve("api.test")), [server.address]);
  assert.deepEqual(await world.run(client.dns.promises.reverse(server.address)), ["server"]);
  await assert.rejects(world.run(client.resolve("nobody")), { code: "ENOTFOUND" });
});

test("switches that are joined are one link", async (t) => {
  const world = await createWorld({ seed: 3, test: t, failures: null });
  const [a, b] = [world.host("a"), world.host("b")];
  world.cable(a, world.switch("one"));
  world.cable(b, world.switch("two"));
  world.cable("one", "two");
  await world.run(a.ping("b"));
  world.cable(world.host("c"), "two");
  await world.run(world.host("c").ping("a"));
});

test("what a cable does can change while frames are on it", async (t) => {
  const { world, a, b, cable } = await pair(t);
  await world.run(a.ping(b.address));
  cable.set({ loss: 1 });
  await assert.rejects(world.run(a.ping(b.address, { timeout: "1s" })), { code: "ETIMEDOUT" });
  cable.set({ loss: 0, latency: "200ms" });
  const { rtt } = await world.run(a.ping(b.address));
  assert.ok(rtt >= 400 && rtt < 401, `${rtt}`);
  cable.unplug();
  await assert.rejects(world.run(a.ping(b.address, { timeout: "1s" })), { code: "ETIMEDOUT" });
  cable.plug();
  await world.run(a.ping(b.address));
  cable.set({ burstLoss: { start: 1, stop: 0 } });
  await assert.rejects(world.run(a.ping(b.address, { timeout: "1s" })), { code: "ETIMEDOUT" });
  cable.set({ burstLoss: null });
  await world.run(a.ping(b.address));
});

test("a scripted drop sees the frame as it is, and TCP repairs it", async (t) => {
  const { world, a, b, cable } = await pair(t);
  const server = b.listen({ port: 7 });
  const dropped = cable.drop(({ tcp, from }) => from === "a" && tcp?.flags.syn === true, {
    times: 2,
  });
  const socket = a.connect({ hostname: b.address, port: 7 });
  await world.run(socket.opened);
  assert.equal(dropped.count, 2);
  assert.equal(dropped.isActive, false);
  const [{ attempts, began, ended }] = world.capture.handshakes();
  assert.equal(attempts, 3);
  assert.ok(ended - began > 3_000, "one second, then two");
  assert.equal(world.capture.retransmissions(({ tcp }) => tcp.flags.syn).length, 2);
  const peer = await world.run(server.accept());
  const lost = cable.drop(({ text }) => text.includes("world"), { times: 1 });
  await world.run(socket.writable.getWriter().write(new TextEncoder().encode("hello world")));
  const { value } = await world.run(peer.readable.getReader().read());
  assert.equal(new TextDecoder().decode(value), "hello world");
  assert.equal(lost.count, 1);
  world.capture.expect("a reset", ({ tcp }) => tcp?.flags.rst === true).never();
  const hello = ({ text }) => text === "hello world";
  assert.equal(world.capture.expect("the greeting", hello).times(2).length, 2);
  assert.throws(
    () => world.capture.expect("the greeting", hello).once(),
    /expected the greeting once, found 2:\n.*a: .*len=11/,
  );
});

test("a filter that fails is an error of whoever lets time go on", async (t) => {
  const { world, a, cable } = await pair(t);
  const failing = cable.drop(() => {
    throw new RangeError("wrong filter");
  });
  await assert.rejects(
    world.run(() => a.ping("b")),
    /wrong filter/,
  );
  assert.equal(failing.isActive, false);
  cable.drop(async () => true);
  await assert.rejects(world.step("10s"), /filter must answer at once/);
  await world.run(() => a.ping("b"));
});

test("a partition separates groups, whoever is between them, until it heals", async (t) => {
  const world = await createWorld({ seed: 4, test: t, failures: null });
  const [a, b, c] = ["a", "b", "c"].map((name) => world.host(name));
  for (const host of [a, b, c]) world.cable(host, world.switch("lan"), { latency: "1ms" });
  const reaches = (from, to) =>
    world.run(from.ping(to.address, { timeout: "1s" })).then(
      () => true,
      () => false,
    );
  assert.equal(await reaches(a, c), true);
  const partition = world.partition([a, "b"], [c]);
  assert.equal(await reaches(a, c), false);
  assert.equal(await reaches(c, b), false);
  assert.equal(await reaches(a, b), true);
  world.heal();
  assert.equal(partition.isActive, false);
  assert.equal(await reaches(a, c), true);
  assert.throws(() => world.partition([a], ["a"]), /a is in two groups/);
  assert.throws(
    () => world.partition([a], ["z"]),
    /must be a host of this world \(a, b, c\), got "z"/,
  );
});

test("a host that is killed says nothing, and its program stops where it is", async (t) => {
  const { world, a, b } = await pair(t);
  let boots = 0;
  const c = world.host("c", {
    boot(host) {
      boots += 1;
      // Without a listener for errors: nobody there hears of any.
      host.net.createServer((socket) => socket.on("data", () => {})).listen(7);
    },
  });
  world.cable(a, c, { latency: "5ms" });
  const socket = a.net.connect({ port: 7, host: c.address });
  const closed = new Promise((resolve) => socket.once("close", resolve));
  const errors = [];
  socket.on("error", (error) => errors.push(error.code));
  await world.run(once(socket, "connect"));
  const { signal } = c;
  world.kill(c);
  assert.equal(c.isAlive, false);
  assert.equal(signal.aborted, true);
  const at = world.clock.now();
  socket.write("anybody there?");
  await world.run(closed);
  assert.deepEqual(errors, ["ETIMEDOUT"]);
  world.capture
    .expect("anything from c after its end", ({ host, time }) => host === "c" && time > at)
    .never();
  const { address } = c;
  world.restart("c");
  assert.equal(c.address, address);
  const again = a.net.connect({ port: 7, host: c.address });
  await world.run(once(again, "connect"));
  assert.equal(boots, 2);
  again.write("hello");
  await world.step("1s");
  // A connection of the life before is unknown to the new one.
  world.kill(c);
  world.restart(c);
  await world.step("1s");
  again.on("error", (error) => errors.push(error.code));
  again.write("still there?");
  await world.run(new Promise((resolve) => again.once("close", resolve)));
  assert.deepEqual(errors, ["ETIMEDOUT", "ECONNRESET"]);
  await world.run(b.ping(a.address6));
});

test("connections are reset after so many bytes, for both ends", async (t) => {
  for (const host of ["10.0.0.2", "fd00::2"]) {
    const { world, a, b } = await pair(t);
    const fault = world.faults.resetAfter(10_000, { from: a, to: b, port: 7 });
    const errors = [];
    let received = 0;
    b.net
      .createServer((socket) => {
        socket.on("data", (data) => {
          received += data.length;
        });
        socket.on("error", ({ code }) => errors.push(`b ${code}`));
      })
      .listen(7);
    const socket = a.net.connect(7, host);
    socket.on("error", ({ code }) => errors.push(`a ${code}`));
    socket.write(new Uint8Array(50_000));
    await world.until(() => errors.length === 2);
    assert.deepEqual(errors.sort(), ["a ECONNRESET", "b ECONNRESET"]);
    assert.ok(received < 10_000);
    assert.equal(fault.count, 1);
    fault.heal();
    const whole = a.net.connect(7, host);
    whole.end(new Uint8Array(50_000));
    received = 0;
    await world.until(() => received === 50_000);
    world.close();
  }
});

test("packets vanish in a black hole, one way or both", async (t) => {
  const { world, a, b } = await pair(t);
  const got = [];
  b.bindUdp({ port: 5 }).onready = (socket) => {
    for (let next = socket.tryReceive(); next !== null; next = socket.tryReceive()) {
      got.push(new TextDecoder().decode(next.data));
    }
  };
  const socket = a.bindUdp({ port: 6 });
  const send = async (text) => {
    socket.send(new TextEncoder().encode(text), { remoteAddress: b.address, remotePort: 5 });
    await world.step("1s");
  };
  await send("one");
  const hole = world.faults.blackhole({ from: a, port: 5, oneWay: true });
  await send("two");
  await world.run(b.ping(a.address));
  assert.equal(hole.count, 1);
  world.faults.heal();
  await send("three");
  assert.deepEqual(got, ["one", "three"]);
});

test("names are told late, wrong or not at all", async (t) => {
  const { world, a, b } = await pair(t);
  const slow = world.faults.slowDns("2s", { name: "b", host: a });
  const began = world.clock.now();
  await world.run(a.resolve("b"));
  assert.ok(world.clock.now() - began >= 2_000);
  slow.heal();
  world.faults.wrongDns("b", ["10.9.9.9"]);
  assert.deepEqual(await world.run(a.resolve("b")), ["10.9.9.9"]);
  world.faults.heal();
  for (const [answer, message] of [
    ["no such name", /ENOTFOUND|no such name/],
    ["server failure", /no server could tell/],
    ["no answer", /no server has answered/],
  ]) {
    const fault = world.faults.wrongDns("b", answer);
    await assert.rejects(world.run(a.resolve("b")), message);
    assert.ok(fault.count > 0);
    fault.heal();
    assert.deepEqual(await world.run(a.resolve("b")), [b.address, b.address6], "and at once again");
  }
  assert.deepEqual(await world.run(a.resolve("b")), [b.address, b.address6]);
});

test("a name that was asked before its host was there is found as soon as it is", async (t) => {
  const world = await createWorld({ seed: 1, test: t, failures: null });
  const a = world.host("a");
  await assert.rejects(world.run(a.resolve("b")), { code: "ENOTFOUND" });
  const b = world.host("b");
  await assert.rejects(world.run(a.resolve("b")), { code: "ENOTFOUND" });
  const before = world.clock.now();
  world.cable(a, b);
  assert.deepEqual(await world.run(a.resolve("b")), [b.address, b.address6]);
  assert.equal(world.clock.now(), before);
});

test("a host's clock can be wrong", async (t) => {
  const { world, a, b } = await pair(t);
  const fault = world.faults.clockSkew(a, { offset: "-5m", rate: 2 });
  const start = world.clock.date();
  assert.equal(a.clock.date(), start - 300_000);
  assert.equal(b.clock.date(), start);
  let fired = 0;
  a.clock.setTimeout(() => {
    fired = world.clock.now();
  }, "10s");
  await world.step("10s");
  assert.equal(fired, 5_000);
  assert.equal(a.clock.now(), 20_000);
  fault.heal();
  assert.equal(a.clock.now(), 20_000);
  assert.equal(a.clock.date(), start + 20_000);
});

test("timers and dates of the process are the world's with fakeTimers", async (t) => {
  const real = Date.now();
  const { world, a, b } = await pair(t, { fakeTimers: true });
  assert.equal(Date.now(), Date.UTC(2026, 0, 1));
  await assert.rejects(createWorld({ fakeTimers: true }), /another world has the timers/);
  const { setTimeout: sleep } = await import("node:timers/promises");
  const beats = [];
  b.net.createServer((socket) => socket.pipe(socket)).listen(7);
  await world.run(async () => {
    const socket = a.net.connect(7, b.address);
    socket.on("data", () => beats.push(performance.now()));
    const timer = setInterval(() => socket.write("."), 1_000);
    await sleep(10_500);
    clearInterval(timer);
    socket.destroy();
  });
  assert.equal(beats.length, 10);
  assert.ok(beats.every((time, index) => time >= (index + 1) * 1_000 + 40));
  assert.equal(Date.now(), Date.UTC(2026, 0, 1) + 10_500);
  let loops = 0;
  await world.run(async () => {
    const until = Date.now() + 100;
    for (; Date.now() < until; loops += 1) await new Promise((resolve) => setTimeout(resolve));
  });
  assert.equal(loops, 100, "a timer of nothing takes a millisecond");
  const signal = AbortSignal.timeout(5_000);
  await world.until(() => signal.aborted);
  assert.equal(signal.reason.name, "TimeoutError");
  const from = process.hrtime.bigint();
  await world.run(() => scheduler.wait(2_000));
  assert.equal(process.hrtime.bigint() - from, 2_000_000_000n);
  assert.equal(new Intl.DateTimeFormat("en", { timeZone: "UTC" }).format(), "1/1/2026");
  let isCalled = false;
  setTimeout(() => {
    isCalled = true;
  }, 1_000)[Symbol.dispose]();
  await world.step("2s");
  assert.equal(isCalled, false, "a timer that was disposed of");
  const before = world.clock.now();
  await world.run(() => sleepImported(1_000));
  assert.equal(world.clock.now(), before + 1_000, "what was imported before is replaced, too");
  world.close();
  assert.ok(Math.abs(Date.now() - real) < 60_000, "and back again");
  await sleepImported(1);
  await scheduler.wait(1);
});

test("marks and measures are at the world's times with fakeTimers", async (t) => {
  const { world } = await pair(t, { fakeTimers: true });
  const up = process.uptime();
  for (const face of [performance, imported]) {
    const from = world.clock.now();
    face.mark("from", { detail: 1 });
    await world.step("5s");
    face.mark("to");
    assert.equal(face.measure("both", "from", "to").duration, 5_000);
    await world.step("1s");
    assert.equal(face.measure("since", "from").duration, 6_000);
    assert.equal(face.measure("by options", { start: "to" }).duration, 1_000);
    assert.equal(face.measure("given", { start: 1, duration: 2 }).duration, 2);
    assert.equal(face.measure("all").duration, world.clock.now());
    const [entry] = face.getEntriesByName("from");
    assert.equal(entry.startTime, from);
    assert.equal(entry.detail, 1);
    assert.equal(face.timeOrigin, Date.UTC(2026, 0, 1));
    face.clearMarks();
    face.clearMeasures();
    assert.deepEqual(face.getEntriesByName("from"), []);
  }
  assert.equal(process.uptime() - up, 12);
  world.close();
  assert.ok(imported.timeOrigin > Date.UTC(2026, 0, 2));
  assert.ok(Math.abs(imported.mark("real").startTime - imported.now()) < 60_000);
});

test("one world has the timers, also of two that are made at once, and none that could not be made", async () => {
  await assert.rejects(createWorld({ fakeTimers: true, test: {} }), TypeError);
  await assert.rejects(createWorld({ fakeTimers: true, failures: 5 }), TypeError);
  const made = await Promise.allSettled([
    createWorld({ fakeTimers: true }),
    createWorld({ fakeTimers: true }),
  ]);
  assert.deepEqual(made.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
  for (const { value } of made) value?.close();
  await new Promise((resolve) => setTimeout(resolve, 1));
});

test("the same seed gives the same capture, byte for byte, and another one another", async () => {
  const first = await storm(7);
  assert.equal(await storm(7), first);
  assert.notEqual(await storm(8), first);
});

test("what the collector takes changes nothing", {
  skip: !gc && "needs --expose-gc",
}, async (t) => {
  const { world, a, b } = await pair(t);
  const listener = b.listen({ port: 7 });
  // Nobody holds either end any more.
  await world.run(async () => {
    await a.connect({ hostname: b.address, port: 7 }).opened;
    await listener.accept();
  });
  // Longer than it takes in real time until sockets that rest may be collected.
  await new Promise((resolve) => setTimeout(resolve, 600));
  for (let round = 0; round < 5; round += 1) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await world.step("1m");
  world.capture.expect("a FIN", ({ tcp }) => tcp?.flags.fin === true).never();
  assert.equal(a.stack.connections().length, 1);
});

test("a scenario runs with many seeds, and the one that fails says which it is", async () => {
  const seen = [];
  const scenario = async (world) => {
    seen.push(world.seed);
    await world.clock.sleep("1s");
    if (world.seed === 12n) throw new RangeError("twelve");
    return world.clock.now();
  };
  assert.deepEqual(await simulate({ seed: 1, seeds: 3 }, scenario), [1000, 1000, 1000]);
  const failing = simulate({ seed: 10, seeds: 10, failures: null }, scenario);
  await assert.rejects(failing, (error) => {
    assert.ok(error instanceof SimulationError);
    assert.equal(error.seed, 12n);
    assert.match(error.message, /^twelve\n\(world of seed 12: run again with ETHERTAB_SEED=12\)$/);
    assert.ok(error.cause instanceof RangeError);
    assert.match(error.stack, /testing\.test\.mjs/);
    return true;
  });
  assert.deepEqual(seen, [1n, 2n, 3n, 10n, 11n, 12n]);
  // A world that is stuck has said its seed already.
  const stuck = simulate({ seed: 5, failures: null }, () => new Promise(() => {}));
  await assert.rejects(stuck, ({ message }) => message.split("world of seed 5").length === 2);
});

test("the capture of a failed test is written, also if its world was closed before", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "ethertab-failures-"));
  t.after(() => rm(folder, { recursive: true }));
  const { mock } = t.mock.method(console, "error", () => {});
  const told = () => mock.calls.at(-1).arguments[0];
  const hooks = {};
  // Vitest calls at the end first, and then of the failure.
  const vitest = {
    onTestFinished: (callback) => {
      hooks.finished = callback;
    },
    onTestFailed: (callback) => {
      hooks.failed = callback;
    },
  };
  const node = { passed: false, after: vitest.onTestFinished };
  for (const [seed, test] of [
    [1, vitest],
    [2, node],
  ]) {
    const world = await createWorld({ seed, test, failures: folder });
    world.cable(world.host("a"), world.host("b"));
    await world.run(() => world.host("a").ping("b"));
    const capture = world.capture.pcapng();
    if (test === node) world.close();
    hooks.finished();
    hooks.failed?.();
    delete hooks.failed;
    assert.match(told(), new RegExp(`ETHERTAB_SEED=${seed}; what was sent is in`));
    assert.deepEqual(await readFile(join(folder, `seed-${seed}.pcapng`)), Buffer.from(capture));
  }
  // Another test of this run with the same seed leaves what is there, and says which test it is.
  const named = { ...node, name: "another test" };
  await createWorld({ seed: 2, test: named, failures: folder });
  hooks.finished();
  const file = join(folder, "seed-2-2.pcapng");
  assert.ok(told().startsWith("another test: world of seed 2: ") && told().includes(file));
  assert.ok((await readFile(file)).length < (await readFile(join(folder, "seed-2.pcapng"))).length);
  // That of an earlier run is replaced.
  await utimes(join(folder, "seed-2.pcapng"), 1, 1);
  await createWorld({ seed: 2, test: node, failures: folder });
  hooks.finished();
  assert.ok(told().includes(join(folder, "seed-2.pcapng")));
  // What was not captured cannot be written.
  const world = await createWorld({ seed: 3, test: node, failures: folder, capture: false });
  world.close();
  hooks.finished();
  assert.match(told(), /ETHERTAB_SEED=3$/);
});

test("a world without a test says how a failure comes again", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "ethertab-failures-"));
  t.after(() => rm(folder, { recursive: true }));
  const world = await createWorld({ seed: 5, failures: folder });
  t.after(() => world.close());
  world.cable(world.host("a"), world.host("b"));
  await world.run(() => world.host("a").ping("b"));
  const text = `(world of seed 5: run again with ETHERTAB_SEED=5; what was sent is in ${join(folder, "seed-5.pcapng")})`;
  const saysSo = (error) => {
    assert.ok(error.message.endsWith(`\n${text}`));
    assert.equal(error.stack.split(text).length, 2, "once, where runners look");
    return true;
  };
  // What is expected by its message is as it was.
  const plain = world.run(() => Promise.reject(new RangeError("three")));
  await assert.rejects(plain, ({ message, stack }) => {
    return message === "three" && /\n {4}\(world of seed 5: run again[^)]*\)$/.test(stack);
  });
  await assert.rejects(readFile(join(folder, "seed-5.pcapng")), { code: "ENOENT" });
  const failing = world.run(() => world.run(() => assert.equal(1, 2)));
  await assert.rejects(failing, saysSo);
  const capture = await readFile(join(folder, "seed-5.pcapng"));
  assert.deepEqual(capture, Buffer.from(world.capture.pcapng()));
  assert.throws(() => world.capture.expect("silence", () => true).never(), saysSo);
});

/** What a program writes to its standard error. */
async function complaints(program) {
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    cwd: import.meta.dirname,
    stdio: ["ignore", "ignore", "pipe"],
  });
  return (await child.stderr.setEncoding("utf8").toArray()).join("");
}

test("an error that ends a scenario from outside of it tells of its world", async () => {
  const text = await complaints(`
    import { simulate } from "ethertab/testing";
    await simulate({ seed: 30, seeds: 2, failures: null }, async (world) => {
      world.cable(world.host("a"), world.host("b"));
      if (world.seed === 31n) world.host("a").net.connect(80, world.host("b").address);
      await world.clock.sleep("1h");
    });
  `);
  assert.match(text, /^world of seed 31: run again with ETHERTAB_SEED=31\n/);
  assert.match(text, /connect ECONNREFUSED/);
});

test("an error that ends the program tells of the worlds that are open", async () => {
  const text = await complaints(`
    import { createWorld } from "ethertab/testing";
    const closed = await createWorld({ seed: 20, failures: null });
    closed.close();
    const world = await createWorld({ seed: 21, failures: null });
    await world.step("1s");
    throw new RangeError("the end");
  `);
  assert.match(text, /^world of seed 21: run again with ETHERTAB_SEED=21\n/);
  assert.match(text, /RangeError: the end/);
  assert.doesNotMatch(text, /seed 20/);
});

test("a process that ends while somebody waits says who, why and in which world, whatever number of worlds is open", async () => {
  const program = `
    import { createWorld } from "ethertab/testing";
    for (let seed = 1; seed <= 12; seed += 1) await createWorld({ seed });
    const world = await createWorld({ seed: 13 });
    world.cable(world.host("a"), world.host("b"));
    world.host("a").ping(world.host("b").address);
    const other = await createWorld({ seed: 14 });
    await other.run(() => other.hold(new Promise(() => {}), "the answer"));
  `;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    cwd: import.meta.dirname,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const text = (await child.stderr.setEncoding("utf8").toArray()).join("");
  assert.match(text, /outside of world\.run[^(]*\n {2}a: ping 10\.[^(]*\(world of seed 13:/);
  assert.match(text, /what is held[^)]*\)[^(]*\n {2}world\.hold: the answer\n\(world of seed 14:/);
  assert.doesNotMatch(text, /MaxListeners/);
});

test("a run goes back to any of its moments", async () => {
  const scenario = async (world) => {
    const [a, b] = [world.host("a"), world.host("b")];
    world.cable(a, b, { latency: "100ms" });
    const listener = b.listen({ port: 7 });
    const socket = a.connect({ hostname: b.address, port: 7 });
    await socket.opened;
    await listener.accept();
    world.close();
  };
  const world = await rewind({ seed: 1 }, scenario, "350ms");
  assert.equal(world.clock.now(), 350);
  const [connection] = world.host("b").stack.connections();
  assert.equal(connection?.state, "SYN-RECEIVED");
  await world.step("100ms").catch(() => {});
  world.close();
});

test("what makes no sense is refused, by name", async (t) => {
  const { world, a, cable } = await pair(t);
  for (const [call, name, text] of [
    [() => world.host("a", {}), RangeError, /a "a" already/],
    [() => world.host(""), RangeError, /name/],
    [() => world.cable(a, a), RangeError, /both ends/],
    [() => world.cable("a", "z"), RangeError, /b must be a host/],
    [() => cable.set({ loss: 2 }), RangeError, /weather.loss/],
    [() => cable.drop(), TypeError, /filter/],
    [() => world.faults.wrongDns("b", "nothing"), RangeError, /answer/],
    [() => world.faults.clockSkew("a", { rate: 0 }), RangeError, /skew.rate/],
  ]) {
    assert.throws(call, (error) => error instanceof name && text.test(error.message));
  }
  await assert.rejects(createWorld({ seed: -1 }), RangeError);
  await assert.rejects(createWorld({ start: "soon" }), RangeError);
  await assert.rejects(createWorld({ test: {} }), TypeError);
  await assert.rejects(world.until(), TypeError);
  world.close();
  await assert.rejects(world.step(1), { code: "ABORT_ERR" });
});
