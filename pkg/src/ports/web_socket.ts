/** A WebSocket as a port: one Ethernet frame in each binary message, as the common relays have it. */

import * as check from "../arguments.js";
import { deferred, eachFrame } from "../engine_core.js";
import { SocketError } from "../errors.js";
import type { WebSocketLike, WebSocketPort, WebSocketPortOptions } from "../types.js";
import { ExternalPort } from "./port_base.js";

const CONNECTING = 0;
const OPEN = 1;
const DEFAULT_QUEUE = 1024 * 1024;

/**
 * A port over a WebSocket: a URL, or any object with the WebSocket interface (the `ws` package's has it). Frames for the
 * relay wait in the engine while the socket connects, up to the cable's bound. Messages that are no frame are ignored and counted.
 * Closing the port closes the socket; when the socket closes, the port is unplugged.
 */
export function webSocketPort(
  target: string | URL | WebSocketLike,
  options?: WebSocketPortOptions,
): WebSocketPort {
  const { name, queue, protocols } = check.options("options", options);
  const label = name === undefined ? "websocket" : check.string("options.name", name);
  const most =
    queue === undefined ? DEFAULT_QUEUE : check.integer("options.queue", queue, 0, 2 ** 31);
  // Last: a socket that was opened here would have nobody to close it.
  return new WebSocketPortImpl(label, most, open(target, protocols));
}

function open(target: string | URL | WebSocketLike, protocols?: string | string[]): WebSocketLike {
  if (typeof target === "string" || target instanceof URL) {
    if (typeof WebSocket !== "function") {
      throw new TypeError(
        "there is no WebSocket in this runtime (Node has one from version 22): give webSocketPort an open socket, such as that of the ws package",
      );
    }
    return new WebSocket(target, protocols) as WebSocketLike;
  }
  const given: unknown = target;
  if (
    typeof given !== "object" ||
    given === null ||
    !("send" in given) ||
    !("addEventListener" in given)
  ) {
    throw new TypeError(`target must be a URL or a WebSocket, got ${check.show(given)}`);
  }
  return target;
}

class WebSocketPortImpl extends ExternalPort implements WebSocketPort {
  readonly opened: Promise<void>;
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly #queue: number;
  readonly #socket: WebSocketLike;
  readonly #opening = deferred<void>();
  readonly #closing = deferred<{ code: number; reason: string }>();
  readonly #onOpen = (): void => {
    this.#opening.resolve();
    this.onFrames();
  };
  readonly #onMessage = (event: { data: unknown }): void => {
    this.#received(event.data);
  };
  readonly #onClose = (event: { code?: number; reason?: string }): void => {
    const { code = 1006, reason = "" } = event;
    const why = reason === "" ? `code ${code}` : `code ${code}, ${reason}`;
    this.#opening.reject(new SocketError("ECONNREFUSED", `the WebSocket closed: ${why}`));
    this.#closing.resolve({ code, reason });
    this.close();
  };
  /** An error is always followed by a close, which tells; `ws` throws when nobody listens to it. */
  readonly #onError = (): void => {};

  constructor(name: string, queue: number, socket: WebSocketLike) {
    super(name);
    this.#queue = queue;
    this.#socket = socket;
    this.opened = this.#opening.promise;
    this.closed = this.#closing.promise;
    socket.binaryType = "arraybuffer";
    socket.addEventListener("open", this.#onOpen);
    socket.addEventListener("message", this.#onMessage);
    socket.addEventListener("close", this.#onClose);
    socket.addEventListener("error", this.#onError);
    if (socket.readyState === OPEN) this.#opening.resolve();
    else if (socket.readyState !== CONNECTING) this.#onClose({});
  }

  #received(data: unknown): void {
    // A socket that was made with another binaryType may still deliver views.
    if (data instanceof ArrayBuffer) this.bring(new Uint8Array(data));
    else if (ArrayBuffer.isView(data)) this.bring(check.bytes("data", data));
    else this.countInvalid();
  }

  onFrames(): void {
    // Until it is open, the frames wait in the engine, whose queue is bounded.
    if (this.#socket.readyState === CONNECTING) return;
    for (let batch = this.take(); batch !== null; batch = this.take()) {
      eachFrame(batch, (frame) => {
        // The socket's own buffer has no bound: a relay slower than the network loses frames, as any slow link does.
        if (this.#socket.readyState !== OPEN || this.#socket.bufferedAmount > this.#queue)
          this.countDropped();
        // Copied: sockets may keep the array until it is on the wire.
        else this.#socket.send(frame.slice());
      });
    }
  }

  protected dispose(): void {
    const socket = this.#socket;
    socket.removeEventListener("open", this.#onOpen);
    socket.removeEventListener("message", this.#onMessage);
    this.#opening.reject(new SocketError("ABORT_ERR", "the port was closed"));
    if (socket.readyState === CONNECTING || socket.readyState === OPEN) socket.close();
  }
}
