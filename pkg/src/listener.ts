/** TCP listeners. Connections wait in the stack's accept queue, which is bounded, until somebody asks for them. */

import { hostPort } from "./arguments.js";
import { Arrivals } from "./arrivals.js";
import { deferred, type EngineCore, guarded, type Sink } from "./engine_core.js";
import { SocketError, type SocketErrorOptions, withEnds } from "./errors.js";
import { ACCEPTED } from "./names.js";
import { fieldsOf } from "./records.js";
import { tcpSettings, tcpValues } from "./tcp_options.js";
import type { Listener, Socket, SocketAddress, TcpOptions, TcpSettings } from "./types.js";

/** Makes the socket of an accepted connection with this number and these ends. */
export type Accepting = (id: number, remote: SocketAddress, local: SocketAddress) => Socket;

/** What `accept` of the module tells. */
interface Accepted {
  socket: number;
  remote: SocketAddress;
  local: SocketAddress;
}

const fields = fieldsOf(ACCEPTED);

/** The next connection that waits at a listener, if there is one. */
export function acceptedOf(engine: EngineCore, listener: number): Accepted | null {
  return engine.record<Accepted>(fields, (wasm) => wasm.accept(listener));
}

/** See {@link Listener}. */
export class ListenerImpl implements Listener, Sink {
  readonly listening: Promise<SocketAddress>;
  readonly closed: Promise<void>;
  onready: ((listener: Listener) => void) | null = null;
  readonly #engine: EngineCore;
  readonly #id: number | null;
  readonly #accepting: Accepting;
  readonly #released: (listener: ListenerImpl) => void;
  readonly #closing = deferred<void>();
  readonly #arrivals = new Arrivals<Socket>(
    () => this.#next(),
    () => this.#ends(),
  );
  #address: SocketAddress | null = null;

  /** `bound` is the listener's number and address, or why it could not be made; what is `ready` later may keep it from listening. */
  constructor(
    engine: EngineCore,
    bound: { id: number; address: SocketAddress } | Error,
    accepting: Accepting,
    released: (listener: ListenerImpl) => void,
    ready: Promise<void> | null = null,
  ) {
    this.#engine = engine;
    this.#accepting = accepting;
    this.#released = released;
    this.closed = this.#closing.promise;
    const listening = deferred<SocketAddress>();
    this.listening = listening.promise;
    if (bound instanceof Error) {
      this.#id = null;
      this.#arrivals.finish(bound);
      listening.reject(bound);
      this.#closing.resolve();
      return;
    }
    this.#id = bound.id;
    this.#address = bound.address;
    engine.addSink(bound.id, this);
    if (ready === null) {
      listening.resolve(bound.address);
      return;
    }
    ready.then(
      () => listening.resolve(bound.address),
      (error: Error) => {
        listening.reject(error);
        this.#close(error);
      },
    );
  }

  get address(): SocketAddress | null {
    return this.#address;
  }

  /** Keeps no program from its end any more. */
  runInBackground(): void {
    if (this.#id !== null) this.#engine.runInBackground(this.#id);
  }

  onSignals(): void {
    if (!this.#arrivals.serve()) return;
    const { onready } = this;
    if (onready !== null) guarded(() => onready(this));
  }

  onEngineOver(error: Error): void {
    this.#finish(withEnds(error, this.#ends()));
  }

  /** What is waited for here, for people. */
  waits(): string[] {
    return this.#arrivals.isAwaited ? [`accept on port ${this.#address?.port}`] : [];
  }

  /** What waits here waits for ever; calls from now on fail with the error. */
  vanish(error: Error): void {
    if (this.over !== null) return;
    this.#arrivals.vanish(error);
    if (this.#id !== null) this.#engine.removeSink(this.#id);
    this.onready = null;
  }

  #next(): Socket | null {
    const listener = this.#id;
    if (listener === null) return null;
    const accepted = acceptedOf(this.#engine, listener);
    if (accepted === null) return null;
    return this.#accepting(accepted.socket, accepted.remote, accepted.local);
  }

  #ends(): SocketErrorOptions {
    const address = this.#address;
    return { localAddress: address && hostPort(address.address, address.port) };
  }

  /** Why there is no listener, or none any more. */
  get over(): Error | null {
    return this.#arrivals.end;
  }

  tryAccept(): Socket | null {
    return this.#arrivals.take();
  }

  accept(options?: { signal?: AbortSignal }): Promise<Socket> {
    return this.#arrivals.receive(options);
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Socket, void, undefined> {
    return this.#arrivals.iterate();
  }

  setTcpOptions(options: TcpOptions): void {
    this.#configure(tcpValues("options", options));
  }

  tcpSettings(): TcpSettings | null {
    const numbers = this.#configure(tcpValues("options", {}));
    return numbers === null ? null : tcpSettings(numbers);
  }

  #configure(values: Float64Array): Float64Array | null {
    const id = this.#id;
    if (this.over !== null || id === null) return null;
    return this.#engine.exchange(values, (wasm, now, count) => wasm.tcp_settings(now, id, count));
  }

  /** `cause` is why, if it is not the application that closes it. */
  close(cause?: Error): Promise<void> {
    const text = `the listener on port ${this.#address?.port} was closed`;
    this.#close(new SocketError("ABORT_ERR", text, { ...this.#ends(), cause }));
    return this.closed;
  }

  #close(error: Error): void {
    const id = this.#id;
    if (id === null || this.over !== null) return;
    this.#engine.call((wasm, now) => wasm.close_listener(now, id));
    this.#engine.wake();
    this.#finish(error);
  }

  #finish(error: Error): void {
    if (this.over !== null) return;
    if (this.#id !== null) this.#engine.removeSink(this.#id);
    this.#arrivals.finish(error);
    this.#released(this);
    this.#closing.resolve();
    const { onready } = this;
    if (onready !== null) guarded(() => onready(this));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
