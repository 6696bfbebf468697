// How bytes move.

import { scenario, state, turns, watch, when } from "../runner.mjs";

const bytes = (length) => Buffer.alloc(length, "0123456789abcdef");

/** Everything that a socket gives. */
async function all(socket) {
  const chunks = [];
  for await (const chunk of socket) chunks.push(chunk);
  return Buffer.concat(chunks);
}

scenario("bytes and strings in several encodings", async (run) => {
  const { client, peer } = await run.pair();
  const note = run.lane("client");
  const received = all(peer);
  note("wrote", client.write("plain"));
  client.write("c3bc", "hex");
  client.write("w7w=", "base64");
  client.write("\u00fc", "latin1");
  client.write("ü", "utf16le");
  client.write(new Uint8Array([1, 2, 3]));
  client.end(Buffer.from("end"));
  note("written", state(client));
  run.lane("server")("received", (await received).toString("hex"));
  note("state", state(client));
});

scenario("an echo", async (run) => {
  const { client, peer } = await run.pair();
  peer.pipe(peer);
  const note = watch(run.lane("client"), client);
  client.write("hello");
  await when(client, "data");
  client.end("again");
  await when(client, "close");
  run.lane("end")("state", state(note));
});

scenario("a mebibyte goes over whole", async (run) => {
  const { client, peer } = await run.pair();
  const received = all(peer);
  const sent = bytes(1 << 20);
  const note = run.lane("client");
  await new Promise((resolve) => client.end(sent, resolve));
  const got = await received;
  note("same", Buffer.compare(got, sent), client.bytesWritten, peer.bytesRead);
});

scenario("write says when it is enough, and drain when it goes on", async (run) => {
  const { client, peer } = await run.pair();
  const note = run.lane("client");
  peer.pause();
  note("mark", client.writableHighWaterMark, client.readableHighWaterMark);
  const chunk = bytes(1 << 20);
  let count = 0;
  while (count < 64 && client.write(chunk)) count += 1;
  note("returned false");
  note("needs drain", client.writableNeedDrain);
  client.on("drain", () => note("drain", client.writableLength));
  peer.resume();
  await when(client, "drain");
  note("state", client.writableNeedDrain);
});

scenario("cork and uncork send together", async (run) => {
  const { client, peer } = await run.pair();
  const note = run.lane("client");
  const received = all(peer);
  client.cork();
  client.write("a", () => note("a"));
  client.write("b", () => note("b"));
  note("state", state(client));
  client.uncork();
  client.end("c", () => note("ended"));
  run.lane("server")("received", await received);
});

scenario("callbacks of writes come in order", async (run) => {
  const { client, peer } = await run.pair();
  const note = run.lane("client");
  peer.resume();
  for (let index = 0; index < 5; index += 1) client.write("x", (error) => note(index, error));
  process.nextTick(() => note("tick"));
  Promise.resolve().then(() => note("microtask"));
  await new Promise((resolve) => client.write("last", resolve));
  note("bytes", client.bytesWritten);
});

scenario("a paused socket keeps what arrives", async (run) => {
  const { client, peer } = await run.pair();
  const note = watch(run.lane("client"), client, { data: false });
  const order = run.lane("order");
  client.pause();
  order("paused", client.isPaused());
  peer.write("kept");
  await turns();
  client.on("data", (chunk) => order("data", chunk));
  order("still", client.isPaused());
  client.resume();
  await when(client, "data");
  note.destroy();
  await when(client, "close");
});

scenario("readable events and read", async (run) => {
  const { client, peer } = await run.pair();
  const note = run.lane("client");
  peer.end("abcdef");
  await when(client, "readable");
  note("three", client.read(3));
  note("rest", client.read());
  client.on("end", () => note("end"));
  client.read();
  await when(client, "close");
});

scenario("setEncoding", async (run) => {
  const { client, peer } = await run.pair();
  const note = run.lane("client");
  client.setEncoding("utf8");
  client.on("data", (text) => note("data", typeof text === "string" ? text : "bytes"));
  peer.write(Buffer.from([0xc3]));
  await turns();
  peer.end(Buffer.from([0xbc, 0x21]));
  await when(client, "close");
});

scenario("onread into one buffer", async (run) => {
  const note = run.lane("client");
  const buffer = Buffer.alloc(16);
  const { client, peer } = await run.pair(
    {},
    {
      onread: {
        buffer,
        callback(count, given) {
          note("data", given.toString("latin1", 0, count));
          note("same", given === buffer);
        },
      },
    },
  );
  client.on("data", () => note("never"));
  client.on("end", () => note("end"));
  peer.write("0123");
  await turns();
  peer.end();
  await when(client, "close");
  note("read", client.bytesRead);
});

scenario("onread with a buffer for each read", async (run) => {
  const note = run.lane("client");
  let made = 0;
  const { client, peer } = await run.pair(
    {},
    {
      onread: {
        buffer: () => {
          made += 1;
          return Buffer.alloc(4);
        },
        callback: (count, given) => note("data", given.toString("latin1", 0, count)),
      },
    },
  );
  peer.end("0123456789");
  await when(client, "close");
  note("made", made);
});

scenario("onread's callback is called as the socket's", async (run) => {
  const note = run.lane("client");
  const onread = {
    buffer() {
      note("buffer", this === onread, this?.constructor?.name);
      return Buffer.alloc(4);
    },
    callback(count) {
      note("callback", this === client, count);
      this.pause();
      setImmediate(() => this.resume());
    },
  };
  const server = await run.listen({}, (socket) => run.track(socket).end("0123456789"));
  const client = run.connect(server, { onread });
  await when(client, "close");
});

scenario("onread that returns false pauses", async (run) => {
  const note = run.lane("client");
  const { client, peer } = await run.pair(
    {},
    {
      onread: {
        buffer: Buffer.alloc(4),
        callback(count, given) {
          note("data", given.toString("latin1", 0, count));
          setTimeout(() => {
            note("resume");
            client.resume();
          }, 5);
          return false;
        },
      },
    },
  );
  peer.end("01234567");
  await when(client, "close");
});

scenario("pipe from one connection to another", async (run) => {
  const first = await run.pair();
  const note = run.lane("end");
  const second = await run.listen({}, (socket) => watch(run.lane("server"), run.track(socket)));
  run.port(second.address().port, "OTHER");
  const forward = run.connect(second);
  first.peer.pipe(forward);
  first.client.end("through both");
  await when(forward, "close");
  note("bytes", first.client.bytesWritten, forward.bytesWritten);
});

scenario("async iteration ends with the connection", async (run) => {
  const { client, peer } = await run.pair();
  const note = run.lane("client");
  peer.end("some bytes");
  note("all", await all(client));
  note("state", state(client));
});

scenario("async iteration that is left destroys the socket", async (run) => {
  const { client, peer } = await run.pair();
  const note = run.lane("client");
  peer.write("some bytes");
  for await (const chunk of client) {
    note("chunk", chunk);
    break;
  }
  note("state", state(client));
});

scenario("async iteration rejects with a reset", async (run) => {
  const { client, peer } = await run.pair();
  const note = run.lane("client");
  const reading = all(client).catch((error) => note("rejected", error));
  await turns();
  peer.resetAndDestroy();
  await reading;
});

scenario("empty writes", async (run) => {
  const { client, peer } = await run.pair();
  const note = run.lane("client");
  const received = all(peer);
  client.write("", (error) => note("empty text", error));
  client.write(Buffer.alloc(0), (error) => note("empty bytes", error));
  client.end("x", () => note("ended"));
  run.lane("server")("received", await received);
  note("state", state(client));
});

scenario("bytes are counted on both ends", async (run) => {
  const { client, peer } = await run.pair();
  const note = run.lane("counts");
  peer.resume();
  client.write("12345");
  note("written", client.bytesWritten);
  await when(peer, "data");
  note("read", peer.bytesRead);
  client.destroy();
  note("after destroy", client.bytesWritten, client.bytesRead);
  await when(peer, "close");
  note("peer", peer.bytesWritten, peer.bytesRead);
});

scenario("bytes that wait for the connection count as written", async (run) => {
  const server = await run.listen({}, (socket) => run.track(socket).resume());
  const note = run.lane("client");
  const client = run.connect(server);
  client.write("123");
  note("one", client.bytesWritten, client.bufferSize);
  client.write("4567");
  client.write("89", "latin1");
  note("three", client.bytesWritten, client.bufferSize);
  await when(client, "connect");
  await new Promise((resolve) => client.write("0", resolve));
  note("open", client.bytesWritten, client.bufferSize);
});

scenario("data between ticks: nextTick and promises run before the next event", async (run) => {
  const { client, peer } = await run.pair();
  const note = run.lane("client");
  peer.on("data", () => {});
  client.on("data", () => {
    note("data");
    process.nextTick(() => note("tick"));
    Promise.resolve().then(() => note("microtask"));
  });
  client.on("end", () => note("end"));
  peer.write("x");
  await when(client, "data");
  await turns();
  peer.end();
  await when(client, "close");
});
