/** QEMU's stream of frames over a socket of Node: `-netdev stream`, and what speaks the same, such as passt and gvisor-tap-vsock. */

import * as check from "../arguments.js";
import { SocketError } from "../errors.js";
import type { LinkPort, NodeStreamLike, PortEnd, QemuAddress, QemuPortOptions } from "../types.js";
import {
  type Link,
  type LinkEvents,
  LinkPortImpl,
  nameOf,
  reconnectingOptions,
} from "./link_port.js";

/**
 * A port over a stream of bytes in QEMU's framing: the path or port that QEMU or passt listens at, a socket of `node:net` (such as one that a server was given
 * when QEMU has connected), or a function that makes one. A side that is slower holds the other back, both ways. Closing the port destroys
 * the socket; when the socket closes, the port does, or connects again if `options.reconnect` says so.
 */
export function qemuPort(
  target: QemuAddress | NodeStreamLike | (() => NodeStreamLike),
  options: QemuPortOptions = {},
): LinkPort {
  const given = check.options("options", options);
  const name = nameOf(given, "qemu");
  const plan = reconnectingOptions(given, {
    isOpen: isStream(target),
    instead: "an address or a function that opens a socket",
  });
  return new LinkPortImpl<PortEnd>(name, {
    ...plan,
    framing: "qemu",
    make: (events) => new NodeStreamLink(open(target), events),
    end: (error) => ({ error }),
  });
}

function isStream(value: unknown): value is NodeStreamLike {
  const has = (method: string): boolean =>
    typeof (value as Record<string, unknown>)[method] === "function";
  return typeof value === "object" && value !== null && has("write") && has("pause") && has("on");
}

function open(target: QemuAddress | NodeStreamLike | (() => NodeStreamLike)): NodeStreamLike {
  if (isStream(target)) return target;
  const given: unknown = target;
  if (typeof given === "function") {
    const stream: unknown = given();
    if (isStream(stream)) return stream;
    throw new TypeError(`target must make a stream of node:stream, got ${check.show(stream)}`);
  }
  if (typeof given === "string") return connect({ path: given });
  if (typeof given === "object" && given !== null && "path" in given) {
    return connect({ path: check.string("target.path", given.path) });
  }
  if (typeof given === "object" && given !== null && "port" in given) {
    const host = "host" in given && given.host !== undefined ? given.host : "127.0.0.1";
    return connect({
      port: check.port("target.port", given.port),
      host: check.string("target.host", host),
    });
  }
  throw new TypeError(`target must be a path, an address or a stream, got ${check.show(given)}`);
}

/** Opens a socket of Node, which is found in a way that bundlers don't see as an import. */
function connect(address: { path: string } | { port: number; host: string }): NodeStreamLike {
  const { process } = globalThis as {
    process?: { getBuiltinModule?: (name: string) => unknown };
  };
  const net = process?.getBuiltinModule?.("node:net") as
    | { connect(address: object): NodeStreamLike }
    | undefined;
  if (net === undefined) {
    throw new TypeError(
      "there are no such sockets in this runtime: give qemuPort a stream, or use webSocketPort",
    );
  }
  return net.connect(address);
}

class NodeStreamLink implements Link {
  readonly #stream: NodeStreamLike;
  readonly #events: LinkEvents<PortEnd>;
  #wasOpen = false;
  #isOver = false;
  #isFull = false;
  #error: Error | null = null;
  readonly #listening: [event: string, listener: (value: unknown) => void][] = [];

  constructor(stream: NodeStreamLike, events: LinkEvents<PortEnd>) {
    this.#stream = stream;
    this.#events = events;
    if (stream.destroyed) {
      this.#over();
      return;
    }
    this.#listen("connect", () => this.#opened());
    this.#listen("data", (bytes: Uint8Array) => this.#received(bytes));
    this.#listen("drain", () => {
      this.#isFull = false;
      events.writable();
    });
    // The other side sends no more: the link is over, also for a socket that may be half open.
    this.#listen("end", () => stream.destroy());
    this.#listen("close", () => this.#over());
    // Stays after the end: errors that nobody listens to end the program.
    stream.on("error", (error) => {
      this.#error = error as Error;
    });
    if (stream.connecting !== true) this.#opened();
  }

  #listen<T>(event: string, listener: (value: T) => void): void {
    this.#stream.on(event, listener as (value: unknown) => void);
    this.#listening.push([event, listener as (value: unknown) => void]);
  }

  #opened(): void {
    this.#wasOpen = true;
    this.#events.opened();
  }

  #received(bytes: Uint8Array): void {
    this.#stream.pause();
    this.#events.received(bytes);
    this.#events.taken().then(() => {
      if (!this.#isOver) this.#stream.resume();
    });
  }

  get isWritable(): boolean {
    return this.#wasOpen && !this.#isFull && !this.#stream.destroyed;
  }

  send(bytes: Uint8Array<ArrayBuffer>): boolean {
    this.#isFull = !this.#stream.write(bytes);
    return true;
  }

  #over(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const [event, listener] of this.#listening.splice(0)) this.#stream.off(event, listener);
    this.#events.ended({ error: this.#errorOf() });
  }

  #errorOf(): SocketError | null {
    const cause = this.#error;
    if (cause === null && this.#wasOpen) return null;
    const code = this.#wasOpen ? "ECONNRESET" : "ECONNREFUSED";
    const what = this.#wasOpen ? "the connection was lost" : "no connection";
    const message = cause === null ? what : `${what}: ${cause.message}`;
    return new SocketError(code, message, cause === null ? {} : { cause });
  }

  end(): void {
    this.#stream.destroy();
  }
}
