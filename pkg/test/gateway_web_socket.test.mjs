// `gateway.webSocket`, judged by the server of `ws`, and byte for byte where that server breaks no rule.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import { test } from "node:test";
import { createEngine, createGateway, createStack, createSwitch } from "ethertab";
import { createNet } from "ethertab/node";
import { WebSocketServer } from "ws";
import { MessageReader } from "../dist/gateway/web_socket/frames.js";
import { sha1 } from "../dist/gateway/web_socket/handshake.js";

/** A gateway, and in its network a machine on which `listen` takes connections as Node's `net` does. */
async function home(t) {
  const engine = await createEngine();
  const gateway = await createGateway({ engine, dns: { hosts: { vm: "10.0.2.15" } } });
  const stack = await createStack({ engine, hostname: "vm" });
  const lan = await createSwitch({ engine });
  lan.plug(gateway);
  lan.plug(stack.addInterface({ addresses: ["10.0.2.15/24"] }));
  t.after(async () => {
    await gateway.close();
    engine.close();
  });
  const listen = async (handler) => {
    const server = createNet(stack).createServer(handler);
    server.listen(0);
    await once(server, "listening");
    t.after(() => server.close());
    return `ws://vm:${server.address().port}`;
  };
  return { gateway, listen };
}

/** The server of `ws` in the machine. */
async function webSocketServer(t, options = {}) {
  const { gateway, listen } = await home(t);
  const server = http.createServer((_, response) => response.writeHead(404).end());
  const sockets = new WebSocketServer({ server, ...options });
  const url = await listen((socket) => server.emit("connection", socket));
  return { gateway, sockets, url };
}

const ended = (socket) => new Promise((resolve) => socket.addEventListener("close", resolve));
const next = (socket) =>
  new Promise((resolve) => {
    socket.addEventListener("message", ({ data }) => resolve(data), { once: true });
  });

test("texts and bytes of all sizes, both ways, in order", async (t) => {
  const { gateway, sockets, url } = await webSocketServer(t);
  sockets.on("connection", (socket) =>
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary })),
  );
  const socket = gateway.webSocket(`${url}/chat?room=1`);
  assert.deepEqual([socket.readyState, socket.url], [0, `${url}/chat?room=1`]);
  assert.throws(() => socket.send("early"), { name: "InvalidStateError" });
  const opened = new Promise((resolve) => {
    socket.onopen = resolve;
  });
  const [, request] = await once(sockets, "connection");
  assert.equal(request.url, "/chat?room=1");
  assert.equal((await opened).target, socket);
  assert.deepEqual([socket.readyState, socket.protocol, socket.extensions], [1, "", ""]);

  socket.send("grüße, 世界");
  assert.equal(await next(socket), "grüße, 世界");
  socket.send("");
  assert.equal(await next(socket), "");
  assert.equal(socket.binaryType, "blob");
  socket.send(new Blob(["blob"]));
  assert.equal(await (await next(socket)).text(), "blob");
  socket.binaryType = "arraybuffer";
  for (const size of [0, 1, 125, 126, 127, 65_535, 65_536, 3_000_000]) {
    const bytes = new Uint8Array(size).map((_, index) => index * 7);
    socket.send(bytes);
    const answer = await next(socket);
    assert.ok(answer instanceof ArrayBuffer);
    assert.equal(Buffer.compare(Buffer.from(answer), bytes), 0, String(size));
  }
  const got = [];
  socket.onmessage = ({ data }) => got.push(data);
  socket.send(new Blob(["first"]));
  socket.send("second");
  socket.close(3_001, "enough");
  assert.equal(socket.readyState, 2);
  const { code, reason, wasClean } = await ended(socket);
  assert.deepEqual([code, wasClean, socket.readyState], [3_001, true, 3]);
  assert.equal(reason, "enough");
  assert.deepEqual(got, [], "nothing comes after close");
  socket.send("late");
  assert.equal(socket.bufferedAmount, 4);
  socket.close();
});

test("what the server says: protocol, ping, fragments, its own close", async (t) => {
  const { gateway, sockets, url } = await webSocketServer(t, {
    handleProtocols: (offered) => (offered.has("v2") ? "v2" : false),
  });
  const socket = gateway.webSocket(url, ["v1", "v2"]);
  const [peer] = await once(sockets, "connection");
  const pong = once(peer, "pong");
  peer.ping("are you there");
  assert.equal(String((await pong)[0]), "are you there");
  assert.equal(socket.protocol, "v2");
  const message = next(socket);
  peer.send("one ", { fin: false });
  peer.ping();
  peer.send("message", { fin: true });
  assert.equal(await message, "one message");
  const closed = ended(socket);
  const there = once(peer, "close");
  peer.close(1001, "going away");
  const { code, reason, wasClean } = await closed;
  assert.deepEqual([code, reason, wasClean], [1001, "going away", true]);
  assert.equal((await there)[0], 1001);
});

test("no such server, no WebSocket there, and one that vanishes", async (t) => {
  const { gateway, sockets, url } = await webSocketServer(t, { path: "/only" });
  for (const address of ["ws://10.0.2.15:9/", "ws://nobody/", url]) {
    const socket = gateway.webSocket(address);
    const failed = once(socket, "error");
    const { code, wasClean } = await ended(socket);
    await failed;
    assert.deepEqual([code, wasClean, socket.readyState], [1006, false, 3], address);
  }
  const early = gateway.webSocket(`${url}/only`);
  early.close();
  assert.equal((await ended(early)).code, 1006);
  const socket = gateway.webSocket(`${url}/only`);
  const [peer] = await once(sockets, "connection");
  peer.terminate();
  assert.equal((await ended(socket)).code, 1006);
  const left = gateway.webSocket(`${url}/only`);
  await once(left, "open");
  const end = ended(left);
  await gateway.close();
  assert.equal((await end).code, 1006);
});

test("wrong URLs, protocols, codes and reasons are the platform's errors", async (t) => {
  const { gateway } = await home(t);
  for (const url of ["nothing", "wss://vm/#part", "ftp://vm/", "ws://vm/#part"]) {
    assert.throws(() => gateway.webSocket(url), { name: "SyntaxError" }, url);
  }
  for (const protocols of ["a b", ["x", "x"], [""]]) {
    assert.throws(() => gateway.webSocket("ws://vm/", protocols), { name: "SyntaxError" });
  }
  const socket = gateway.webSocket("ws://vm/");
  assert.throws(() => socket.close(1001), { name: "InvalidAccessError" });
  assert.throws(() => socket.close(1000, "x".repeat(124)), { name: "SyntaxError" });
  socket.close();
});

test("a server that breaks a rule is told which, and the connection ends", async (t) => {
  const { gateway, listen } = await home(t);
  const cases = [
    [1002, "a mask", [0x81, 0x81, 0, 0, 0, 0, 0x41]],
    [1002, "a reserved bit", [0xc1, 0]],
    [1002, "an opcode that nobody knows", [0x83, 0]],
    [1002, "a long ping", [0x89, 126, 0, 126, ...Array(126).fill(0)]],
    [1002, "a ping in pieces", [0x09, 0]],
    [1002, "a continuation of nothing", [0x80, 0]],
    [1002, "a message within a message", [0x01, 1, 0x41, 0x81, 1, 0x41]],
    [1002, "a close of one byte", [0x88, 1, 3]],
    [1002, "a close with a code that must not be sent", [0x88, 2, 3, 0xed]],
    [1007, "a text that is none", [0x81, 2, 0xc3, 0x28]],
    [1009, "an endless message", [0x82, 127, 0, 0, 0, 9, 0, 0, 0, 0]],
  ];
  for (const [code, what, bytes] of cases) {
    let told;
    const heard = new Promise((resolve) => {
      told = resolve;
    });
    const url = await listen((socket) => {
      socket.on("error", () => {});
      socket.once("data", (head) => {
        const key = /sec-websocket-key: (.*)\r\n/i.exec(String(head))[1];
        const accept = createHash("sha1")
          .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
          .digest("base64");
        socket.write(
          `HTTP/1.1 101 Yes\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
        );
        socket.once("data", (frame) => {
          const mask = frame.subarray(2, 6);
          told(((frame[6] ^ mask[0]) << 8) | (frame[7] ^ mask[1]));
        });
        socket.write(Uint8Array.from(bytes));
      });
    });
    const socket = gateway.webSocket(url);
    const failed = once(socket, "error");
    const { code: seen, wasClean } = await ended(socket);
    await failed;
    assert.deepEqual([seen, wasClean], [1006, false], what);
    assert.equal(await heard, code, what);
  }
});

test("sums are SHA-1", () => {
  for (const length of [0, 1, 55, 56, 60, 63, 64, 65, 119, 120, 1_000]) {
    const bytes = new Uint8Array(length).map((_, index) => index);
    assert.equal(
      Buffer.from(sha1(bytes)).toString("hex"),
      createHash("sha1").update(bytes).digest("hex"),
    );
  }
});

test("a message of empty fragments without end has a bound", async () => {
  let frames = 0;
  // A server whose every frame is an empty fragment: the first begins a binary message.
  const connection = {
    async read(into) {
      for (let at = 0; at < into.length; at += 1) into[at] = 0;
      if (frames === 0) into[0] = 2;
      frames += 1;
      assert.ok(frames < 4_000_000, "it is not read without end");
      return into.length;
    },
  };
  await assert.rejects(new MessageReader(connection).next(), { code: 1009 });
});
