/** What is called from within which event, calls that come twice or too late, and platform streams made of sockets. */

import { Duplex, Readable, Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { finished } from "node:stream/promises";
import { attempt, ends, scenario, state, turns, watch, when } from "../runner.mjs";

scenario("connect while it connects", async (run) => {
  const note = run.lane("client");
  const server = await run.listen({}, (socket) => run.track(socket).on("error", () => {}));
  const { port } = server.address();
  const socket = run.connect(server);
  // Which port of its own it has got is in the text.
  socket.on("error", ({ code, syscall, port }) => note("error", code, syscall, port));
  note(
    "again",
    attempt(() => socket.connect({ port, host: run.address }) === socket),
  );
  note("closed", ...(await when(socket, "close")), socket.readyState);
});

scenario("connect once it is connected", async (run) => {
  const note = run.lane("client");
  const { server, client } = await run.pair();
  const { port } = server.address();
  watch(note, client);
  note(
    "again",
    attempt(() => client.connect({ port, host: run.address }) === client),
  );
  await Promise.race([when(client, "close"), turns(50)]);
  note("state", state(client));
});

for (const event of ["connect", "ready", "data", "end", "finish", "drain", "timeout"]) {
  for (const act of ["destroy", "end", "resetAndDestroy", "destroySoon"]) {
    scenario(`${act} in a listener of ${event}`, async (run) => {
      const seen = run.lane("client");
      const server = await run.listen({}, (socket) => {
        run.track(socket).on("error", () => {});
        socket.resume();
        if (event === "data") socket.write("x");
        if (event === "end") socket.end();
        socket.on("close", () => other());
      });
      let other;
      const gone = new Promise((resolve) => {
        other = resolve;
      });
      const socket = watch(seen, run.connect(server, { highWaterMark: 10 }));
      socket.once(event, () => {
        seen(
          act,
          attempt(() => socket[act]() === socket),
        );
        seen("state", state(socket));
      });
      const closed = when(socket, "close");
      if (event === "finish") socket.end("bye");
      if (event === "drain") socket.write("x".repeat(100));
      if (event === "timeout") socket.setTimeout(20);
      await Promise.all([closed, gone]);
      seen("after", state(socket));
    });
  }
}

scenario("silence counts from the last that was written or read", async (run) => {
  const note = run.lane("client");
  const { client, peer } = await run.pair();
  peer.on("data", (data) => peer.write(data));
  let timeouts = 0;
  client.on("timeout", () => {
    timeouts += 1;
  });
  client.setTimeout(400);
  for (let round = 0; round < 6; round += 1) {
    client.write("x");
    await when(client, "data");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  note("timeouts", timeouts, client.timeout);
  await when(client, "timeout");
  note("then", client.destroyed, client.readyState);
});

scenario("properties before, during and after a connection", async (run) => {
  const note = run.lane("client");
  const server = await run.listen({}, (socket) => run.track(socket).end("bye"));
  const socket = run.track(new run.client.Socket());
  const look = (when) => note(when, state(socket), ends(socket), socket.address());
  look("made");
  socket.connect(server.address().port, run.address);
  note("connecting", state(socket), socket.address());
  await when(socket, "connect");
  run.port(socket.localPort, "CLIENT");
  look("connected");
  socket.write("hello");
  socket.resume();
  await when(socket, "end");
  socket.end();
  await when(socket, "close");
  look("closed");
});

scenario("writes, each with a callback, that a destroy overtakes", async (run) => {
  const note = run.lane("client");
  const { client } = await run.pair();
  client.on("close", () => note("close"));
  for (const number of [1, 2, 3])
    client.write("x".repeat(1_000), (error) => note("cb", number, error?.code));
  client.destroy();
  note(
    "write",
    attempt(() => client.write("late", (error) => note("late", error?.code))),
  );
  await when(client, "close");
  await turns();
});

scenario("end with data, an encoding and a callback", async (run) => {
  const note = run.lane("client");
  const seen = run.lane("server");
  const { client, peer } = await run.pair();
  watch(seen, peer);
  const closed = when(peer, "close");
  note("end", client.end("7a7a", "hex", (error) => note("ended", error)) === client);
  note(
    "again",
    attempt(() => client.end("more", (error) => note("second", error?.code)) === client),
  );
  client.on("error", (error) => note("error", error.code));
  client.resume();
  await Promise.all([when(client, "close"), closed]);
});

scenario("a write in the listener of the peer's end", async (run) => {
  const note = run.lane("client");
  const seen = run.lane("server");
  const { client, peer } = await run.pair({ allowHalfOpen: true });
  watch(note, client);
  client.on("end", () =>
    note(
      "write",
      client.write("last words", (error) => note("written", error?.code)),
    ),
  );
  peer.on("error", () => {});
  peer.on("data", (data) => seen("data", data.toString()));
  peer.end();
  const closed = when(peer, "close");
  await Promise.all([when(client, "close"), closed]);
});

scenario("a signal that aborts once it is connected", async (run) => {
  const note = run.lane("client");
  const server = await run.listen({}, (socket) => run.track(socket).on("error", () => {}));
  const controller = new AbortController();
  const socket = watch(note, run.connect(server, { signal: controller.signal }));
  await when(socket, "connect");
  controller.abort();
  await when(socket, "close");
});

scenario("web streams of a socket", async (run) => {
  const note = run.lane("client");
  const { client, peer } = await run.pair({ allowHalfOpen: true });
  peer.pipe(peer);
  const { readable, writable } = Duplex.toWeb(client);
  const writer = writable.getWriter();
  await writer.write(Buffer.from("through the web"));
  await writer.close();
  note("text", await text(readable));
});

scenario("a web stream of a socket that is reset", async (run) => {
  const note = run.lane("client");
  const { client, peer } = await run.pair();
  const reader = Readable.toWeb(client).getReader();
  peer.resetAndDestroy();
  note("read", await reader.read().catch((error) => error));
});

scenario("a web stream into a socket that is gone", async (run) => {
  const note = run.lane("client");
  const { client } = await run.pair();
  const writer = Writable.toWeb(client).getWriter();
  client.destroy();
  note(
    "closed",
    await writer.closed.then(
      () => "well",
      (error) => error?.code,
    ),
  );
});

scenario("finished with a half of a socket", async (run) => {
  const note = run.lane("client");
  const { client, peer } = await run.pair({ allowHalfOpen: true }, { allowHalfOpen: true });
  peer.resume();
  const written = finished(client, { readable: false });
  client.end("x");
  note("written", await written);
  const read = finished(client, { writable: false });
  client.resume();
  peer.end();
  note("read", await read);
});

scenario("a server closed in the listener of its connection", async (run) => {
  const note = run.lane("server");
  const server = await run.listen({}, (socket) => {
    note("connection");
    server.close((error) => note("closed", error));
    note("listening", server.listening, server.address());
    run.track(socket).end("bye");
  });
  server.on("close", () => note("close"));
  const closed = when(server, "close");
  const client = watch(run.lane("client"), run.connect(server));
  await Promise.all([closed, when(client, "close")]);
});

scenario("connections are counted as they come and go", async (run) => {
  const note = run.lane("server");
  const count = () =>
    new Promise((resolve) => server.getConnections((_, number) => resolve(number)));
  const server = await run.listen({}, (socket) => run.track(socket).resume());
  note("none", await count());
  const clients = [run.connect(server), run.connect(server)];
  for (let had = 0; had < 2; had = await count()) await turns(1);
  note("two", await count(), server.connections);
  for (const client of clients) client.destroy();
  for (let had = 2; had > 0; had = await count()) await turns(1);
  server.close();
  note("after close", await count());
});

scenario("a server for IPv6 only refuses connections over IPv4", async (run) => {
  const note = run.lane("client");
  const host = { host: "::", ipv6Only: true };
  const server = await run.listen({}, (socket) => run.track(socket), host);
  const { port } = server.address();
  const socket = watch(note, run.track(run.client.connect(port, run.address)));
  await when(socket, "close");
  const other = run.track(run.client.connect(port, run.address6));
  await when(other, "connect");
  note("connected over IPv6", other.remoteFamily);
});

scenario("a server for IPv6 only leaves the port to one for IPv4", async (run) => {
  const note = run.lane("listen");
  const server = await run.listen({}, () => {}, { host: "::", ipv6Only: true });
  const { port } = server.address();
  for (const options of [{ host: "0.0.0.0" }, { host: "::" }, { host: "::", ipv6Only: true }, {}]) {
    const other = run.track(run.server.createServer((socket) => run.track(socket)));
    const outcome = Promise.race([when(other, "listening"), when(other, "error")]);
    other.listen({ port, ...options });
    const [error] = await outcome;
    note("outcome", options, error);
    if (error === undefined && options.host === "0.0.0.0") {
      const socket = run.track(run.client.connect(port, run.address));
      note("connected", await Promise.race([when(socket, "connect"), when(socket, "error")]));
    }
    other.close();
    await turns();
  }
});

scenario("listen with options that are for others", async (run) => {
  const note = run.lane("listen");
  for (const options of [
    { port: 0, exclusive: true },
    { port: 0, reusePort: true },
    { port: 0, backlog: 1 },
    { port: 0, readableAll: true },
    { port: "0" },
    { port: 0, host: "" },
    { port: 0, host: "nobody.invalid" },
    { fd: 1_000_000 },
    { host: "127.0.0.1" },
    { port: 0, signal: {} },
  ]) {
    const server = run.track(run.server.createServer());
    const outcome = Promise.race([when(server, "listening"), when(server, "error")]);
    const thrown = attempt(() => server.listen({ ...options }));
    if (thrown instanceof Error) {
      note("thrown", options, thrown);
      continue;
    }
    const [error] = await outcome;
    note("outcome", options, error?.code, error?.message, server.address()?.family);
  }
});

scenario("a socket made with wrong options", async (run) => {
  const note = run.lane("made");
  for (const options of [
    { fd: -1 },
    { fd: "x" },
    { objectMode: true },
    { readableObjectMode: true },
    { signal: 1 },
    { onread: {} },
  ]) {
    const made = attempt(() => new run.client.Socket(options));
    note("options", options, made instanceof Error ? made : state(made));
    if (!(made instanceof Error)) made.on("error", () => {}).destroy();
  }
});

scenario("lookup: family, hints and all", async (run) => {
  const note = run.lane("client");
  const server = await run.listen({}, (socket) => run.track(socket).on("error", () => {}));
  for (const options of [
    { family: 4 },
    { family: 6 },
    { family: 5 },
    { hints: 1 << 30 },
    { family: "IPv4" },
  ]) {
    const made = attempt(() =>
      run.connect(server, {
        ...options,
        host: "name.test",
        autoSelectFamily: false,
        lookup(name, asked, callback) {
          note("lookup", name, asked);
          callback(null, run.address, 4);
        },
      }),
    );
    if (made instanceof Error) note("thrown", made);
    else
      note("came", options, (await Promise.race([when(made, "connect"), when(made, "error")]))[0]);
  }
});
