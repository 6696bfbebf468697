// How connections end.

import { scenario, state, turns, watch, when } from "../runner.mjs";

/** Both ends watched. */
async function watched(run, serverOptions, clientOptions) {
  const { client, peer, server } = await run.pair(serverOptions, clientOptions);
  const left = run.lane("client");
  const right = run.lane("server");
  return { client: watch(left, client), peer: watch(right, peer), left, right, server };
}

const closed = (...sockets) => Promise.all(sockets.map((socket) => when(socket, "close")));

scenario("the client ends", async (run) => {
  const { client, peer, left, right } = await watched(run);
  client.end();
  left("state", state(client));
  await closed(client, peer);
  left("state", state(client));
  right("state", state(peer));
});

scenario("the server ends", async (run) => {
  const { client, peer, left, right } = await watched(run);
  peer.end("last words");
  right("state", state(peer));
  await closed(client, peer);
  left("state", state(client));
  right("state", state(peer));
});

scenario("both end at once", async (run) => {
  const { client, peer } = await watched(run);
  client.end("from the client");
  peer.end("from the server");
  await closed(client, peer);
});

scenario("end with a callback, twice", async (run) => {
  const { client, peer, left } = await watched(run);
  client.end("x", () => left("first"));
  client.end((error) => left("second", error));
  await closed(client, peer);
});

scenario("write after end", async (run) => {
  const { client, peer, left } = await watched(run);
  client.end("x");
  left(
    "wrote",
    client.write("y", (error) => left("written", error)),
  );
  await closed(client, peer);
  left("state", state(client));
});

scenario("write after the peer has ended", async (run) => {
  const { client, peer, left } = await watched(run);
  peer.end();
  await when(client, "end");
  left(
    "wrote",
    client.write("y", (error) => left("written", error)),
  );
  await closed(client, peer);
});

scenario("write after destroy", async (run) => {
  const { client, peer, left } = await watched(run);
  client.destroy();
  left(
    "wrote",
    client.write("y", (error) => left("written", error)),
  );
  await closed(client, peer);
  left("state", state(client));
});

scenario("half open: the server answers after the client's end", async (run) => {
  const { client, peer, right } = await watched(run, { allowHalfOpen: true });
  client.end("question");
  await when(peer, "end");
  right("state", state(peer));
  peer.write("answer");
  peer.end();
  await closed(client, peer);
});

scenario("half open: the client goes on after the server's end", async (run) => {
  const { client, peer, left } = await watched(run, {}, { allowHalfOpen: true });
  peer.end("greeting");
  await when(client, "end");
  left("state", state(client));
  client.destroy();
  await closed(client, peer);
  left("state", state(client));
});

scenario("half open on both sides stays open until both end", async (run) => {
  const { client, peer, left, right } = await watched(
    run,
    { allowHalfOpen: true },
    { allowHalfOpen: true },
  );
  client.end("a");
  await when(peer, "end");
  right("state", state(peer));
  left("state", state(client));
  peer.end("b");
  await closed(client, peer);
});

scenario("destroy", async (run) => {
  const { client, peer, left, right } = await watched(run);
  left("returned", client.destroy() === client);
  left("state", state(client));
  await closed(client, peer);
  left("state", state(client));
  right("state", state(peer));
});

scenario("destroy with an error", async (run) => {
  const { client, peer, left } = await watched(run);
  client.destroy(new Error("mine"));
  await closed(client, peer);
  left("state", state(client));
});

scenario("destroy twice", async (run) => {
  const { client, peer } = await watched(run);
  client.destroy();
  client.destroy(new Error("too late"));
  await closed(client, peer);
});

scenario("destroy in a data listener", async (run) => {
  const { client, peer, left } = await watched(run);
  client.on("data", () => client.destroy());
  peer.write("one");
  await closed(client, peer);
  left("state", state(client));
});

scenario("destroySoon sends what was written", async (run) => {
  const { client, peer, left } = await watched(run);
  client.write("all of it");
  client.destroySoon();
  left("state", state(client));
  await closed(client, peer);
});

scenario("destroySoon after the end was sent", async (run) => {
  const { client, peer } = await watched(run, { allowHalfOpen: true });
  client.end();
  await when(client, "finish");
  client.destroySoon();
  peer.end();
  await closed(client, peer);
});

scenario("a reset", async (run) => {
  const { client, peer, left, right } = await watched(run);
  left("returned", client.resetAndDestroy() === client);
  left("state", state(client));
  await closed(client, peer);
  right("state", state(peer));
});

scenario("a reset by the server", async (run) => {
  const { client, peer, left } = await watched(run);
  peer.resetAndDestroy();
  await closed(client, peer);
  left("state", state(client));
});

scenario("a reset while it connects comes once it is connected", async (run) => {
  const note = run.lane("client");
  let accepted;
  const connection = new Promise((resolve) => {
    accepted = resolve;
  });
  const server = await run.listen({}, (socket) => {
    const peer = watch(run.lane("server"), run.track(socket));
    when(peer, "close").then(accepted);
  });
  const client = watch(note, run.connect(server));
  client.resetAndDestroy();
  note("state", state(client));
  await when(client, "close");
  await connection;
});

scenario("a reset of a socket that never connected", async (run) => {
  const note = run.lane("client");
  const client = watch(note, run.track(new run.client.Socket()));
  client.resetAndDestroy();
  await when(client, "close");
});

scenario("a socket that never connected is destroyed", async (run) => {
  const note = run.lane("client");
  const client = watch(note, run.track(new run.client.Socket()));
  client.destroy();
  note("state", state(client));
  await when(client, "close");
  note("state", state(client));
});

scenario("writing to a socket that never connected", async (run) => {
  const note = run.lane("client");
  const client = watch(note, run.track(new run.client.Socket()));
  note(
    "wrote",
    client.write("x", (error) => note("written", error)),
  );
  await when(client, "close");
});

scenario("silence is told once", async (run) => {
  const { client, left } = await watched(run);
  left("returned", client.setTimeout(30, () => left("callback")) === client);
  left("state", state(client));
  await when(client, "timeout");
  await new Promise((resolve) => setTimeout(resolve, 60));
});

scenario("silence is not told after it was taken back", async (run) => {
  const { client, left } = await watched(run);
  const callback = () => left("callback");
  client.setTimeout(20, callback);
  client.setTimeout(0, callback);
  left("state", state(client));
  left("listeners", client.listenerCount("timeout"));
  await new Promise((resolve) => setTimeout(resolve, 50));
});

scenario("the timeout of connect's options", async (run) => {
  const { client, peer, left } = await watched(run, {}, { timeout: 30 });
  left("state", state(client));
  await when(client, "timeout");
  client.destroy();
  await closed(client, peer);
});

scenario("no timeout after destroy", async (run) => {
  const { client, left } = await watched(run);
  client.setTimeout(10);
  client.destroy();
  left("returned", client.setTimeout(10) === client);
  await closed(client);
  await new Promise((resolve) => setTimeout(resolve, 40));
});

scenario("data that nobody has read when the connection is closed resets it", async (run) => {
  const { client, peer } = await run.pair();
  const right = watch(run.lane("server"), peer, { data: false });
  right.resume();
  client.pause();
  peer.write("never read");
  await turns();
  client.destroy();
  await closed(peer);
});

scenario("Symbol.asyncDispose", async (run) => {
  const { client, peer, left } = await watched(run);
  if (typeof client[Symbol.asyncDispose] === "function") {
    await client[Symbol.asyncDispose]().catch((error) => left("rejected", error));
  } else {
    client.destroy();
  }
  await closed(peer);
  left("state", state(client));
});

scenario("what came before a reset is read before it is told", async (run) => {
  const { client, peer } = await run.pair();
  const note = run.lane("client");
  client.on("data", (chunk) => note("data", chunk.toString()));
  // Whether the reset came together with it, and so is an end, is the network's choice.
  client.on("error", () => {});
  client.on("close", () => note("over"));
  peer.write("before the reset", () => peer.resetAndDestroy());
  await closed(client, peer);
});

scenario("writing to a peer that has closed fails sooner or later", async (run) => {
  const { client, peer } = await run.pair({}, { allowHalfOpen: true });
  const note = run.lane("client");
  client.on("close", (hadError) => note("close", hadError));
  client.resume();
  const failed = when(client, "error");
  peer.destroy();
  await when(client, "end");
  const again = setInterval(() => client.write("x"), 5);
  const [error] = await failed;
  clearInterval(again);
  note("failed", ["EPIPE", "ECONNRESET"].includes(error.code), error.syscall);
});
