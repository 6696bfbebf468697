/**
 * TLS connections: a socket over another, or over any pair of streams.
 *
 * What comes is decrypted as long as nothing that was decrypted waits to be read, so that little is held here and a reader who stops reaches the
 * peer's TCP window; what is written is encrypted a record at a time, as the transport takes it.
 */

import * as check from "../arguments.js";
import { holdProgram, microtask, realClock } from "../clock.js";
import { deferred, type EngineCore, guarded } from "../engine_core.js";
import { reasonOf, SocketError, type SocketErrorCode } from "../errors.js";
import { Outcome } from "../outcome.js";
import type { BufferSource } from "../platform.js";
import { type Idle, restNever, restSoon } from "../resting.js";
import { type ReadableSide, readableOf, type WritableSide, writableOf } from "../socket_streams.js";
import type {
  ConnectionInfo,
  Socket,
  SocketAddress,
  SocketInfo,
  TcpOptions,
  TcpSettings,
  TlsInfo,
  TlsVersion,
} from "../types.js";
import type { ClientContext, ServerContext } from "./context.js";
import { Farewell } from "./farewell.js";
import { type Below, Link, type Owner } from "./link.js";
import { Tls } from "./module.js";
import type { Transport } from "./transport.js";

/** Bits of what the module tells of a connection; see `connection.rs`. */
const Bit = {
  handshaking: 1,
  peerFinished: 4,
  hello: 8,
  plaintext: 16,
  waiting: 32,
} as const;

/** What `tryRead` returns where it would wait. */
const WOULD_BLOCK = -1;

/** The most that one record carries, and what it has around that at most. */
const RECORD = 16 * 1024;
const OVERHEAD = 32;

/** What a TLS connection starts with. */
export interface TlsStart {
  /** For time and timers; null for what runs over streams of unknown origin. */
  engine: EngineCore | null;
  /** Milliseconds since 1970, by which certificates are judged; by default the engine's. */
  date?: () => number;
  transport: Transport;
  side: { client: ClientContext } | { server: ServerContext };
  allowHalfOpen: boolean;
  signal: AbortSignal | null;
  /** Whether the connection has begun without TLS. */
  upgraded: boolean;
  secureTransport: Socket["secureTransport"];
}

interface Session {
  protocol: TlsVersion;
  cipher: string;
  alpn: string | null;
  servername: string | null;
  resumed: number;
  certificates: number;
}

type Phase = "starting" | "handshake" | "choosing" | "open" | "over";

/** See {@link Socket}. */
export class TlsSocketImpl implements Socket, Owner, Idle {
  listedAt = -1;
  readonly opened: Promise<SocketInfo>;
  readonly upgraded: boolean;
  readonly secureTransport: Socket["secureTransport"];
  readonly allowHalfOpen: boolean;
  #onready: ((socket: Socket) => void) | null = null;
  readonly #start: TlsStart;
  readonly #transport: Below;
  readonly #link: Link;
  readonly #opening = deferred<SocketInfo>();
  readonly #closing = new Outcome<void>();
  #keylog: ((line: string) => void) | null = null;
  #phase: Phase = "starting";
  #error: Error | null = null;
  #hasEnded = false;
  /** Whether `close` has ended it, and what that was called with. */
  #isDismissed = false;
  #reason: unknown = undefined;
  /** Whether the peer has said that nothing follows, and all that it has sent was read. */
  #ended = false;
  #peerFinished = false;
  #hasPlaintext = false;
  #hasWaiting = false;
  #transportEnded = false;
  #finSent = false;
  #timer: unknown = null;
  #onAbort: (() => void) | null = null;
  #readable: ReadableSide | null = null;
  #writable: WritableSide | null = null;

  constructor(start: TlsStart) {
    this.#start = start;
    this.#transport = start.transport;
    this.#link = new Link(start.transport, start.engine?.clock ?? realClock, this);
    this.upgraded = start.upgraded;
    this.secureTransport = start.secureTransport;
    this.allowHalfOpen = start.allowHalfOpen;
    this.opened = this.#opening.promise;
    const { signal } = start;
    if (signal?.aborted) {
      this.abort(signal.reason);
      return;
    }
    if (signal !== null) this.#watch(signal);
    this.#begin().catch((error: unknown) => this.#fail(error));
  }

  get closed(): Promise<void> {
    this.hold();
    return this.#closing.promise;
  }

  get onready(): ((socket: Socket) => void) | null {
    return this.#onready;
  }

  set onready(onready: ((socket: Socket) => void) | null) {
    this.#onready = onready;
    if (onready !== null) this.hold();
  }

  get remote(): SocketAddress {
    return this.#transport.remote;
  }

  get local(): SocketAddress | null {
    return this.#transport.local;
  }

  /** An error that names the connection's ends. */
  #failure(code: SocketErrorCode, text: string, options?: ErrorOptions): SocketError {
    const { localAddress, remoteAddress } = this.#ends();
    const from = localAddress === null ? "" : ` from ${localAddress}`;
    const which = remoteAddress === null ? "TLS" : `TLS connection${from} to ${remoteAddress}`;
    return new SocketError(code, `${which}: ${text}`, { ...options, localAddress, remoteAddress });
  }

  #ends(): { localAddress: string | null; remoteAddress: string | null } {
    const { remote, local } = this;
    return {
      localAddress: local && check.hostPort(local.address, local.port),
      remoteAddress: remote.address === "" ? null : check.hostPort(remote.address, remote.port),
    };
  }

  // Who holds it.

  /** Something waits on the socket: it must not be collected before that has come. */
  hold(): void {
    if (this.#phase === "open" && this.#link.isResting) this.#link.hold(this);
  }

  restIfIdle(): void {
    const isIdle =
      this.#phase === "open" &&
      this.#onready === null &&
      !this.#closing.isAwaited &&
      !this.#readable?.holds &&
      !this.#writable?.holds &&
      !this.#link.hasUnsent;
    if (isIdle) this.#link.rest();
  }

  /** What waited on the socket has come. */
  #rest(): void {
    // When memory is collected is no matter of a clock that goes by itself.
    if (this.#link.clock.defer !== undefined) return;
    if (this.listedAt < 0 && !this.#link.isResting && this.#phase === "open") restSoon(this);
  }

  #watch(signal: AbortSignal): void {
    // A signal may live for longer than the sockets that it is given to.
    const socket = new WeakRef(this);
    this.#onAbort = () => socket.deref()?.abort(signal.reason);
    signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  // How it begins.

  async #begin(): Promise<void> {
    const { engine, side, transport } = this.#start;
    // Why it does not open is told by its end.
    const opened = transport.opened.then(
      () => true,
      () => false,
    );
    const [tls, isOpen] = await Promise.all([Tls.load(engine), opened]);
    if (!isOpen) return;
    if (this.#phase !== "starting") return;
    const { handshakeTimeout } = "client" in side ? side.client : side.server;
    this.#timer = this.#link.clock.setTimer(
      () => this.#fail(new SocketError("ETIMEDOUT", "the handshake took too long")),
      handshakeTimeout,
    );
    holdProgram(this.#timer, false);
    const id = tls.call((wasm) => {
      if ("server" in side) return wasm.server();
      return wasm.client(tls.config(side.client, engine), side.client.servername, this.#now());
    });
    if ("client" in side) this.#keylog = side.client.keylog;
    this.#link.begin(tls, id);
    this.#phase = "handshake";
    this.pump();
  }

  /** Milliseconds since 1970. */
  #now(): number {
    const { date, engine } = this.#start;
    return date?.() ?? engine?.date() ?? Date.now();
  }

  /** A server answers what the client has asked for. */
  #choose(): void {
    const { side } = this.#start;
    if (!("server" in side)) return;
    const [first, ...protocols] = this.#link.rows<{ name: string | null }>((wasm, id) =>
      wasm.client_hello(id),
    );
    const hello = {
      servername: first?.name ?? null,
      alpn: protocols.map(({ name }) => name ?? ""),
    };
    this.#phase = "choosing";
    let chosen: ReturnType<ServerContext["choose"]>;
    try {
      chosen = side.server.choose(hello);
    } catch (error) {
      this.#refuse(error);
      return;
    }
    if (chosen instanceof Promise) {
      chosen.then(
        (choice) => this.#attempt(() => this.#answer(choice, hello.servername)),
        (error: unknown) => this.#refuse(error),
      );
    } else {
      this.#answer(chosen, hello.servername);
    }
  }

  #answer(chosen: Awaited<ReturnType<ServerContext["choose"]>>, servername: string | null): void {
    const { tls } = this.#link;
    if (this.#phase !== "choosing" || tls === null) return;
    if (chosen === null) {
      const name = servername === null ? "no name" : JSON.stringify(servername);
      this.#refuse(
        new SocketError(
          "ERR_SSL_UNRECOGNIZED_NAME",
          `the client asked for ${name}, which is not served`,
        ),
      );
      return;
    }
    let config: number;
    try {
      config = tls.config(chosen, this.#start.engine);
    } catch (error) {
      this.#refuse(error);
      return;
    }
    this.#keylog = chosen.keylog;
    this.#phase = "handshake";
    this.#note(this.#link.call((wasm, id) => wasm.accept_with(id, config, this.#now())));
    this.pump();
  }

  /** The client gets an alert. */
  #refuse(error: unknown): void {
    if (this.#phase !== "choosing") return;
    this.#link.call((wasm, id) => wasm.refuse(id));
    this.#fail(error);
  }

  #open(): void {
    this.#stopTimer();
    this.#phase = "open";
    const { localAddress, remoteAddress } = this.#ends();
    const tls = this.#agreed();
    this.#opening.resolve({
      remoteAddress: remoteAddress ?? "",
      localAddress,
      alpn: tls.alpn,
      tls,
    });
    if (this.#finSent) this.#finish();
    this.#rest();
  }

  #agreed(): TlsInfo {
    const rows = this.#link.rows<Session>((wasm, id) => wasm.session(id));
    const [session, ...certificates] = rows;
    if (session === undefined) throw new TypeError("the handshake has not ended");
    const { side } = this.#start;
    return {
      protocol: session.protocol,
      cipher: session.cipher,
      alpn: session.alpn,
      servername: "client" in side ? side.client.servername : session.servername,
      resumed: session.resumed === 1,
      peerCertificates: certificates.map(
        ({ protocol }) => protocol as unknown as Uint8Array<ArrayBuffer>,
      ),
    };
  }

  // What the transport and the module tell.

  /** Does what can be done now, and tells the application. */
  pump(): void {
    if (this.#phase === "starting" || this.#phase === "over") return;
    this.#attempt(() => {
      this.#link.flush();
      while (!this.#hasPlaintext && this.#more()) {
        // Until something can be read, or nothing has come.
      }
      this.#link.flush();
      this.#checkEnd();
    });
    this.#notify();
  }

  /** Runs a step whose failure ends the connection. */
  #attempt(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Takes in what has come, a piece of it. False if there was nothing, or it has to wait. */
  #more(): boolean {
    if (this.#phase === "choosing") return false;
    if (this.#hasWaiting && !this.#peerFinished) {
      this.#receive(0);
      return true;
    }
    if (this.#transportEnded) return false;
    const count = this.#link.takeIn();
    if (count < 0) return false;
    if (count === 0) {
      this.#transportEnded = true;
      if (!this.#peerFinished) throw this.#cutOff();
      return false;
    }
    // What comes after the peer's last message is nobody's.
    if (!this.#peerFinished) this.#receive(count);
    return true;
  }

  #receive(count: number): void {
    const wasHandshaking = this.#phase === "handshake";
    this.#note(this.#link.call((wasm, id) => wasm.receive(id, count, this.#now())));
    if (wasHandshaking) this.#link.flush();
  }

  /** The module's bits. */
  #note(bits: number): void {
    if (this.#keylog !== null) this.#tellKeys(this.#keylog);
    this.#hasPlaintext = (bits & Bit.plaintext) !== 0;
    this.#hasWaiting = (bits & Bit.waiting) !== 0;
    if (bits & Bit.peerFinished) this.#peerFinished = true;
    if (bits & Bit.hello) this.#choose();
    else if (this.#phase === "handshake" && (bits & Bit.handshaking) === 0) this.#open();
  }

  #tellKeys(keylog: (line: string) => void): void {
    const lines = this.#link.call((wasm) => wasm.key_log());
    for (const line of lines.match(/.*\n/g) ?? []) guarded(() => keylog(line));
  }

  /** The peer's stream has ended without its saying so. */
  #cutOff(): SocketError {
    if (this.#phase !== "open") {
      return new SocketError(
        "ECONNRESET",
        "the peer ended the connection before the handshake did",
      );
    }
    return new SocketError(
      "ERR_SSL_UNEXPECTED_EOF_WHILE_READING",
      "the connection has ended without close_notify: what came may not be all",
    );
  }

  transportOver(error: Error | null): void {
    if (error !== null) {
      this.#end(error);
      this.#release();
    } else if (!this.#hasPlaintext && !this.#hasWaiting) this.#conclude();
  }

  /** The transport is over, and all was read. */
  #conclude(): void {
    if (this.#phase === "over") return;
    this.#end(this.#peerFinished ? null : (this.#error ?? this.#cutOff()));
    this.#release();
  }

  #notify(): void {
    this.#readable?.proceed();
    this.#writable?.proceed();
    const { onready } = this;
    if (onready === null) this.#rest();
    else guarded(() => onready(this));
  }

  /** Whether both directions have ended in good order. */
  #checkEnd(): void {
    if (!this.#peerFinished || !this.#finSent || this.#hasPlaintext) return;
    if (this.#link.isEnding || this.#phase !== "open") return;
    this.#end(null);
    this.#takeLeave(true);
  }

  // How it ends.

  onModuleOver(error: Error): void {
    this.#end(error);
    this.#transport.abort(error);
    this.#release();
  }

  /** The connection has failed: the peer gets the alert that says so, if there is one. */
  #fail(reason: unknown): void {
    if (this.#hasEnded) return;
    this.#end(this.#named(reason));
    if (this.#link.tls === null) {
      this.#transport.abort(reason);
      this.#release();
    } else this.#takeLeave(false);
  }

  /** What the module or a part of this has found, with the connection's ends. */
  #named(reason: unknown): Error {
    if (!(reason instanceof SocketError)) {
      return reason instanceof Error ? reason : new Error(String(reason));
    }
    if (reason.remoteAddress !== null || this.#ends().remoteAddress === null) return reason;
    const text = reasonOf(reason).replace(` (${reason.code})`, "");
    return this.#failure(reason.code, text, { cause: reason.cause });
  }

  /** The application is told that it is over. */
  #end(error: Error | null): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    const wasOpen = this.#phase === "open";
    this.#error = error;
    this.#stopTimer();
    if (this.#onAbort !== null) this.#start.signal?.removeEventListener("abort", this.#onAbort);
    this.#onAbort = null;
    restNever(this);
    if (!wasOpen) this.#opening.reject(error ?? this.#dismissal());
    if (error === null) this.#closing.resolve(() => undefined);
    else this.#closing.reject(error);
    this.#readable?.finish(error);
    this.#writable?.finish(error ?? (this.#isDismissed ? this.#dismissal() : null));
    const { onready } = this;
    if (onready !== null) guarded(() => onready(this));
  }

  /** The rest is done without this socket. */
  #takeLeave(isInOrder: boolean): void {
    if (this.#phase === "over") return;
    this.#phase = "over";
    new Farewell(this.#link, isInOrder);
  }

  #release(): void {
    this.#phase = "over";
    this.#stopTimer();
    this.#link.release();
  }

  #stopTimer(): void {
    if (this.#timer !== null) this.#link.clock.clearTimer(this.#timer);
    this.#timer = null;
  }

  /** What pending operations reject with when `close` was called: the reason that it was given, if it was. */
  #dismissal(): unknown {
    return this.#reason ?? this.#failure("ABORT_ERR", "the socket was closed");
  }

  close(reason?: unknown): Promise<void> {
    if (this.#hasEnded) return this.closed;
    this.#isDismissed = true;
    this.#reason = reason;
    if (this.#phase !== "open") {
      this.#end(null);
      this.#release();
      return this.closed;
    }
    this.#finSent = true;
    this.#end(null);
    this.#takeLeave(true);
    return this.closed;
  }

  /** Ends at once what has not opened yet, in favour of others. */
  giveWay(): void {
    if (this.#phase === "open" || this.#hasEnded) return;
    const error = this.#failure(
      "ETIMEDOUT",
      "the handshake took too long: newer ones took its place",
    );
    this.#end(error);
    // A reset: who has not got through its handshake for so long may not read its end either.
    this.#transport.abort(error);
    this.#release();
  }

  abort(reason?: unknown): void {
    if (this.#hasEnded) return;
    const options = reason === undefined ? undefined : { cause: reason };
    const error = this.#failure("ABORT_ERR", "aborted", options);
    this.#end(error);
    this.#transport.abort(reason);
    this.#release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close().catch(() => {});
  }

  /** See {@link SocketImpl.runInBackground}. */
  runInBackground(background = true): void {
    this.#transport.runInBackground?.(background);
  }

  startTls(): never {
    throw new SocketError("ERR_INVALID_STATE", "startTls: this socket speaks TLS already");
  }

  // Streams.

  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    this.#readable ??= readableOf(this);
    return this.#readable.stream;
  }

  get writable(): WritableStream<BufferSource> {
    this.#writable ??= writableOf(this);
    return this.#writable.stream;
  }

  /** The end of the peer's stream was given to the application by the readable stream. */
  endDelivered(): void {
    if (this.allowHalfOpen || this.#hasEnded) return;
    if (this.#writable === null) this.shutdown();
    else this.#writable.closeWhenIdle();
  }

  /** Whether the connection has ended, and with which error. */
  get end(): { error: Error | null } | null {
    return this.#hasEnded ? { error: this.#error } : null;
  }

  /** What is written after the end fails with. */
  get writeError(): unknown {
    if (this.#isDismissed) return this.#dismissal();
    return this.#error ?? this.#failure("EPIPE", "written after the end");
  }

  get [Symbol.toStringTag](): string {
    return "Socket";
  }

  // The layer without streams.

  tryRead(into: Uint8Array): number {
    const target = check.bytes("into", into);
    if (target.byteLength === 0) throw new RangeError("into must not be empty");
    return this.#read(
      target.byteLength,
      (bytes) => {
        target.set(bytes);
        return bytes.byteLength;
      },
      { end: 0, nothing: WOULD_BLOCK },
    );
  }

  /** What has arrived, at most `most` bytes, in an array of its own; null if nothing yet, empty at the end. */
  tryReadChunk(most: number): Uint8Array<ArrayBuffer> | null {
    return this.#read<Uint8Array<ArrayBuffer> | null>(most, (bytes) => bytes.slice(), {
      end: new Uint8Array(0),
      nothing: null,
    });
  }

  #read<T>(
    most: number,
    give: (bytes: Uint8Array<ArrayBuffer>) => T,
    otherwise: { end: T; nothing: T },
  ): T {
    if (this.#error !== null) throw this.#error;
    if (this.#ended || this.#hasEnded) return otherwise.end;
    const { tls } = this.#link;
    if (this.#phase !== "open" || tls === null) return otherwise.nothing;
    const asked = Math.min(most, tls.scratchSize);
    try {
      for (;;) {
        if (this.#hasPlaintext) {
          const count = this.#link.call((wasm, id) => wasm.read(id, asked));
          this.#hasPlaintext = count === asked;
          if (count > 0) {
            const given = give(tls.bytes(count));
            if (!this.#hasPlaintext) this.#goOnSoon();
            return given;
          }
        }
        if (this.#peerFinished) {
          this.#ended = true;
          this.#goOnSoon();
          return otherwise.end;
        }
        if (!this.#more()) return otherwise.nothing;
        this.#link.flush();
      }
    } catch (error) {
      this.#fail(error);
      throw this.#error ?? error;
    }
  }

  /** After the caller has got what it asked for, the end that is behind it may be seen. */
  #goOnSoon(): void {
    if (!this.#peerFinished && !this.#link.isOver) return;
    microtask(() => {
      if (this.#phase !== "open") return;
      if (this.#link.isOver && !this.#hasPlaintext && !this.#hasWaiting) this.#conclude();
      else this.#attempt(() => this.#checkEnd());
    });
  }

  tryWrite(from: Uint8Array): number {
    const source = check.bytes("from", from);
    if (this.#error !== null) throw this.#error;
    if (this.#hasEnded || this.#finSent) {
      throw this.writeError;
    }
    const { tls } = this.#link;
    if (this.#phase !== "open" || tls === null) return 0;
    let taken = 0;
    try {
      while (taken < source.byteLength && !this.#link.hasUnsent) {
        const piece = source.subarray(taken, taken + RECORD);
        tls.bytes(piece.byteLength).set(piece);
        const count = this.#link.call((wasm, id) => wasm.write(id, piece.byteLength));
        taken += count;
        this.#link.flush();
        if (count < piece.byteLength) break;
      }
    } catch (error) {
      this.#fail(error);
      throw this.#error ?? error;
    }
    if (this.#link.hasUnsent) this.hold();
    return taken;
  }

  shutdown(): void {
    if (this.#error !== null) throw this.#error;
    if (this.#hasEnded || this.#finSent) return;
    this.#finSent = true;
    if (this.#phase === "open") this.#attempt(() => this.#finish());
  }

  /** Tells the peer that nothing follows, and then ends the transport's stream. */
  #finish(): void {
    this.#link.finish();
    if (this.#link.hasUnsent) this.hold();
    // In a microtask: who calls this is not told within the call.
    microtask(() => this.#attempt(() => this.#checkEnd()));
  }

  get readableBytes(): number {
    if (this.#phase !== "open" || !this.#hasPlaintext) return 0;
    return this.#link.call((wasm, id) => wasm.readable_bytes(id));
  }

  get writableBytes(): number {
    if (this.#phase !== "open" || this.#hasEnded || this.#finSent) return 0;
    if (this.#link.hasUnsent) return 0;
    // The last record may wait here.
    return (Math.floor(this.#transport.writableBytes / (RECORD + OVERHEAD)) + 1) * RECORD;
  }

  setNoDelay(noDelay: boolean): void {
    this.setTcpOptions({ noDelay: check.boolean("noDelay", noDelay, true) });
  }

  setTcpOptions(options: TcpOptions): void {
    this.#transport.setTcpOptions?.(options);
  }

  tcpSettings(): TcpSettings | null {
    return this.#transport.tcpSettings?.() ?? null;
  }

  info(): ConnectionInfo | null {
    return this.#transport.info?.() ?? null;
  }
}
