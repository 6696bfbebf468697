// What programs rarely do, and libraries do.

import { EventEmitter, once } from "node:events";
import { Duplex, finished, pipeline } from "node:stream";
import { promisify } from "node:util";
import { attempt, scenario, state, turns, watch, when } from "../runner.mjs";

const closed = (...sockets) => Promise.all(sockets.map((socket) => when(socket, "close")));

scenario("a socket is a Duplex and an EventEmitter", async (run) => {
  const note = run.lane("socket");
  const socket = new run.client.Socket();
  note("kinds", socket instanceof Duplex, socket instanceof EventEmitter);
  note("server", run.server.createServer() instanceof EventEmitter);
  note("listeners", socket.eventNames().sort());
  note("marks", socket.readableHighWaterMark, socket.writableHighWaterMark);
  note("modes", socket.readableObjectMode, socket.writableObjectMode, socket.allowHalfOpen);
  note("fields", socket.server, socket.timeout, socket._parent, socket._host, socket._server);
});

scenario("high water marks of the options", async (run) => {
  const note = run.lane("socket");
  const socket = new run.client.Socket({ highWaterMark: 100, readableHighWaterMark: 50 });
  note("marks", socket.readableHighWaterMark, socket.writableHighWaterMark);
});

scenario("finished tells of the end, of an error and of a premature close", async (run) => {
  const note = run.lane("client");
  const told = (socket) =>
    new Promise((resolve) => finished(socket, (error) => resolve(note("finished", error))));
  const first = await run.pair();
  first.peer.end();
  first.client.resume();
  await told(first.client);
  const second = await run.pair();
  second.peer.resetAndDestroy();
  second.client.resume();
  await told(second.client);
  const third = await run.pair();
  setImmediate(() => third.client.destroy());
  await told(third.client);
});

scenario("pipeline through a connection", async (run) => {
  const { client, peer } = await run.pair();
  const note = run.lane("client");
  peer.pipe(peer);
  const parts = [];
  await promisify(pipeline)(
    ["one ", "two ", "three"],
    client,
    async function* (source) {
      for await (const chunk of source) {
        parts.push(chunk);
        yield chunk;
      }
    },
    async (source) => {
      for await (const _ of source);
    },
  );
  note("echo", Buffer.concat(parts));
});

scenario("once rejects with a refused connection", async (run) => {
  const port = await run.unusedPort();
  run.port(port, "OTHER");
  const note = run.lane("client");
  const client = run.track(run.client.connect(port, run.address));
  await once(client, "connect").catch((error) => note("rejected", error));
});

scenario("an error that nobody listens to is destroyed with", async (run) => {
  const { client, peer } = await run.pair();
  const note = run.lane("client");
  client.on("error", (error) => note("error", error, client.errored === error));
  client.emit("error", new Error("only told"));
  note("state", client.destroyed);
  client.destroy();
  peer.resume();
  await closed(peer);
});

scenario("connect with port as text", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket));
  const note = run.lane("client");
  const client = watch(
    note,
    run.track(run.client.connect(String(server.address().port), run.address)),
  );
  await when(client, "ready");
});

scenario("createConnection with options and callback", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket));
  const note = run.lane("client");
  const { port } = server.address();
  await new Promise((resolve) => {
    run.track(run.client.createConnection({ port, host: run.address, noDelay: true }, resolve));
  });
  note("connected");
});

scenario("listen with a port, a backlog and a callback", async (run) => {
  const note = run.lane("server");
  const server = run.track(run.server.createServer());
  await new Promise((resolve) => server.listen(0, run.address, 5, resolve));
  run.port(server.address().port, "SERVER");
  note("address", server.address());
});

scenario("listen without arguments", async (run) => {
  const note = run.lane("server");
  for (const args of [[], [null], [undefined], [{ port: null }], [{ port: undefined }]]) {
    const server = run.track(run.server.createServer());
    await new Promise((resolve) => server.listen(...args, resolve));
    const { address, family } = server.address();
    note("address", address, family);
  }
});

scenario("a listen that a close has made void", async (run) => {
  const note = run.lane("server");
  const server = run.track(run.server.createServer());
  server.on("listening", () => note("listening"));
  server.on("close", () => note("close"));
  server.on("error", (error) => note("error", error));
  server.listen(0, "localhost");
  server.close();
  await when(server, "close");
  await new Promise((resolve) => setTimeout(resolve, 30));
});

scenario("listening by the name localhost", async (run) => {
  const note = run.lane("server");
  const server = run.track(run.server.createServer());
  server.listen(0, "localhost");
  await when(server, "listening");
  note("family", run.server.isIP(server.address().address) > 0);
});

scenario("write callbacks after destroy", async (run) => {
  const { client, peer } = await run.pair();
  const note = run.lane("client");
  peer.resume();
  client.cork();
  client.write("one", (error) => note("one", error));
  client.write("two", (error) => note("two", error));
  client.destroy();
  client.on("close", () => note("close"));
  await closed(client, peer);
});

scenario("end callback after destroy", async (run) => {
  const { client, peer } = await run.pair();
  const note = run.lane("client");
  peer.resume();
  client.end("x", (error) => note("ended", error));
  client.destroy();
  client.on("close", () => note("close"));
  await closed(client, peer);
  note("state", state(client));
});

scenario("end callback on a destroyed socket", async (run) => {
  const { client, peer } = await run.pair();
  const note = run.lane("client");
  peer.resume();
  client.on("error", (error) => note("error", error));
  client.destroy();
  client.end("x", (error) => note("ended", error));
  await closed(peer);
  await turns();
});

scenario("pause and resume while it connects", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket).end("hello"));
  const note = run.lane("client");
  const client = run.connect(server);
  client.pause();
  watch(note, client);
  await when(client, "ready");
  note("paused", client.isPaused());
  await turns();
  client.resume();
  await when(client, "close");
});

scenario("reading to the end without listening to data", async (run) => {
  const { client, peer } = await run.pair();
  const note = run.lane("client");
  client.on("end", () => note("end"));
  client.on("close", (hadError) => note("close", hadError));
  peer.end("nobody reads this");
  await turns(30);
  note("waits", client.destroyed, client.bytesRead);
  client.resume();
  await when(client, "close");
});

scenario("unshift gives bytes back", async (run) => {
  const { client, peer } = await run.pair();
  const note = run.lane("client");
  peer.end("abc");
  await when(client, "readable");
  const bytes = client.read();
  client.unshift(bytes);
  note("again", client.read());
  client.resume();
  await when(client, "close");
});

scenario("a subclass that overrides _destroy and connect", async (run) => {
  const note = run.lane("client");
  const server = await run.listen({}, (socket) => run.track(socket).end());
  class Mine extends run.client.Socket {
    connect(...args) {
      note("connect called");
      return super.connect(...args);
    }
    _destroy(error, callback) {
      note("destroy called", error);
      super._destroy(error, callback);
    }
  }
  const client = watch(note, run.track(new Mine()));
  client.connect(server.address().port, run.address);
  await when(client, "close");
});

scenario("sockets of a server that destroys them at once", async (run) => {
  const server = await run.listen({}, (socket) => socket.destroy());
  const note = run.lane("client");
  const client = watch(note, run.connect(server));
  await when(client, "close");
});

scenario("setKeepAlive and setNoDelay before it connects", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket));
  const note = run.lane("client");
  const client = watch(note, run.track(new run.client.Socket()));
  note("returned", client.setNoDelay(true) === client, client.setKeepAlive(true, 5000) === client);
  note("ref", client.unref() === client, client.ref() === client);
  client.connect(server.address().port, run.address);
  await when(client, "ready");
});

scenario("onread with options that are none", async (run) => {
  const note = run.lane("client");
  for (const onread of [null, {}, { buffer: Buffer.alloc(4) }, { callback() {} }, 7]) {
    const { client, peer } = await run.pair({}, { onread });
    client.on("data", (chunk) => note("data", chunk));
    peer.end("x");
    await when(client, "close");
  }
});

scenario("destroyed from the callback of connect", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket).resume());
  const note = run.lane("client");
  const client = watch(note, run.connect(server));
  client.on("connect", () => client.destroy());
  await when(client, "close");
  await turns();
});

scenario("ended from the callback of connect", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket).resume());
  const note = run.lane("client");
  const client = watch(note, run.connect(server));
  client.on("connect", () => client.end("bye"));
  await when(client, "close");
  note("state", state(client));
});

scenario("readable and writable in each state", async (run) => {
  const { client, peer } = await run.pair({ allowHalfOpen: true }, { allowHalfOpen: true });
  const note = run.lane("client");
  const look = (name) => note(name, client.readyState, client.readable, client.writable);
  client.resume();
  look("open");
  client.end();
  look("ended");
  await when(client, "finish");
  look("finished");
  peer.resume();
  peer.end();
  await when(client, "end");
  look("read to the end");
  await when(client, "close");
  look("closed");
});

scenario("Server.prototype functions without a handle", async (run) => {
  const note = run.lane("server");
  const server = run.server.createServer();
  note("ref", server.ref() === server, server.unref() === server);
  note("address", server.address());
  note("listening", server.listening);
  note("connections", await new Promise((resolve) => server.getConnections((_, n) => resolve(n))));
  note(
    "thrown",
    attempt(() => server.listen(-1)),
  );
});

scenario("many small writes arrive in order", async (run) => {
  const { client, peer } = await run.pair();
  const note = run.lane("server");
  let text = "";
  peer.setEncoding("latin1");
  peer.on("data", (chunk) => {
    text += chunk;
  });
  for (let index = 0; index < 500; index += 1) client.write(`${index},`);
  client.end();
  await when(peer, "end");
  note("received", text);
});

scenario("both directions at once, each a megabyte", async (run) => {
  const { client, peer } = await run.pair({ allowHalfOpen: true }, { allowHalfOpen: true });
  const note = run.lane("both");
  const total = (socket) =>
    new Promise((resolve) => {
      let count = 0;
      socket.on("data", (chunk) => {
        count += chunk.length;
      });
      socket.on("end", () => resolve(count));
    });
  const counts = Promise.all([total(client), total(peer)]);
  client.end(Buffer.alloc(1 << 20, 1));
  peer.end(Buffer.alloc(1 << 20, 2));
  note("counts", await counts);
  note("bytes", client.bytesRead, client.bytesWritten, peer.bytesRead, peer.bytesWritten);
});
