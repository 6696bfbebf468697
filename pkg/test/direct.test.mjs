/** The Direct Sockets API over a stack, by the sentences of https://wicg.github.io/direct-sockets/, which are quoted. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { createDirectSockets, SocketError } from "ethertab";
import { pattern, readAll, twoStacks, until } from "./support.mjs";

const network = await twoStacks();
after(() => network.engine.close());
const a = createDirectSockets(network.a);
const b = createDirectSockets(network.b);
const isDom = (name) => (error) => error instanceof DOMException && error.name === name;

async function connected(options) {
  const server = new b.TCPServerSocket("::");
  const { readable, localPort } = await server.opened;
  const client = new a.TCPSocket("10.0.0.2", localPort, options);
  const opening = client.opened;
  const { value: accepted } = await readable.getReader().read();
  return { server, client, accepted, info: await opening, peer: await accepted.opened };
}

test("a connection: its ends are told, bytes go both ways, closing both sides resolves closed", async () => {
  const { client, accepted, info, peer } = await connected({
    noDelay: true,
    keepAliveDelay: 1_000,
    sendBufferSize: 65_536,
    receiveBufferSize: 65_536,
  });
  assert.ok(client instanceof a.TCPSocket && accepted instanceof b.TCPSocket);
  assert.equal(String(client), "[object TCPSocket]");
  assert.equal(info.remoteAddress, "10.0.0.2");
  assert.equal(info.localAddress, "10.0.0.1");
  assert.deepEqual(
    [info.localPort, info.localAddress, info.remotePort],
    [peer.remotePort, peer.remoteAddress, peer.localPort],
  );
  const [connection] = network.a.connections().filter(({ state }) => state === "ESTABLISHED");
  assert.ok(connection.timers.keepAlive !== null);
  const bytes = pattern(1_000_000);
  const echo = peer.readable.pipeTo(peer.writable);
  const writer = info.writable.getWriter();
  const writing = writer.write(bytes).then(() => writer.close());
  assert.equal(Buffer.compare(await readAll(info.readable), bytes), 0);
  await Promise.all([echo, writing]);
  // "closed will be automatically rejected or resolved once both [[readable]] and [[writable]] reach a closed or errored state."
  assert.equal(await client.closed, undefined);
  assert.equal(await accepted.closed, undefined);
});

test("the readable is a byte stream, and ends without ending the writable", async () => {
  const { info, peer, accepted } = await connected();
  const writer = peer.writable.getWriter();
  await writer.write(pattern(10));
  await writer.close();
  const reader = info.readable.getReader({ mode: "byob" });
  const { value } = await reader.read(new Uint8Array(4));
  assert.deepEqual(value, pattern(4));
  assert.equal((await reader.read(new Uint8Array(100))).value.byteLength, 6);
  assert.equal((await reader.read(new Uint8Array(4))).done, true);
  const back = info.writable.getWriter();
  await back.write(pattern(3));
  await back.close();
  assert.equal((await readAll(peer.readable)).length, 3);
  await accepted.closed;
});

test("close: InvalidStateError before it is open and while a stream is locked", async () => {
  const pending = new a.TCPSocket("10.0.0.99", 80);
  // "If this.[[openedPromise]] is rejected or not yet resolved, reject with InvalidStateError"
  await assert.rejects(pending.close(), isDom("InvalidStateError"));
  const { client, info, peer, accepted } = await connected();
  const reader = info.readable.getReader();
  // "If this.[[readable]] or this.[[writable]] are locked, reject with InvalidStateError"
  await assert.rejects(client.close(), isDom("InvalidStateError"));
  reader.releaseLock();
  const writer = info.writable.getWriter();
  await assert.rejects(client.close(), isDom("InvalidStateError"));
  writer.releaseLock();
  assert.equal(await client.close(), undefined);
  // "If this.[[closedPromise]] is settled, return this.[[closedPromise]]."
  assert.equal(await client.close(), undefined);
  await readAll(peer.readable).catch(() => {});
  await accepted.close().catch(() => {});
});

test("what the network answers are NetworkErrors, with the stack's error as cause", async () => {
  const refused = new a.TCPSocket("10.0.0.2", 9);
  for (const promise of [refused.opened, refused.closed]) {
    await assert.rejects(promise, (error) => {
      assert.ok(isDom("NetworkError")(error));
      assert.ok(error.cause instanceof SocketError);
      assert.equal(error.cause.code, "ECONNREFUSED");
      return true;
    });
  }
  await assert.rejects(refused.close(), isDom("InvalidStateError"));
  await assert.rejects(new a.TCPSocket("nobody.test", 9).opened, isDom("NetworkError"));
  await assert.rejects(new a.TCPSocket("10.0.0.2", 0).opened, isDom("NetworkError"));
  const { client, info } = await connected();
  const failing = assert.rejects(info.readable.getReader().read(), isDom("NetworkError"));
  const gone = assert.rejects(client.closed, isDom("NetworkError"));
  const late = assert.rejects(info.writable.getWriter().closed, isDom("NetworkError"));
  await network.b.close();
  await Promise.all([failing, gone, late]);
});

const wrongTcp = [
  [["10.0.0.2", 70_000], /remotePort.*70000/],
  [["10.0.0.2", "x"], /remotePort.*"x"/],
  [["10.0.0.2", 80, { keepAliveDelay: 999 }], /keepAliveDelay.*999/],
  [["10.0.0.2", 80, { sendBufferSize: 0 }], /sendBufferSize/],
  [["10.0.0.2", 80, { receiveBufferSize: 0 }], /receiveBufferSize/],
  [["10.0.0.2", 80, { dnsQueryType: "ipv5" }], /dnsQueryType.*"ipv5"/],
  [["10.0.0.2", 80, 5], /options.*5/],
];
const wrongServer = [
  [["nonsense"], /localAddress.*"nonsense"/],
  [["::", { localPort: 0 }], /localPort/],
  [["::", { backlog: 0 }], /backlog/],
  [["0.0.0.0", { ipv6Only: true }], /ipv6Only/],
];
const wrongUdp = [
  [[], /remoteAddress or .*localAddress/],
  [[{ remoteAddress: "10.0.0.2" }], /remotePort/],
  [[{ remotePort: 5 }], /remoteAddress/],
  [[{ localPort: 5 }], /localAddress/],
  [[{ localAddress: "::", localPort: 0 }], /localPort/],
  [[{ localAddress: "x" }], /localAddress.*"x"/],
  [[{ localAddress: "::", remoteAddress: "10.0.0.2", remotePort: 5 }], /localAddress/],
  [[{ localAddress: "::", dnsQueryType: "ipv4" }], /dnsQueryType/],
  [[{ localAddress: "0.0.0.0", ipv6Only: true }], /ipv6Only/],
  [[{ remoteAddress: "10.0.0.2", remotePort: 5, ipv6Only: true }], /ipv6Only/],
  [[{ localAddress: "::", sendBufferSize: 0 }], /sendBufferSize/],
  [[{ localAddress: "::", multicastTimeToLive: 256 }], /multicastTimeToLive.*256/],
];
for (const [name, cases] of [
  ["TCPSocket", wrongTcp],
  ["TCPServerSocket", wrongServer],
  ["UDPSocket", wrongUdp],
]) {
  test(`${name}: "throw a TypeError", at once and by name`, () => {
    for (const [args, message] of cases) {
      assert.throws(() => new a[name](...args), { name: "TypeError", message });
    }
  });
}

test("a listening socket: taken ports, close, both families or one", async () => {
  const { a: near, b: far, engine } = await twoStacks();
  const [here, there] = [createDirectSockets(near), createDirectSockets(far)];
  const server = new there.TCPServerSocket("0.0.0.0", { localPort: 8_000, backlog: 5 });
  await assert.rejects(server.close(), isDom("InvalidStateError"));
  const { readable, localAddress, localPort } = await server.opened;
  assert.deepEqual([localAddress, localPort], ["0.0.0.0", 8_000]);
  await assert.rejects(
    new there.TCPServerSocket("::", { localPort: 8_000 }).opened,
    isDom("NetworkError"),
  );
  const six = new here.TCPSocket("fd00::2", 8_000);
  const four = new here.TCPSocket("10.0.0.2", 8_000);
  const reader = readable.getReader();
  const { value } = await reader.read();
  assert.equal((await value.opened).remoteAddress, "10.0.0.1");
  await four.opened;
  const next = assert.rejects(reader.read(), TypeError);
  await assert.rejects(
    six.opened.then(({ readable: stream }) => stream.getReader().read()),
    isDom("NetworkError"),
  );
  // "If this.[[readable]] is locked, reject with InvalidStateError"
  await assert.rejects(server.close(), isDom("InvalidStateError"));
  reader.releaseLock();
  await next;
  assert.equal(await server.close(), undefined);
  await server.closed;
  await assert.rejects(new here.TCPSocket("10.0.0.2", 8_000).opened, isDom("NetworkError"));
  engine.close();
});

test("UDP in bound and in connected mode", async () => {
  const { a: near, b: far, engine } = await twoStacks();
  const [here, there] = [createDirectSockets(near), createDirectSockets(far)];
  const bound = new there.UDPSocket({ localAddress: "0.0.0.0", localPort: 5_000 });
  const at = await bound.opened;
  assert.deepEqual(
    [at.localAddress, at.localPort, at.remoteAddress, at.remotePort],
    ["0.0.0.0", 5_000, undefined, undefined],
  );
  const peer = new here.UDPSocket({ remoteAddress: "10.0.0.2", remotePort: 5_000 });
  const to = await peer.opened;
  assert.deepEqual([to.remoteAddress, to.remotePort], ["10.0.0.2", 5_000]);
  assert.equal(to.multicastController, undefined);
  const [writer, reader] = [to.writable.getWriter(), at.readable.getReader()];
  await writer.write({ data: pattern(5).buffer });
  const { value } = await reader.read();
  assert.deepEqual(value, {
    data: pattern(5),
    remoteAddress: "10.0.0.1",
    remotePort: to.localPort,
  });
  const back = at.writable.getWriter();
  await back.write({ ...value, data: pattern(7) });
  // "In connected mode this field is always unspecified"
  assert.deepEqual((await to.readable.getReader().read()).value, { data: pattern(7) });
  // "If either message["remoteAddress"] or message["remotePort"] is not specified in bound mode, reject promise with a TypeError"
  await assert.rejects(back.write({ data: pattern(1) }), TypeError);
  // "If either message["remoteAddress"], message["remotePort"] or message["dnsQueryType"] is specified in connected mode, reject..."
  await assert.rejects(writer.write({ data: pattern(1), remotePort: 5 }), TypeError);

  const silent = new here.UDPSocket({ remoteAddress: "10.0.0.2", remotePort: 9 });
  const { writable, readable } = await silent.opened;
  const reading = readable.getReader().read();
  await writable.getWriter().write({ data: pattern(1) });
  await assert.rejects(reading, (error) => error.cause.code === "ECONNREFUSED");
  engine.close();
});

test("groups: joined from all sources or from one, told by joinedGroups, left with the socket", async () => {
  const { a: near, b: far, engine } = await twoStacks();
  const [here, there] = [createDirectSockets(near), createDirectSockets(far)];
  const listening = new there.UDPSocket({
    localAddress: "0.0.0.0",
    localPort: 5_000,
    multicastAllowAddressSharing: true,
  });
  const { multicastController: groups, readable } = await listening.opened;
  await groups.joinGroup("239.0.0.1");
  await groups.joinGroup("232.1.1.1", { sourceAddress: "10.0.0.1" });
  assert.deepEqual(groups.joinedGroups, [
    "239.0.0.1",
    { groupAddress: "232.1.1.1", sourceAddress: "10.0.0.1" },
  ]);
  assert.ok(Object.isFrozen(groups.joinedGroups));
  await assert.rejects(groups.joinGroup("239.0.0.1"), isDom("InvalidStateError"));
  await assert.rejects(groups.leaveGroup("239.0.0.9"), isDom("InvalidStateError"));
  for (const [group, options] of [
    ["nonsense"],
    ["10.0.0.1"],
    ["232.0.0.1", { sourceAddress: "fd00::1" }],
    ["232.0.0.1", { sourceAddress: "127.0.0.1" }],
    ["232.0.0.1", { sourceAddress: "239.0.0.1" }],
  ]) {
    await assert.rejects(groups.joinGroup(group, options), TypeError);
  }
  const reader = readable.getReader();
  for (const group of ["239.0.0.1", "232.1.1.1"]) {
    const sending = new here.UDPSocket({
      remoteAddress: group,
      remotePort: 5_000,
      multicastTimeToLive: 5,
      multicastLoopback: false,
    });
    const { writable } = await sending.opened;
    await writable.getWriter().write({ data: pattern(9) });
    assert.equal((await reader.read()).value.remoteAddress, "10.0.0.1");
  }
  await groups.leaveGroup("239.0.0.1");
  reader.releaseLock();
  await listening.close();
  await until(() => groups.joinedGroups.length === 0);
  await assert.rejects(groups.joinGroup("239.0.0.2"), isDom("InvalidStateError"));
  engine.close();
});
