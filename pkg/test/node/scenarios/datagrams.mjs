// UDP sockets.

import { AsyncLocalStorage } from "node:async_hooks";
import { attempt, scenario, turns, when } from "../runner.mjs";

const EVENTS = ["listening", "connect", "message", "error", "close"];

function watchUdp(note, socket) {
  for (const event of EVENTS) socket.on(event, (...values) => note(event, ...values));
  return socket;
}

/** A bound server with its port named, watched. */
async function service(run, options = "udp4", where = { address: run.address }) {
  const server = watchUdp(run.lane("server"), await run.bind(run.serverUdp, options, where));
  run.port(server.address().port, "SERVER");
  return server;
}

scenario("UDP: a datagram and its answer", async (run) => {
  const server = await service(run);
  server.on("message", (message, from) => server.send(`${message}!`, from.port, from.address));
  const client = watchUdp(run.lane("client"), run.track(run.clientUdp.createSocket("udp4")));
  const answered = when(client, "message");
  client.send("hello", server.address().port, run.address, (error, bytes) =>
    run.lane("sent")("callback", error, bytes),
  );
  await when(client, "listening");
  run.port(client.address().port, "CLIENT");
  run.lane("address")("client", client.address());
  await answered;
});

scenario("UDP: over IPv6", async (run) => {
  const server = await service(run, "udp6", { address: run.address6 });
  run.lane("address")("server", server.address());
  const client = await run.bind(run.clientUdp, "udp6", { address: run.own6 });
  run.port(client.address().port, "CLIENT");
  client.send("hello", server.address().port, run.address6);
  await when(server, "message");
});

scenario("UDP: a socket of both families sees IPv4 mapped", async (run) => {
  const server = await service(run, "udp6", {});
  run.lane("address")("server", server.address());
  const client = await run.bind(run.clientUdp, "udp4", { address: run.own });
  run.port(client.address().port, "CLIENT");
  const answered = when(client, "message");
  server.once("message", (_, from) => server.send("back", from.port, from.address));
  client.send("hello", server.address().port, run.address);
  run.lane("client")("answer", String((await answered)[0]));
});

scenario("UDP: parts, lists, views and empty datagrams", async (run) => {
  const server = await service(run);
  const client = await run.bind(run.clientUdp, "udp4", { address: run.own });
  run.port(client.address().port, "CLIENT");
  const { port } = server.address();
  const sent = run.lane("sent");
  for (const args of [
    [Buffer.from("0123456789"), 2, 3, port, run.address],
    [["a", Buffer.from("b"), new Uint8Array([99])], port, run.address],
    [new Uint16Array([0x4241]), port, run.address],
    [new DataView(new ArrayBuffer(2)), port, run.address],
    ["", port, run.address],
    [[], port, run.address],
  ]) {
    const received = when(server, "message");
    client.send(...args, (error, bytes) => sent("callback", error, bytes));
    await received;
  }
});

scenario("UDP: connected sockets", async (run) => {
  const server = await service(run);
  const note = run.lane("client");
  const client = watchUdp(note, run.track(run.clientUdp.createSocket("udp4")));
  const { port } = server.address();
  note(
    "early",
    attempt(() => client.remoteAddress()),
  );
  client.connect(port, run.address, () => note("callback"));
  note(
    "twice",
    attempt(() => client.connect(port, run.address)),
  );
  await when(client, "connect");
  run.port(client.address().port, "CLIENT");
  note("remote", client.remoteAddress());
  note(
    "with a port",
    attempt(() => client.send("x", port, run.address)),
  );
  client.send("to the peer", (error, bytes) => note("sent", error, bytes));
  const [, from] = await when(server, "message");
  const answered = when(client, "message");
  server.send("from the peer", from.port, from.address);
  await answered;
  client.disconnect();
  note(
    "disconnected",
    attempt(() => client.remoteAddress()),
  );
  note(
    "again",
    attempt(() => client.disconnect()),
  );
  note(
    "without a port",
    attempt(() => client.send("x")),
  );
});

scenario("UDP: nobody has the port of a connected socket's peer", async (run) => {
  const spare = await run.bind(run.serverUdp, "udp4", { address: run.address });
  const { port } = spare.address();
  spare.close();
  const note = run.lane("client");
  const client = watchUdp(note, run.track(run.clientUdp.createSocket("udp4")));
  client.connect(port, run.address);
  await when(client, "connect");
  const failed = when(client, "error");
  client.send("hello?");
  await failed;
});

scenario("UDP: nobody has the port, and nobody is told", async (run) => {
  const spare = await run.bind(run.serverUdp, "udp4", { address: run.address });
  const { port } = spare.address();
  spare.close();
  const note = run.lane("client");
  const client = watchUdp(note, await run.bind(run.clientUdp));
  client.send("hello?", port, run.address, (error, bytes) => note("sent", error, bytes));
  await turns(30);
});

scenario("UDP: the port is taken", async (run) => {
  const server = await service(run);
  const note = run.lane("other");
  const other = watchUdp(note, run.track(run.serverUdp.createSocket("udp4")));
  other.bind(server.address().port, run.address);
  await when(other, "error");
  other.bind(0, run.address, () => note("bound after all"));
  await when(other, "listening");
});

scenario("UDP: an address that is not this host's", async (run) => {
  const note = run.lane("server");
  const server = watchUdp(note, run.track(run.serverUdp.createSocket("udp4")));
  server.bind(0, "192.0.2.1");
  await when(server, "error");
});

scenario("UDP: bind in its forms", async (run) => {
  const note = run.lane("sockets");
  for (const args of [[], [0], [undefined, run.address], [{ port: 0, address: run.address }]]) {
    const socket = run.track(run.serverUdp.createSocket({ type: "udp4" }));
    const returned = socket.bind(...args, () => note("callback"));
    note("returned", returned === socket);
    note(
      "twice",
      attempt(() => socket.bind(0)),
    );
    await when(socket, "listening");
    run.port(socket.address().port, "OTHER");
    note("address", socket.address().address, socket.address().family);
  }
});

scenario("UDP: closing", async (run) => {
  const note = run.lane("socket");
  const socket = watchUdp(note, await run.bind(run.serverUdp));
  note("returned", socket.close(() => note("callback")) === socket);
  for (const method of ["close", "address", "bind", "remoteAddress"]) {
    note(
      method,
      attempt(() => socket[method]()),
    );
  }
  note(
    "send",
    attempt(() => socket.send("x", 1, run.address)),
  );
  note("ref", socket.ref() === socket, socket.unref() === socket);
  await when(socket, "close");
});

scenario("UDP: closed while it is bound", async (run) => {
  const note = run.lane("socket");
  const socket = watchUdp(note, run.track(run.serverUdp.createSocket("udp4")));
  socket.bind(0);
  socket.close();
  await when(socket, "close");
  await turns();
});

scenario("UDP: a signal closes a socket", async (run) => {
  const note = run.lane("socket");
  const controller = new AbortController();
  const socket = run.serverUdp.createSocket({ type: "udp4", signal: controller.signal });
  watchUdp(note, socket).bind(0);
  await when(socket, "listening");
  controller.abort();
  await when(socket, "close");
});

scenario("UDP: settings before and after it is bound", async (run) => {
  const note = run.lane("socket");
  const socket = run.track(run.serverUdp.createSocket("udp4"));
  const calls = {
    setTTL: [[64], ["64"], [0], [256]],
    setMulticastTTL: [[1], ["1"]],
    setBroadcast: [[true]],
    setMulticastLoopback: [[true]],
  };
  const all = (when) => {
    for (const [method, argumentLists] of Object.entries(calls)) {
      for (const args of argumentLists) {
        note(
          `${when} ${method} ${args}`,
          attempt(() => socket[method](...args)),
        );
      }
    }
  };
  all("before");
  socket.bind(0);
  await when(socket, "listening");
  all("after");
});

scenario("UDP: wrong arguments", async (run) => {
  const note = run.lane("thrown");
  const { clientUdp: dgram } = run;
  const socket = run.track(dgram.createSocket("udp4"));
  const calls = {
    type: () => dgram.createSocket("udp5"),
    noType: () => dgram.createSocket({}),
    lookup: () => dgram.createSocket({ type: "udp4", lookup: "dns" }),
    signal: () => dgram.createSocket({ type: "udp4", signal: "abort" }),
    noPort: () => socket.send("x"),
    portZero: () => socket.send("x", 0),
    portHigh: () => socket.send("x", 65_536),
    address: () => socket.send("x", 80, 7),
    number: () => socket.send(7, 80),
    list: () => socket.send(["x", 7], 80),
    offset: () => socket.send(Buffer.alloc(4), 5, 1, 80, run.address),
    length: () => socket.send(Buffer.alloc(4), 2, 3, 80, run.address),
    connectPort: () => socket.connect(0),
    connectAddress: () => socket.connect(80, 7),
    group: () => socket.addMembership(),
  };
  for (const [name, call] of Object.entries(calls)) note(name, attempt(call));
});

scenario("UDP: too long a datagram", async (run) => {
  const server = await service(run);
  const note = run.lane("client");
  const client = await run.bind(run.clientUdp);
  await new Promise((resolve) => {
    client.send(Buffer.alloc(70_000), server.address().port, run.address, (error) => {
      note("sent", error);
      resolve();
    });
  });
});

scenario("UDP: a lookup of one's own", async (run) => {
  const server = await service(run);
  const note = run.lane("client");
  const lookup = (name, family, callback) => {
    note("asked", name, family);
    if (name === "none.test") callback(Object.assign(new Error("none"), { code: "ENOTFOUND" }));
    else callback(null, name === "server.test" ? run.address : "0.0.0.0", 4);
  };
  const client = watchUdp(note, run.track(run.clientUdp.createSocket({ type: "udp4", lookup })));
  const received = when(server, "message");
  client.send("hello", server.address().port, "server.test");
  await received;
  run.port(client.address().port, "CLIENT");
  client.send("hello", server.address().port, "none.test", (error) => note("sent", error));
  client.send("hello", server.address().port, "none.test");
  await when(client, "error");
});

scenario("UDP: asynchronous context", async (run) => {
  const storage = new AsyncLocalStorage();
  const note = run.lane("server");
  const server = await storage.run("server", () =>
    run.bind(run.serverUdp, "udp4", { address: run.address }),
  );
  server.on("message", () => note("message", storage.getStore()));
  const client = await run.bind(run.clientUdp);
  await storage.run("sender", async () => {
    const received = when(server, "message");
    client.send("x", server.address().port, run.address, () => note("sent", storage.getStore()));
    await received;
    await turns();
  });
});
