// Two stacks in two engines (WebAssembly instances), through the package's public API. Frames are carried from one to the
// other by JavaScript. docs/BENCHMARKS.md says what each figure means.

import path from "node:path";
import { setImmediate as nextTask } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import v8 from "node:v8";
import vm from "node:vm";
import { figure, takeTurns } from "../lib/measure.mjs";
import { Pattern } from "../lib/pattern.mjs";

const GB = 1e9;
const PORT = 80;
const CHUNK_BYTES = 65_536;
const MESSAGE_BYTES = 64;
/** What has to move without memory growing. */
const MEMORY_RUN_GB = 10;
/** How many connections are being made at once. */
const AT_ONCE = 64;
/** Sockets that are open at both ends while their memory is looked at. */
const OPEN_SOCKETS = 10_000;

/** Two hosts joined by a cable: 10.0.0.1 in the first of the engines, 10.0.0.2 in the last. */
async function network({ createEngine, createStack, plug }, engineCount = 2, limits = {}) {
  const engines = await Promise.all(Array.from({ length: engineCount }, () => createEngine()));
  const a = await createStack({ hostname: "a", engine: engines[0], limits });
  const b = await createStack({ hostname: "b", engine: engines.at(-1), limits });
  plug(
    a.addInterface({ addresses: ["10.0.0.1/24"] }),
    b.addInterface({ addresses: ["10.0.0.2/24"] }),
  );
  const listener = b.listen({ port: PORT });
  await listener.listening;
  return { a, listener, engines };
}

/** Opens a connection: both ends. */
async function connect({ a, listener }) {
  const client = a.connect({ hostname: "10.0.0.2", port: PORT });
  const [server] = await Promise.all([listener.accept(), client.opened]);
  return { client, server };
}

/** A connection between hosts of its own, and how to do away with all of it. */
async function freshConnection(ethertab, engineCount) {
  const { engines, ...hosts } = await network(ethertab, engineCount);
  const { client, server } = await connect(hosts);
  const close = () => {
    client.onready = null;
    server.onready = null;
    for (const engine of engines) engine.close();
  };
  return { client, server, engines, close };
}

/** A function that moves bytes from the client to the server over the sockets' layer without streams. */
function mover({ client, server }) {
  const pattern = new Pattern(CHUNK_BYTES);
  const into = new Uint8Array(CHUNK_BYTES);
  let sent = 0;
  let received = 0;
  let goal = 0;
  let finished = null;
  client.onready = () => {
    while (sent < goal) {
      const chunk = pattern.at(sent, Math.min(CHUNK_BYTES, goal - sent));
      const taken = client.tryWrite(chunk);
      sent += taken;
      if (taken < chunk.length) return;
    }
  };
  server.onready = () => {
    for (let count = server.tryRead(into); count > 0; count = server.tryRead(into)) {
      if (!pattern.matches(received, into.subarray(0, count))) {
        finished?.reject(new Error(`a wrong byte in the ${count} after ${received}`));
        return;
      }
      received += count;
    }
    if (received === goal) finished?.resolve();
  };
  return (bytes) =>
    new Promise((resolve, reject) => {
      finished = { resolve, reject };
      goal += bytes;
      client.onready();
    });
}

/** The same over the sockets' streams. */
function streamMover({ client, server }) {
  const pattern = new Pattern(CHUNK_BYTES);
  const writer = client.writable.getWriter();
  const reader = server.readable.getReader();
  let sent = 0;
  let received = 0;
  let goal = 0;
  const send = async () => {
    while (sent < goal) {
      const chunk = pattern.at(sent, Math.min(CHUNK_BYTES, goal - sent));
      await writer.write(chunk);
      sent += chunk.length;
    }
  };
  const receive = async () => {
    while (received < goal) {
      const { value } = await reader.read();
      if (value === undefined || !pattern.matches(received, value))
        throw new Error(`a wrong byte after ${received}`);
      received += value.length;
    }
  };
  return async (bytes) => {
    goal += bytes;
    await Promise.all([send(), receive()]);
  };
}

/** Work that moves an amount in MB of a million bytes. */
function megabytes(move) {
  return { work: (amount) => move(amount * 1e6), start: 1, limit: 4000 };
}

async function bulk({ dist, repetitions }) {
  const ethertab = await load(dist);
  const connections = {
    two_engines: await freshConnection(ethertab),
    streams: await freshConnection(ethertab),
    one_engine: await freshConnection(ethertab, 1),
  };
  const contenders = {
    two_engines: megabytes(mover(connections.two_engines)),
    streams: megabytes(streamMover(connections.streams)),
    one_engine: megabytes(mover(connections.one_engine)),
  };
  const { rates, clockRates } = await takeTurns("bulk through JavaScript, MB/s", contenders, {
    repetitions,
  });
  for (const { close } of Object.values(connections)) close();
  return [
    figure("js.bulk.mb_s", "MB/s", rates.two_engines),
    figure("js.bulk.clock_mb_s", "MB/s", clockRates.two_engines),
    figure("js.bulk.streams_mb_s", "MB/s", rates.streams),
    figure("js.bulk.one_engine_mb_s", "MB/s", rates.one_engine),
    await memoryGrowth(ethertab),
  ];
}

/** Growth of all memory, JavaScript's and the engines', while gigabytes move. */
async function memoryGrowth(ethertab) {
  const connection = await freshConnection(ethertab);
  const { engines } = connection;
  const move = mover(connection);
  // Buffers get their size and code is compiled before the first look.
  await move(GB / 4);
  const before = await memoryBytes(engines);
  const growths = [];
  for (let moved = 1; moved <= MEMORY_RUN_GB; moved++) {
    await move(GB);
    growths.push((await memoryBytes(engines)) - before);
    console.log(`  memory after ${moved} GB: ${growths.at(-1)} bytes more`);
  }
  connection.close();
  return { ...figure("js.bulk.memory_growth", "bytes", growths), value: growths.at(-1) };
}

/** JavaScript's heap and array buffers after a collection, and the memory of the engines. */
async function memoryBytes(engines) {
  v8.setFlagsFromString("--expose-gc");
  const collect = vm.runInNewContext("gc");
  for (let round = 0; round < 5; round++) {
    await nextTask();
    collect();
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  const held = engines.reduce((sum, engine) => sum + engine.memoryBytes, 0);
  return heapUsed + arrayBuffers + held;
}

async function pingPong({ dist, repetitions }) {
  const ethertab = await load(dist);
  const { client, server, close } = await freshConnection(ethertab);
  const pattern = new Pattern(MESSAGE_BYTES);
  const echo = new Uint8Array(MESSAGE_BYTES);
  const answer = new Uint8Array(MESSAGE_BYTES);
  let finished = null;
  let remaining = 0;
  let offset = 0;
  let returned = 0;
  const ask = () => {
    if (client.tryWrite(pattern.at(offset, MESSAGE_BYTES)) !== MESSAGE_BYTES)
      finished.reject(new Error("the send buffer is full"));
  };
  server.onready = () => {
    for (let count = server.tryRead(echo); count > 0; count = server.tryRead(echo)) {
      if (server.tryWrite(echo.subarray(0, count)) !== count)
        finished?.reject(new Error("the send buffer is full"));
    }
  };
  client.onready = () => {
    for (let count = client.tryRead(answer); count > 0; count = client.tryRead(answer)) {
      if (!pattern.matches(offset + returned, answer.subarray(0, count))) {
        finished.reject(new Error(`a wrong byte in round trip ${offset / MESSAGE_BYTES}`));
        return;
      }
      returned += count;
    }
    if (returned < MESSAGE_BYTES) return;
    returned = 0;
    offset += MESSAGE_BYTES;
    remaining -= 1;
    if (remaining > 0) ask();
    else finished.resolve();
  };
  const work = (rounds) =>
    new Promise((resolve, reject) => {
      finished = { resolve, reject };
      remaining = rounds;
      ask();
    });
  const { rates, clockRates } = await takeTurns(
    "round trips of 64 bytes a second",
    { ethertab: { work } },
    { repetitions },
  );
  close();
  return [
    figure("js.pingpong.per_s", "1/s", rates.ethertab),
    figure("js.pingpong.clock_per_s", "1/s", clockRates.ethertab),
  ];
}

/** Makes one connection, which the client closes and then the server. */
async function comeAndGo(hosts, nothing) {
  const { client, server } = await connect(hosts);
  const ended = new Promise((resolve, reject) => {
    server.onready = () => {
      const read = server.tryRead(nothing);
      if (read === 0) resolve();
      else if (read > 0) reject(new Error("bytes that nobody sent"));
    };
  });
  await client.close();
  await ended;
  await server.close();
}

async function connections({ dist, repetitions }) {
  const ethertab = await load(dist);
  const { engines, ...hosts } = await network(ethertab);
  const nothing = new Uint8Array(1);
  const one_by_one = async (count) => {
    for (let i = 0; i < count; i++) await comeAndGo(hosts, nothing);
  };
  const many = async (count) => {
    let left = count;
    const worker = async () => {
      while (left-- > 0) await comeAndGo(hosts, nothing);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  };
  const { rates, clockRates } = await takeTurns(
    "connections a second",
    { many: { work: many, start: 1000 }, one_by_one: { work: one_by_one, start: 100 } },
    { repetitions },
  );
  for (const engine of engines) engine.close();
  return [
    figure("js.connect.per_s", "1/s", rates.many),
    figure("js.connect.clock_per_s", "1/s", clockRates.many),
    figure("js.connect.one_by_one_per_s", "1/s", rates.one_by_one),
  ];
}

/** What is written at one end is read at the other as a byte stream, with nothing between. */
function barePipe() {
  let controller;
  const readable = new ReadableStream(
    {
      type: "bytes",
      start(given) {
        controller = given;
      },
    },
    { highWaterMark: 0 },
  );
  const writable = new WritableStream({
    write(chunk) {
      // A copy, as what has crossed a network is: a stream takes the memory of what is put into it.
      controller.enqueue(chunk.slice());
    },
  });
  return { readable, writable };
}

/** Work that sends messages and waits for each to come back, over the streams of two ends. */
function streamEcho(client, server) {
  const pattern = new Pattern(MESSAGE_BYTES);
  const writer = client.writable.getWriter();
  const reader = client.readable.getReader();
  const echo = async () => {
    const back = server.writable.getWriter();
    for await (const chunk of server.readable) await back.write(chunk);
  };
  echo().catch(() => {});
  let offset = 0;
  return async (rounds) => {
    for (let round = 0; round < rounds; round++) {
      const written = writer.write(pattern.at(offset, MESSAGE_BYTES));
      for (let returned = 0; returned < MESSAGE_BYTES; ) {
        const { value } = await reader.read();
        if (value === undefined || !pattern.matches(offset + returned, value))
          throw new Error(`a wrong byte in round trip ${round}`);
        returned += value.length;
      }
      await written;
      offset += MESSAGE_BYTES;
    }
  };
}

async function streamPingPong({ dist, repetitions }) {
  const ethertab = await load(dist);
  const { client, server, close } = await freshConnection(ethertab);
  const [up, down] = [barePipe(), barePipe()];
  const contenders = {
    ethertab: { work: streamEcho(client, server) },
    bare: {
      work: streamEcho(
        { writable: up.writable, readable: down.readable },
        { writable: down.writable, readable: up.readable },
      ),
    },
  };
  const { rates } = await takeTurns("round trips of 64 bytes through streams", contenders, {
    repetitions,
  });
  close();
  return [
    figure("js.streams.per_s", "1/s", rates.ethertab),
    figure("js.streams.bare_per_s", "1/s", rates.bare),
    figure(
      "js.streams.vs_bare",
      "ratio",
      rates.ethertab.map((rate, turn) => rate / rates.bare[turn]),
    ),
  ];
}

/** Memory of a socket that is open and idle, half of a connection: JavaScript's and the engines'. */
async function openSockets({ dist }) {
  const ethertab = await load(dist);
  const { engines, ...hosts } = await network(ethertab, 2, { connections: OPEN_SOCKETS });
  await connect(hosts);
  const before = await memoryBytes(engines);
  const open = [];
  for (let i = 0; i < OPEN_SOCKETS / 2; i++) open.push(await connect(hosts));
  const each = ((await memoryBytes(engines)) - before) / (2 * open.length);
  console.log(`  ${2 * open.length} sockets: ${Math.round(each)} bytes each`);
  for (const engine of engines) engine.close();
  return [figure("js.socket.bytes_each", "bytes", [each])];
}

function load(dist) {
  return import(pathToFileURL(path.join(dist, "index.js")).href);
}

/** What `run.mjs` runs. */
export const benchmarks = [
  { prefix: "js.bulk.", run: bulk },
  { prefix: "js.pingpong.", run: pingPong },
  { prefix: "js.connect.", run: connections },
  { prefix: "js.streams.", run: streamPingPong },
  { prefix: "js.socket.", run: openSockets },
];
