/** A WebSocket as a port: one frame in each binary message, as the common relays have it, or QEMU's stream. */

import * as check from "../arguments.js";
import { SocketError } from "../errors.js";
import type { WebSocketEnd, WebSocketLike, WebSocketPort, WebSocketPortOptions } from "../types.js";
import {
  type Link,
  type LinkEvents,
  LinkPortImpl,
  nameOf,
  reconnectingOptions,
} from "./link_port.js";

const CONNECTING = 0;
const OPEN = 1;
/** RFC 6455 §7.4.1: done; going away; closed without a code. */
const ORDERLY = [1000, 1001, 1005];
/** RFC 6455 §7.1.5: there was no Close frame. */
const ABNORMAL = 1006;

/**
 * A port over a WebSocket: a URL, any object with the WebSocket interface (the `ws` package's has it), or a function that makes such an object, for runtimes
 * without a global `WebSocket` and for headers or credentials that change. Frames for the relay wait in the engine while the socket connects, up to the
 * cable's bound. Messages that are no frame are ignored and counted. Closing the port closes the socket; when the socket closes, the port does, or
 * connects again if `options.reconnect` says so.
 */
export function webSocketPort(
  target: string | URL | WebSocketLike | (() => WebSocketLike),
  options: WebSocketPortOptions = {},
): WebSocketPort {
  const given = check.options("options", options);
  const { protocols } = given;
  const name = nameOf(given, "websocket");
  const plan = reconnectingOptions(given, {
    isOpen: isSocket(target),
    instead: "a URL or a function that opens a WebSocket",
  });
  return new LinkPortImpl<WebSocketEnd>(name, {
    ...plan,
    make: (events) => new WebSocketLink(open(target, protocols), plan.queue, events),
    end: (error) => ({ code: ABNORMAL, reason: "", error }),
  });
}

function isSocket(target: unknown): target is WebSocketLike {
  return (
    typeof target === "object" &&
    target !== null &&
    "send" in target &&
    "addEventListener" in target
  );
}

function open(
  target: string | URL | WebSocketLike | (() => WebSocketLike),
  protocols: string | string[] | undefined,
): WebSocketLike {
  if (typeof target === "string" || target instanceof URL) {
    if (typeof WebSocket !== "function") {
      throw new TypeError(
        "there is no WebSocket in this runtime (Node has one from version 22): give webSocketPort an open socket, or a function that makes one, such as that of the ws package",
      );
    }
    return new WebSocket(target, protocols) as WebSocketLike;
  }
  const socket: unknown = typeof target === "function" ? target() : target;
  if (!isSocket(socket)) {
    throw new TypeError(
      `target must be a URL, a WebSocket, or a function that makes one, got ${check.show(socket)}`,
    );
  }
  return socket;
}

class WebSocketLink implements Link {
  readonly #socket: WebSocketLike;
  readonly #queue: number;
  readonly #events: LinkEvents<WebSocketEnd>;
  #wasOpen = false;
  readonly #onOpen = (): void => {
    this.#wasOpen = true;
    this.#events.opened();
  };
  readonly #onMessage = (event: unknown): void => {
    this.#events.received((event as { data: unknown }).data);
  };
  readonly #onClose = (event: unknown): void => {
    const { code = ABNORMAL, reason = "" } = event as { code?: number; reason?: string };
    this.#stop();
    this.#events.ended({ code, reason, error: this.#errorOf(code, reason) });
  };
  /** An error is always followed by a close, which tells; `ws` throws when nobody listens to it. */
  readonly #onError = (): void => {};

  constructor(socket: WebSocketLike, queue: number, events: LinkEvents<WebSocketEnd>) {
    this.#socket = socket;
    this.#queue = queue;
    this.#events = events;
    socket.binaryType = "arraybuffer";
    socket.addEventListener("open", this.#onOpen);
    socket.addEventListener("message", this.#onMessage);
    socket.addEventListener("close", this.#onClose);
    socket.addEventListener("error", this.#onError);
    if (socket.readyState === OPEN) this.#onOpen();
    else if (socket.readyState !== CONNECTING) this.#onClose({});
  }

  #errorOf(code: number, reason: string): SocketError | null {
    const why = reason === "" ? `code ${code}` : `code ${code}, ${reason}`;
    if (!this.#wasOpen) return new SocketError("ECONNREFUSED", `the WebSocket closed: ${why}`);
    if (ORDERLY.includes(code)) return null;
    return new SocketError("ECONNRESET", `the WebSocket closed: ${why}`);
  }

  /** A socket that is closing drops what it is given; nobody says when one that is too full has room. */
  get isWritable(): boolean {
    return this.#socket.readyState !== CONNECTING;
  }

  send(bytes: Uint8Array<ArrayBuffer>): boolean {
    // The socket's own buffer has no bound: a relay slower than the network loses frames, as any slow link does.
    if (this.#socket.readyState !== OPEN || this.#socket.bufferedAmount > this.#queue) return false;
    this.#socket.send(bytes);
    return true;
  }

  #stop(): void {
    this.#socket.removeEventListener("open", this.#onOpen);
    this.#socket.removeEventListener("message", this.#onMessage);
    this.#socket.removeEventListener("close", this.#onClose);
  }

  end(): void {
    const { readyState } = this.#socket;
    this.#socket.removeEventListener("message", this.#onMessage);
    if (readyState === CONNECTING || readyState === OPEN) this.#socket.close();
  }
}
