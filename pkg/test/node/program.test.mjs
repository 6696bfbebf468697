// Whether a program ends by itself: the same programs with `node:net` and with a stack's, in processes of their own.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";

const run = promisify(execFile);

const STACK = `
  import { createStack } from "ethertab";
  import { createDgram, createNet } from "ethertab/node";
  const stack = await createStack();
  stack.addInterface({ medium: "loopback" });
  const net = createNet(stack);
  const dgram = createDgram(stack);
`;
const NODE = `
  import * as net from "node:net";
  import * as dgram from "node:dgram";
`;
/** Says so if something keeps the program running, and ends it. */
const WATCH = `
  const watch = (name) =>
    setTimeout(() => { console.log(name, "is kept running"); process.exit(); }, 1_000).unref();
  process.on("exit", () => console.log("ended"));
`;

const PROGRAMS = {
  "an open server": `net.createServer().listen(0, "127.0.0.1", () => watch("it"));`,
  "a server without a reference": `
    const server = net.createServer().listen(0, "127.0.0.1", () => watch("it"));
    server.unref();`,
  "a server that is closed": `
    const server = net.createServer();
    server.listen(0, "127.0.0.1", () => server.close());
    watch("it");`,
  "an idle connection": `
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      net.connect(server.address().port, "127.0.0.1", () => watch("it"));
      server.unref();
    });`,
  "an idle connection without references": `
    const server = net.createServer((socket) => socket.unref()).listen(0, "127.0.0.1", () => {
      net.connect(server.address().port, "127.0.0.1", () => watch("it")).unref();
      server.unref();
    });`,
  "an exchange that comes to its end": `
    const server = net.createServer((socket) => { socket.pipe(socket); server.close(); });
    server.listen(0, "127.0.0.1", () => {
      const client = net.connect(server.address().port, "127.0.0.1");
      client.on("data", (chunk) => console.log(String(chunk)));
      client.end("hello");
    });`,
  "a connection that is paused at both ends": `
    const server = net.createServer({ pauseOnConnect: true }, () => server.close());
    server.listen(0, "127.0.0.1", () => {
      const client = net.connect(server.address().port, "127.0.0.1", () => {
        client.pause();
        watch("it");
      });
    });`,
  "a connection that has read enough": `
    const server = net.createServer({ pauseOnConnect: true }, (socket) => {
      socket.write(Buffer.alloc(150_000));
      server.close();
    });
    server.listen(0, "127.0.0.1", () => {
      const client = net.connect(server.address().port, "127.0.0.1");
      client.once("data", (chunk) => { client.pause(); watch("it"); });
    });`,
  "a half-open connection at whose end the peer has gone": `
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      socket.resume().on("end", () => watch("it"));
      server.close();
    });
    server.listen(0, "127.0.0.1", () => {
      const client = net.connect(server.address().port, "127.0.0.1");
      client.end().on("finish", () => client.destroy());
    });`,
  "a half-open connection whose other end still reads": `
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      socket.resume().on("end", () => watch("it"));
      server.close();
    });
    server.listen(0, "127.0.0.1", () =>
      net.connect(server.address().port, "127.0.0.1").resume().end());`,
  "a write that the peer does not take": `
    const server = net.createServer({ pauseOnConnect: true }, () => server.close());
    server.listen(0, "127.0.0.1", () => {
      const client = net.connect(server.address().port, "127.0.0.1", () => {
        client.pause();
        client.write(Buffer.alloc(64_000_000));
        watch("it");
      });
    });`,
  "a socket that never connected": `new net.Socket(); watch("it");`,
  "a timeout alone": `new net.Socket().setTimeout(10_000); watch("it");`,
  "a bound UDP socket": `
    const socket = dgram.createSocket("udp4").bind(0, "127.0.0.1", () => watch("it"));`,
  "a UDP socket without a reference": `
    dgram.createSocket("udp4").unref().bind(0, "127.0.0.1", () => watch("it"));`,
  "a UDP socket that is closed": `
    const socket = dgram.createSocket("udp4").bind(0, "127.0.0.1", () => socket.close());
    watch("it");`,
};

for (const [name, program] of Object.entries(PROGRAMS)) {
  test(name, async () => {
    const [expected, actual] = await Promise.all(
      [NODE, STACK].map((modules) =>
        run(process.execPath, ["--input-type=module", "--eval", modules + WATCH + program], {
          cwd: import.meta.dirname,
          timeout: 20_000,
        }),
      ),
    );
    assert.equal(actual.stdout, expected.stdout);
    assert.notEqual(expected.stdout, "");
  });
}
