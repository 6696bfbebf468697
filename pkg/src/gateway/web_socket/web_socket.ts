/** A WebSocket over the stack, with the interface of the platform's (WHATWG WebSockets). */

import * as check from "../../arguments.js";
import { holdProgram } from "../../clock.js";
import { reasonOf } from "../../errors.js";
import type { Clock, Socket } from "../../types.js";
import { Connection } from "../http/connection.js";
import type { HeadParser } from "../http/head.js";
import { type Secure, type Target, targetOf } from "../http/target.js";
import { frameOf, MAX_CONTROL, MessageReader, Opcode, ProtocolError } from "./frames.js";
import { shakeHands } from "./handshake.js";

/** What it needs of the gateway. */
export interface WebSocketContext {
  readonly clock: Clock;
  readonly parser: HeadParser;
  connect(target: Target, signal: AbortSignal): Promise<Socket>;
  readonly secure: Secure;
}

/** The platform's events and what their listeners are given. */
interface Handlers {
  open: Event;
  message: MessageEvent;
  error: Event;
  close: CloseEvent;
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9a-z-]+$/i;
const CONNECTING = 0;
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;
/** How long the handshake may take, and the server to close after both have said so, in milliseconds. */
const OPENING_TIME = 30_000;
const CLOSING_TIME = 5_000;
const NORMAL = 1_000;
const NO_STATUS = 1_005;
const ABNORMAL = 1_006;
const INVALID_TEXT = 1_007;

/** `ErrorEvent` is missing in Node. */
class PlainErrorEvent extends Event {
  readonly error: unknown;
  readonly message: string;

  constructor(type: string, { error, message = "" }: ErrorEventInit) {
    super(type);
    this.error = error;
    this.message = message;
  }
}

/** `CloseEvent` is missing in Node before 23. */
class PlainCloseEvent extends Event {
  readonly code: number;
  readonly reason: string;
  readonly wasClean: boolean;

  constructor(type: string, { code = 0, reason = "", wasClean = false }: CloseEventInit) {
    super(type);
    this.code = code;
    this.reason = reason;
    this.wasClean = wasClean;
  }
}

/**
 * A WebSocket to a server in the network. What differs from the platform's: it sends no Origin and offers no compression, which would only cost an emulated
 * processor its time, and its `error` event says what is wrong, as Node's does.
 */
export class GatewayWebSocket extends EventTarget implements WebSocket {
  static readonly CONNECTING = CONNECTING;
  static readonly OPEN = OPEN;
  static readonly CLOSING = CLOSING;
  static readonly CLOSED = CLOSED;
  readonly CONNECTING = CONNECTING;
  readonly OPEN = OPEN;
  readonly CLOSING = CLOSING;
  readonly CLOSED = CLOSED;
  readonly url: string;
  readonly extensions = "";
  onopen: ((this: WebSocket, event: Event) => unknown) | null = null;
  onmessage: ((this: WebSocket, event: MessageEvent) => unknown) | null = null;
  onerror: ((this: WebSocket, event: Event) => unknown) | null = null;
  onclose: ((this: WebSocket, event: CloseEvent) => unknown) | null = null;
  #protocol = "";
  #state: 0 | 1 | 2 | 3 = CONNECTING;
  #binaryType: BinaryType = "blob";
  #buffered = 0;
  #connection: Connection | null = null;
  /** Messages leave in the order in which they were given, also Blobs, whose bytes come later. */
  #sending: Promise<void> = Promise.resolve();
  #closeSent = false;
  /** What the server's Close has said. */
  #closed: { code: number; reason: string } | null = null;
  readonly #ending = new AbortController();
  readonly #clock: Clock;
  #timer: unknown = null;

  /** @internal */
  constructor(context: WebSocketContext, url: unknown, protocols: unknown) {
    super();
    const text = String(url);
    const parsed = URL.canParse(text) ? new URL(text) : null;
    if (parsed?.protocol === "http:") parsed.protocol = "ws:";
    if (parsed?.protocol === "https:") parsed.protocol = "wss:";
    const isOne = parsed?.protocol === "ws:" || parsed?.protocol === "wss:";
    if (parsed === null || !isOne || parsed.hash !== "") {
      throw syntaxError(`${check.show(text)} is no URL such as "ws://vm/socket"`);
    }
    const offered = protocols === undefined ? [] : [protocols].flat().map(String);
    if (new Set(offered).size < offered.length || !offered.every((name) => TOKEN.test(name))) {
      throw syntaxError(`the protocols must be different tokens, got ${check.show(protocols)}`);
    }
    this.url = parsed.href;
    this.#clock = context.clock;
    void this.#run(context, parsed, targetOf(parsed, context.secure), offered);
  }

  get readyState(): 0 | 1 | 2 | 3 {
    return this.#state;
  }

  get protocol(): string {
    return this.#protocol;
  }

  /** Bytes of messages that the stack has not taken yet. */
  get bufferedAmount(): number {
    return this.#buffered;
  }

  get binaryType(): BinaryType {
    return this.#binaryType;
  }

  set binaryType(type: BinaryType) {
    if (type === "blob" || type === "arraybuffer") this.#binaryType = type;
  }

  send(data: string | ArrayBufferLike | Blob | ArrayBufferView): void {
    if (this.#state === CONNECTING) {
      throw new DOMException("the WebSocket is still connecting", "InvalidStateError");
    }
    if (data instanceof Blob) {
      this.#queue(data.size, async () =>
        frameOf(Opcode.binary, new Uint8Array(await data.arrayBuffer())),
      );
      return;
    }
    const isBytes = ArrayBuffer.isView(data) || typeof data === "object";
    const bytes = isBytes ? check.bytes("data", data) : new TextEncoder().encode(String(data));
    // Now, since the caller may change them.
    const frame = frameOf(isBytes ? Opcode.binary : Opcode.text, bytes);
    this.#queue(bytes.length, () => frame);
  }

  close(code?: number, reason = ""): void {
    if (code !== undefined && code !== NORMAL && !(code >= 3_000 && code <= 4_999)) {
      throw new DOMException(
        `the code must be 1000 or 3000 to 4999, got ${code}`,
        "InvalidAccessError",
      );
    }
    const bytes = new TextEncoder().encode(reason);
    if (bytes.length > MAX_CONTROL - 2) throw syntaxError("the reason has more than 123 bytes");
    if (this.#state >= CLOSING) return;
    const wasOpen = this.#state === OPEN;
    this.#state = CLOSING;
    if (!wasOpen) {
      this.#ending.abort(new Error("it was closed before it was open"));
      return;
    }
    this.#sendClose(code, bytes);
  }

  async #run(
    context: WebSocketContext,
    url: URL,
    target: Target,
    protocols: readonly string[],
  ): Promise<void> {
    const { signal } = this.#ending;
    let failure: { error: unknown } | null = null;
    let isTold = false;
    this.#limit(OPENING_TIME, "the handshake took too long");
    try {
      const socket = await context.connect(target, signal);
      const connection = new Connection(socket, context.clock, Number.POSITIVE_INFINITY);
      this.#connection = connection;
      signal.addEventListener("abort", () => connection.abort(signal.reason));
      signal.throwIfAborted();
      this.#protocol = await shakeHands(connection, context.parser, url, protocols);
      signal.throwIfAborted();
      this.#unlimit();
      this.#state = OPEN;
      this.#tell("open", new Event("open"));
      await this.#read(new MessageReader(connection));
    } catch (error) {
      // A connection that fails after both Closes has done what it was for.
      if (this.#closed === null || !this.#closeSent) failure = { error };
      if (error instanceof ProtocolError && this.#state === OPEN) {
        this.#sendClose(error.code, new TextEncoder().encode(error.message));
        await this.#sending;
        isTold = !signal.aborted;
      }
    }
    this.#unlimit();
    const wasClean = this.#closed !== null && this.#closeSent && failure === null;
    this.#state = CLOSED;
    // A reset would overtake a Close that says what is wrong.
    if (wasClean || isTold) this.#connection?.close();
    else this.#connection?.abort(new Error("the WebSocket is over"));
    if (failure !== null) this.#tell("error", errorEvent(failure.error));
    const { code, reason } = (wasClean ? this.#closed : null) ?? { code: ABNORMAL, reason: "" };
    const CloseEventClass = globalThis.CloseEvent ?? PlainCloseEvent;
    this.#tell("close", new CloseEventClass("close", { code, reason, wasClean }) as CloseEvent);
  }

  /** Reads until the connection has ended after a Close. @throws where it ends otherwise. */
  async #read(reader: MessageReader): Promise<void> {
    for (;;) {
      const message = await reader.next();
      if (message === null) {
        if (this.#closed === null) throw new Error("the connection ended without a Close");
        return;
      }
      // RFC 6455 §5.5.1: nothing counts that comes after a Close.
      if (this.#closed !== null) continue;
      const { opcode, payload } = message;
      if (opcode === Opcode.ping) this.#queue(0, () => frameOf(Opcode.pong, payload));
      else if (opcode === Opcode.close) this.#receiveClose(payload);
      else if (opcode !== Opcode.pong) this.#receive(opcode, payload);
    }
  }

  #receive(opcode: number, payload: Uint8Array<ArrayBuffer>): void {
    const text = opcode === Opcode.text ? textOf(payload) : null;
    // Nothing is delivered once the application has closed it.
    if (this.#state !== OPEN) return;
    const bytes = this.#binaryType === "blob" ? new Blob([payload]) : bufferOf(payload);
    const origin = new URL(this.url).origin;
    this.#tell("message", new MessageEvent("message", { data: text ?? bytes, origin }));
  }

  #receiveClose(payload: Uint8Array<ArrayBuffer>): void {
    const code = payload.length < 2 ? NO_STATUS : (payload[0] ?? 0) * 256 + (payload[1] ?? 0);
    if (payload.length === 1 || !isCloseCode(code, payload.length)) {
      throw new ProtocolError(1002, "an invalid Close");
    }
    this.#closed = { code, reason: textOf(payload.subarray(2)) };
    if (this.#state === OPEN) this.#state = CLOSING;
    this.#sendClose(payload.length < 2 ? undefined : code, new Uint8Array(0));
    // RFC 6455 §7.1.1: the server ends the connection first.
    this.#limit(CLOSING_TIME, "the server did not end the connection");
  }

  #sendClose(code: number | undefined, reason: Uint8Array): void {
    if (this.#closeSent) return;
    const payload = new Uint8Array(
      code === undefined ? 0 : 2 + Math.min(reason.length, MAX_CONTROL - 2),
    );
    if (code !== undefined) {
      payload.set([code >> 8, code & 255]);
      payload.set(reason.subarray(0, MAX_CONTROL - 2), 2);
    }
    this.#queue(0, () => frameOf(Opcode.close, payload));
    this.#closeSent = true;
    this.#limit(CLOSING_TIME, "the server did not answer the Close");
  }

  #queue(size: number, frame: () => Uint8Array | Promise<Uint8Array>): void {
    // The platform counts what is sent after the Close as well, and never less again.
    this.#buffered += size;
    if (this.#closeSent || this.#state === CLOSED) return;
    this.#sending = this.#sending
      .then(async () => {
        await this.#connection?.write(await frame());
        this.#buffered -= size;
      })
      .catch((error: unknown) => this.#ending.abort(error));
  }

  #limit(time: number, what: string): void {
    this.#unlimit();
    this.#timer = this.#clock.setTimer(() => this.#ending.abort(new Error(what)), time);
    holdProgram(this.#timer, false);
  }

  #unlimit(): void {
    if (this.#timer !== null) this.#clock.clearTimer(this.#timer);
    this.#timer = null;
  }

  #tell<Name extends keyof Handlers>(name: Name, event: Handlers[Name]): void {
    const handler = this[`on${name}`] as ((this: WebSocket, event: Event) => unknown) | null;
    if (typeof handler === "function") {
      this.addEventListener(name, handler as EventListener, { once: true });
    }
    this.dispatchEvent(event);
    if (typeof handler === "function") this.removeEventListener(name, handler as EventListener);
  }
}

function errorEvent(error: unknown): Event {
  const ErrorEventClass = globalThis.ErrorEvent ?? PlainErrorEvent;
  return new ErrorEventClass("error", { error, message: reasonOf(error) });
}

function syntaxError(message: string): DOMException {
  return new DOMException(message, "SyntaxError");
}

/** RFC 6455 §7.4: those that may stand in a Close. */
function isCloseCode(code: number, length: number): boolean {
  if (length < 2) return true;
  if (code >= 3_000) return code <= 4_999;
  return code >= NORMAL && code <= 1_014 && ![1_004, NO_STATUS, ABNORMAL].includes(code);
}

function textOf(payload: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(payload);
  } catch {
    throw new ProtocolError(INVALID_TEXT, "a text is no UTF-8");
  }
}

/** The bytes alone, where they are a part of a larger buffer. */
function bufferOf(bytes: Uint8Array<ArrayBuffer>): ArrayBuffer {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes.buffer : bytes.slice().buffer;
}
