/**
 * The streams of a socket as the Streams Standard has them (https://streams.spec.whatwg.org/): a readable byte stream and a writable stream, over a network
 * whose time does not pass. What the standard says is quoted.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { SocketError } from "ethertab";
import { connected, pattern, readAll, settle, twoStacks } from "./support.mjs";

const SMALL = { sendBuffer: 8_192, receiveBuffer: 8_192 };

async function pair(options) {
  const network = await twoStacks({ tcp: SMALL });
  return { ...(await connected(network, options)), network, end: () => network.engine.close() };
}

/** Whether a promise has settled by the time that all work is done. */
async function isSettled(promise) {
  let settled = false;
  const note = () => {
    settled = true;
  };
  promise.then(note, note);
  await settle();
  return settled;
}

const text = (string) => new TextEncoder().encode(string);
const hasCode = (code) => (error) => error instanceof SocketError && error.code === code;

// Reading.

const VIEWS = [
  Uint8Array,
  Int8Array,
  Uint8ClampedArray,
  Uint16Array,
  Int16Array,
  Uint32Array,
  Int32Array,
  Float32Array,
  Float64Array,
  BigUint64Array,
  BigInt64Array,
  DataView,
];

for (const View of VIEWS) {
  test(`a BYOB reader fills a ${View.name}, and takes its memory`, async () => {
    const { client, server, end } = await pair();
    const reader = client.readable.getReader({ mode: "byob" });
    const memory = new ArrayBuffer(40);
    const reading = reader.read(
      View === DataView
        ? new View(memory, 8, 24)
        : new View(memory, 8, 24 / View.BYTES_PER_ELEMENT),
    );
    // "the ArrayBuffer underlying view will be transferred"
    assert.equal(memory.byteLength, 0);
    server.tryWrite(pattern(24));
    const { value, done } = await reading;
    assert.equal(done, false);
    assert.ok(value instanceof View);
    assert.equal(value.buffer.byteLength, 40);
    assert.equal(value.byteOffset, 8);
    const got = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    assert.deepEqual(got, pattern(24));
    end();
  });
}

test("a view of wider elements waits for whole ones, and the rest is given to the next read", async () => {
  const { client, server, end } = await pair();
  const reader = client.readable.getReader({ mode: "byob" });
  const reading = reader.read(new Uint32Array(4));
  server.tryWrite(pattern(3));
  assert.equal(await isSettled(reading), false);
  server.tryWrite(pattern(3, 3));
  const { value } = await reading;
  assert.equal(value.byteLength, 4);
  assert.deepEqual(new Uint8Array(value.buffer, 0, 4), pattern(4));
  const next = await reader.read(new Uint8Array(10));
  assert.deepEqual(next.value, pattern(2, 4));
  end();
});

test("views that cannot be filled are refused", async () => {
  const { client, end } = await pair();
  const reader = client.readable.getReader({ mode: "byob" });
  await assert.rejects(reader.read(new Uint8Array(0)), TypeError);
  const detached = new Uint8Array(8);
  structuredClone(detached, { transfer: [detached.buffer] });
  await assert.rejects(reader.read(detached), TypeError);
  await assert.rejects(reader.read("bytes"), TypeError);
  await assert.rejects(reader.read(), TypeError);
  end();
});

test("read(view, { min }) waits for so many elements, where the runtime has it", async () => {
  const { client, server, end } = await pair();
  const reader = client.readable.getReader({ mode: "byob" });
  const reading = reader.read(new Uint16Array(8), { min: 4 });
  server.tryWrite(pattern(2));
  const waits = !(await isSettled(reading));
  let own;
  const bare = new ReadableStream({ type: "bytes", start: (controller) => (own = controller) });
  const bareReading = bare.getReader({ mode: "byob" }).read(new Uint16Array(8), { min: 4 });
  own.enqueue(pattern(2));
  assert.equal(waits, !(await isSettled(bareReading)), "as the platform's own streams");
  if (waits) {
    server.tryWrite(pattern(9, 2));
    const { value } = await reading;
    assert.equal(value.byteLength, 10);
    assert.deepEqual(new Uint8Array(value.buffer, 0, 10), pattern(10));
    const rest = reader.read(new Uint8Array(3), { min: 2 });
    server.shutdown();
    // "If the stream becomes closed, and no more than min elements are available, then the promise is fulfilled with the remaining elements"
    const last = await rest;
    assert.deepEqual([last.done, last.value.byteLength], [true, 1]);
  }
  end();
});

test("releaseLock rejects the reads that wait, and what comes is for the next reader", async () => {
  const { client, server, end } = await pair();
  for (const [options, args] of [
    [{ mode: "byob" }, () => [new Uint8Array(10)]],
    [{}, () => []],
  ]) {
    const reader = client.readable.getReader(options);
    const reading = reader.read(...args());
    const closed = reader.closed;
    reader.releaseLock();
    await assert.rejects(reading, TypeError);
    await assert.rejects(closed, TypeError);
    await assert.rejects(reader.read(...args()), TypeError);
    assert.equal(client.readable.locked, false);
  }
  server.tryWrite(text("for whom?"));
  await settle();
  const next = client.readable.getReader();
  assert.deepEqual((await next.read()).value, text("for whom?"));
  next.releaseLock();
  // A read by memory of the reader's, after one without.
  const byob = client.readable.getReader({ mode: "byob" });
  const reading = byob.read(new Uint8Array(4));
  server.tryWrite(text("you"));
  assert.deepEqual((await reading).value, text("you"));
  end();
});

test("reads that wait are answered in their order, those of both kinds", async () => {
  const { client, server, end } = await pair();
  const byob = client.readable.getReader({ mode: "byob" });
  const reads = [
    byob.read(new Uint8Array(2)),
    byob.read(new Uint8Array(3)),
    byob.read(new Uint8Array(9)),
  ];
  server.tryWrite(text("abcdefg"));
  const values = (await Promise.all(reads)).map(({ value }) => Buffer.from(value).toString());
  assert.deepEqual(values, ["ab", "cde", "fg"]);
  end();
});

test("the end: reads that wait, with their memory, and those that come later", async () => {
  const { client, server, end } = await pair();
  const reader = client.readable.getReader({ mode: "byob" });
  const reads = [reader.read(new Uint8Array(8)), reader.read(new Uint16Array(8))];
  server.shutdown();
  for (const [index, read] of reads.entries()) {
    const { value, done } = await read;
    assert.equal(done, true);
    // "the promise will be fulfilled with an object of the form { value: <empty view>, done: true }", in the memory that was given
    assert.equal(value.byteLength, 0);
    assert.equal(value.buffer.byteLength, [8, 16][index]);
  }
  await reader.closed;
  const late = await reader.read(new Uint8Array(5));
  assert.deepEqual([late.done, late.value.byteLength, late.value.buffer.byteLength], [true, 0, 5]);
  end();
});

test("tee gives both branches all bytes; cancelling both cancels the stream", async () => {
  const { client, server, end } = await pair();
  const [one, two] = client.readable.tee();
  assert.equal(client.readable.locked, true);
  const bytes = pattern(100_000);
  const writing = (async () => {
    const writer = server.writable.getWriter();
    await writer.write(bytes);
    await writer.close();
  })();
  const [first, second] = await Promise.all([readAll(one), readAll(two), writing]);
  assert.equal(Buffer.compare(first, bytes), 0);
  assert.equal(Buffer.compare(second, bytes), 0);
  await client.closed;

  const again = await pair();
  const branches = again.client.readable.tee();
  const byob = branches[0].getReader({ mode: "byob" });
  const reading = byob.read(new Uint8Array(4));
  again.server.tryWrite(pattern(4));
  assert.deepEqual((await reading).value, pattern(4));
  byob.releaseLock();
  await Promise.all(branches.map((branch) => branch.cancel("enough")));
  again.end();
  end();
});

test("cancel while data waits: reads end, the data is thrown away, and more does not stall the peer", async () => {
  const { client, server, end } = await pair({ connect: { allowHalfOpen: true } });
  server.tryWrite(pattern(5_000));
  await settle();
  assert.equal(client.readableBytes, 5_000);
  const reader = client.readable.getReader();
  await reader.cancel("not interested");
  assert.equal((await reader.read()).done, true);
  await reader.closed;
  const writer = server.writable.getWriter();
  await writer.write(pattern(50_000));
  // The other way goes on.
  client.tryWrite(text("still here"));
  assert.deepEqual((await server.readable.getReader().read()).value, text("still here"));
  await writer.close();
  end();
});

test("cancel while reads wait ends them", async () => {
  const { client, end } = await pair();
  const reader = client.readable.getReader({ mode: "byob" });
  const reading = reader.read(new Uint8Array(4));
  await reader.cancel("enough");
  // "Cancelling a BYOB reader's stream: value undefined", since its memory is not given back.
  assert.deepEqual(await reading, { value: undefined, done: true });
  assert.equal(client.readable.locked, true);
  end();
});

test("iteration: break cancels, preventCancel does not, return() follows a next() that waits", async () => {
  const { client, server, end } = await pair();
  server.tryWrite(text("one"));
  for await (const chunk of client.readable.values({ preventCancel: true })) {
    assert.deepEqual(chunk, text("one"));
    break;
  }
  assert.equal(client.readable.locked, false);
  const iterator = client.readable[Symbol.asyncIterator]();
  const next = iterator.next();
  const returned = iterator.return("done");
  server.tryWrite(text("two"));
  assert.deepEqual(await next, { value: text("two"), done: false });
  assert.deepEqual(await returned, { value: "done", done: true });
  assert.equal(client.readable.locked, false);
  assert.equal((await client.readable.getReader().read()).done, true);
  end();
});

test("an error reaches reads, closed, iterations and pipes, as it is", async () => {
  const { client, server, end } = await pair();
  const reader = client.readable.getReader();
  const promises = [reader.read(), reader.closed, client.closed];
  server.abort();
  const errors = await Promise.all(promises.map((promise) => promise.catch((error) => error)));
  assert.ok(hasCode("ECONNRESET")(errors[0]));
  assert.equal(new Set(errors).size, 1);
  reader.releaseLock();
  await assert.rejects(readAll(client.readable), hasCode("ECONNRESET"));
  await assert.rejects(client.readable.cancel(), hasCode("ECONNRESET"));
  await assert.rejects(client.readable.pipeTo(new WritableStream()), hasCode("ECONNRESET"));
  await assert.rejects(client.writable.getWriter().closed, hasCode("ECONNRESET"));
  end();
});

// Writing.

test("all that are bytes are written: views with offsets, buffers, resizable and shared memory", async () => {
  const { client, server, end } = await pair();
  const memory = pattern(48).buffer;
  const chunks = [
    ...VIEWS.map(
      (View) => new View(memory, 8, View === DataView ? 16 : 16 / View.BYTES_PER_ELEMENT),
    ),
    memory.slice(0, 5),
    Buffer.from("a buffer of Node's"),
    new Uint8Array(new ArrayBuffer(8, { maxByteLength: 16 })).fill(7),
    new ArrayBuffer(4, { maxByteLength: 16 }),
    new Uint8Array(new SharedArrayBuffer(6)).fill(9),
  ];
  const bytesOf = (chunk) =>
    ArrayBuffer.isView(chunk)
      ? Buffer.from(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength))
      : Buffer.from(new Uint8Array(chunk));
  const expected = Buffer.concat(chunks.map(bytesOf));
  const writer = client.writable.getWriter();
  const reading = readAll(server.readable);
  for (const chunk of chunks) {
    await writer.write(chunk);
    // What was written is the writer's again.
    assert.ok(chunk.byteLength > 0);
  }
  await writer.close();
  assert.equal(Buffer.compare(await reading, expected), 0);
  end();
});

test("nothing is nothing: empty chunks and detached memory of no bytes send nothing and end nothing", async () => {
  const { client, server, end } = await pair();
  const writer = client.writable.getWriter();
  const empty = [new Uint8Array(0), new ArrayBuffer(0), new DataView(new ArrayBuffer(0))];
  const detached = VIEWS.map((View) => new View(new ArrayBuffer(8)));
  const buffers = detached.map(({ buffer }) => buffer);
  structuredClone(buffers, { transfer: buffers });
  for (const chunk of [...empty, ...detached, ...buffers]) await writer.write(chunk);
  assert.equal(server.readableBytes, 0);
  await writer.write(text("x"));
  await writer.close();
  assert.deepEqual(await readAll(server.readable), Buffer.from("x"));
  end();
});

const NO_BYTES = ["text", 5, null, undefined, {}, [1, 2], new Blob(["x"]), Symbol("x"), 1n];
for (const chunk of [...NO_BYTES, new SharedArrayBuffer(4)]) {
  test(`a chunk of the kind ${Object.prototype.toString.call(chunk)} is a TypeError, and fails the stream`, async () => {
    const { client, end } = await pair();
    const writer = client.writable.getWriter();
    await assert.rejects(writer.write(chunk), TypeError);
    await assert.rejects(writer.write(text("after")), TypeError);
    await assert.rejects(writer.closed, TypeError);
    assert.equal(writer.desiredSize, null);
    end();
  });
}

test("desiredSize and ready tell of back-pressure", async () => {
  const { client, server, end } = await pair();
  const writer = client.writable.getWriter();
  assert.equal(writer.desiredSize, 1);
  await writer.ready;
  const writing = writer.write(pattern(100_000));
  assert.equal(writer.desiredSize, 0);
  assert.equal(await isSettled(writer.ready), false);
  const second = writer.write(pattern(10));
  assert.equal(writer.desiredSize, -1);
  const reading = readAll(server.readable);
  await Promise.all([writing, second]);
  await writer.ready;
  assert.equal(writer.desiredSize, 1);
  await writer.close();
  assert.equal(writer.desiredSize, 0);
  assert.equal((await reading).byteLength, 100_010);
  end();
});

test("close waits for what was written, and closes once", async () => {
  const { client, server, end } = await pair({ connect: { allowHalfOpen: true } });
  const writer = client.writable.getWriter();
  const writes = [writer.write(pattern(50_000)), writer.write(pattern(10))];
  const closing = writer.close();
  await assert.rejects(writer.close(), TypeError);
  await assert.rejects(writer.write(text("late")), TypeError);
  assert.equal(await isSettled(closing), false);
  assert.equal((await readAll(server.readable)).byteLength, 50_010);
  await Promise.all([...writes, closing, writer.closed]);
  await assert.rejects(writer.close(), TypeError);
  await writer.abort("nothing to abort");
  end();
});

test("abort fails what waits with the reason, once the write under way has failed", async () => {
  const { client, server, end } = await pair();
  const writer = client.writable.getWriter();
  const reason = { is: "any value" };
  const writes = [writer.write(pattern(100_000)), writer.write(pattern(10))];
  const failing = writes.map((write) => write.then(assert.fail, (error) => error));
  await settle();
  await writer.abort(reason);
  const [first, second] = await Promise.all(failing);
  // The one under way fails with what has become of the connection, which names the reason.
  assert.ok(first === reason || first.cause === reason);
  assert.equal(second, reason);
  await assert.rejects(writer.closed, (error) => error === reason);
  await assert.rejects(writer.ready, (error) => error === reason);
  await assert.rejects(
    client.closed,
    (error) => hasCode("ABORT_ERR")(error) && error.cause === reason,
  );
  await assert.rejects(readAll(server.readable), hasCode("ECONNRESET"));
  end();
});

test("releaseLock of a writer leaves the stream to the next, and its writes go on", async () => {
  const { client, server, end } = await pair();
  const writer = client.writable.getWriter();
  const writing = writer.write(pattern(30_000));
  writer.releaseLock();
  await assert.rejects(writer.closed, TypeError);
  await assert.rejects(writer.write(text("no")), TypeError);
  assert.throws(() => writer.desiredSize, TypeError);
  const next = client.writable.getWriter();
  const closing = next.close();
  assert.equal((await readAll(server.readable)).byteLength, 30_000);
  await Promise.all([writing, closing]);
  end();
});

// Pipes.

test("pipes: both ways, through transforms, and from what can be iterated", async () => {
  const { client, server, end } = await pair();
  const echo = server.readable.pipeThrough(new TransformStream()).pipeTo(server.writable);
  const chunks = Array.from({ length: 20 }, (_, index) => pattern(5_000, index * 5_000));
  const [back] = await Promise.all([
    readAll(client.readable.pipeThrough(new TransformStream())),
    ReadableStream.from(chunks).pipeTo(client.writable),
    echo,
  ]);
  assert.equal(Buffer.compare(back, pattern(100_000)), 0);
  await Promise.all([client.closed, server.closed]);
  end();
});

test("preventClose, preventCancel and preventAbort leave the other end as it is", async () => {
  const { client, server, end } = await pair({ connect: { allowHalfOpen: true } });
  const from = (...chunks) => ReadableStream.from(chunks);
  await from(text("a"), text("b")).pipeTo(client.writable, { preventClose: true });
  const broken = new ReadableStream({
    start: (controller) => controller.error(new Error("broken")),
  });
  await assert.rejects(broken.pipeTo(client.writable, { preventAbort: true }), /broken/);
  await from(text("c")).pipeTo(client.writable);
  assert.deepEqual(await readAll(server.readable), Buffer.from("abc"));

  const full = new WritableStream({
    write() {
      throw new Error("full");
    },
  });
  end();

  const again = await pair();
  again.server.tryWrite(text("one"));
  await assert.rejects(again.client.readable.pipeTo(full, { preventCancel: true }), /full/);
  again.server.tryWrite(text("two"));
  assert.deepEqual((await again.client.readable.getReader().read()).value, text("two"));
  again.end();
});

test("a pipe that is aborted cancels and aborts, or leaves alone what it shall", async () => {
  const reason = new Error("stop");
  const { client, server, end } = await pair();
  const controller = new AbortController();
  const piping = server.readable.pipeTo(new WritableStream(), { signal: controller.signal });
  controller.abort(reason);
  await assert.rejects(piping, (error) => error === reason);
  assert.equal((await server.readable.getReader().read()).done, true);
  client.abort();
  end();

  const again = await pair();
  const second = new AbortController();
  const kept = again.server.readable.pipeTo(again.server.writable, {
    signal: second.signal,
    preventAbort: true,
    preventCancel: true,
  });
  second.abort(reason);
  await assert.rejects(kept, (error) => error === reason);
  assert.equal(again.server.readable.locked || again.server.writable.locked, false);
  again.client.tryWrite(text("still"));
  assert.deepEqual((await again.server.readable.getReader().read()).value, text("still"));
  await again.server.writable.getWriter().write(text("there"));
  assert.deepEqual((await again.client.readable.getReader().read()).value, text("there"));
  again.end();

  // "Wait until every chunk that has been read has been written": the pipe's signal does not reach a write that waits for room, the socket's does.
  const stuck = await pair();
  const third = new AbortController();
  const endless = new ReadableStream({ pull: (into) => into.enqueue(pattern(5_000)) });
  const filling = endless.pipeTo(stuck.client.writable, { signal: third.signal });
  await settle();
  third.abort(reason);
  assert.equal(await isSettled(filling), false);
  stuck.client.abort();
  // Engines differ in whose error it is then.
  await assert.rejects(filling, (error) => error === reason || hasCode("ABORT_ERR")(error));
  await assert.rejects(stuck.client.closed, hasCode("ABORT_ERR"));
  stuck.end();
});

test("a source that fails aborts the socket, and a socket that fails cancels the source", async () => {
  const { client, server, end } = await pair();
  const broken = new Error("broken");
  let pulled = 0;
  const source = new ReadableStream({
    pull(controller) {
      pulled += 1;
      if (pulled > 1) controller.error(broken);
      else controller.enqueue(text("half"));
    },
  });
  await assert.rejects(source.pipeTo(client.writable), (error) => error === broken);
  await assert.rejects(client.closed, (error) => error.cause === broken);
  await assert.rejects(readAll(server.readable), hasCode("ECONNRESET"));
  end();

  const again = await pair();
  let cancelled;
  const endless = new ReadableStream({
    pull: (controller) => controller.enqueue(pattern(5_000)),
    cancel: (reason) => {
      cancelled = reason;
    },
  });
  const failed = assert.rejects(endless.pipeTo(again.client.writable), hasCode("ECONNRESET"));
  await settle();
  again.server.abort();
  await failed;
  assert.ok(hasCode("ECONNRESET")(cancelled));
  again.end();
});

test("streams that are transferred go on in the other realm", async () => {
  const { client, server, end } = await pair();
  const { readable, writable } = client;
  const moved = structuredClone({ readable, writable }, { transfer: [readable, writable] });
  assert.equal(readable.locked && writable.locked, true);
  const writer = moved.writable.getWriter();
  await writer.write(text("there"));
  const reader = server.readable.getReader();
  assert.deepEqual((await reader.read()).value, text("there"));
  server.tryWrite(text("and back"));
  const back = moved.readable.getReader();
  assert.deepEqual((await back.read()).value, text("and back"));
  const [closing] = [writer.close()];
  assert.equal((await reader.read()).done, true);
  server.shutdown();
  assert.equal((await back.read()).done, true);
  await closing;
  end();
});
