// Servers.

import { attempt, ends, scenario, state, turns, watch, when } from "../runner.mjs";

const SERVER_EVENTS = ["listening", "connection", "drop", "error", "close"];

function watchServer(note, server) {
  for (const event of SERVER_EVENTS) server.on(event, (...values) => note(event, ...values));
  return server;
}

scenario("a server listens and closes", async (run) => {
  const note = run.lane("server");
  const server = watchServer(note, run.track(run.server.createServer()));
  note("before", server.listening, server.address());
  note("returned", server.listen(0, run.address, () => note("callback")) === server);
  await when(server, "listening");
  run.port(server.address().port, "SERVER");
  note("after", server.listening, server.address());
  server.close((error) => note("closed", error));
  note("closing", server.listening, server.address());
  await when(server, "close");
});

scenario("listening twice throws", async (run) => {
  const note = run.lane("server");
  const server = await run.listen({});
  note(
    "again",
    attempt(() => server.listen(0)),
  );
});

scenario("closing a server that does not listen", async (run) => {
  const note = run.lane("server");
  const server = watchServer(note, run.server.createServer());
  await new Promise((resolve) => server.close((error) => resolve(note("callback", error))));
  await turns();
});

scenario("closing waits for connections", async (run) => {
  const { server, client, peer } = await run.pair();
  const note = watchServer(run.lane("server"), server);
  const order = run.lane("order");
  server.close(() => order("closed"));
  order("listening", note.listening);
  server.getConnections((error, count) => order("connections", error, count));
  await turns();
  peer.on("close", () => order("peer closed"));
  client.end();
  peer.resume();
  client.resume();
  await when(server, "close");
  order("left", server._connections);
});

scenario("a port that servers share", async (run) => {
  const note = run.lane("server");
  // Which of them is given a connection is chance on some systems.
  const hello = (socket) => socket.end("hello");
  const where = { host: run.address, reusePort: true };
  const first = await run.listen({}, hello, where);
  const { port } = first.address();
  const second = run.track(run.server.createServer(hello));
  const outcome = await new Promise((resolve) => {
    second.on("error", resolve);
    second.listen({ ...where, port }, () => resolve("listening"));
  });
  note("second", outcome);
  const third = run.track(run.server.createServer());
  third.listen({ host: run.address, port });
  const [error] = await when(third, "error");
  note("third", error);
  for (let count = 0; count < 8; count += 1) {
    const client = watch(note, run.connect(first));
    await when(client, "close");
  }
  first.close();
  await when(first, "close");
  if (!second.listening) return;
  await when(watch(note, run.connect(second)), "close");
});

scenario("the port is taken", async (run) => {
  const server = await run.listen({});
  const note = run.lane("other");
  const other = watchServer(note, run.track(run.server.createServer()));
  other.listen(server.address().port, run.address);
  await when(other, "error");
  note("listening", other.listening, other.address());
  other.on("listening", () => {});
});

scenario("a port that was closed is free again", async (run) => {
  const first = await run.listen({});
  const { port } = first.address();
  await new Promise((resolve) => first.close(resolve));
  const note = run.lane("server");
  const again = watchServer(note, run.track(run.server.createServer()));
  again.listen(port, run.address);
  await when(again, "listening");
  note("address", again.address());
});

scenario("an address that is not this host's", async (run) => {
  const note = run.lane("server");
  const server = watchServer(note, run.track(run.server.createServer()));
  server.listen(0, "192.0.2.1");
  await when(server, "error");
});

scenario("a server listens again after it was closed", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket).end("hi"));
  await new Promise((resolve) => server.close(resolve));
  const note = watchServer(run.lane("server"), server);
  await new Promise((resolve) => server.listen(0, run.address, resolve));
  run.port(server.address().port, "SERVER");
  const client = watch(run.lane("client"), run.connect(note));
  await when(client, "close");
});

scenario("getConnections", async (run) => {
  const { server, client, peer } = await run.pair();
  const note = run.lane("server");
  const count = () => new Promise((resolve) => server.getConnections((_, n) => resolve(n)));
  note("one", await count());
  client.destroy();
  peer.resume();
  await when(peer, "close");
  note("none", await count());
  note("returned", server.getConnections(() => {}) === server);
});

scenario("maxConnections drops what is too many", async (run) => {
  const note = run.lane("server");
  const server = await run.listen({}, (socket) => {
    run.track(socket);
    note("accepted");
  });
  server.maxConnections = 1;
  const dropped = when(server, "drop");
  const first = run.connect(server);
  await when(first, "connect");
  const second = run.connect(server);
  await when(second, "connect");
  run.port(second.localPort, "CLIENT");
  note("drop", ...(await dropped));
  second.resume();
  await when(second, "close");
});

scenario("pauseOnConnect", async (run) => {
  const note = run.lane("server");
  let accepted;
  const connection = new Promise((resolve) => {
    accepted = resolve;
  });
  const server = await run.listen({ pauseOnConnect: true }, (socket) =>
    accepted(run.track(socket)),
  );
  const client = run.connect(server);
  client.write("waits");
  const peer = await connection;
  note("paused", peer.isPaused(), peer.readableFlowing);
  await turns();
  note("nothing", peer.bytesRead);
  peer.on("data", (chunk) => note("data", chunk));
  peer.resume();
  await when(peer, "data");
});

scenario("options of a server are its sockets' own", async (run) => {
  const { server, peer } = await run.pair({
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 2500,
    highWaterMark: 1234,
  });
  const note = run.lane("server");
  const { allowHalfOpen, pauseOnConnect, noDelay, keepAlive, keepAliveInitialDelay } = server;
  note("server", { allowHalfOpen, pauseOnConnect, noDelay, keepAlive, keepAliveInitialDelay });
  note("peer", peer.allowHalfOpen, peer.readableHighWaterMark, peer.writableHighWaterMark);
  note("owner", peer.server === server, peer._server === server);
});

scenario("a signal closes a server", async (run) => {
  const note = run.lane("server");
  const controller = new AbortController();
  const server = watchServer(note, run.track(run.server.createServer()));
  server.listen({ port: 0, host: run.address, signal: controller.signal });
  await when(server, "listening");
  controller.abort();
  await when(server, "close");
  note("listening", server.listening);
});

scenario("a signal that was aborted before", async (run) => {
  const note = run.lane("server");
  const server = watchServer(note, run.track(run.server.createServer()));
  server.listen({ port: 0, host: run.address, signal: AbortSignal.abort() });
  await when(server, "close");
  await turns();
});

scenario("closed before it listens", async (run) => {
  const note = run.lane("server");
  const server = watchServer(note, run.track(run.server.createServer()));
  server.listen(0, run.address);
  server.close(() => note("callback"));
  await when(server, "close");
  await turns();
});

scenario("many connections at once", async (run) => {
  const note = run.lane("server");
  let count = 0;
  const server = await run.listen({}, (socket) => {
    count += 1;
    run.track(socket).end(String(count));
  });
  const clients = Array.from({ length: 20 }, () => run.connect(server));
  await Promise.all(clients.map((client) => when(client.resume(), "close")));
  await new Promise((resolve) => server.close(resolve));
  note("accepted", count);
  note("left", server._connections);
});

scenario("connections that wait are accepted in order", async (run) => {
  const note = run.lane("server");
  const server = await run.listen({}, (socket) => {
    run.track(socket).on("data", (chunk) => note("got", chunk));
  });
  for (const name of ["one", "two", "three"]) {
    const client = run.connect(server);
    await when(client, "connect");
    await new Promise((resolve) => client.write(name, resolve));
    await turns();
  }
});

scenario("a connection that ends before it is looked at", async (run) => {
  const note = run.lane("server");
  let accepted;
  const connection = new Promise((resolve) => {
    accepted = resolve;
  });
  const server = await run.listen({}, (socket) => accepted(run.track(socket)));
  const client = run.connect(server);
  client.end("gone");
  const peer = await connection;
  watch(note, peer);
  await when(peer, "close");
  note("ends", Object.keys(ends(peer)));
  note("state", state(peer));
});

scenario("Symbol.asyncDispose of a server", async (run) => {
  const note = run.lane("server");
  const server = await run.listen({});
  if (typeof server[Symbol.asyncDispose] === "function") await server[Symbol.asyncDispose]();
  note("listening", server.listening);
});

scenario("ref and unref return the server and the socket", async (run) => {
  const { server, client } = await run.pair();
  const note = run.lane("both");
  note("server", server.unref() === server, server.ref() === server);
  note("client", client.unref() === client, client.ref() === client);
  note("settings", client.setNoDelay() === client, client.setKeepAlive(true, 1000) === client);
});

scenario("errors of connection listeners with captureRejections", async (run) => {
  const note = run.lane("client");
  const server = await run.listen({}, () => {});
  server.on("connection", (socket) =>
    run.track(socket).on("error", (error) => note("error", error)),
  );
  const client = run.connect(server);
  await when(client, "connect");
  client.end();
  client.resume();
  await when(client, "close");
  note("closed");
});

scenario("a server for all IPv4 addresses is none for IPv6", async (run) => {
  const note = run.lane("client");
  const server = await run.listen({}, (socket) => run.track(socket), { host: "0.0.0.0" });
  const { port } = server.address();
  watch(note, run.track(run.client.connect(port, run.address6)));
  await turns();
  const other = run.track(run.client.connect(port, run.address));
  await when(other, "connect");
  note("connected over IPv4", other.remoteFamily);
});

scenario("all addresses, all of a family, and one: who leaves a port to whom", async (run) => {
  const note = run.lane("listen");
  const hosts = ["::", "0.0.0.0", run.address, run.address6];
  for (const first of hosts) {
    for (const second of hosts) {
      const server = await run.listen({}, () => {}, { host: first });
      const other = run.track(run.server.createServer());
      const { port } = server.address();
      const outcome = Promise.race([when(other, "listening"), when(other, "error")]);
      other.listen(port, second);
      const [error] = await outcome;
      note("pair", first, second, error?.code);
      other.close();
      server.close();
      await turns(3);
    }
  }
});
