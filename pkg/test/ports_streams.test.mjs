// Ports over web streams and over sockets of Node in QEMU's framing, with QEMU and passt as the other side where they are installed.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
  createEngine,
  createGateway,
  createStack,
  createSwitch,
  functionPort,
  plug,
  qemuPort,
  streamPort,
} from "ethertab";
import { connected, ManualClock, pattern, readAll, settle, until, writeAll } from "./support.mjs";

const FRAME = new Uint8Array(60).fill(0xff, 0, 6).fill(2, 6, 12);

function isInstalled(command, option) {
  try {
    execFileSync(command, [option], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** Two ports on two pairs of streams, crossed. */
function crossed(options, transform = () => new TransformStream()) {
  const [there, back] = [transform(), transform()];
  return [
    streamPort(back.readable, there.writable, options),
    streamPort(there.readable, back.writable, options),
  ];
}

/** Bytes put together and cut at places of their own. */
const recut = () => {
  let held = Buffer.alloc(0);
  return new TransformStream({
    transform(chunk, controller) {
      held = Buffer.concat([held, chunk]);
      const size = 1 + (held.length % 777);
      for (let at = 0; at < held.length; at += size)
        controller.enqueue(new Uint8Array(held.subarray(at, at + size)));
      held = Buffer.alloc(0);
    },
  });
};

for (const [name, options, transform] of [
  ["of frames", {}, undefined],
  ["of bytes in QEMU's framing", { framing: "qemu" }, recut],
]) {
  test(`two stacks meet over streams ${name}`, async () => {
    const [a, b] = [await createStack(), await createStack({ engine: await createEngine() })];
    const [left, right] = crossed(options, transform);
    plug(a.addInterface({ addresses: ["10.0.0.1/24"] }), left);
    plug(b.addInterface({ addresses: ["10.0.0.2/24"] }), right);
    await Promise.all([left.opened, right.opened]);
    await a.ping("10.0.0.2");
    const { client, server } = await connected({ a, b });
    const bytes = pattern(1_000_000);
    const [received] = await Promise.all([
      readAll(server.readable),
      writeAll(client.writable, bytes),
    ]);
    assert.equal(Buffer.compare(received, bytes), 0);
    await left[Symbol.asyncDispose]();
    assert.deepEqual(await right.closed, { error: null });
    await Promise.all([a.close(), b.close()]);
  });
}

/** A switch with the port of a pair of streams whose other ends are the test's, and a port to send by. */
async function onStreams(options) {
  const toPort = new TransformStream(undefined, { highWaterMark: 0 }, { highWaterMark: 0 });
  const fromPort = new TransformStream(undefined, { highWaterMark: 0 }, { highWaterMark: 0 });
  const port = streamPort(toPort.readable, fromPort.writable, options);
  const engine = await createEngine();
  const lan = await createSwitch({ engine });
  const seen = [];
  const other = functionPort({ send: (frame) => seen.push(frame.slice()) });
  lan.plug(port);
  lan.plug(other);
  return {
    port,
    other,
    seen,
    lan,
    engine,
    writer: toPort.writable.getWriter(),
    reader: fromPort.readable.getReader(),
  };
}

test("a stream that takes no more holds frames back in the engine", async () => {
  const { port, other, reader, engine } = await onStreams({ queue: 600 });
  // More than one take of the engine.
  for (let count = 0; count < 200; count += 1) {
    FRAME[59] = count;
    other.receive(FRAME);
  }
  await settle();
  const taken = () => port.counters.framesReceived;
  const before = taken();
  assert.ok(before < 200, `${before} frames were taken`);
  for (let count = 0; count < 200; count += 1) {
    const { value } = await reader.read();
    assert.equal(value[59], count & 0xff);
    // A view would have sent all of the batch, were the stream transferred.
    assert.equal(value.buffer.byteLength, 60);
  }
  assert.equal(taken(), 200);
  assert.equal(port.counters.dropped, 0);
  engine.close();
});

test("a stream is read no faster than the network deals with it", async () => {
  const { port, writer, seen, engine } = await onStreams({});
  let written = 0;
  const writing = (async () => {
    for (; written < 2_000; written += 1) await writer.write(FRAME.slice());
  })();
  let most = 0;
  while (written < 2_000) {
    await settle();
    most = Math.max(most, written - port.counters.framesSent);
  }
  await writing;
  await until(() => seen.length === 2_000, "all frames");
  assert.ok(most < 20, `${most} frames ahead`);
  engine.close();
});

test("what is no frame is counted, and a stream's end or error is the port's", async () => {
  const ends = {
    "its readable side ends": ({ writer }) => writer.close(),
    "its readable side fails": ({ writer }) => writer.abort(new Error("cut")),
    "its writable side fails": ({ reader }) => reader.cancel(new Error("gone")),
  };
  for (const [what, end] of Object.entries(ends)) {
    const at = await onStreams({});
    const { port, writer, seen, lan, engine } = at;
    for (const chunk of [
      "text",
      new Uint8Array(0),
      new Uint8Array(13),
      new Uint8Array(70_000),
      null,
    ]) {
      await writer.write(chunk);
    }
    await writer.write(FRAME.slice().buffer);
    await until(() => seen.length === 1, "the frame");
    assert.equal(port.counters.invalid, 5);
    end(at).catch(() => {});
    const { error } = await port.closed;
    if (what.endsWith("ends")) assert.equal(error, null);
    else assert.equal(error.code, "ECONNRESET", what);
    assert.equal(lan.ports.length, 1);
    engine.close();
  }
});

test("a stream that never takes what was written delays no end", async () => {
  const stuck = new WritableStream({ write: () => new Promise(() => {}) });
  const port = streamPort(new ReadableStream(), stuck);
  const engine = await createEngine();
  const lan = await createSwitch({ engine });
  const other = functionPort({ send() {} });
  lan.plug(port);
  lan.plug(other);
  other.receive(FRAME);
  await settle();
  await port[Symbol.asyncDispose]();
  engine.close();
});

test("streams that are locked, or none, are refused, and the other one stays free", () => {
  const [readable, writable] = [new ReadableStream(), new WritableStream()];
  readable.getReader();
  assert.throws(() => streamPort(readable, writable), TypeError);
  assert.equal(writable.locked, false);
  assert.throws(() => streamPort({}, writable), /readable must be/);
  assert.throws(() => streamPort(new ReadableStream(), null), /writable must be/);
});

test("two programs meet over a unix socket, and find each other again", async () => {
  const folder = await mkdtemp(join(tmpdir(), "ethertab-"));
  const path = join(folder, "lan.sock");
  const program = `
    import net from "node:net";
    import { createStack, createSwitch, plug, qemuPort } from ${JSON.stringify(import.meta.resolve("ethertab"))};
    const stack = await createStack();
    const lan = await createSwitch();
    lan.plug(stack.addInterface({ addresses: ["10.0.0.2/24"] }));
    const listener = stack.listen({ port: 7 });
    await listener.listening;
    net.createServer((socket) => lan.plug(qemuPort(socket))).listen(${JSON.stringify(path)}, () => console.log("ready"));
    for await (const socket of listener) socket.readable.pipeTo(socket.writable);
  `;
  const start = async () => {
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(child.stdout, "data");
    return child;
  };
  const stack = await createStack();
  const port = qemuPort(path, { reconnect: { minDelay: 5, maxDelay: 50 } });
  plug(stack.addInterface({ addresses: ["10.0.0.1/24"] }), port);
  const bytes = pattern(1_000_000);
  for (let run = 0; run < 2; run += 1) {
    const child = await start();
    const socket = stack.connect("10.0.0.2:7");
    const [received] = await Promise.all([
      readAll(socket.readable),
      writeAll(socket.writable, bytes),
    ]);
    assert.equal(Buffer.compare(received, bytes), 0);
    child.kill("SIGKILL");
    await once(child, "exit");
    await until(() => port.state !== "open", "the socket's end");
    await rm(path, { force: true });
  }
  await port[Symbol.asyncDispose]();
  await stack.close();
  await rm(folder, { recursive: true });
});

test("a socket that nobody listens at ends the port, with the reason", async () => {
  const port = qemuPort("/nowhere/at/all");
  await assert.rejects(port.opened, { code: "ECONNREFUSED", message: /ENOENT/ });
  assert.equal((await port.closed).error.cause.code, "ENOENT");
  const clock = new ManualClock();
  const again = qemuPort({ port: 9 }, { reconnect: { clock, attempts: 0 } });
  assert.equal((await again.closed).error.code, "ECONNREFUSED");
  for (const [target, text] of [
    [{}, "target"],
    [5, "target"],
    [() => 5, "target"],
    [{ path: 5 }, "target.path"],
    [{ port: "5" }, "target.port"],
  ]) {
    assert.throws(
      () => qemuPort(target),
      (error) => error.name === "TypeError" && error.message.includes(text),
    );
  }
});

test("a socket that is slow holds frames back; one that sends too much is paused; an error is told", async () => {
  const server = net.createServer({ pauseOnConnect: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const port = qemuPort({ port: server.address().port });
  const [peer] = await once(server, "connection");
  await port.opened;
  const engine = await createEngine();
  const lan = await createSwitch({ engine });
  const seen = [];
  const other = functionPort({ send: (frame) => seen.push(frame.byteLength) });
  lan.plug(port);
  lan.plug(other);
  const frame = new Uint8Array(60_000).fill(0xff, 0, 6).fill(2, 6, 12);
  // Until the socket takes no more, and for as long as the switch does.
  let sent = 0;
  for (; sent < 2_000 && port.counters.framesReceived === sent; sent += 1) {
    other.receive(frame);
    await settle();
  }
  assert.ok(sent < 2_000, "never held back");
  let length = 0;
  peer.on("data", (bytes) => {
    length += bytes.length;
  });
  peer.resume();
  await until(() => length === sent * 60_004, "all frames");
  assert.equal(port.counters.dropped, 0);

  const prefixed = Buffer.alloc(64 * 5_000);
  for (let at = 0; at < prefixed.length; at += 64) {
    prefixed.writeUInt32BE(60, at);
    prefixed.set(FRAME, at + 4);
  }
  peer.write(prefixed);
  await until(() => seen.length === 5_000, "the frames that were sent at once");
  peer.resetAndDestroy();
  assert.equal((await port.closed).error.code, "ECONNRESET");
  server.close();
  engine.close();
});

/** Where a BOOTP message is in a frame, and in it the name of the file to boot (RFC 951 §3). */
const BOOTP = 14 + 20 + 8;
const BOOT_FILE = 108;

/** Writes a file to boot into the answers of a DHCP server. */
function namesBootFile(frame, direction) {
  const isFromServer = frame[23] === 17 && ((frame[34] << 8) | frame[35]) === 67;
  if (direction !== "in" || !isFromServer) return;
  frame.set(Buffer.from("http://boot.test/script.ipxe"), BOOTP + BOOT_FILE);
  // RFC 768: no checksum.
  frame.fill(0, 40, 42);
}

// iPXE, the boot ROM of QEMU's card, is the guest: it asks for a lease, asks for a name and fetches a script by HTTP, all over `-netdev stream`.
test("QEMU boots over the network from a gateway", {
  skip: !isInstalled("qemu-system-x86_64", "--version") && "QEMU is not installed",
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), "ethertab-"));
  const path = join(folder, "qemu.sock");
  const gateway = await createGateway();
  const asked = [];
  gateway.serve("http://boot.test", (request) => {
    asked.push(new URL(request.url).pathname);
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is iPXE's own variable
    return new Response("#!ipxe\nchain http://boot.test/next/${net0/ip}\n");
  });
  const lan = await createSwitch();
  lan.plug(gateway);
  const server = net.createServer((socket) => {
    const port = qemuPort(socket, { name: "qemu" });
    port.hook = namesBootFile;
    lan.plug(port);
  });
  server.listen(path);
  await once(server, "listening");
  const qemu = spawn(
    "qemu-system-x86_64",
    [
      ["-nodefaults", "-display", "none", "-accel", "tcg", "-m", "64", "-boot", "n"],
      ["-netdev", `stream,id=lan,server=off,addr.type=unix,addr.path=${path}`],
      ["-device", "virtio-net-pci,netdev=lan"],
    ].flat(),
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  const ended = once(qemu, "exit");
  try {
    const end = Date.now() + 60_000;
    while (asked.length < 2 && Date.now() < end)
      await new Promise((resolve) => setTimeout(resolve, 50));
    const [lease] = gateway.leases();
    assert.deepEqual(asked.slice(0, 2), ["/script.ipxe", `/next/${lease.address}`]);
    const [port] = lan.ports.filter(({ name }) => name === "qemu");
    assert.equal(port.counters.invalid, 0);
    qemu.kill("SIGKILL");
    await port.closed;
  } finally {
    qemu.kill("SIGKILL");
    await ended;
    server.close();
    await gateway.close();
    await rm(folder, { recursive: true });
  }
});

test("passt gives a stack the host's own network", {
  skip: !isInstalled("passt", "--version") && "passt is not installed",
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), "ethertab-"));
  // Started by root, it goes on as nobody.
  await chmod(folder, 0o777);
  const path = join(folder, "passt.sock");
  const page = pattern(300_000);
  const server = http.createServer((_request, response) => response.end(page));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // The host is at the gateway's address; the guest has one of its own.
  const passt = spawn(
    "passt",
    [
      "--foreground",
      "--one-off",
      "--socket",
      path,
      "-a",
      "10.9.0.15",
      "-n",
      "24",
      "-g",
      "10.9.0.1",
      "-D",
      "10.9.0.1",
    ],
    { stdio: "ignore" },
  );
  const ended = once(passt, "exit");
  const stack = await createStack();
  try {
    const port = qemuPort(path, { reconnect: { minDelay: 10, maxDelay: 100, attempts: 100 } });
    // passt sends its offer to the address that it offers.
    const nic = stack.addInterface({ dhcp: true });
    plug(nic, port);
    await nic.configured;
    assert.deepEqual(
      nic.addresses.filter((address) => address.includes(".")),
      ["10.9.0.15/24"],
    );
    const socket = stack.connect({ hostname: "10.9.0.1", port: server.address().port });
    const writer = socket.writable.getWriter();
    await writer.write(Buffer.from("GET / HTTP/1.0\r\n\r\n"));
    const answer = await readAll(socket.readable);
    assert.equal(Buffer.compare(answer.subarray(answer.indexOf("\r\n\r\n") + 4), page), 0);
    assert.equal(port.counters.invalid, 0);
    await port[Symbol.asyncDispose]();
  } finally {
    passt.kill("SIGKILL");
    await ended;
    server.close();
    await stack.close();
    await rm(folder, { recursive: true });
  }
});
