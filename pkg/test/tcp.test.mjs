import assert from "node:assert/strict";
import { test } from "node:test";
import { SocketError } from "ethertab";
import {
  connected,
  ManualClock,
  pattern,
  readAll,
  settle,
  twoOnSwitch,
  twoStacks,
  until,
  writeAll,
} from "./support.mjs";

const hasCode = (code) => (error) =>
  error instanceof SocketError && error instanceof TypeError && error.code === code;

test("a stream goes both ways, over a cable and over a switch, IPv4 and IPv6", async () => {
  for (const [make, hostname] of [
    [twoStacks, "10.0.0.2"],
    [twoStacks, "fd00::2"],
    [twoOnSwitch, "10.0.0.2"],
  ]) {
    const { engine, a, b } = await make();
    const listener = b.listen({ port: 80 });
    assert.deepEqual(await listener.listening, { address: "::", port: 80 });
    const client = a.connect({ hostname, port: 80 });
    const server = await listener.accept();
    const info = await client.opened;
    assert.equal(
      info.remoteAddress,
      hostname.includes(":") ? `[${hostname}]:80` : `${hostname}:80`,
    );
    assert.deepEqual(await server.opened, {
      alpn: null,
      remoteAddress: info.localAddress,
      localAddress: info.remoteAddress,
    });

    const bytes = pattern(3_000_000);
    const echo = server.readable.pipeTo(server.writable);
    const [echoed] = await Promise.all([
      readAll(client.readable),
      writeAll(client.writable, bytes),
    ]);
    assert.equal(Buffer.compare(echoed, bytes), 0);
    await Promise.all([echo, client.closed, server.closed]);
    engine.close();
  }
});

test("a port where nobody listens refuses, and the error names both addresses", async () => {
  const { engine, a } = await twoStacks();
  const socket = a.connect("10.0.0.2:81");
  await assert.rejects(socket.opened, (error) => {
    assert.ok(hasCode("ECONNREFUSED")(error));
    assert.match(error.message, /10\.0\.0\.1:\d+/);
    assert.match(error.message, /10\.0\.0\.2:81/);
    return true;
  });
  await assert.rejects(socket.closed, hasCode("ECONNREFUSED"));
  await assert.rejects(socket.readable.getReader().read(), hasCode("ECONNREFUSED"));
  await assert.rejects(socket.writable.getWriter().write(pattern(1)), hasCode("ECONNREFUSED"));
  assert.equal(a.connections().length, 0);
  engine.close();
});

test("a dead address rejects: on the same network as unreachable or timed out, within connectTimeout", async () => {
  const clock = new ManualClock();
  const { engine, a } = await twoStacks({ clock });
  const patient = a.connect("10.0.0.99:80");
  const hasty = a.connect("10.0.0.99:80", { connectTimeout: 250 });
  const outcome = assert.rejects(hasty.opened, (error) => {
    assert.ok(hasCode("ETIMEDOUT")(error));
    assert.match(error.message, /timed out/);
    return true;
  });
  await clock.advance(249);
  assert.equal(a.connections().length, 2);
  await clock.advance(1);
  await outcome;
  const failed = assert.rejects(
    patient.opened,
    (error) => hasCode("EHOSTUNREACH")(error) || hasCode("ETIMEDOUT")(error),
  );
  await clock.advance(200_000);
  await failed;
  assert.equal(a.connections().length, 0);
  assert.equal(engine.blocksInUse, 0);
  engine.close();
});

test("a peer that vanishes ends the connection with ETIMEDOUT, in virtual time", async () => {
  const clock = new ManualClock();
  const { engine, a, b, link } = await twoStacks({ clock, tcp: { retries: 5 } });
  const opening = connected({ a, b });
  await clock.advance(10);
  const { client } = await opening;
  link.unplug();
  assert.equal(client.tryWrite(pattern(100)), 100);
  const ended = assert.rejects(client.closed, hasCode("ETIMEDOUT"));
  await clock.advance(600_000);
  await ended;
  engine.close();
});

test("no route and host names are told by the promises of the socket", async () => {
  const { engine, a } = await twoStacks();
  await assert.rejects(a.connect("192.0.2.1:80").opened, hasCode("ENETUNREACH"));
  const named = a.connect({ hostname: "example.com", port: 80 });
  await assert.rejects(named.opened, (error) => {
    assert.ok(hasCode("ENOTFOUND")(error));
    assert.match(error.message, /example\.com: no name server is known/);
    return true;
  });
  await assert.rejects(named.closed, hasCode("ENOTFOUND"));
  engine.close();
});

test("abort: before, while connecting and when open; the peer sees a reset", async () => {
  const { engine, a, b } = await twoStacks();
  const reason = new Error("enough");

  const before = a.connect("10.0.0.2:80", { signal: AbortSignal.abort(reason) });
  await assert.rejects(
    before.opened,
    (error) => hasCode("ABORT_ERR")(error) && error.cause === reason,
  );

  const connecting = new AbortController();
  const pending = a.connect("10.0.0.99:80", { signal: connecting.signal });
  connecting.abort(reason);
  await assert.rejects(
    pending.opened,
    (error) => hasCode("ABORT_ERR")(error) && error.cause === reason,
  );

  const open = new AbortController();
  const { client, server } = await connected({ a, b }, { connect: { signal: open.signal } });
  const reading = server.readable.getReader().read();
  open.abort(reason);
  await assert.rejects(
    client.closed,
    (error) => hasCode("ABORT_ERR")(error) && error.cause === reason,
  );
  await assert.rejects(reading, hasCode("ECONNRESET"));
  await assert.rejects(server.closed, hasCode("ECONNRESET"));
  assert.equal(a.connections().length + b.connections().length, 0);
  engine.close();
});

test("abort of the writable stream resets the connection", async () => {
  const network = await twoStacks();
  const { client, server } = await connected(network);
  await client.writable.abort(new Error("no more"));
  await assert.rejects(client.closed, hasCode("ABORT_ERR"));
  await assert.rejects(readAll(server.readable), hasCode("ECONNRESET"));
  network.engine.close();
});

test("half-close: FIN goes out, reading goes on", async () => {
  const network = await twoStacks();
  const { client, server } = await connected(network, { listen: { allowHalfOpen: true } });
  await writeAll(client.writable, pattern(10));
  assert.equal((await readAll(server.readable)).byteLength, 10);
  // A FIN is acknowledged as data is: the ACK may wait for company.
  await until(() => client.info().state === "FIN-WAIT-2", "the FIN's acknowledgement");
  const late = pattern(200_000, 7);
  const [received] = await Promise.all([readAll(client.readable), writeAll(server.writable, late)]);
  assert.equal(Buffer.compare(received, late), 0);
  await Promise.all([client.closed, server.closed]);
  network.engine.close();
});

test("without allowHalfOpen the end of the readable closes the writable", async () => {
  const network = await twoStacks();
  const { client, server } = await connected(network);
  await client.writable.close();
  assert.equal((await readAll(server.readable)).byteLength, 0);
  await Promise.all([client.closed, server.closed]);
  await assert.rejects(server.writable.getWriter().write(pattern(1)), hasCode("EPIPE"));
  network.engine.close();
});

test("a peer that never reads stops the writer at the two windows", async () => {
  const network = await twoStacks({ tcp: { sendBuffer: 65_536, receiveBuffer: 65_536 } });
  const { client, server } = await connected(network);
  const writer = client.writable.getWriter();
  let written = 0;
  let failure = null;
  const writing = (async () => {
    for (;;) {
      await writer.write(pattern(10_000, written));
      written += 10_000;
    }
  })().catch((error) => {
    failure = error;
  });
  await until(() => client.writableBytes === 0, "a full send buffer");
  await settle();
  const stalled = written;
  assert.ok(stalled <= 131_072, `${stalled} bytes taken`);
  assert.ok(stalled >= 60_000, `${stalled} bytes taken`);
  await settle();
  assert.equal(written, stalled);

  // Reading lets it go on, and nothing was lost.
  const reader = server.readable.getReader();
  let received = 0;
  while (received < 400_000) {
    const { value } = await reader.read();
    assert.equal(Buffer.compare(value, pattern(value.byteLength, received)), 0);
    received += value.byteLength;
  }
  assert.ok(written > stalled);
  client.abort();
  await writing;
  assert.ok(hasCode("ABORT_ERR")(failure));
  network.engine.close();
});

test("byte at a time: tiny writes, tiny BYOB reads", async () => {
  const network = await twoStacks();
  const { client, server } = await connected(network, { connect: { noDelay: true } });
  const bytes = pattern(300);
  const writing = (async () => {
    const writer = client.writable.getWriter();
    for (const byte of bytes) await writer.write(Uint8Array.of(byte));
    await writer.close();
  })();
  const reader = server.readable.getReader({ mode: "byob" });
  const received = [];
  for (;;) {
    const { value, done } = await reader.read(new Uint8Array(1));
    if (done) break;
    assert.equal(value.byteLength, 1);
    received.push(value[0]);
  }
  assert.deepEqual(Uint8Array.from(received), bytes);
  await writing;
  network.engine.close();
});

test("the layer without streams: tryRead, tryWrite, onready", async () => {
  const network = await twoStacks();
  const { client, server } = await connected(network);
  const into = new Uint8Array(64);
  assert.equal(server.tryRead(into), -1);
  const ready = new Promise((resolve) => {
    server.onready = resolve;
  });
  assert.equal(client.tryWrite(Uint8Array.of(1, 2, 3)), 3);
  assert.equal(await ready, server);
  assert.equal(server.readableBytes, 3);
  assert.equal(server.tryRead(into), 3);
  assert.deepEqual([...into.subarray(0, 3)], [1, 2, 3]);
  client.shutdown();
  await until(() => server.tryRead(into) === 0, "the end of the stream");
  assert.throws(() => client.tryWrite(Uint8Array.of(1)), hasCode("EPIPE"));
  server.shutdown();
  await Promise.all([client.closed, server.closed]);
  assert.equal(server.tryRead(into), 0);
  network.engine.close();
});

test("cancel of the readable throws away what comes and does not stall the peer", async () => {
  const network = await twoStacks({ tcp: { sendBuffer: 65_536, receiveBuffer: 65_536 } });
  const { client, server } = await connected(network);
  await server.readable.cancel();
  await writeAll(client.writable, pattern(500_000));
  await Promise.all([client.closed, server.closed]);
  network.engine.close();
});

test("close twice, close while reading, close with unread data", async () => {
  const network = await twoStacks();
  const { client, server } = await connected(network);
  const reader = server.readable.getReader();
  const reading = reader.read();
  assert.equal(server.close(), server.close());
  await server.closed;
  assert.deepEqual(await reading, { value: undefined, done: true });
  assert.equal((await readAll(client.readable)).byteLength, 0);
  await client.closed;

  const second = await connected(network);
  second.client.tryWrite(pattern(1_000));
  await until(() => second.server.readableBytes === 1_000, "data to be there");
  await second.server.close();
  await assert.rejects(second.client.closed, hasCode("ECONNRESET"));
  network.engine.close();
});

test("a handler that throws is reported and harms nobody", async () => {
  const network = await twoStacks();
  const { client, server } = await connected(network);
  const uncaught = [];
  const listeners = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", (error) => uncaught.push(error.message));
  try {
    server.onready = () => {
      throw new Error("from onready");
    };
    client.tryWrite(pattern(5));
    await until(() => uncaught.length > 0, "a report");
    assert.deepEqual([...new Set(uncaught)], ["from onready"]);
    server.onready = null;
    client.shutdown();
    assert.equal((await readAll(server.readable)).byteLength, 5);
  } finally {
    process.removeAllListeners("uncaughtException");
    for (const listener of listeners) process.on("uncaughtException", listener);
  }
  network.engine.close();
});

test("a chunk that is no bytes breaks the stream and resets the connection", async () => {
  const network = await twoStacks();
  const { client, server } = await connected(network);
  await assert.rejects(client.writable.getWriter().write("text"), {
    name: "TypeError",
    message: /chunk must be .*"text"/,
  });
  await assert.rejects(readAll(server.readable), hasCode("ECONNRESET"));
  network.engine.close();
});

test("a port in use rejects listening with EADDRINUSE, and closing frees it", async () => {
  const { engine, b } = await twoStacks();
  const first = b.listen({ port: 80 });
  await first.listening;
  const second = b.listen({ port: 80 });
  await assert.rejects(second.listening, hasCode("EADDRINUSE"));
  assert.equal(second.address, null);
  await assert.rejects(second.accept(), hasCode("EADDRINUSE"));
  await assert.rejects(async () => {
    for await (const _ of second);
  }, hasCode("EADDRINUSE"));
  await first.close();
  await first.close();
  await b.listen({ port: 80 }).listening;
  engine.close();
});

test("a listener serves in order, ends its iterations when closed, and lets accept be aborted", async () => {
  const { engine, a, b } = await twoStacks();
  const listener = b.listen({ port: 80 });
  const controller = new AbortController();
  const aborted = assert.rejects(
    listener.accept({ signal: controller.signal }),
    hasCode("ABORT_ERR"),
  );
  controller.abort();
  await aborted;

  const ports = [];
  const serving = (async () => {
    for await (const socket of listener) {
      ports.push(socket.remote.port);
      await socket.close();
    }
  })();
  const clients = [];
  for (let index = 0; index < 5; index += 1) {
    const socket = a.connect("10.0.0.2:80");
    await socket.opened;
    clients.push(socket.local.port);
  }
  await until(() => ports.length === 5, "five connections");
  assert.deepEqual(ports, clients);
  await listener.close();
  await serving;
  await assert.rejects(listener.accept(), hasCode("ABORT_ERR"));
  engine.close();
});

test("closing a stack settles everything that waits in it", async () => {
  const network = await twoStacks();
  const { a, b } = network;
  const { client, server } = await connected(network);
  const listener = a.listen({ port: 99 });
  const udp = a.bindUdp({ port: 53 });
  const waiting = [
    assert.rejects(client.readable.getReader().read(), hasCode("ABORT_ERR")),
    assert.rejects(client.closed, hasCode("ABORT_ERR")),
    assert.rejects(listener.accept(), hasCode("ABORT_ERR")),
    assert.rejects(udp.receive(), hasCode("ABORT_ERR")),
    assert.rejects(a.ping("10.0.0.99"), hasCode("ABORT_ERR")),
    assert.rejects(server.closed, hasCode("ECONNRESET")),
  ];
  await a.close();
  await a.close();
  await Promise.all([...waiting, a.closed, udp.closed, listener.closed]);
  assert.throws(() => a.connect("10.0.0.2:80"), hasCode("ABORT_ERR"));
  assert.throws(() => a.connections(), hasCode("ABORT_ERR"));
  await settle();
  assert.equal(b.connections().length, 0);
  // The echo request waits for its neighbour until that has not answered.
  await until(() => network.engine.blocksInUse === 0, "no block in use");
  network.engine.close();
});

test("connections() lists both ends and info() shows the state", async () => {
  const network = await twoStacks();
  const { client, server } = await connected(network);
  client.tryWrite(pattern(100));
  await until(() => server.readableBytes === 100, "data");
  const [info] = network.a.connections();
  assert.equal(info.state, "ESTABLISHED");
  assert.deepEqual(info.remote, client.remote);
  assert.deepEqual(info.local, client.local);
  assert.equal(info.bytesSent, 100);
  assert.equal(network.b.connections()[0].receiveQueue, 100);
  // An Ethernet frame's 1,500 bytes less the headers and the timestamps.
  assert.ok(info.cwnd >= info.mss && info.mss === 1448);
  assert.ok(network.a.counters().frames_sent > 0);
  client.abort();
  assert.equal(client.info(), null);
  network.engine.close();
});

test("loss and reordering on the cable do not reach the stream", async () => {
  const impairment = { latency: "5ms", jitter: "1ms", loss: 0.02, reorder: 0.02, duplicate: 0.01 };
  const network = await twoStacks({ impairment });
  const { client, server } = await connected(network);
  const bytes = pattern(1_000_000);
  const [received] = await Promise.all([
    readAll(server.readable),
    writeAll(client.writable, bytes),
  ]);
  assert.equal(Buffer.compare(received, bytes), 0);
  network.engine.close();
});

test("reads that wait together are served one after the other, as their bytes come", async () => {
  const hosts = await twoStacks();
  const { client, server } = await connected(hosts);
  const reader = server.readable.getReader();
  const reads = [reader.read(), reader.read(), reader.read()];
  const writer = client.writable.getWriter();
  for (const text of ["a", "b", "c"]) {
    await writer.write(Buffer.from(text));
    const { value } = await reads.shift();
    assert.equal(Buffer.from(value).toString(), text);
  }
  await client.close();
  assert.equal((await reader.read()).done, true);
});

test("bytes and their end that came before the connection was accepted are all read", async () => {
  const { a, b } = await twoStacks();
  const listener = b.listen({ port: 80 });
  for (const read of [
    (server) => readAll(server.readable),
    (server) => {
      const into = new Uint8Array(100);
      const count = server.tryRead(into);
      assert.equal(server.tryRead(into.subarray(count)), 0);
      return into.subarray(0, count);
    },
  ]) {
    const client = a.connect("10.0.0.2:80");
    await client.opened;
    client.tryWrite(Buffer.from("hello"));
    await client.close();
    await settle();
    const server = await listener.accept();
    assert.equal(Buffer.from(await read(server)).toString(), "hello");
  }
  await listener.close();
});

test("an end that was told of is read, although a changed receiveLowat tells of bytes once more", async () => {
  const net = await twoStacks();
  const { client, server } = await connected(net);
  const into = new Uint8Array(100);
  server.tryWrite(pattern(1));
  await settle();
  assert.equal(client.tryRead(into), 1);
  assert.equal(client.tryRead(into), -1);
  client.setTcpOptions({ receiveLowat: 1_000 });
  server.tryWrite(pattern(3));
  await settle();
  assert.equal(client.tryRead(into), 3, "what is there, told of or not");
  server.tryWrite(pattern(5));
  server.shutdown();
  await settle();
  client.setTcpOptions({ receiveLowat: 1 });
  await settle();
  assert.equal(client.tryRead(into), 5);
  assert.equal(client.tryRead(into), 0);
  net.engine.close();
});

test("a listener for IPv6 only refuses IPv4, one for all addresses does not", async () => {
  const { engine, a, b } = await twoStacks();
  for (const [options, refused] of [
    [{ ipv6Only: true }, "10.0.0.2"],
    [{ hostname: "::", ipv6Only: true }, "10.0.0.2"],
    [{ hostname: "0.0.0.0" }, "fd00::2"],
    [{ hostname: "::" }, null],
    [{}, null],
  ]) {
    const listener = b.listen({ port: 80, ...options });
    for (const hostname of ["10.0.0.2", "fd00::2"]) {
      const client = a.connect({ hostname, port: 80 });
      if (hostname === refused) await assert.rejects(client.opened, hasCode("ECONNREFUSED"));
      else await client.opened;
      client.abort();
    }
    await listener.close();
  }
  assert.throws(() => b.listen({ port: 80, ipv6Only: 1 }), TypeError);
  engine.close();
});
