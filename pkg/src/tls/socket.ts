/**
 * TLS connections: a socket over another, or over any pair of streams.
 *
 * What comes is decrypted as long as nothing that was decrypted waits to be read, so that little is held here and a reader who stops reaches the
 * peer's TCP window; what is written is encrypted a record at a time, as the transport takes it.
 */

import * as check from "../arguments.js";
import { holdProgram, realClock } from "../clock.js";
import { deferred, type EngineCore, guarded } from "../engine_core.js";
import { reasonOf, SocketError, type SocketErrorCode } from "../errors.js";
import type { SocketImpl } from "../socket.js";
import { type ReadableSide, readableOf, type WritableSide, writableOf } from "../socket_streams.js";
import type {
  Clock,
  ConnectionInfo,
  Socket,
  SocketAddress,
  SocketInfo,
  TcpOptions,
  TcpSettings,
  TlsInfo,
  TlsVersion,
} from "../types.js";
import type { Bindings } from "../wasm/tls_bindings.js";
import type { ClientContext, ServerContext } from "./context.js";
import { type Dependent, Tls } from "./module.js";
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

/** What is read from the transport in one go. */
const INTAKE = 32 * 1024;

/**
 * After the end, what the peer still sends is thrown away until it ends as well, for so long at most: a connection that is closed with unread data is
 * reset, and what was sent last might never be read.
 */
const LINGER = 5_000;
/** So many times as long, if what was written still waits for room in the transport. */
const LINGERS = 24;

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

/** What the transport may know if it is a socket. */
type Below = Transport &
  Partial<Pick<SocketImpl, "info" | "setTcpOptions" | "tcpSettings" | "runInBackground">>;

interface Session {
  protocol: TlsVersion;
  cipher: string;
  alpn: string | null;
  servername: string | null;
  resumed: number;
  certificates: number;
}

/** `lingering`: the application is told that it is over, the connection is still being closed. */
type Phase = "starting" | "handshake" | "choosing" | "open" | "lingering" | "over";

/** See {@link Socket}. */
export class TlsSocketImpl implements Socket, Dependent {
  readonly opened: Promise<SocketInfo>;
  readonly closed: Promise<void>;
  readonly upgraded: boolean;
  readonly secureTransport: Socket["secureTransport"];
  readonly allowHalfOpen: boolean;
  onready: ((socket: Socket) => void) | null = null;
  readonly #start: TlsStart;
  readonly #transport: Below;
  readonly #clock: Clock;
  readonly #opening = deferred<SocketInfo>();
  readonly #closing = deferred<void>();
  #tls: Tls | null = null;
  #id = 0;
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
  #closeWhenFlushed = false;
  /** Records that the transport has not taken. */
  #unsent: Uint8Array = new Uint8Array(0);
  #timer: unknown = null;
  #onAbort: (() => void) | null = null;
  #readable: ReadableSide | null = null;
  #writable: WritableSide | null = null;

  constructor(start: TlsStart) {
    this.#start = start;
    this.#transport = start.transport;
    this.#clock = start.engine?.clock ?? realClock;
    this.upgraded = start.upgraded;
    this.secureTransport = start.secureTransport;
    this.allowHalfOpen = start.allowHalfOpen;
    this.opened = this.#opening.promise;
    this.closed = this.#closing.promise;
    const { signal } = start;
    if (signal?.aborted) {
      this.abort(signal.reason);
      return;
    }
    if (signal !== null) {
      this.#onAbort = () => this.abort(signal.reason);
      signal.addEventListener("abort", this.#onAbort, { once: true });
    }
    this.#transport.onready = () => this.#pump();
    this.#transport.closed.then(
      () => this.#transportClosed(),
      (error: Error) => this.#transportFailed(error),
    );
    this.#begin().catch((error: unknown) => this.#fail(error));
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
    this.#timer = this.#clock.setTimer(
      () => this.#fail(new SocketError("ETIMEDOUT", "the handshake took too long")),
      handshakeTimeout,
    );
    holdProgram(this.#timer, false);
    this.#id = tls.call((wasm) => {
      if ("server" in side) return wasm.server();
      return wasm.client(tls.config(side.client, engine), side.client.servername, this.#now());
    });
    this.#tls = tls;
    tls.addDependent(this);
    this.#phase = "handshake";
    this.#pump();
  }

  /** Milliseconds since 1970. */
  #now(): number {
    const { date, engine } = this.#start;
    return date?.() ?? engine?.date() ?? Date.now();
  }

  #call<T>(operation: (wasm: Bindings) => T): T {
    if (this.#tls === null) throw new TypeError("there is no TLS connection yet");
    return this.#tls.call(operation);
  }

  /** A server answers what the client has asked for. */
  #choose(): void {
    const { side } = this.#start;
    if (!("server" in side) || this.#tls === null) return;
    const [first, ...protocols] = this.#tls.rows<{ name: string | null }>((wasm) =>
      wasm.client_hello(this.#id),
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
    if (this.#phase !== "choosing" || this.#tls === null) return;
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
      config = this.#tls.config(chosen, this.#start.engine);
    } catch (error) {
      this.#refuse(error);
      return;
    }
    this.#phase = "handshake";
    this.#note(this.#call((wasm) => wasm.accept_with(this.#id, config, this.#now())));
    this.#pump();
  }

  /** The client gets an alert. */
  #refuse(error: unknown): void {
    if (this.#phase !== "choosing") return;
    this.#call((wasm) => wasm.refuse(this.#id));
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
  }

  #agreed(): TlsInfo {
    const rows = this.#tls?.rows<Session>((wasm) => wasm.session(this.#id)) ?? [];
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
  #pump(): void {
    if (this.#phase === "starting" || this.#phase === "over") return;
    this.#attempt(() => {
      this.#flush();
      if (this.#phase === "lingering") return this.#lingerOn();
      while (!this.#hasPlaintext && this.#more()) {
        // Until something can be read, or nothing has come.
      }
      this.#flush();
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
    if (this.#phase === "choosing" || this.#tls === null) return false;
    if (this.#hasWaiting && !this.#peerFinished) {
      this.#receive(0);
      return true;
    }
    if (this.#transportEnded) return false;
    const count = this.#takeIn(this.#tls);
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

  /** Brings what has come to the module. Returns what `tryRead` of the transport does. */
  #takeIn(tls: Tls): number {
    const transport = this.#transport;
    if (!(transport instanceof TlsSocketImpl)) return transport.tryRead(tls.bytes(INTAKE));
    // TLS of the same instance, whose memory may move while that reads.
    const chunk = transport.tryReadChunk(INTAKE);
    if (chunk === null) return WOULD_BLOCK;
    tls.bytes(chunk.byteLength).set(chunk);
    return chunk.byteLength;
  }

  #receive(count: number): void {
    const wasHandshaking = this.#phase === "handshake";
    this.#note(this.#call((wasm) => wasm.receive(this.#id, count, this.#now())));
    if (wasHandshaking) this.#flush();
  }

  /** The module's bits. */
  #note(bits: number): void {
    this.#hasPlaintext = (bits & Bit.plaintext) !== 0;
    this.#hasWaiting = (bits & Bit.waiting) !== 0;
    if (bits & Bit.peerFinished) this.#peerFinished = true;
    if (bits & Bit.hello) this.#choose();
    else if (this.#phase === "handshake" && (bits & Bit.handshaking) === 0) this.#open();
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

  /** Gives records to the transport, as long as it takes them. */
  #flush(): void {
    const tls = this.#tls;
    if (tls === null || this.#transportOver) return;
    for (;;) {
      if (this.#unsent.byteLength > 0) {
        const taken = this.#transport.tryWrite(this.#unsent);
        this.#unsent = this.#unsent.subarray(taken);
        if (this.#unsent.byteLength > 0) return;
      }
      const count = tls.call((wasm) => wasm.output(this.#id, tls.scratchSize));
      if (count === 0) break;
      // A transport that is TLS of the same instance uses the same buffer.
      const records =
        this.#transport instanceof TlsSocketImpl ? tls.bytes(count).slice() : tls.bytes(count);
      const taken = this.#transport.tryWrite(records);
      if (taken < count) this.#unsent = records.slice(taken);
    }
    if (this.#closeWhenFlushed) {
      this.#closeWhenFlushed = false;
      this.#transport.shutdown();
    }
  }

  #transportOver = false;

  #transportClosed(): void {
    // There may be more to read than the application wanted to have.
    this.#pump();
    this.#transportOver = true;
    if (this.#phase === "lingering") this.#release();
    else if (!this.#hasPlaintext && !this.#hasWaiting) this.#conclude();
  }

  #transportFailed(error: Error): void {
    this.#transportOver = true;
    this.#end(error);
    this.#release();
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
    if (onready !== null) guarded(() => onready(this));
  }

  /** Whether both directions have ended in good order. */
  #checkEnd(): void {
    if (!this.#peerFinished || !this.#finSent || this.#hasPlaintext) return;
    if (this.#closeWhenFlushed || this.#phase !== "open") return;
    this.#end(null);
    this.#linger();
  }

  // How it ends.

  onModuleOver(error: Error): void {
    this.#end(error);
    this.#transport.abort(error);
    this.#phase = "over";
  }

  /** The connection has failed: the peer gets the alert that says so, if there is one. */
  #fail(reason: unknown): void {
    if (this.#hasEnded) return;
    this.#end(this.#named(reason));
    if (this.#tls === null || this.#tls.over !== null) {
      this.#transport.abort(reason);
      this.#phase = "over";
      return;
    }
    this.#closeWhenFlushed = true;
    this.#linger();
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
    if (!wasOpen) this.#opening.reject(error ?? this.#dismissal());
    if (error === null) this.#closing.resolve();
    else this.#closing.reject(error);
    this.#readable?.finish(error);
    this.#writable?.finish(error ?? (this.#isDismissed ? this.#dismissal() : null));
    const { onready } = this;
    if (onready !== null) guarded(() => onready(this));
  }

  /** Sends what is left, and waits a little for the peer's end. */
  #linger(): void {
    if (this.#phase === "lingering" || this.#phase === "over") return;
    this.#phase = "lingering";
    this.#releaseLater(LINGERS);
    try {
      this.#flush();
      this.#lingerOn();
    } catch {
      this.#release();
    }
  }

  #releaseLater(times: number): void {
    this.#timer = this.#clock.setTimer(() => {
      const isWaitedFor = this.#error === null && this.#unsent.byteLength > 0;
      if (isWaitedFor && times > 1) this.#releaseLater(times - 1);
      else this.#release();
    }, LINGER);
    holdProgram(this.#timer, false);
  }

  /** Throws away what comes, and closes after its end. */
  #lingerOn(): void {
    if (this.#tls === null) return;
    while (!this.#transportEnded) {
      const count = this.#takeIn(this.#tls);
      if (count < 0) return;
      this.#transportEnded = count === 0;
    }
    if (this.#unsent.byteLength === 0) this.#release();
  }

  /** Lets go of the transport and of what is in the module. */
  #release(): void {
    if (this.#phase === "over") return;
    this.#phase = "over";
    this.#stopTimer();
    this.#transport.onready = null;
    this.#transport.close().catch(() => {});
    const tls = this.#tls;
    if (tls === null || tls.over !== null) return;
    tls.removeDependent(this);
    tls.call((wasm) => wasm.free_connection(this.#id));
  }

  #stopTimer(): void {
    if (this.#timer !== null) this.#clock.clearTimer(this.#timer);
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
    if (!this.#finSent) {
      this.#finSent = true;
      this.#finish();
    }
    this.#end(null);
    this.#linger();
    return this.closed;
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
    const tls = this.#tls;
    if (this.#phase !== "open" || tls === null) return otherwise.nothing;
    const asked = Math.min(most, tls.scratchSize);
    try {
      for (;;) {
        if (this.#hasPlaintext) {
          const count = tls.call((wasm) => wasm.read(this.#id, asked));
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
        this.#flush();
      }
    } catch (error) {
      this.#fail(error);
      throw this.#error ?? error;
    }
  }

  /** After the caller has got what it asked for, the end that is behind it may be seen. */
  #goOnSoon(): void {
    if (!this.#peerFinished && !this.#transportOver) return;
    queueMicrotask(() => {
      if (this.#phase !== "open") return;
      if (this.#transportOver && !this.#hasPlaintext && !this.#hasWaiting) this.#conclude();
      else this.#attempt(() => this.#checkEnd());
    });
  }

  tryWrite(from: Uint8Array): number {
    const source = check.bytes("from", from);
    if (this.#error !== null) throw this.#error;
    if (this.#hasEnded || this.#finSent) {
      throw this.writeError;
    }
    const tls = this.#tls;
    if (this.#phase !== "open" || tls === null) return 0;
    let taken = 0;
    try {
      while (taken < source.byteLength && this.#unsent.byteLength === 0) {
        const piece = source.subarray(taken, taken + RECORD);
        tls.bytes(piece.byteLength).set(piece);
        const count = tls.call((wasm) => wasm.write(this.#id, piece.byteLength));
        taken += count;
        this.#flush();
        if (count < piece.byteLength) break;
      }
    } catch (error) {
      this.#fail(error);
      throw this.#error ?? error;
    }
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
    this.#call((wasm) => wasm.finish(this.#id));
    this.#closeWhenFlushed = true;
    this.#flush();
    // In a microtask: who calls this is not told within the call.
    queueMicrotask(() => this.#attempt(() => this.#checkEnd()));
  }

  get readableBytes(): number {
    if (this.#phase !== "open" || this.#tls === null || !this.#hasPlaintext) return 0;
    return this.#call((wasm) => wasm.readable_bytes(this.#id));
  }

  get writableBytes(): number {
    if (this.#phase !== "open" || this.#hasEnded || this.#finSent) return 0;
    if (this.#unsent.byteLength > 0) return 0;
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
