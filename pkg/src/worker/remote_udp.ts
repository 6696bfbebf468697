/** A UDP socket of a stack in another thread. */

import * as check from "../arguments.js";
import { Arrivals } from "../arrivals.js";
import { deferred, guarded } from "../engine_core.js";
import { SocketError, type SocketErrorOptions, withEnds } from "../errors.js";
import type { BufferSource } from "../platform.js";
import type {
  DatagramTarget,
  GroupSources,
  IcmpReport,
  SocketAddress,
  UdpSettings,
} from "../types.js";
import { type Channel, received, type Target } from "./channel.js";
import { Credit, DATAGRAMS } from "./flow_control.js";
import type { WorkerDatagram, WorkerNic, WorkerUdpSocket } from "./types.js";

/** See {@link WorkerUdpSocket}. */
export class RemoteUdp implements WorkerUdpSocket, Target {
  readonly closed: Promise<void>;
  address: SocketAddress = { address: "", port: 0 };
  onready: ((socket: WorkerUdpSocket) => void) | null = null;
  onerror: WorkerUdpSocket["onerror"] = null;
  readonly #channel: Channel;
  readonly #number: number;
  readonly #nicOf: (number: number) => WorkerNic | null;
  readonly #encoded: (value: unknown) => unknown;
  readonly #closing = deferred<void>();
  readonly #arrivals = new Arrivals<WorkerDatagram>(
    () => this.tryReceive(),
    () => this.#ends(),
  );
  readonly #waiting: WorkerDatagram[] = [];
  readonly #received: Credit;
  #readable: ReadableStream<WorkerDatagram> | null = null;
  #remote: SocketAddress | null = null;

  constructor(
    channel: Channel,
    number: number,
    nicOf: (number: number) => WorkerNic | null,
    encoded: (value: unknown) => unknown,
  ) {
    this.#channel = channel;
    this.#number = number;
    this.#nicOf = nicOf;
    this.#encoded = encoded;
    this.closed = this.#closing.promise;
    this.#received = new Credit(DATAGRAMS, (count) => channel.tell(number, "credit", count));
    channel.add(number, this);
  }

  told(what: string, value: never): void {
    if (what === "datagram") this.#arrive(value);
    else if (what === "error") this.#report(value);
    else this.fail(withEnds(received(value) as Error, this.#ends()));
  }

  #arrive({ nic, ...rest }: Omit<WorkerDatagram, "nic"> & { nic: number | null }): void {
    this.#waiting.push({ ...rest, nic: nic === null ? null : this.#nicOf(nic) });
    this.#arrivals.serve();
    const { onready } = this;
    if (onready !== null) guarded(() => onready(this));
  }

  #report({
    error,
    target,
    report,
  }: {
    error: unknown;
    target: SocketAddress;
    report: IcmpReport;
  }): void {
    const { onerror } = this;
    if (onerror !== null) guarded(() => onerror(received(error) as SocketError, target, report));
  }

  onChannelOver(error: Error): void {
    this.fail(withEnds(error, this.#ends()));
  }

  /** It could not be bound, or is over. */
  fail(error: Error): void {
    if (this.#error !== null) return;
    this.#channel.remove(this.#number);
    this.#waiting.length = 0;
    this.#arrivals.finish(error);
    this.#closing.resolve();
  }

  /** Why it is closed, or null. */
  get #error(): Error | null {
    return this.#arrivals.end;
  }

  #ends(): SocketErrorOptions {
    return { localAddress: check.hostPort(this.address.address, this.address.port) };
  }

  async #call(method: string, ...args: unknown[]): Promise<unknown> {
    if (this.#error !== null) throw this.#error;
    return this.#channel.call(this.#number, method, args.map(this.#encoded));
  }

  get remote(): SocketAddress | null {
    return this.#remote;
  }

  async connect(peer: SocketAddress | null): Promise<void> {
    await this.#call("connect", peer);
    this.#remote = peer === null ? null : { address: peer.address, port: peer.port };
  }

  async send(data: BufferSource, to?: DatagramTarget | WorkerDatagram): Promise<void> {
    const bytes = new Uint8Array(check.bytes("data", data));
    await this.#call("send", bytes, to === undefined ? undefined : { ...to, data: undefined });
  }

  async setOptions(settings: Partial<UdpSettings>): Promise<void> {
    await this.#call("setOptions", settings);
  }

  async settings(): Promise<UdpSettings | null> {
    if (this.#error !== null) return null;
    return (await this.#call("settings")) as UdpSettings | null;
  }

  async joinGroup(group: string, nic: WorkerNic, sources?: GroupSources): Promise<void> {
    await this.#call("joinGroup", group, nic, sources);
  }

  async leaveGroup(group: string, nic: WorkerNic): Promise<void> {
    await this.#call("leaveGroup", group, nic);
  }

  tryReceive(): WorkerDatagram | null {
    const datagram = this.#waiting.shift() ?? null;
    if (datagram !== null) this.#received.take(1);
    return datagram;
  }

  receive(options?: { signal?: AbortSignal }): Promise<WorkerDatagram> {
    return this.#arrivals.receive(options);
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<WorkerDatagram, void, undefined> {
    return this.#arrivals.iterate();
  }

  get readable(): ReadableStream<WorkerDatagram> {
    this.#readable ??= this.#arrivals.stream(() => this.close());
    return this.#readable;
  }

  close(): Promise<void> {
    if (this.#error === null) {
      this.#channel.tell(this.#number, "close");
      const text = `the UDP socket on port ${this.address.port} was closed`;
      this.fail(new SocketError("ABORT_ERR", text, this.#ends()));
    }
    return this.closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
