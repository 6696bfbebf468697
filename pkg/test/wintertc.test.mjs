/** `connect` and its sockets as the Sockets API of WinterTC has them (https://sockets-api.proposal.wintertc.org/), by its sentences, which are quoted. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { SocketError } from "ethertab";
import { connected, pattern, readAll, settle, twoStacks } from "./support.mjs";

const hasCode = (code) => (error) => error instanceof SocketError && error.code === code;

test('addresses: "a hostname/port combo separated by a colon", or both apart', async () => {
  const { engine, a, b } = await twoStacks();
  const listener = b.listen({ port: 80 });
  await listener.listening;
  for (const [address, remote] of [
    ["10.0.0.2:80", "10.0.0.2:80"],
    ["10.0.0.2:0080", "10.0.0.2:80"],
    ["[fd00::2]:80", "[fd00::2]:80"],
    [{ hostname: "10.0.0.2", port: 80 }, "10.0.0.2:80"],
    [{ hostname: "fd00::2", port: 80 }, "[fd00::2]:80"],
    [{ hostname: "[fd00::2]", port: 80 }, "[fd00::2]:80"],
  ]) {
    const socket = a.connect(address);
    const info = await socket.opened;
    assert.equal(info.remoteAddress, remote);
    assert.match(info.localAddress, /^(10\.0\.0\.1|\[fd00::1\]):\d+$/);
    assert.equal(info.alpn, null);
    await socket.close();
  }
  engine.close();
});

for (const address of [
  "",
  ":80",
  "10.0.0.2",
  "10.0.0.2:",
  "10.0.0.2:0",
  "10.0.0.2:65536",
  "10.0.0.2:-1",
  "10.0.0.2:8x",
  "10.0.0.2:80:90",
  "10.0.0.2 :80/",
  "fd00::2:80",
  "[fd00::2]",
  "[10.0.0.2]:80",
  "[]:80",
  "http://10.0.0.2:80",
  { hostname: "", port: 80 },
  { hostname: "10.0.0.2", port: 0 },
  { hostname: "10.0.0.2", port: -1 },
  { hostname: "10.0.0.2", port: 70_000 },
  { hostname: "10.0.0.2", port: 1.5 },
  { hostname: "10.0.0.2", port: Number.NaN },
]) {
  test(`${JSON.stringify(address)} is incorrectly formatted: connect throws a SocketError`, async () => {
    const { engine, a } = await twoStacks();
    assert.throws(
      () => a.connect(address),
      (error) => hasCode("EINVAL")(error) && error instanceof TypeError,
    );
    engine.close();
  });
}

test('alpn and sni: "may be specified if and only if secureTransport is `on` or `starttls`"', async () => {
  const { engine, a } = await twoStacks();
  for (const [option, value] of [
    ["alpn", ["h2"]],
    ["sni", "shop.test"],
  ]) {
    const connect = (secureTransport) =>
      a.connect("10.0.0.2:80", { secureTransport, tls: undefined, [option]: value });
    assert.throws(() => connect("off"), { name: "TypeError", message: new RegExp(option) });
    await connect("starttls").close();
  }
  // Their defaults.
  await a.connect("10.0.0.2:80", { alpn: [], sni: null }).close();
  engine.close();
});

test("a SocketError is a TypeError whose message starts with its name", async () => {
  const { engine, a } = await twoStacks();
  const socket = a.connect("10.0.0.2:9");
  const errors = await Promise.all([socket.opened, socket.closed].map((p) => p.catch((e) => e)));
  // "set |error| to a new SocketError and reject the socket's closed and opened promises with |error|"
  assert.equal(errors[0], errors[1]);
  assert.ok(errors[0] instanceof TypeError);
  assert.match(errors[0].message, /^SocketError: /);
  // "Also, the readable is canceled with |error| and the writable is aborted with |error|."
  await assert.rejects(socket.readable.getReader().closed, (error) => error === errors[0]);
  await assert.rejects(socket.writable.getWriter().closed, (error) => error === errors[0]);
  engine.close();
});

test('close: "returns the same promise as the closed attribute", and passes the reason on', async () => {
  const network = await twoStacks();
  const { client } = await connected(network);
  const reason = { any: "value" };
  const reader = client.readable.getReader();
  const reading = reader.read();
  const writer = client.writable.getWriter();
  const closed = client.closed;
  assert.equal(client.close(reason), closed);
  assert.equal(await closed, undefined);
  assert.equal((await reading).done, true);
  await assert.rejects(writer.closed, (error) => error === reason);
  assert.equal(client.close("again"), closed);

  // "If the opened promise is still pending, it will be rejected with the reason."
  const pending = network.a.connect("10.0.0.99:80");
  await pending.close(reason);
  await assert.rejects(pending.opened, (error) => error === reason);
  network.engine.close();
});

test("what is written before it is open is sent when it is", async () => {
  const { engine, a, b } = await twoStacks();
  const listener = b.listen({ port: 80 });
  const socket = a.connect("10.0.0.2:80");
  const writer = socket.writable.getWriter();
  const writing = writer.write(pattern(10)).then(() => writer.close());
  const server = await listener.accept();
  assert.equal((await readAll(server.readable)).byteLength, 10);
  await writing;
  engine.close();
});

test("allowHalfOpen: false, the default: a FIN that was read closes the writable and the socket", async () => {
  const network = await twoStacks();
  const { client, server } = await connected(network, { listen: { allowHalfOpen: true } });
  server.shutdown();
  // "if the ReadableStream is not read then even if the server closes the connection the closed promise will not resolve"
  let isClosed = false;
  client.closed.then(() => {
    isClosed = true;
  });
  await settle();
  assert.equal(isClosed, false);
  assert.equal((await client.readable.getReader().read()).done, true);
  await client.closed;
  await assert.rejects(client.writable.getWriter().write(pattern(1)));
  assert.equal((await readAll(server.readable)).byteLength, 0);
  network.engine.close();
});

test('allowHalfOpen: true: "the ReadableStream is closed but the WritableStream can still be written to"', async () => {
  const network = await twoStacks();
  const { client, server } = await connected(network, { connect: { allowHalfOpen: true } });
  server.shutdown();
  assert.equal((await client.readable.getReader().read()).done, true);
  const writer = client.writable.getWriter();
  await writer.write(pattern(5));
  await writer.close();
  assert.equal((await readAll(server.readable)).byteLength, 5);
  await client.closed;
  network.engine.close();
});

test('"cancelling the ReadableStream and closing the WritableStream does not resolve the closed promise"', async () => {
  const network = await twoStacks();
  const { client } = await connected(network, { listen: { allowHalfOpen: true } });
  let isClosed = false;
  client.closed.then(() => {
    isClosed = true;
  });
  await client.readable.cancel();
  await client.writable.close();
  await settle();
  assert.equal(isClosed, false);
  await client.close();
  network.engine.close();
});

test('startTls: "must fail with a SocketError if secureTransport is not starttls"', async () => {
  const network = await twoStacks();
  const { client } = await connected(network);
  assert.deepEqual([client.secureTransport, client.upgraded], ["off", false]);
  assert.throws(() => client.startTls(), hasCode("ERR_INVALID_STATE"));
  network.engine.close();
});
