// Sockets for tests of HTTP without a stack, in the shape of the package's `Socket` below the streams.

import { readFile } from "node:fs/promises";
import net from "node:net";
import { createBindings } from "../dist/wasm/services_bindings.js";

/** The parser functions of the module. */
export async function loadParser() {
  const bindings = createBindings();
  const bytes = await readFile(new URL("../dist/wasm/services_bg.wasm", import.meta.url));
  bindings.initSync({ module: new WebAssembly.Module(bytes) });
  return bindings;
}

/** Real time. */
export const clock = {
  now: () => performance.now(),
  setTimer: (callback, delay) => setTimeout(callback, delay),
  clearTimer: (timer) => clearTimeout(timer),
};

/** One end of a byte pipe with `capacity` bytes of buffer for what arrives. */
class TestSocket {
  remote = { address: "10.0.2.15", port: 40000 };
  onready = null;
  opened = Promise.resolve({ remoteAddress: "", localAddress: "" });
  #incoming = [];
  #arrived = 0;
  #ended = false;
  #gone = false;
  #capacity;
  #deliver;
  #settle;

  constructor(capacity) {
    this.#capacity = capacity;
    this.closed = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.closed.catch(() => {});
  }

  attach(deliver) {
    this.#deliver = deliver;
  }

  // What the other side calls.

  get room() {
    return this.#capacity - this.#arrived;
  }

  arrive(bytes) {
    this.#incoming.push(bytes);
    this.#arrived += bytes.length;
    this.ready();
  }

  arriveEnd() {
    this.#ended = true;
    this.ready();
  }

  arriveReset() {
    if (this.#gone) return;
    this.#gone = true;
    this.#settle.reject(Object.assign(new TypeError("reset"), { code: "ECONNRESET" }));
    this.ready();
  }

  ready() {
    queueMicrotask(() => this.onready?.(this));
  }

  // What HTTP calls.

  tryRead(into) {
    const [first] = this.#incoming;
    if (first === undefined) return this.#ended ? 0 : -1;
    const count = Math.min(first.length, into.length);
    into.set(first.subarray(0, count));
    if (count === first.length) this.#incoming.shift();
    else this.#incoming[0] = first.subarray(count);
    this.#arrived -= count;
    this.#deliver.room();
    return count;
  }

  tryWrite(from) {
    if (this.#gone) throw Object.assign(new TypeError("closed"), { code: "EPIPE" });
    return this.#deliver.data(from);
  }

  shutdown() {
    this.#deliver.end();
  }

  close() {
    if (!this.#gone) {
      this.#gone = true;
      if (this.#incoming.length > 0) this.#deliver.reset();
      else this.#deliver.end();
      this.#settle.resolve();
    }
    return this.closed;
  }

  abort() {
    if (this.#gone) return;
    this.#gone = true;
    this.#deliver.reset();
    this.#settle.reject(Object.assign(new TypeError("aborted"), { code: "ABORT_ERR" }));
  }
}

/** Two sockets joined; each holds at most `capacity` bytes that the other wrote. */
export function socketPair(capacity = 64 * 1024) {
  const ends = [new TestSocket(capacity), new TestSocket(capacity)];
  for (const [index, end] of ends.entries()) {
    const peer = ends[1 - index];
    end.attach({
      data(from) {
        const count = Math.min(from.length, peer.room);
        if (count > 0) peer.arrive(from.slice(0, count));
        return count;
      },
      room: () => peer.ready(),
      end: () => peer.arriveEnd(),
      reset: () => peer.arriveReset(),
    });
  }
  return ends;
}

/** A socket over one of Node's, so that Node's own HTTP can judge. */
export function overNet(socket, capacity = 64 * 1024) {
  const end = new TestSocket(capacity);
  socket.on("data", (bytes) => {
    end.arrive(bytes);
    if (end.room <= 0) socket.pause();
  });
  socket.on("end", () => end.arriveEnd());
  socket.on("drain", () => end.ready());
  socket.on("error", () => end.arriveReset());
  socket.on("close", (failed) => failed && end.arriveReset());
  end.attach({
    data(from) {
      const count = Math.min(from.length, Math.max(0, capacity - socket.writableLength));
      if (count > 0) socket.write(from.slice(0, count));
      return count;
    },
    room: () => end.room > 0 && socket.resume(),
    end: () => socket.end(),
    reset: () => socket.resetAndDestroy(),
  });
  return end;
}

/** Listens on loopback and gives each connection to `serve`. Resolves to the port and a function that closes. */
export async function listenOnLoopback(serve) {
  const sockets = new Set();
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    serve(overNet(socket));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  };
  return { port: server.address().port, close };
}

/** Connects to loopback. */
export function connectToLoopback(port) {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(overNet(socket));
    });
  });
}

/** A peer that speaks bytes: writes text, collects what comes back. */
export class RawPeer {
  text = "";
  ended = false;
  failure = undefined;
  #socket;
  #changed = [];

  constructor(socket) {
    this.#socket = socket;
    socket.onready = () => this.#read();
    socket.closed.catch((error) => {
      this.failure = error;
      this.#notify();
    });
  }

  send(text) {
    const bytes = typeof text === "string" ? Buffer.from(text, "latin1") : text;
    const taken = this.#socket.tryWrite(bytes);
    if (taken !== bytes.length) throw new Error("the test wrote more than a socket holds");
  }

  finish() {
    this.#socket.shutdown();
  }

  reset() {
    this.#socket.abort();
  }

  /** Resolves when `condition` holds; rejects after two seconds with what did come. */
  async until(condition) {
    const expired = AbortSignal.timeout(2000);
    this.#read();
    while (!condition(this)) {
      await new Promise((resolve, reject) => {
        this.#changed.push(resolve);
        expired.addEventListener("abort", () =>
          reject(new Error(`not in time; so far: ${JSON.stringify(this.text)}`)),
        );
      });
    }
    return this.text;
  }

  /** Everything up to the end of the connection. */
  untilEnd() {
    return this.until((peer) => peer.ended || peer.failure);
  }

  #read() {
    const into = new Uint8Array(65536);
    for (;;) {
      const count = this.#socket.tryRead(into);
      if (count === 0) this.ended = true;
      if (count <= 0) break;
      this.text += Buffer.from(into.subarray(0, count)).toString("latin1");
    }
    this.#notify();
  }

  #notify() {
    for (const resolve of this.#changed.splice(0)) resolve();
  }
}
