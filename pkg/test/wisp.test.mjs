// `wispEgress` against the server of @mercuryworkshop/wisp-js, in both versions of the protocol.

import assert from "node:assert/strict";
import dgram from "node:dgram";
import { once } from "node:events";
import net from "node:net";
import { after, test } from "node:test";
import { setImmediate as nextTask } from "node:timers/promises";
import { wispEgress } from "ethertab/gateway";
import { pattern, readAll, until, writeAll } from "./support.mjs";
import { guestOf, WebSocket, wispJsServer } from "./wisp_support.mjs";

/** Servers of the operating system, on loopback. */
async function hosts() {
  const connections = [];
  const echo = net.createServer({ allowHalfOpen: true }, (socket) => {
    connections.push(socket);
    socket.on("error", () => {});
    socket.pipe(socket);
  });
  echo.listen(0, "127.0.0.1");
  await once(echo, "listening");
  const datagrams = dgram.createSocket("udp4");
  datagrams.on("message", (data, from) => datagrams.send(data, from.port, from.address));
  datagrams.bind(0, "127.0.0.1");
  await once(datagrams, "listening");
  return {
    tcp: echo.address().port,
    udp: datagrams.address().port,
    connections,
    close() {
      echo.close();
      for (const socket of connections) socket.destroy();
      datagrams.close();
    },
  };
}

const cleanups = [];
after(async () => {
  for (const cleanup of cleanups) await cleanup();
});

async function scene({ server: serverOptions, ...options } = {}) {
  const server = await wispJsServer(serverOptions);
  const outside = await hosts();
  const egress = wispEgress(server.url, { webSocket: WebSocket, ...options });
  const inside = await guestOf(egress);
  cleanups.push(async () => {
    await inside.close();
    outside.close();
    server.close();
  });
  return { server, outside, egress, ...inside };
}

/** What comes back of `data`. */
async function echoed(socket, data) {
  await socket.opened;
  const reader = socket.readable.getReader();
  const writer = socket.writable.getWriter();
  const writing = writer.write(data);
  const chunks = [];
  for (let bytes = 0; bytes < data.length; ) {
    const { value } = await reader.read();
    bytes += value.byteLength;
    chunks.push(value);
  }
  await writing;
  await socket.close();
  return Buffer.concat(chunks);
}

const text = (value) => new TextEncoder().encode(value);

for (const version of [1, 2]) {
  test(`version ${version}: bytes of a connection come back`, async () => {
    const { egress, guest, outside } = await scene({ server: { version }, version });
    const data = pattern(3_000_000);
    const socket = guest.connect({ hostname: "echo.test", port: outside.tcp });
    assert.deepEqual(await echoed(socket, data), Buffer.from(data));
    assert.equal(egress.version, version);
    assert.equal(egress.state, "open");
    const { bytesSent, bytesReceived } = egress.counters();
    assert.deepEqual(
      { bytesSent, bytesReceived },
      { bytesSent: 3_000_000, bytesReceived: 3_000_000 },
    );
  });

  test(`version ${version}: datagrams come back`, async () => {
    const { guest, outside, egress } = await scene({ server: { version }, version });
    const socket = guest.bindUdp();
    const [address] = await guest.resolve("echo.test");
    const to = { remoteAddress: address, remotePort: outside.udp };
    socket.send(text("ping"), to);
    const answer = await socket.receive();
    assert.equal(Buffer.from(answer.data).toString(), "ping");
    assert.equal(answer.remoteAddress, to.remoteAddress);
    socket.send(pattern(1400), to);
    assert.deepEqual((await socket.receive()).data, pattern(1400));
    assert.equal(egress.counters().opened, 1);
  });

  test(`version ${version}: a connection that cannot be made is reset`, async () => {
    const { guest } = await scene({ server: { version }, version });
    const closed = net.createServer().listen(0, "127.0.0.1");
    await once(closed, "listening");
    const { port } = closed.address();
    closed.close();
    await once(closed, "close");
    for (const hostname of ["echo.test", "nowhere.test"]) {
      const socket = guest.connect({ hostname, port });
      await assert.rejects(socket.closed, { code: "ECONNRESET" });
    }
  });
}

test("a server of version 1 is spoken to in its version", async () => {
  const { egress, guest, outside } = await scene({ server: { version: 1 } });
  const socket = guest.connect({ hostname: "echo.test", port: outside.tcp });
  await socket.opened;
  const answer = readAll(socket.readable);
  const writer = socket.writable.getWriter();
  await writer.write(text("hello"));
  await until(() => egress.counters().bytesReceived === 5, "the echo");
  outside.connections[0].end();
  assert.equal((await answer).toString(), "hello");
  assert.equal(egress.version, 1);
});

test("the message of the day is told", async () => {
  const states = [];
  const { egress } = await scene({
    server: { motd: "bon voyage" },
    onstate: (one) => states.push([one.state, one.motd]),
  });
  await until(() => egress.state === "open");
  assert.equal(egress.motd, "bon voyage");
  assert.deepEqual(states, [["open", "bon voyage"]]);
});

test("the end of the server's half ends the guest's connection in good order, with all bytes", async () => {
  const { guest, outside, egress } = await scene();
  const socket = guest.connect({ hostname: "echo.test", port: outside.tcp });
  await socket.opened;
  const received = readAll(socket.readable);
  await until(() => outside.connections.length === 1);
  const data = pattern(500_000);
  outside.connections[0].end(data);
  assert.deepEqual(await received, Buffer.from(data));
  await socket.closed;
  await until(() => egress.counters().streams === 0);
});

test("a guest that resets its connection resets the one outside", async () => {
  const { guest, outside, egress } = await scene();
  const socket = guest.connect({ hostname: "echo.test", port: outside.tcp });
  await socket.opened;
  const writer = socket.writable.getWriter();
  await writer.write(text("x"));
  await until(() => outside.connections.length === 1);
  const ended = once(outside.connections[0], "end");
  socket.abort();
  await ended;
  await until(() => egress.counters().streams === 0);
});

test("a host outside that does not read closes the guest's window", async () => {
  const { guest, egress } = await scene();
  const lazy = net.createServer((socket) => {
    socket.pause();
    socket.on("error", () => {});
    cleanups.push(() => socket.destroy());
  });
  lazy.listen(0, "127.0.0.1");
  await once(lazy, "listening");
  cleanups.push(() => lazy.close());
  const socket = guest.connect({ hostname: "echo.test", port: lazy.address().port });
  await socket.opened;
  const chunk = new Uint8Array(1024 * 1024);
  let written = 0;
  // Until nothing moves any more: all buffers on the way are full.
  for (let idle = 0; idle < 500 && written < 256 * chunk.length; ) {
    const taken = socket.tryWrite(chunk);
    written += taken;
    idle = taken === 0 ? idle + 1 : 0;
    await nextTask();
  }
  assert.ok(written < 64 * chunk.length, `${written} bytes were taken`);
  // 128 packets, and what the operating system's buffers took of them.
  assert.ok(egress.counters().bytesSent < 32 * chunk.length);
  socket.abort();
});

test("a lost WebSocket resets connections, and is opened again", async () => {
  const { server, guest, outside, egress } = await scene({
    reconnect: { minDelay: 10, maxDelay: 20 },
  });
  const socket = guest.connect({ hostname: "echo.test", port: outside.tcp });
  await socket.opened;
  server.cut();
  await assert.rejects(socket.closed, { code: "ECONNRESET" });
  const next = guest.connect({ hostname: "echo.test", port: outside.tcp });
  await next.opened;
  const received = readAll(next.readable);
  await writeAll(next.writable, text("again"));
  await until(() => egress.counters().bytesReceived === 5);
  assert.equal(egress.counters().disconnects, 1);
  await next.close();
  await received.catch(() => {});
});

test("many connections at once", async () => {
  const { guest, outside, egress } = await scene();
  const [hostname] = await guest.resolve("echo.test");
  const talk = async (index) => {
    const socket = guest.connect({ hostname, port: outside.tcp });
    const data = pattern(20_000, index);
    assert.deepEqual(await echoed(socket, data), Buffer.from(data));
  };
  await Promise.all(Array.from({ length: 100 }, (_, index) => talk(index)));
  assert.equal(egress.counters().opened, 100);
});
