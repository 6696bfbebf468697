import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import {
  capture,
  createEngine,
  createStack,
  createSwitch,
  EngineError,
  functionPort,
  init,
  plug,
} from "ethertab";
import {
  connected,
  ManualClock,
  pattern,
  readAll,
  settle,
  twoStacks,
  until,
  writeAll,
} from "./support.mjs";

const run = promisify(execFile);
const wasm = new URL("../dist/wasm/ethertab_bg.wasm", import.meta.url);

/** Two stacks, each in an engine of its own. */
async function twoEngines() {
  const [one, two] = await Promise.all([createEngine(), createEngine()]);
  const a = await createStack({ hostname: "a", engine: one });
  const b = await createStack({ hostname: "b", engine: two });
  const nicA = a.addInterface({ addresses: ["10.0.0.1/24"] });
  const nicB = b.addInterface({ addresses: ["10.0.0.2/24"] });
  return { one, two, a, b, nicA, nicB };
}

test("stacks of two engines, plugged together, move data and come apart", async () => {
  const { one, two, a, b, nicA, nicB } = await twoEngines();
  const link = plug(nicA, nicB);
  const { client, server } = await connected({ a, b });
  const bytes = pattern(5_000_000);
  const [received] = await Promise.all([
    readAll(server.readable),
    writeAll(client.writable, bytes),
  ]);
  assert.equal(Buffer.compare(received, bytes), 0);
  link.unplug();
  link.unplug();
  await assert.rejects(a.ping("10.0.0.2", { timeout: 50 }));
  plug(nicB, nicA);
  await a.ping("10.0.0.2");
  one.close();
  two.close();
});

test("a switch takes ports of other engines", async () => {
  const { one, two, a, nicA, nicB } = await twoEngines();
  const lan = await createSwitch({ engine: one });
  lan.plug(nicA);
  lan.plug(nicB);
  await a.ping("10.0.0.2");
  assert.equal(lan.ports.length, 2);
  lan.unplug(nicB);
  assert.deepEqual(lan.ports, [nicA]);
  await assert.rejects(a.ping("10.0.0.2", { timeout: 50 }));
  lan.plug(nicB);
  await a.ping("10.0.0.2");
  lan.close();
  lan.close();
  plug(nicA, nicB);
  await a.ping("10.0.0.2");
  one.close();
  two.close();
});

test("a trap rejects what is pending in its engine only, and a new engine works", async () => {
  const broken = await twoStacks();
  const healthy = await twoStacks();
  const { client } = await connected(broken);
  const fine = await connected(healthy);
  const isTrap = (error) =>
    error instanceof EngineError && error.cause instanceof WebAssembly.RuntimeError;
  const pending = [
    client.readable.getReader().read(),
    client.closed,
    broken.a.ping("10.0.0.99"),
    broken.a.listen({ port: 5 }).accept(),
    broken.engine.closed,
  ].map((promise) => assert.rejects(promise, isTrap));
  // A real trap: the bindings let a call with the module's own "unreachable" through as any other.
  assert.throws(
    () =>
      broken.engine.call(() => {
        throw new WebAssembly.RuntimeError("unreachable");
      }),
    isTrap,
  );
  await Promise.all(pending);
  assert.throws(() => broken.a.connect("10.0.0.2:80"), isTrap);
  assert.throws(() => client.tryWrite(pattern(1)), isTrap);

  await writeAll(fine.client.writable, pattern(1_000));
  assert.equal((await readAll(fine.server.readable)).byteLength, 1_000);
  healthy.engine.close();
});

test("an engine that ends while its observers look ends without another error", async () => {
  const { engine, a } = await twoStacks();
  engine.addObserver(() => engine.close());
  await assert.rejects(a.ping("10.0.0.99"), { code: "ABORT_ERR" });
  await engine.closed;
  await settle();
});

test("closing an engine settles everything in it", async () => {
  const network = await twoStacks();
  const { client } = await connected(network);
  const pending = [
    client.readable.getReader().read(),
    client.closed,
    network.a.ping("10.0.0.9"),
  ].map((promise) => assert.rejects(promise, { code: "ABORT_ERR" }));
  network.engine.close();
  network.engine.close();
  await Promise.all([...pending, network.engine.closed]);
  assert.throws(() => network.a.connections(), { code: "ABORT_ERR" });
  assert.throws(() => network.nicA.addAddress("10.9.9.9/8"), { code: "ABORT_ERR" });
  network.nicA.close();
  network.link.unplug();
});

test("all of a realm share one engine unless told otherwise; init gives it options once", async () => {
  const first = await init({ wasm });
  const [stack, lan] = await Promise.all([createStack(), createSwitch()]);
  assert.equal(stack.engine, first);
  assert.equal(lan.engine, first);
  await assert.rejects(init({}), EngineError);
  first.close();
  const next = await createStack();
  assert.notEqual(next.engine, first);
  next.engine.close();
});

test("the module comes from a URL, a path, bytes, a module or a response", async () => {
  const bytes = await readFile(wasm);
  const sources = [
    wasm,
    wasm.href,
    fileURLToPath(wasm),
    bytes,
    await WebAssembly.compile(bytes),
    new Response(bytes, { headers: { "content-type": "application/wasm" } }),
    Promise.resolve(new Response(bytes)),
  ];
  for (const source of sources) {
    const engine = await createEngine({ wasm: source });
    assert.equal(engine.blocksInUse, 0);
    engine.close();
  }
});

test("a seed and a virtual clock repeat a run, frame by frame", async () => {
  const run = async (seed) => {
    const clock = new ManualClock();
    const engine = await createEngine({ clock, seed });
    const a = await createStack({ hostname: "a", engine, seed: 1 });
    const b = await createStack({ hostname: "b", engine, seed: 2 });
    const nic = a.addInterface({ addresses: ["10.0.0.1/24"] });
    plug(nic, b.addInterface({ addresses: ["10.0.0.2/24"] }), { latency: 5, jitter: 2, loss: 0.1 });
    const seen = capture(nic);
    const opening = connected({ a, b });
    await clock.advance(20_000);
    const { client, server } = await opening;
    const moved = Promise.all([
      readAll(server.readable),
      writeAll(client.writable, pattern(50_000)),
    ]);
    await clock.advance(60_000);
    await moved;
    const frames = [];
    seen.stop();
    for await (const { data } of seen.frames) frames.push(Buffer.from(data).toString("base64"));
    engine.close();
    return frames;
  };
  const first = await run(7);
  assert.ok(first.length > 50);
  assert.deepEqual(await run(7), first);
  assert.notDeepEqual(await run(8), first);
});

test("one timer at most is armed, and none when nothing is due", async () => {
  const clock = new ManualClock();
  const network = await twoStacks({ clock });
  const opening = connected(network);
  await clock.advance(10);
  const { client, server } = await opening;
  const writing = writeAll(client.writable, pattern(100_000));
  const reading = readAll(server.readable);
  for (let step = 0; step < 20; step += 1) {
    await clock.advance(20);
    assert.ok(clock.timers <= 1, `${clock.timers} timers`);
  }
  await Promise.all([writing, reading]);
  // TIME-WAIT and neighbour entries run out; then nothing is left to wait for.
  await clock.advance(2 * 3_600_000);
  assert.equal(clock.timers, 0);
  network.engine.close();
});

test("reading gives an engine work only where it opens the window", async () => {
  let turns = 0;
  const clock = {
    now: () => 0,
    setTimer: () => 0,
    clearTimer() {},
    defer(work) {
      turns += 1;
      setImmediate(work);
    },
  };
  const network = await twoStacks({ clock });
  const { client, server } = await connected(network);
  const turnsOf = async (step) => {
    await settle();
    const before = turns;
    const count = step();
    await settle();
    return { count, turns: turns - before };
  };
  const into = new Uint8Array(65_536);
  client.tryWrite(pattern(64));
  assert.deepEqual(await turnsOf(() => server.tryRead(into)), { count: 64, turns: 0 });
  // All that the windows and buffers of both ends hold.
  while (client.tryWrite(pattern(65_536)) > 0) await settle();
  const { turns: caused } = await turnsOf(() => {
    for (let left = server.readableBytes; left > 0; left = server.readableBytes)
      server.tryRead(into);
  });
  assert.ok(caused > 0, "the window is open again, and the peer is told");
  assert.ok(server.readableBytes > 0, "and goes on");
  network.engine.close();
});

test("a busy network does not keep timers and other tasks from running", async () => {
  const network = await twoStacks();
  const { client, server } = await connected(network);
  let isRunning = true;
  let moved = 0;
  const writer = client.writable.getWriter();
  const chunk = pattern(65_536);
  const writing = (async () => {
    while (isRunning) await writer.write(chunk);
  })();
  const reading = (async () => {
    for await (const { byteLength } of server.readable) moved += byteLength;
  })().catch(() => {});
  let worst = 0;
  for (let round = 0; round < 30; round += 1) {
    const start = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 1));
    worst = Math.max(worst, performance.now() - start);
  }
  isRunning = false;
  await writing;
  client.abort();
  await reading;
  assert.ok(moved > 1_000_000, `${moved} bytes moved meanwhile`);
  assert.ok(worst < 250, `a timer of 1 ms took ${worst} ms`);
  network.engine.close();
});

test("promises have their turns while two engines answer each other", async () => {
  const { one, two, a, b, nicA, nicB } = await twoEngines();
  plug(nicA, nicB);
  const { client, server } = await connected({ a, b });
  const rounds = 200;
  const byte = new Uint8Array(1);
  let answered = 0;
  server.onready = () => {
    while (server.tryRead(byte) > 0) server.tryWrite(byte);
  };
  client.onready = () => {
    while (client.tryRead(byte) > 0) {
      answered += 1;
      if (answered < rounds) client.tryWrite(byte);
    }
  };
  client.tryWrite(byte);
  let most = 0;
  for (let waited = 0; answered < rounds; waited += 1) {
    const before = answered;
    await Promise.resolve();
    most = Math.max(most, answered - before);
    if (answered > before) waited = 0;
    // The turn of the event loop may have had its share of work for the engines.
    if (waited % 50 === 49) await settle();
  }
  assert.ok(most <= 1, `${most} answers came between two turns`);
  client.onready = null;
  server.onready = null;
  one.close();
  two.close();
});

test("a program ends when no socket is open, though neighbour entries have time left", async () => {
  const program = `
    import { createStack, plug } from "ethertab";
    const a = await createStack({ hostname: "a" }), b = await createStack({ hostname: "b" });
    const nic = a.addInterface({ addresses: ["10.0.0.1/24"] });
    plug(nic, b.addInterface({ addresses: ["10.0.0.2/24"] }));
    const server = b.listen({ port: 80 });
    const socket = a.connect("10.0.0.2:80");
    const other = await server.accept();
    await socket.opened;
    await Promise.all([socket.close(), other.close(), server.close()]);
    console.log(a.connections().length + b.connections().length, a.neighbors().length);
  `;
  const start = performance.now();
  const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", program], {
    cwd: fileURLToPath(new URL(".", import.meta.url)),
  });
  assert.match(stdout, /^\d+ 1\n$/);
  assert.ok(performance.now() - start < 10_000);
  await settle();
});

test("more frames at once than an engine passes on in one batch reach the other engine", async () => {
  const { one, two, nicB } = await twoEngines();
  const lan = await createSwitch({ engine: one });
  const outside = functionPort({ send: () => {} });
  const lengths = new Set();
  const witness = functionPort({
    send: (frame) => {
      // But for IPv6: the stack repeats its multicast reports (RFC 3810 §6.1) when it likes.
      if (frame[12] !== 0x86) lengths.add(frame.byteLength);
    },
  });
  for (const port of [outside, witness, nicB]) lan.plug(port);
  await settle();
  lengths.clear();
  const before = nicB.counters.framesReceived;
  // With the length in front of each, these fill a buffer of a power of two to its last byte.
  const frame = new Uint8Array(252);
  frame.fill(255, 0, 6);
  frame.set([2, 0, 0, 0, 0, 1, 0x88, 0xb5], 6);
  for (let count = 0; count < 4_000; count += 1) outside.receive(frame);
  await until(() => nicB.counters.framesReceived === before + 4_000, "all of the frames");
  // A batch ends with its last frame.
  assert.deepEqual([...lengths], [frame.byteLength]);
  assert.equal(two.over, null);
  one.close();
  two.close();
});

test("a batch of frames arrives though the engine's memory moves while it is staged", async () => {
  const { one, two, a, b, nicA, nicB } = await twoEngines();
  plug(nicA, nicB);
  // What the capture keeps makes the memory grow, again and again.
  const seen = capture(nicB, { memory: 256 * 1024 * 1024 });
  const memory = two.memoryBytes;
  const { client, server } = await connected({ a, b });
  const bytes = pattern(24 * 1024 * 1024);
  const [received] = await Promise.all([
    readAll(server.readable),
    writeAll(client.writable, bytes),
  ]);
  assert.equal(Buffer.compare(received, bytes), 0);
  assert.ok(two.memoryBytes > memory);
  assert.equal(seen.dropped, 0);
  one.close();
  two.close();
});

test("init gives way to an engine that was started while it waited for one that is closed", async () => {
  const first = await init({ wasm });
  first.close();
  const [late, stack] = await Promise.allSettled([init({ wasm }), createStack()]);
  const started = [late.value, stack.value?.engine].filter((engine) => engine !== undefined);
  assert.equal(stack.status, "fulfilled");
  assert.equal(new Set(started).size, 1);
  if (late.status === "rejected") assert.ok(late.reason instanceof EngineError);
  stack.value.engine.close();
});

test("a module's response with parameters in its media type is taken", async () => {
  const headers = { "content-type": "application/wasm; charset=utf-8" };
  const engine = await createEngine({ wasm: new Response(await readFile(wasm), { headers }) });
  assert.equal(engine.blocksInUse, 0);
  engine.close();
});
