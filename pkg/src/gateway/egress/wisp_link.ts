/**
 * The WebSocket under Wisp. A browser's `WebSocket` hands over whatever comes as fast as it comes; where the platform can hold a server back
 * (`WebSocketStream`, and `pause` of the `ws` package) it is used.
 */

import * as check from "../../arguments.js";
import { holdProgram } from "../../clock.js";
import type { Clock, WebSocketLike } from "../../types.js";

/** Bytes on their way into a WebSocket above which no more data is given to it. */
const MOST_UNSENT = 1024 * 1024;
/** How often a WebSocket is looked at that was full: nothing tells when it has room. Milliseconds. */
const LOOK_AGAIN = 5;

/** What makes WebSockets: the global `WebSocket`, or a class with its interface, such as that of the `ws` package. */
export type WebSocketConstructor = new (url: string, protocols?: string[]) => WebSocketLike;

/** What a link tells. After `ended` it tells no more. */
export interface WispLinkEvents {
  opened(): void;
  /** A binary message; null for one of text. */
  received(message: Uint8Array | null): void;
  /** It was full, and has room again. */
  drained(): void;
  ended(reason: string): void;
}

/** A WebSocket that is open or opens. */
export interface WispLink {
  /** Whether `pause` holds the server back. */
  readonly canPause: boolean;
  /** Whether data should wait for `drained`. */
  readonly isFull: boolean;
  send(packet: Uint8Array<ArrayBuffer>): void;
  pause(): void;
  resume(): void;
  /** Ends it; nothing is told any more. */
  close(): void;
}

/** Opens links to one server. */
export type LinkOpener = (protocols: string[], events: WispLinkEvents) => WispLink;

/** How links to `url` are opened. */
export function linkOpener(url: unknown, given: unknown, clock: Clock): LinkOpener {
  const address = urlOf(url);
  const own = given === undefined ? undefined : classOf(given);
  const streams = (globalThis as { WebSocketStream?: WebSocketStreamConstructor }).WebSocketStream;
  if (own === undefined && typeof streams === "function") {
    return (protocols, events) => new StreamLink(new streams(address, { protocols }), events);
  }
  const make = own ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
  if (typeof make !== "function") {
    throw new TypeError(
      "there is no WebSocket in this runtime (Node has one from version 22): give options.webSocket a class, such as that of the ws package",
    );
  }
  return (protocols, events) => new SocketLink(new make(address, protocols), events, clock);
}

function urlOf(url: unknown): string {
  let address: URL;
  try {
    address = new URL(url instanceof URL ? url.href : check.string("url", url));
  } catch (cause) {
    if (typeof url !== "string") throw cause;
    throw new TypeError(
      `url must be one of a WebSocket, like "wss://example.com/wisp/", got ${check.show(url)}`,
    );
  }
  // Before 2023 WebSockets knew only their own schemes.
  address.protocol = address.protocol.replace(/^http/, "ws");
  if (address.protocol !== "ws:" && address.protocol !== "wss:") {
    throw new TypeError(`url must begin with ws: or wss:, got ${check.show(address.href)}`);
  }
  address.hash = "";
  return address.href;
}

function classOf(given: unknown): WebSocketConstructor {
  if (typeof given === "function") return given as WebSocketConstructor;
  throw new TypeError(`options.webSocket must be a class, got ${check.show(given)}`);
}

const OPEN = 1;

/** What the `ws` package's WebSockets have beyond those of browsers. */
interface Pausable {
  pause(): void;
  resume(): void;
}

/** What an `ended` without a code says. */
function endText(code: number | undefined, reason: string | undefined): string {
  const why = code === undefined ? "" : ` with code ${code}`;
  return reason === undefined || reason === ""
    ? `the WebSocket closed${why}`
    : `the WebSocket closed${why}: ${reason}`;
}

class SocketLink implements WispLink {
  readonly canPause: boolean;
  readonly #socket: WebSocketLike;
  readonly #events: WispLinkEvents;
  readonly #clock: Clock;
  #timer: unknown = null;
  #error = "";

  readonly #listeners: Record<string, (event: unknown) => void> = {
    open: () => this.#events.opened(),
    message: (event) => {
      const { data } = event as { data: unknown };
      const isBinary = data instanceof ArrayBuffer || ArrayBuffer.isView(data);
      this.#events.received(isBinary ? check.bytes("message", data) : null);
    },
    error: (event) => {
      const { message } = event as { message?: unknown };
      if (typeof message === "string") this.#error = message;
    },
    close: (event) => {
      const { code, reason } = event as { code?: number; reason?: string };
      this.#stop();
      this.#events.ended(endText(code, reason === "" ? this.#error : reason));
    },
  };

  constructor(socket: WebSocketLike, events: WispLinkEvents, clock: Clock) {
    this.#socket = socket;
    this.#events = events;
    this.#clock = clock;
    const { pause, resume } = socket as Partial<Pausable>;
    this.canPause = typeof pause === "function" && typeof resume === "function";
    socket.binaryType = "arraybuffer";
    for (const [type, listener] of Object.entries(this.#listeners)) {
      socket.addEventListener(type, listener);
    }
  }

  get isFull(): boolean {
    if (this.#socket.bufferedAmount <= MOST_UNSENT) return false;
    this.#lookAgain();
    return true;
  }

  #lookAgain(): void {
    if (this.#timer !== null) return;
    this.#timer = this.#clock.setTimer(() => {
      this.#timer = null;
      if (this.#socket.bufferedAmount > MOST_UNSENT / 2) this.#lookAgain();
      else this.#events.drained();
    }, LOOK_AGAIN);
    holdProgram(this.#timer, false);
  }

  send(packet: Uint8Array<ArrayBuffer>): void {
    // One that is closing drops what it is given, and its end is told of.
    if (this.#socket.readyState === OPEN) this.#socket.send(packet);
  }

  pause(): void {
    if (this.canPause && this.#socket.readyState === OPEN) {
      (this.#socket as unknown as Pausable).pause();
    }
  }

  resume(): void {
    if (this.canPause) (this.#socket as unknown as Pausable).resume();
  }

  #stop(): void {
    if (this.#timer !== null) this.#clock.clearTimer(this.#timer);
    this.#timer = null;
    for (const [type, listener] of Object.entries(this.#listeners)) {
      // `ws` throws errors that nobody listens to.
      if (type !== "error") this.#socket.removeEventListener(type, listener);
    }
  }

  close(): void {
    this.#stop();
    // One that is paused would never see the server's answer.
    this.resume();
    this.#socket.close();
  }
}

/** https://websockets.spec.whatwg.org/#the-websocketstream-interface, as far as it is used. */
interface WebSocketStreamLike {
  readonly opened: Promise<{
    readable: ReadableStream<unknown>;
    writable: WritableStream<unknown>;
  }>;
  readonly closed: Promise<{ closeCode?: number; reason?: string }>;
  close(): void;
}
type WebSocketStreamConstructor = new (
  url: string,
  options: { protocols: string[] },
) => WebSocketStreamLike;

class StreamLink implements WispLink {
  readonly canPause = true;
  readonly #socket: WebSocketStreamLike;
  readonly #events: WispLinkEvents;
  #writer: WritableStreamDefaultWriter<unknown> | null = null;
  #unsent = 0;
  #wasFull = false;
  #over = false;
  /** Goes on reading; null while it is not paused. */
  #resume: (() => void) | null = null;
  #paused: Promise<void> | null = null;

  constructor(socket: WebSocketStreamLike, events: WispLinkEvents) {
    this.#socket = socket;
    this.#events = events;
    socket.opened.then(
      ({ readable, writable }) => {
        if (this.#over) return;
        this.#writer = writable.getWriter();
        this.#writer.closed.catch(() => {});
        events.opened();
        void this.#read(readable.getReader());
      },
      () => this.#end("the WebSocket did not open"),
    );
    socket.closed.then(
      ({ closeCode, reason }) => this.#end(endText(closeCode, reason)),
      () => this.#end("the WebSocket broke"),
    );
  }

  async #read(reader: ReadableStreamDefaultReader<unknown>): Promise<void> {
    try {
      while (!this.#over) {
        await this.#paused;
        const { done, value } = await reader.read();
        if (done || this.#over) return;
        const isBinary = value instanceof ArrayBuffer || ArrayBuffer.isView(value);
        this.#events.received(isBinary ? check.bytes("message", value) : null);
      }
    } catch {
      // `closed` tells.
    }
  }

  #end(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.resume();
    this.#events.ended(reason);
  }

  get isFull(): boolean {
    if (this.#unsent <= MOST_UNSENT) return false;
    this.#wasFull = true;
    return true;
  }

  send(packet: Uint8Array<ArrayBuffer>): void {
    if (this.#writer === null || this.#over) return;
    this.#unsent += packet.byteLength;
    this.#writer.write(packet).then(
      () => this.#sent(packet.byteLength),
      () => {},
    );
  }

  #sent(bytes: number): void {
    this.#unsent -= bytes;
    if (!this.#wasFull || this.#over || this.#unsent > MOST_UNSENT / 2) return;
    this.#wasFull = false;
    this.#events.drained();
  }

  pause(): void {
    this.#paused ??= new Promise((resolve) => {
      this.#resume = resolve;
    });
  }

  resume(): void {
    this.#resume?.();
    this.#resume = null;
    this.#paused = null;
  }

  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.resume();
    this.#socket.close();
  }
}
