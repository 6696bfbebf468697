// Ports of this computer that lead into a gateway's network. Node's own sockets judge, at both ends where they can.

import assert from "node:assert/strict";
import dgram from "node:dgram";
import { once } from "node:events";
import net from "node:net";
import { test } from "node:test";
import { createEngine, createGateway, createStack, createSwitch } from "ethertab";
import { createNet } from "ethertab/node";
import { pattern, until } from "./support.mjs";

/** A gateway and a machine "vm" with Node's `net` over its stack. */
async function home(t) {
  const engine = await createEngine();
  const gateway = await createGateway({ engine, dns: { hosts: { vm: "10.0.2.15" } } });
  const stack = await createStack({ engine, hostname: "vm" });
  const nic = stack.addInterface({ addresses: ["10.0.2.15/24"] });
  const lan = await createSwitch({ engine });
  lan.plug(gateway);
  lan.plug(nic);
  t.after(async () => {
    await gateway.close();
    engine.close();
  });
  const inner = createNet(stack);
  /** A server in the machine. */
  const listen = async (handler, options = { allowHalfOpen: true }) => {
    const server = inner.createServer(options, handler);
    server.listen(0);
    await once(server, "listening");
    t.after(() => server.close());
    return { hostname: "vm", port: server.address().port };
  };
  return { gateway, stack, listen };
}

const connectTo = ({ address }, options = {}) =>
  net.connect({ host: address.address, port: address.port, ...options });

test("bytes both ways, and each end's FIN on its own", async (t) => {
  const { gateway, listen } = await home(t);
  const data = Buffer.from(pattern(3_000_000));
  const to = await listen((socket) => {
    // Answers only after the client's end.
    const pieces = [];
    socket.on("data", (piece) => pieces.push(piece));
    socket.on("end", () => socket.end(Buffer.concat(pieces)));
  });
  const forward = await gateway.forward({ to });
  assert.equal(forward.address.address, "127.0.0.1");
  assert.deepEqual([forward.protocol, forward.to], ["tcp", to]);
  assert.deepEqual(gateway.forwards(), [forward]);
  const client = connectTo(forward, { allowHalfOpen: true });
  client.end(data);
  const pieces = [];
  client.on("data", (piece) => pieces.push(piece));
  await once(client, "end");
  assert.equal(Buffer.compare(Buffer.concat(pieces), data), 0);
  await until(() => forward.connections === 0, "the connection has ended");
  await forward.close();
  await forward.close();
  assert.deepEqual(gateway.forwards(), []);
  const [error] = await once(connectTo(forward), "error");
  assert.equal(error.code, "ECONNREFUSED");
});

test("the machine's FIN first, then the client goes on", async (t) => {
  const { gateway, listen } = await home(t);
  let received;
  const arrived = new Promise((resolve) => {
    received = resolve;
  });
  const to = await listen((socket) => {
    socket.end("done");
    const pieces = [];
    socket.on("data", (piece) => pieces.push(piece));
    socket.on("end", () => received(Buffer.concat(pieces).toString()));
  });
  const client = connectTo(await gateway.forward({ to }), { allowHalfOpen: true });
  let text = "";
  client.on("data", (piece) => {
    text += piece;
  });
  await once(client, "end");
  assert.equal(text, "done");
  client.end("after your end");
  assert.equal(await arrived, "after your end");
});

test("refused and reset there is reset here, and the other way round", async (t) => {
  const { gateway, listen } = await home(t);
  const closed = await gateway.forward({ to: { hostname: "10.0.2.15", port: 9 } });
  const unknown = await gateway.forward({ to: { hostname: "nobody", port: 80 } });
  for (const forward of [closed, unknown]) {
    const [error] = await once(connectTo(forward), "error");
    assert.equal(error.code, "ECONNRESET");
  }
  const resets = await gateway.forward({
    to: await listen((socket) => socket.once("data", () => socket.resetAndDestroy())),
  });
  const client = connectTo(resets);
  client.write("x");
  const [error] = await once(client, "error");
  assert.equal(error.code, "ECONNRESET");

  let failed;
  const failure = new Promise((resolve) => {
    failed = resolve;
  });
  const watched = await gateway.forward({
    to: await listen((socket) => {
      socket.on("error", failed);
      socket.write("hello");
    }),
  });
  const leaving = connectTo(watched);
  await once(leaving, "data");
  leaving.resetAndDestroy();
  assert.equal((await failure).code, "ECONNRESET");
  await until(() => watched.connections === 0, "it is forgotten");
});

/** Sends 32 MiB and then ends; tells how many of them were given to the socket. */
function sendMuch(socket) {
  const piece = Buffer.alloc(1024 * 1024, 7);
  const progress = { sent: 0, megabytes: 32, length: 32 * piece.length };
  const more = () => {
    while (progress.sent < progress.megabytes) {
      progress.sent += 1;
      if (!socket.write(piece)) return;
    }
    if (!socket.writableEnded) socket.end();
  };
  socket.on("drain", more);
  more();
  return progress;
}

/** Reads to the end, and ends its own side then. */
async function readMuch(socket) {
  let length = 0;
  socket.on("data", (piece) => {
    length += piece.length;
  });
  socket.resume();
  await once(socket, "end");
  socket.end();
  return length;
}

test("a client that does not read holds the machine back, and nobody else", async (t) => {
  const { gateway, listen } = await home(t);
  const senders = [];
  const to = await listen((socket) => {
    socket.resume();
    senders.push(sendMuch(socket));
  });
  const forward = await gateway.forward({ to });
  const client = connectTo(forward).pause();
  await until(() => senders.length === 1, "the first connection");
  // By the time that another has got all, the first would have taken all as well.
  const other = await readMuch(connectTo(forward));
  const [held, free] = senders;
  assert.equal(other, free.length);
  assert.ok(held.sent < held.megabytes / 2, `${held.sent} MiB for a client that does not read`);
  assert.equal(await readMuch(client), held.length);
  await until(() => forward.connections === 0, "both have ended");
});

test("a machine that does not read holds the client back, and nobody else", async (t) => {
  const { gateway, listen } = await home(t);
  const received = [];
  const accepted = [];
  const to = await listen((socket) => {
    accepted.push(socket.pause());
    if (accepted.length === 2) received.push(readMuch(socket));
  });
  const forward = await gateway.forward({ to });
  const client = connectTo(forward);
  const held = sendMuch(client);
  await until(() => accepted.length === 1, "the first connection");
  const second = connectTo(forward);
  const ended = [client, second].map((socket) => once(socket.resume(), "close"));
  const free = sendMuch(second);
  await ended[1];
  assert.equal(await received[0], free.length);
  assert.ok(held.sent < held.megabytes / 2, `${held.sent} MiB for a machine that does not read`);
  assert.equal(await readMuch(accepted[0]), held.length);
  await ended[0];
  await until(() => forward.connections === 0, "both have ended");
});

test("connections are bounded, and closing ends them", async (t) => {
  const { gateway, listen } = await home(t);
  const to = await listen((socket) => {
    socket.on("error", () => {});
    socket.write("hello");
  });
  const forward = await gateway.forward({ to, maxConnections: 2 });
  const clients = [connectTo(forward), connectTo(forward)];
  await Promise.all(clients.map((client) => once(client, "data")));
  const third = connectTo(forward);
  third.on("error", () => {});
  await once(third, "close");
  assert.equal(forward.connections, 2);
  const ends = clients.map((client) => once(client, "error"));
  await gateway.close();
  for (const [error] of await Promise.all(ends)) assert.equal(error.code, "ECONNRESET");
  await assert.rejects(gateway.forward({ to }), /the gateway is closed/);
});

test("datagrams of several senders, each with its answers", async (t) => {
  const { gateway, stack } = await home(t);
  const echo = stack.bindUdp({ port: 7 });
  const senders = new Set();
  echo.onready = () => {
    for (let next = echo.tryReceive(); next !== null; next = echo.tryReceive()) {
      senders.add(next.remotePort);
      echo.send(Buffer.concat([Buffer.from("re: "), next.data]), next);
    }
  };
  const forward = await gateway.forward({
    protocol: "udp",
    to: { hostname: "vm", port: 7 },
    maxConnections: 3,
  });
  for (let sender = 0; sender < 5; sender += 1) {
    const client = dgram.createSocket("udp4");
    t.after(() => client.close());
    for (let round = 0; round < 2; round += 1) {
      client.send(`${sender} ${round}`, forward.address.port, "127.0.0.1");
      const [answer] = await once(client, "message");
      assert.equal(String(answer), `re: ${sender} ${round}`);
    }
  }
  assert.equal(senders.size, 5);
  assert.equal(forward.connections, 3, "those that were idle for longest are forgotten");
  await forward.close();
});

test("mistakes name the option; a port in use is the system's error", async (t) => {
  const { gateway, listen } = await home(t);
  const to = await listen(() => {});
  for (const [options, message] of [
    [{}, /options\.to\.hostname must be a string/],
    [{ to: { hostname: "vm" } }, /options\.to\.port must be a number/],
    [{ to, host: "localhost" }, /options\.host must be an IP address/],
    [{ to, port: 70_000 }, /options\.port must be an integer/],
    [{ to, protocol: "sctp" }, /options\.protocol must be one of/],
    [{ to, maxConnections: 0 }, /options\.maxConnections/],
  ]) {
    await assert.rejects(gateway.forward(options), message);
  }
  for (const protocol of ["tcp", "udp"]) {
    const first = await gateway.forward({ protocol, to });
    const { port } = first.address;
    await assert.rejects(gateway.forward({ protocol, to, port }), { code: "EADDRINUSE" });
    await first.close();
    await (await gateway.forward({ protocol, to, port })).close();
  }
});
