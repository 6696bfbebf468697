/** UDP sockets. Datagrams wait in the stack's queue, which is bounded, until somebody asks for them. */

import * as check from "./arguments.js";
import { Arrivals } from "./arrivals.js";
import { deferred, type Ends, type EngineCore, guarded, type Sink } from "./engine_core.js";
import { SocketError, withEnds } from "./errors.js";
import { ipNumbers, optionalIp } from "./ip.js";
import { DATAGRAM, UDP_ERROR, UDP_SETTINGS } from "./names.js";
import type { NicImpl } from "./nic.js";
import type { BufferSource } from "./platform.js";
import { fieldsOf, type Why } from "./records.js";
import { count, SettingsTable } from "./settings.js";
import { Signal } from "./socket.js";
import type {
  Datagram,
  DatagramTarget,
  GroupSources,
  IcmpReport,
  Nic,
  SocketAddress,
  UdpOptions,
  UdpSettings,
  UdpSocket,
} from "./types.js";

/** The stack's hop limit is one that nobody gives. */
const HOP_LIMIT = { is: "count", min: 1, max: 255, none: 0 } as const;
const table = new SettingsTable(
  UDP_SETTINGS,
  { ttl: HOP_LIMIT, multicastTtl: HOP_LIMIT, trafficClass: count(0, 255) },
  "UDP sockets",
);
/** No peer, as the module takes it. */
const NOBODY: SocketAddress = { address: "", port: 0 };

/** The module's numbers for the settings that are given. */
export function udpValues(
  argument: string,
  options: Partial<UdpOptions>,
): Float64Array<ArrayBuffer> {
  const { port: _, hostname: __, ...settings } = options;
  return table.values(argument, settings);
}

/** What `udp_recv` tells of a datagram whose bytes are in the scratch memory. */
interface Received extends Omit<Datagram, "data" | "nic" | "localAddress"> {
  length: number;
  localAddress: string | null;
  interface: number | null;
}

/** What `udp_error` tells. */
interface Reported extends SocketAddress, IcmpReport {
  why: Why;
}

const received = fieldsOf(DATAGRAM);
const reported = fieldsOf(UDP_ERROR);

/** What a socket starts with. */
export interface UdpStart {
  id: number;
  address: SocketAddress;
  /** The peer of one that is connected already. */
  remote?: SocketAddress;
  nicOf: (id: number) => NicImpl | null;
  interfaceOf: (nic: unknown) => number;
  released: (socket: UdpSocketImpl) => void;
}

/** See {@link UdpSocket}. */
export class UdpSocketImpl implements UdpSocket, Sink {
  readonly address: SocketAddress;
  readonly closed: Promise<void>;
  onready: ((socket: UdpSocket) => void) | null = null;
  onerror: UdpSocket["onerror"] = null;
  readonly #engine: EngineCore;
  readonly #start: UdpStart;
  readonly #closing = deferred<void>();
  readonly #arrivals = new Arrivals<Datagram>(
    () => this.tryReceive(),
    () => this.#here(),
  );
  #readable: ReadableStream<Datagram> | null = null;
  #remote: SocketAddress | null;

  constructor(engine: EngineCore, start: UdpStart) {
    this.#engine = engine;
    this.#start = start;
    this.address = start.address;
    this.#remote = start.remote ?? null;
    this.closed = this.#closing.promise;
    engine.addSink(start.id, this);
  }

  /** Keeps no program from its end any more. */
  runInBackground(): void {
    this.#engine.runInBackground(this.#start.id);
  }

  onSignals(signals: number): void {
    if (signals & Signal.error) this.#reportErrors();
    // `onerror` may have closed it.
    if (this.over !== null || (signals & Signal.readable) === 0) return;
    if (!this.#arrivals.serve()) return;
    const { onready } = this;
    if (onready !== null) guarded(() => onready(this));
  }

  #reportErrors(): void {
    while (this.over === null) {
      const next = this.#engine.record<Reported>(reported, (wasm) =>
        wasm.udp_error(this.#start.id),
      );
      if (next === null) return;
      const { why, reporter, type, code, ...target } = next;
      const remoteAddress = check.hostPort(target.address, target.port);
      const text = `datagram to ${remoteAddress}: ${why.text}`;
      const error = new SocketError(why.code, text, this.#ends(remoteAddress));
      const { onerror } = this;
      if (onerror !== null) guarded(() => onerror(error, target, { reporter, type, code }));
    }
  }

  onEngineOver(error: Error): void {
    this.#finish(withEnds(error, this.#here()));
  }

  /** What is waited for here, for people. */
  waits(): string[] {
    return this.#arrivals.isAwaited ? [`a datagram at port ${this.address.port}`] : [];
  }

  /** What waits here waits for ever; calls from now on fail with the error. */
  vanish(error: Error): void {
    if (this.over !== null) return;
    this.#arrivals.vanish(error);
    this.#engine.removeSink(this.#start.id);
    this.onready = null;
    this.onerror = null;
  }

  /** Why it is closed, or null. */
  get over(): Error | null {
    return this.#arrivals.end;
  }

  get remote(): SocketAddress | null {
    return this.#remote;
  }

  connect(peer: SocketAddress | null): void {
    const { address, port } = peer === null ? NOBODY : check.options("peer", peer);
    const remote = peer === null ? NOBODY.address : check.address("peer.address", address);
    const number = peer === null ? NOBODY.port : check.port("peer.port", port);
    if (this.over !== null) throw this.over;
    this.#engine.call(
      (wasm) => {
        this.#engine.give(optionalIp(remote));
        return wasm.udp_connect(this.#start.id, number);
      },
      `connect UDP to ${check.hostPort(remote, number)}`,
    );
    this.#remote = peer === null ? null : { address: remote, port: number };
  }

  joinGroup(group: string, nic: Nic, sources?: GroupSources): void {
    const { only, except } = check.options("sources", sources);
    if (only !== undefined && except !== undefined) {
      throw new TypeError("sources.only and sources.except cannot both be given");
    }
    const list = check
      .array(only === undefined ? "sources.except" : "sources.only", only ?? except)
      .map((source, index) => check.address(`source ${index}`, source));
    if (only?.length === 0) throw new RangeError("sources.only must name a source");
    this.#filter(group, nic, only === undefined, list);
  }

  leaveGroup(group: string, nic: Nic): void {
    this.#filter(group, nic, false, []);
  }

  #filter(group: string, nic: Nic, excludes: boolean, sources: readonly string[]): void {
    const address = check.address("group", group);
    const id = this.#start.interfaceOf(nic);
    if (this.over !== null) throw this.over;
    this.#engine.call((wasm, now) => {
      this.#engine.give(ipNumbers(address), sources.flatMap(ipNumbers));
      return wasm.udp_filter(now, this.#start.id, id, excludes, sources.length);
    });
    this.#engine.wake();
  }

  setOptions(settings: Partial<UdpSettings>): void {
    const values = udpValues("settings", settings);
    if (this.over !== null) throw this.over;
    this.#settings(values);
  }

  #settings(values: Float64Array): Float64Array {
    return this.#engine.exchange(values, (wasm, _, count) =>
      wasm.udp_settings(this.#start.id, count),
    );
  }

  settings(): UdpSettings | null {
    if (this.over !== null) return null;
    return table.told(this.#settings(table.none())) as unknown as UdpSettings;
  }

  send(data: BufferSource, to?: DatagramTarget): void {
    const from = check.bytes("data", data);
    const target = check.options("to", to ?? this.#connected());
    const remote = check.address("to.remoteAddress", target.remoteAddress);
    const port = check.port("to.remotePort", target.remotePort);
    const local =
      target.localAddress === undefined
        ? ""
        : check.address("to.localAddress", target.localAddress);
    const { nic: by, mac: station } = target;
    const nic = by === undefined || by === null ? -1 : this.#start.interfaceOf(by);
    const mac =
      station === undefined || station === null
        ? -1
        : check.macNumber(check.mac("to.mac", station));
    if (this.over !== null) throw this.over;
    const ends = this.#ends(check.hostPort(remote, port));
    const attempt = `datagram to ${ends.remoteAddress}`;
    if (from.byteLength > this.#engine.scratchCapacity) {
      throw new SocketError("EMSGSIZE", `${attempt}: ${from.byteLength} bytes are too many`, ends);
    }
    this.#engine.call(
      (wasm, now) => {
        this.#engine.bytes.set(from, this.#engine.scratch);
        this.#engine.give(ipNumbers(remote), optionalIp(local));
        return wasm.udp_send(now, this.#start.id, from.byteLength, port, nic, mac);
      },
      attempt,
      ends,
    );
    this.#engine.wake();
  }

  /** The ends that an error names. */
  #ends(remoteAddress: string): Ends & { remoteAddress: string } {
    return { ...this.#here(), remoteAddress };
  }

  #here(): { localAddress: string } {
    return { localAddress: check.hostPort(this.address.address, this.address.port) };
  }

  #connected(): DatagramTarget | undefined {
    if (this.#remote === null) return undefined;
    return { remoteAddress: this.#remote.address, remotePort: this.#remote.port };
  }

  tryReceive(): Datagram | null {
    if (this.over !== null) return null;
    const next = this.#engine.record<Received>(received, (wasm) => wasm.udp_recv(this.#start.id));
    if (next === null) return null;
    return {
      data: this.#engine.scratchBytes(next.length),
      remoteAddress: next.remoteAddress,
      remotePort: next.remotePort,
      localAddress: next.localAddress ?? "",
      nic: next.interface === null ? null : this.#start.nicOf(next.interface),
      mac: next.mac,
      ttl: next.ttl,
      trafficClass: next.trafficClass,
    };
  }

  receive(options?: { signal?: AbortSignal }): Promise<Datagram> {
    return this.#arrivals.receive(options);
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Datagram, void, undefined> {
    return this.#arrivals.iterate();
  }

  get readable(): ReadableStream<Datagram> {
    this.#readable ??= this.#arrivals.stream(() => this.close());
    return this.#readable;
  }

  /** `cause` is why, if it is not the application that closes it. */
  close(cause?: Error): Promise<void> {
    if (this.over === null) {
      this.#engine.call((wasm) => wasm.udp_close(this.#start.id));
      const text = `the UDP socket on port ${this.address.port} was closed`;
      this.#finish(new SocketError("ABORT_ERR", text, { ...this.#here(), cause }));
    }
    return this.closed;
  }

  #finish(error: Error): void {
    if (this.over !== null) return;
    this.#engine.removeSink(this.#start.id);
    this.#arrivals.finish(error);
    this.#start.released(this);
    this.#closing.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
