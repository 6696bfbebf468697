/** A guest's connection as an egress has it: counted, and held back where the guest's bandwidth is. */

import { guarded } from "../../engine_core.js";
import { SocketError } from "../../errors.js";
import type { BufferSource } from "../../platform.js";
import {
  type ReadableSide,
  readableOf,
  type WritableSide,
  writableOf,
} from "../../socket_streams.js";
import type {
  ConnectionInfo,
  Socket,
  SocketAddress,
  SocketInfo,
  StartTlsOptions,
  TcpOptions,
  TcpSettings,
} from "../../types.js";
import type { GuestBuckets } from "./bandwidth.js";
import type { Traffic } from "./flow_record.js";

/** See the module's comment. It is a {@link Socket} over another one. */
export class FlowSocket implements Socket {
  readonly remote: SocketAddress;
  readonly local: SocketAddress | null;
  readonly opened: Promise<SocketInfo>;
  readonly closed: Promise<void>;
  readonly upgraded = false;
  readonly secureTransport = "off";
  onready: ((socket: Socket) => void) | null = null;
  readonly #socket: Socket;
  readonly #traffic: Traffic;
  readonly #buckets: GuestBuckets;
  readonly allowHalfOpen: boolean;
  readonly #wake = (): void => this.#ready();
  #readable: ReadableSide | null = null;
  #writable: WritableSide | null = null;
  #end: { error: Error | null } | null = null;

  constructor(socket: Socket, traffic: Traffic, buckets: GuestBuckets, allowHalfOpen: boolean) {
    this.#socket = socket;
    this.#traffic = traffic;
    this.#buckets = buckets;
    this.allowHalfOpen = allowHalfOpen;
    this.remote = socket.remote;
    this.local = socket.local;
    this.opened = socket.opened;
    this.closed = socket.closed;
    socket.onready = this.#wake;
    socket.closed.then(
      () => this.#finish(null),
      (error: Error) => this.#finish(error),
    );
  }

  #ready(): void {
    this.#readable?.proceed();
    this.#writable?.proceed();
    const { onready } = this;
    if (onready !== null) guarded(() => onready(this));
  }

  #finish(error: Error | null): void {
    this.#end = { error };
    this.#buckets.up?.forget(this.#wake);
    this.#buckets.down?.forget(this.#wake);
    this.#readable?.finish(error);
    this.#writable?.finish(error);
  }

  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    this.#readable ??= readableOf(this);
    return this.#readable.stream;
  }

  get writable(): WritableStream<BufferSource> {
    this.#writable ??= writableOf(this);
    return this.#writable.stream;
  }

  /** Whether the connection has ended, and with which error. */
  get end(): { error: Error | null } | null {
    return this.#end;
  }

  /** What is written after the end fails with. */
  get writeError(): unknown {
    return this.#end?.error ?? new SocketError("EPIPE", "written after the end");
  }

  /** The end of the peer's stream was given to the application by the readable stream. */
  endDelivered(): void {
    if (this.allowHalfOpen || this.#end !== null) return;
    if (this.#writable === null) this.shutdown();
    else this.#writable.closeWhenIdle();
  }

  tryRead(into: Uint8Array): number {
    const { up } = this.#buckets;
    let target = into;
    if (up !== null && this.#socket.readableBytes > 0) {
      const granted = up.grant(into.byteLength);
      if (granted === 0) {
        up.wait(this.#wake);
        return -1;
      }
      target = into.subarray(0, granted);
    }
    const count = this.#socket.tryRead(target);
    if (count > 0) {
      this.#traffic.up += count;
      up?.spend(count);
    }
    return count;
  }

  /** What has arrived, at most `most` bytes, in an array of its own; null if nothing yet, empty at the end. */
  tryReadChunk(most: number): Uint8Array<ArrayBuffer> | null {
    // At the end of the stream nothing is readable, and one byte of room finds that out.
    const room = Math.max(1, Math.min(most, this.#socket.readableBytes));
    const chunk = new Uint8Array(room);
    const count = this.tryRead(chunk);
    if (count < 0) return null;
    return count === room ? chunk : chunk.slice(0, count);
  }

  tryWrite(from: Uint8Array): number {
    const { down } = this.#buckets;
    let source = from;
    if (down !== null && from.byteLength > 0) {
      const granted = down.grant(from.byteLength);
      if (granted === 0) {
        down.wait(this.#wake);
        return 0;
      }
      source = from.subarray(0, granted);
    }
    const taken = this.#socket.tryWrite(source);
    this.#traffic.down += taken;
    down?.spend(taken);
    // What was not taken has room as soon as there are tokens, and nothing else would tell.
    if (down !== null && taken === source.byteLength && taken < from.byteLength) {
      down.wait(this.#wake);
    }
    return taken;
  }

  get readableBytes(): number {
    return this.#socket.readableBytes;
  }

  get writableBytes(): number {
    return this.#socket.writableBytes;
  }

  shutdown(): void {
    this.#socket.shutdown();
  }

  close(reason?: unknown): Promise<void> {
    return this.#socket.close(reason);
  }

  abort(reason?: unknown): void {
    this.#socket.abort(reason);
  }

  startTls(options?: StartTlsOptions): Socket {
    return this.#socket.startTls(options);
  }

  setNoDelay(noDelay: boolean): void {
    this.#socket.setNoDelay(noDelay);
  }

  setTcpOptions(options: TcpOptions): void {
    this.#socket.setTcpOptions(options);
  }

  tcpSettings(): TcpSettings | null {
    return this.#socket.tcpSettings();
  }

  info(): ConnectionInfo | null {
    return this.#socket.info();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close().catch(() => {});
  }
}
