/** A listener of a stack in another thread. */

import * as check from "../arguments.js";
import { deferred, guarded } from "../engine_core.js";
import { SocketError } from "../errors.js";
import { tcpValues } from "../tcp_options.js";
import type { SocketAddress, TcpOptions, TcpSettings } from "../types.js";
import { Waiters } from "../waiters.js";
import { type Channel, received, type Target } from "./channel.js";
import { ACCEPTS, Credit } from "./flow_control.js";
import type { Accepted } from "./hosted_sockets.js";
import { RemoteSocket } from "./remote_socket.js";
import type { WorkerListener, WorkerSocket } from "./types.js";

/** See {@link WorkerListener}. */
export class RemoteListener implements WorkerListener, Target {
  readonly listening: Promise<SocketAddress>;
  readonly closed: Promise<void>;
  onready: ((listener: WorkerListener) => void) | null = null;
  readonly #channel: Channel;
  readonly #number: number;
  readonly #listening = deferred<SocketAddress>();
  readonly #closing = deferred<void>();
  readonly #waiters = new Waiters<WorkerSocket>();
  readonly #waiting: RemoteSocket[] = [];
  readonly #accepted: Credit;
  #address: SocketAddress | null = null;
  #error: Error | null = null;

  constructor(channel: Channel, number: number) {
    this.#channel = channel;
    this.#number = number;
    this.listening = this.#listening.promise;
    this.closed = this.#closing.promise;
    this.#accepted = new Credit(ACCEPTS, (count) => channel.tell(number, "credit", count));
    channel.add(number, this);
  }

  told(what: string, value: never): void {
    switch (what) {
      case "listening":
        this.#address = value;
        this.#listening.resolve(value);
        return;
      case "accepted":
        this.#accept(value);
        break;
      default:
        this.fail(received(value) as Error);
        return;
    }
    const { onready } = this;
    if (onready !== null) guarded(() => onready(this));
  }

  #accept({ number, remote, local, allowHalfOpen }: Accepted): void {
    const start = { channel: this.#channel, number, remote, allowHalfOpen, signal: null };
    const socket = new RemoteSocket(start);
    socket.isOpenWith(local);
    if (this.#error !== null) {
      socket.abort();
      return;
    }
    this.#waiting.push(socket);
    if (this.#waiters.length > 0) {
      const next = this.#next();
      if (next !== null) this.#waiters.resolve(next);
    }
  }

  #next(): RemoteSocket | null {
    const socket = this.#waiting.shift() ?? null;
    if (socket !== null) this.#accepted.take(1);
    return socket;
  }

  onChannelOver(error: Error): void {
    this.fail(error);
  }

  /** It could not be made, or is over. */
  fail(error: Error): void {
    if (this.#error !== null) return;
    this.#error = error;
    this.#channel.remove(this.#number);
    this.#listening.reject(error);
    for (const socket of this.#waiting.splice(0)) socket.abort(error);
    this.#waiters.rejectAll(error);
    this.#closing.resolve();
    const { onready } = this;
    if (onready !== null) guarded(() => onready(this));
  }

  get address(): SocketAddress | null {
    return this.#address;
  }

  tryAccept(): WorkerSocket | null {
    return this.#waiters.length === 0 ? this.#next() : null;
  }

  async accept(options?: { signal?: AbortSignal }): Promise<WorkerSocket> {
    const signal = check.abortSignal("options.signal", check.options("options", options).signal);
    if (this.#error !== null) throw this.#error;
    const socket = signal?.aborted ? null : this.tryAccept();
    return socket ?? this.#waiters.wait(signal);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<WorkerSocket, void, undefined> {
    await this.listening;
    for (;;) {
      let socket: WorkerSocket;
      try {
        socket = await this.accept();
      } catch (error) {
        if (this.#error instanceof SocketError && this.#error.code === "ABORT_ERR") return;
        throw error;
      }
      yield socket;
    }
  }

  setTcpOptions(options: TcpOptions): void {
    tcpValues("options", options);
    if (this.#error === null) this.#channel.tell(this.#number, "options", options);
  }

  async tcpSettings(): Promise<TcpSettings | null> {
    if (this.#error !== null) return null;
    return (await this.#channel.call(this.#number, "tcpSettings", [])) as TcpSettings | null;
  }

  close(): Promise<void> {
    if (this.#error === null) {
      this.#channel.tell(this.#number, "close");
      const port = this.#address?.port ?? 0;
      this.fail(new SocketError("ABORT_ERR", `the listener on port ${port} was closed`));
    }
    return this.closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
