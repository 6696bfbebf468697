// WebSocket ports that reconnect, in time that the test moves, and QEMU's framing in messages that don't keep its frames together.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import {
  createEngine,
  createStack,
  createSwitch,
  functionPort,
  plug,
  webSocketPort,
} from "ethertab";
import { WebSocket, WebSocketServer } from "ws";
import { connected, ManualClock, pattern, readAll, settle, until, writeAll } from "./support.mjs";

async function listen(options = {}) {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", ...options });
  await once(server, "listening");
  const url = `ws://127.0.0.1:${server.address().port}`;
  const end = () => {
    for (const socket of server.clients) socket.terminate();
    return new Promise((resolve) => server.close(resolve));
  };
  return { server, url, end, port: server.address().port };
}

/** A WebSocket without a network; the test opens and ends it. */
class FakeSocket extends EventTarget {
  readyState = 0;
  bufferedAmount = 0;
  binaryType = "blob";
  sent = [];

  send(bytes) {
    this.sent.push(bytes);
  }

  close() {
    this.end(1005);
  }

  open() {
    this.readyState = 1;
    this.dispatchEvent(new Event("open"));
  }

  receive(data) {
    this.dispatchEvent(new MessageEvent("message", { data }));
  }

  end(code, reason = "") {
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event("close"), { code, reason }));
  }
}

const FRAME = new Uint8Array(60).fill(0xff, 0, 6).fill(2, 6, 12);

/** A port that reconnects, on a switch, and a port to send by. */
async function reconnecting({ queue, ...options } = {}) {
  const clock = new ManualClock();
  const sockets = [];
  const states = [];
  const port = webSocketPort(
    () => {
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket;
    },
    { reconnect: { clock, random: () => 0.5, ...options }, connectTimeout: "10s", queue },
  );
  port.onstate = (state, error) => states.push(error === null ? state : `${state} ${error.code}`);
  const engine = await createEngine();
  const lan = await createSwitch({ engine });
  const other = functionPort({ send() {} });
  lan.plug(port);
  lan.plug(other);
  return { clock, sockets, states, port, other, engine, lan };
}

test("attempts to connect are further apart each time, until one holds", async () => {
  const { clock, sockets, port, states, engine } = await reconnecting();
  assert.equal(port.state, "connecting");
  // Half a second doubles up to half a minute; chance has the middle of each second half.
  const waits = [375, 750, 1_500, 3_000, 6_000, 12_000, 22_500, 22_500];
  for (const wait of waits) {
    sockets.at(-1).end(1006);
    assert.equal(port.state, "waiting");
    const { length } = sockets;
    await clock.advance(wait - 1);
    assert.equal(sockets.length, length);
    await clock.advance(1);
    assert.equal(sockets.length, length + 1);
  }
  assert.deepEqual(states.slice(0, 3), [
    "waiting ECONNREFUSED",
    "connecting",
    "waiting ECONNREFUSED",
  ]);
  // One that opens and ends at once is no success.
  sockets.at(-1).open();
  await port.opened;
  sockets.at(-1).end(1006);
  await clock.advance(22_499);
  assert.equal(sockets.length, 9);
  await clock.advance(1);
  sockets.at(-1).open();
  await clock.advance(5_000);
  sockets.at(-1).end(1001);
  await clock.advance(375);
  assert.equal(sockets.length, 11);
  // One that never opens nor ends has failed when its time is over.
  await clock.advance(10_000);
  assert.equal(states.at(-1), "waiting ETIMEDOUT");
  assert.equal(sockets.at(-1).readyState, 3);
  port.close();
  assert.equal(states.at(-1), "closed");
  assert.deepEqual(await port.closed, { code: 1006, reason: "", error: null });
  assert.equal(clock.timers, 0);
  await clock.advance(60_000);
  assert.equal(sockets.length, 11);
  engine.close();
});

test("chance spreads the second half of each wait", async () => {
  for (const [random, wait] of [
    [0, 250],
    [0.999_999, 500],
  ]) {
    const { clock, sockets, engine, port } = await reconnecting({ random: () => random });
    sockets[0].end(1006);
    await clock.advance(wait - 1);
    assert.equal(sockets.length, 1);
    await clock.advance(1);
    assert.equal(sockets.length, 2);
    port.close();
    engine.close();
  }
});

test("a port that has failed too often closes, and says why", async () => {
  const { clock, sockets, port, lan, engine } = await reconnecting({ attempts: 2 });
  for (let attempt = 0; attempt < 3; attempt += 1) {
    sockets.at(-1).end(1011, "overloaded");
    await clock.advance(1_000);
  }
  assert.equal(sockets.length, 3);
  assert.equal(port.state, "closed");
  await assert.rejects(port.opened, { code: "ECONNREFUSED", message: /code 1011, overloaded/ });
  const { code, reason, error } = await port.closed;
  assert.deepEqual([code, reason, error.code], [1011, "overloaded", "ECONNREFUSED"]);
  assert.equal(lan.ports.includes(port), false);
  engine.close();
});

test("frames wait while there is no link, the newest of them, and what is late is not mixed up", async () => {
  const { clock, sockets, port, other, engine } = await reconnecting({ queue: 6_000 });
  const numbered = (number) => {
    const frame = FRAME.slice();
    frame[59] = number;
    return frame;
  };
  other.receive(numbered(1));
  await settle();
  assert.equal(sockets[0].sent.length, 0);
  sockets[0].open();
  assert.equal(sockets[0].sent.length, 1);
  sockets[0].end(1006);
  for (let count = 0; count < 250; count += 1) other.receive(numbered(count));
  await settle();
  await clock.advance(400);
  // What the link before says has no meaning any more.
  sockets[0].receive(FRAME.buffer);
  sockets[0].end(1006);
  assert.equal(port.state, "connecting");
  assert.equal(port.counters.dropped, 150);
  sockets[1].open();
  other.receive(numbered(250));
  await settle();
  assert.deepEqual(
    sockets[1].sent.map((frame) => frame[59]),
    Array.from({ length: 101 }, (_, index) => 150 + index),
  );
  assert.equal(port.counters.framesSent, 0);
  // Each frame has a buffer of its own.
  assert.equal(sockets[1].sent[0].buffer.byteLength, FRAME.byteLength);
  port.close();
  engine.close();
});

test("a relay that is restarted is found again, and the stacks go on", async () => {
  const hub = (server) =>
    server.on("connection", (socket) =>
      socket.on("message", (message) => {
        for (const other of server.clients) if (other !== socket) other.send(message);
      }),
    );
  const first = await listen();
  hub(first.server);
  const [a, b] = [await createStack(), await createStack()];
  const ports = [a, b].map((stack, index) => {
    const port = webSocketPort(() => new WebSocket(first.url), {
      reconnect: { minDelay: 5, maxDelay: 20 },
    });
    plug(stack.addInterface({ addresses: [`10.0.0.${index + 1}/24`] }), port);
    return port;
  });
  await Promise.all(ports.map(({ opened }) => opened));
  await a.ping("10.0.0.2");
  const { client, server } = await connected({ a, b });
  await first.end();
  await until(() => ports.every(({ state }) => state !== "open"), "the links' end");
  const second = await listen({ port: first.port });
  hub(second.server);
  const bytes = pattern(1_000_000);
  const [received] = await Promise.all([
    readAll(server.readable),
    writeAll(client.writable, bytes),
  ]);
  assert.equal(Buffer.compare(received, bytes), 0);
  await Promise.all(ports.map((port) => port[Symbol.asyncDispose]()));
  assert.deepEqual(
    ports.flatMap(({ state, isPlugged }) => [state, isPlugged]),
    ["closed", false, "closed", false],
  );
  await Promise.all([second.end(), a.close(), b.close()]);
});

test("QEMU's stream passes in messages of any size", async () => {
  // A relay that cuts and joins what it gets, as a proxy of byte streams may.
  const { server, url, end } = await listen();
  server.on("connection", (socket) => {
    let held = Buffer.alloc(0);
    socket.on("message", (message) => {
      held = Buffer.concat([held, message]);
      for (const other of server.clients) {
        if (other === socket) continue;
        for (let at = 0; at < held.length; ) {
          const size = 1 + ((held.length * 7 + at) % 1_999);
          other.send(held.subarray(at, at + size));
          at += size;
        }
        held = Buffer.alloc(0);
      }
    });
  });
  const [a, b] = [await createStack(), await createStack()];
  const ports = [a, b].map((stack, index) => {
    const port = webSocketPort(new WebSocket(url), { framing: "qemu" });
    plug(stack.addInterface({ addresses: [`10.0.0.${index + 1}/24`], mtu: 9_000 }), port);
    return port;
  });
  await Promise.all(ports.map(({ opened }) => opened));
  await a.ping("10.0.0.2", { size: 8_000 });
  const { client, server: peer } = await connected({ a, b });
  const bytes = pattern(2_000_000);
  const [received] = await Promise.all([readAll(peer.readable), writeAll(client.writable, bytes)]);
  assert.equal(Buffer.compare(received, bytes), 0);
  for (const { counters } of ports) assert.equal(counters.invalid, 0);
  await Promise.all([end(), a.close(), b.close()]);
});

/** A port in QEMU's framing over a socket that is open. */
async function streaming() {
  const socket = new FakeSocket();
  socket.readyState = 1;
  const port = webSocketPort(socket, { framing: "qemu" });
  const engine = await createEngine();
  const lan = await createSwitch({ engine });
  const seen = [];
  const other = functionPort({ send: (frame) => seen.push(frame.slice()) });
  lan.plug(port);
  lan.plug(other);
  return { socket, port, seen, other, engine };
}

const prefixed = (length, bytes = length) => {
  const message = new Uint8Array(4 + bytes).fill(0xff, 4, 10).fill(2, 10, 16);
  new DataView(message.buffer).setUint32(0, length);
  return message;
};

test("lengths that no frame has are skipped and counted", async () => {
  const { socket, port, seen, engine } = await streaming();
  const stream = Buffer.concat([
    prefixed(0),
    prefixed(60),
    prefixed(13),
    prefixed(1),
    prefixed(1_514),
    prefixed(65_554),
    prefixed(69_632),
    prefixed(60),
  ]);
  socket.receive(new Uint8Array(0));
  // Whole, then byte by byte at first; the buffer begins elsewhere.
  const shifted = new Uint8Array(stream.length + 100);
  shifted.set(stream, 50);
  socket.receive(shifted.subarray(50, 50 + stream.length));
  for (let at = 0; at < 2_000; at += 1) socket.receive(stream.subarray(at, at + 1));
  socket.receive(stream.subarray(2_000));
  socket.receive("text");
  await settle();
  assert.deepEqual(
    seen.map(({ length }) => length),
    [60, 1_514, 60, 60, 1_514, 60],
  );
  assert.equal(port.counters.invalid, 2 * 5 + 1);
  assert.equal(port.state, "open");
  port.close();
  engine.close();
});

for (const length of [69_633, 2 ** 31, 2 ** 32 - 1, 0x47_45_54_20]) {
  test(`a length of ${length} ends the link, since there is no finding the next frame`, async () => {
    const { socket, port, seen, engine } = await streaming();
    socket.receive(Buffer.concat([prefixed(60), prefixed(length, 100), prefixed(60)]));
    assert.equal((await port.closed).error.code, "EPROTO");
    assert.equal(socket.readyState, 3);
    await settle();
    assert.equal(port.counters.invalid, 1);
    // The frame before was brought, and went with the port's cable.
    assert.ok(seen.length <= 1);
    engine.close();
  });
}

test("a stream that ends within a frame has counted it", async () => {
  for (const cut of [2, 4, 40]) {
    const { socket, port, engine } = await streaming();
    socket.receive(prefixed(60).subarray(0, cut));
    socket.end(1000);
    assert.deepEqual(await port.closed, { code: 1000, reason: "", error: null });
    assert.equal(port.counters.invalid, 1);
    engine.close();
  }
});

test("frames for a socket whose buffer is full are dropped and counted", async () => {
  const { socket, port, other, engine } = await streaming();
  socket.bufferedAmount = 2 ** 20 + 1;
  for (let count = 0; count < 3; count += 1) other.receive(FRAME);
  await settle();
  assert.deepEqual([socket.sent.length, port.counters.dropped], [0, 3]);
  socket.bufferedAmount = 0;
  for (let count = 0; count < 3; count += 1) other.receive(FRAME);
  await settle();
  // Frames that are sent together are one message of the stream.
  assert.equal(Buffer.concat(socket.sent).length, 3 * 64);
  port.close();
  engine.close();
});

test("a signal closes the port: while it connects, while it waits, while it is open, and before", async () => {
  const cases = {
    connecting: () => {},
    waiting: ({ sockets }) => sockets[0].end(1006),
    open: ({ sockets }) => sockets[0].open(),
  };
  for (const [state, prepare] of Object.entries(cases)) {
    const ending = new AbortController();
    const clock = new ManualClock();
    const sockets = [];
    const make = () => {
      sockets.push(new FakeSocket());
      return sockets.at(-1);
    };
    const port = webSocketPort(make, { reconnect: { clock }, signal: ending.signal });
    prepare({ sockets });
    assert.equal(port.state, state);
    ending.abort(new Error("enough"));
    const { error } = await port.closed;
    assert.equal(error.code, "ABORT_ERR");
    assert.equal(error.cause.message, "enough");
    if (state === "open") await port.opened;
    else await assert.rejects(port.opened, { code: "ABORT_ERR" });
    assert.deepEqual([port.state, clock.timers, sockets[0].readyState], ["closed", 0, 3]);
  }
  const port = webSocketPort(() => assert.fail("not asked for"), { signal: AbortSignal.abort() });
  await assert.rejects(port.opened, { code: "ABORT_ERR" });
  assert.equal((await port.closed).error.code, "ABORT_ERR");
});

test("the first socket that cannot be made throws, later ones are failures", async () => {
  assert.throws(
    () =>
      webSocketPort(
        () => {
          throw new SyntaxError("no URL");
        },
        { reconnect: true },
      ),
    SyntaxError,
  );
  const clock = new ManualClock();
  const sockets = [new FakeSocket()];
  const port = webSocketPort(
    () => {
      const socket = sockets.shift();
      if (socket === undefined) throw new Error("no more");
      return socket;
    },
    { reconnect: { clock, attempts: 1 } },
  );
  sockets.length = 0;
  port.close();
  assert.equal((await port.closed).error, null);
  assert.throws(() => webSocketPort(new FakeSocket(), { reconnect: true }), /options\.reconnect/);
  const other = webSocketPort(
    (() => {
      let made = 0;
      return () => {
        made += 1;
        if (made > 1) throw new Error("no more");
        return Object.assign(new FakeSocket(), { readyState: 3 });
      };
    })(),
    { reconnect: { clock, attempts: 1 } },
  );
  assert.equal(other.state, "waiting");
  await clock.advance(500);
  assert.equal((await other.closed).error.cause.message, "no more");
});
