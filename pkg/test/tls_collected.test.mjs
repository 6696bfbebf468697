/** TLS sockets that nobody holds any more; needs --expose-gc, which the test script gives. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { acceptTls, createAuthority, wrapTls } from "ethertab";
import { LazyModule } from "../dist/module.js";
import { collectAll, collected, pattern, readAll, settle, twoStacks, until } from "./support.mjs";

const options = { skip: globalThis.gc === undefined && "needs --expose-gc" };

/** How many connections are in the module for TLS. */
let inModule = 0;
let authority;
before(async () => {
  const { instantiate } = LazyModule.prototype;
  LazyModule.prototype.instantiate = async function (bindings) {
    const counted = (name, change) => {
      const call = bindings[name];
      if (call === undefined) return;
      bindings[name] = (...given) => {
        const result = call(...given);
        inModule += change;
        return result;
      };
    };
    counted("client", 1);
    counted("server", 1);
    counted("free_connection", -1);
    return instantiate.call(this, bindings);
  };
  authority = await createAuthority();
});

async function network(listening = {}) {
  const { engine, a, b } = await twoStacks();
  const tls = { authority };
  const listener = b.listen({ port: 443, tls, ...listening });
  const connect = (more) => {
    const given = { secureTransport: "on", sni: "shop.test", tls: { ca: authority.cert } };
    return a.connect("10.0.0.2:443", { ...given, ...more });
  };
  return { engine, a, b, listener, connect };
}

/** Two ends of two pipes. */
function pipes() {
  const [there, back] = [new TransformStream(), new TransformStream()];
  return [
    { readable: back.readable, writable: there.writable },
    { readable: there.readable, writable: back.writable },
  ];
}

/** Ways to a connection that is open, of which the caller holds what it is given alone. */
const WAYS = {
  async connect() {
    const { engine, listener, connect } = await network();
    const client = connect();
    const server = await listener.accept();
    await Promise.all([client.opened, server.opened]);
    return { client, server, done: () => engine.close() };
  },
  async startTls() {
    const secureTransport = "starttls";
    const { engine, listener, connect } = await network({ secureTransport });
    const plain = connect({ secureTransport });
    const [client, server] = [plain.startTls(), (await listener.accept()).startTls()];
    await Promise.all([client.opened, server.opened]);
    return { client, server, done: () => engine.close() };
  },
  async wrapTls() {
    const [left, right] = pipes();
    const client = wrapTls(left, { hostname: "shop.test", tls: { ca: authority.cert } });
    const server = acceptTls(right, { tls: { authority } });
    await Promise.all([client.opened, server.opened]);
    return { client, server, done: () => {} };
  },
};

for (const [way, open] of Object.entries(WAYS)) {
  for (const [forgotten, kept] of [
    ["client", "server"],
    ["server", "client"],
  ]) {
    const name = `${way}: a forgotten ${forgotten} sends what was written, close_notify and the end, and is gone`;
    test(name, options, async () => {
      const bytes = pattern(20_000);
      const { peer, socket, done } = await (async () => {
        const made = await open();
        const written = made[forgotten].writable.getWriter().write(bytes);
        const { value } = await made[kept].readable
          .getReader({ mode: "byob" })
          .read(new Uint8Array(1));
        await written;
        assert.equal(value[0], bytes[0]);
        return { peer: made[kept], socket: new WeakRef(made[forgotten]), done: made.done };
      })();
      await collected(() => socket.deref() === undefined);
      const rest = [];
      // An end without close_notify would be an error.
      for (;;) {
        const chunk = peer.tryReadChunk(100_000);
        if (chunk?.byteLength === 0) break;
        if (chunk === null) await new Promise((ready) => (peer.onready = ready));
        else rest.push(chunk);
      }
      assert.equal(Buffer.compare(Buffer.concat(rest), bytes.subarray(1)), 0);
      await peer.close();
      await until(() => inModule === 0, "the module forgets both ends");
      done();
    });
  }
}

test("what the transport has not taken holds a TLS socket", options, async () => {
  const { engine, listener, connect } = await network();
  const bytes = pattern(8_000_000);
  const { server, forgotten, length } = await (async () => {
    const client = connect();
    const server = await listener.accept();
    await client.opened;
    // Until the peer's window and the stack's buffer are full, and the last record waits for room.
    let length = 0;
    for (let taken = -1; taken !== 0; ) {
      taken = client.tryWrite(bytes.subarray(length));
      length += taken;
      await settle();
    }
    assert.equal(client.writableBytes, 0);
    return { server, forgotten: new WeakRef(client), length };
  })();
  assert.ok(length > 0 && length < bytes.length);
  await collectAll();
  assert.notEqual(forgotten.deref(), undefined);
  let received = null;
  readAll(server.readable).then((all) => {
    received = all;
  });
  await collected(() => received !== null);
  assert.equal(Buffer.compare(received, bytes.subarray(0, length)), 0);
  await until(() => inModule === 0, "the module forgets both ends");
  engine.close();
});

test("what waits holds a TLS socket: reads, writes, closed, onready, pipes", options, async () => {
  const { engine, listener, connect } = await network();
  const told = [];
  const peers = [];
  const forget = async (use) => {
    const socket = connect();
    peers.push(await listener.accept());
    await socket.opened;
    use(socket);
  };
  await forget((socket) => {
    socket.readable
      .getReader()
      .read()
      .then(({ value }) => told.push(`read ${value.length}`));
  });
  await forget((socket) => {
    const writer = socket.writable.getWriter();
    writer.write(new Uint8Array(8_000_000)).then(() => told.push("written"));
    writer.closed.catch(() => {});
  });
  await forget(
    (socket) =>
      void socket.closed.then(
        () => told.push("closed"),
        () => {},
      ),
  );
  await forget((socket) => {
    socket.onready = (ready) => {
      if (ready.readableBytes === 0) return;
      const count = ready.tryRead(new Uint8Array(10));
      if (count > 0) told.push(`ready ${count}`);
    };
  });
  await forget((socket) => {
    socket.readable.pipeTo(socket.writable).catch(() => {});
  });
  await collectAll();
  assert.deepEqual(told, []);
  assert.equal(inModule, 10);

  const [reading, writing, closing, ready, echoing] = peers;
  reading.tryWrite(pattern(3));
  ready.tryWrite(pattern(4));
  const received = readAll(writing.readable);
  echoing.tryWrite(pattern(5));
  assert.equal((await echoing.readable.getReader().read()).value.length, 5);
  await until(() => told.includes("written") && told.includes("read 3"), "what waits");
  assert.ok(told.includes("ready 4"));
  let length = 0;
  received.then((bytes) => {
    length = bytes.length;
  });
  // Nothing waits on those that read and wrote any more: their ends come when they are collected.
  await collected(() => length === 8_000_000);
  assert.ok(!told.includes("closed"));
  const failed = assert.rejects(closing.closed, { code: "ABORT_ERR" });
  engine.close();
  await failed;
  await until(() => inModule === 0, "the module forgets all");
});

test("a TLS socket that is used again after a rest is as it was", options, async () => {
  const { engine, a, listener, connect } = await network();
  const client = connect();
  const server = await listener.accept();
  await client.opened;
  const reader = client.readable.getReader();
  for (let round = 0; round < 3; round += 1) {
    await collectAll();
    server.tryWrite(pattern(10));
    assert.equal((await reader.read()).value.length, 10);
  }
  await collectAll();
  const failed = assert.rejects(client.closed, { code: "ABORT_ERR" });
  const reset = assert.rejects(server.closed, { code: "ECONNRESET" });
  await a.close();
  await Promise.all([failed, reset]);
  engine.close();
  assert.equal(inModule, 0);
});

test("a signal does not hold the TLS sockets that it was given to", options, async () => {
  const { engine, listener, connect } = await network();
  const { signal } = new AbortController();
  const { server, forgotten } = await (async () => {
    const client = connect({ signal });
    const server = await listener.accept();
    await client.opened;
    return { server, forgotten: new WeakRef(client) };
  })();
  await collected(() => forgotten.deref() === undefined);
  assert.equal((await readAll(server.readable)).length, 0);
  assert.equal(signal.aborted, false);
  await until(() => inModule === 0, "the module forgets both ends");
  engine.close();
});
