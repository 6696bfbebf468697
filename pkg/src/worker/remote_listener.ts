/** A listener of a stack in another thread. */

import { hostPort } from "../arguments.js";
import { Arrivals } from "../arrivals.js";
import { deferred, guarded } from "../engine_core.js";
import { SocketError, type SocketErrorOptions, withEnds } from "../errors.js";
import { tcpValues } from "../tcp_options.js";
import type { Security } from "../tls/secure.js";
import type { SocketAddress, TcpOptions, TcpSettings } from "../types.js";
import { type Channel, received, type Target } from "./channel.js";
import { ACCEPTS, Credit } from "./flow_control.js";
import type { Accepted } from "./hosted_sockets.js";
import { RemoteSocket, securedBy } from "./remote_socket.js";
import type { WorkerListener, WorkerSocket } from "./types.js";

/** See {@link WorkerListener}. */
export class RemoteListener implements WorkerListener, Target {
  readonly listening: Promise<SocketAddress>;
  readonly closed: Promise<void>;
  onready: ((listener: WorkerListener) => void) | null = null;
  readonly #channel: Channel;
  readonly #number: number;
  readonly #security: Security<RemoteSocket>;
  readonly #listening = deferred<SocketAddress>();
  readonly #closing = deferred<void>();
  readonly #arrivals = new Arrivals<WorkerSocket>(
    () => this.#next(),
    () => this.#ends(),
  );
  readonly #waiting: RemoteSocket[] = [];
  readonly #accepted: Credit;
  #address: SocketAddress | null = null;

  constructor(channel: Channel, number: number, security: Security<RemoteSocket>) {
    this.#channel = channel;
    this.#security = security;
    // Told once it is known where it listens.
    security.ready?.catch(() => {});
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
        this.#listens(value);
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

  #listens(address: SocketAddress): void {
    const { ready } = this.#security;
    if (ready === null) {
      this.#listening.resolve(address);
      return;
    }
    ready.then(
      () => this.#listening.resolve(address),
      (error: Error) => {
        if (this.#arrivals.end === null) this.#channel.tell(this.#number, "close");
        this.fail(error);
      },
    );
  }

  #accept({ number, remote, local, allowHalfOpen }: Accepted): void {
    const { upgrade } = this.#security;
    const start = { channel: this.#channel, number, remote, allowHalfOpen, signal: null };
    const socket = new RemoteSocket({ ...start, upgrade });
    socket.isOpenWith(local);
    if (this.#arrivals.end !== null) {
      socket.abort();
      return;
    }
    this.#waiting.push(socket);
    this.#arrivals.serve();
  }

  #ends(): SocketErrorOptions {
    const address = this.#address;
    return { localAddress: address && hostPort(address.address, address.port) };
  }

  #next(): WorkerSocket | null {
    const socket = this.#waiting.shift();
    if (socket === undefined) return null;
    this.#accepted.take(1);
    return securedBy(this.#security, socket);
  }

  onChannelOver(error: Error): void {
    this.fail(withEnds(error, this.#ends()));
  }

  /** It could not be made, or is over. */
  fail(error: Error): void {
    if (this.#arrivals.end !== null) return;
    this.#channel.remove(this.#number);
    this.#listening.reject(error);
    for (const socket of this.#waiting.splice(0)) socket.abort(error);
    this.#arrivals.finish(error);
    this.#closing.resolve();
    const { onready } = this;
    if (onready !== null) guarded(() => onready(this));
  }

  get address(): SocketAddress | null {
    return this.#address;
  }

  tryAccept(): WorkerSocket | null {
    return this.#arrivals.take();
  }

  accept(options?: { signal?: AbortSignal }): Promise<WorkerSocket> {
    return this.#arrivals.receive(options);
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<WorkerSocket, void, undefined> {
    return this.#arrivals.iterate();
  }

  setTcpOptions(options: TcpOptions): void {
    tcpValues("options", options);
    if (this.#arrivals.end === null) this.#channel.tell(this.#number, "options", options);
  }

  async tcpSettings(): Promise<TcpSettings | null> {
    if (this.#arrivals.end !== null) return null;
    return (await this.#channel.call(this.#number, "tcpSettings", [])) as TcpSettings | null;
  }

  close(): Promise<void> {
    if (this.#arrivals.end === null) {
      this.#channel.tell(this.#number, "close");
      const port = this.#address?.port ?? 0;
      const text = `the listener on port ${port} was closed`;
      this.fail(new SocketError("ABORT_ERR", text, this.#ends()));
    }
    return this.closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
