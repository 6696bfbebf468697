/** UDP sockets. Datagrams wait in the stack's queue, which is bounded, until somebody asks for them. */

import * as check from "./arguments.js";
import { deferred, type Ends, type EngineCore, guarded, type Sink } from "./engine_core.js";
import { SocketError } from "./errors.js";
import { ipNumbers, optionalIp } from "./ip.js";
import { DATAGRAM, UDP_ERROR, UDP_SETTINGS } from "./names.js";
import type { NicImpl } from "./nic.js";
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
import { Waiters } from "./waiters.js";

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
  readonly #waiters = new Waiters<Datagram>();
  #readable: ReadableStream<Datagram> | null = null;
  #error: Error | null = null;
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
    if (this.#error !== null || (signals & Signal.readable) === 0) return;
    while (this.#waiters.length > 0) {
      const datagram = this.tryReceive();
      if (datagram === null) return;
      this.#waiters.resolve(datagram);
    }
    const { onready } = this;
    if (onready !== null) guarded(() => onready(this));
  }

  #reportErrors(): void {
    while (this.#error === null) {
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
    this.#finish(error);
  }

  /** What is waited for here, for people. */
  waits(): string[] {
    return this.#waiters.length > 0 ? [`a datagram at port ${this.address.port}`] : [];
  }

  /** What waits here waits for ever; calls from now on fail with the error. */
  vanish(error: Error): void {
    if (this.#error !== null) return;
    this.#error = error;
    this.#engine.removeSink(this.#start.id);
    this.onready = null;
    this.onerror = null;
  }

  get remote(): SocketAddress | null {
    return this.#remote;
  }

  connect(peer: SocketAddress | null): void {
    const { address, port } = peer === null ? NOBODY : check.options("peer", peer);
    const remote = peer === null ? NOBODY.address : check.address("peer.address", address);
    const number = peer === null ? NOBODY.port : check.port("peer.port", port);
    if (this.#error !== null) throw this.#error;
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
    if (this.#error !== null) throw this.#error;
    this.#engine.call((wasm, now) => {
      this.#engine.give(ipNumbers(address), sources.flatMap(ipNumbers));
      return wasm.udp_filter(now, this.#start.id, id, excludes, sources.length);
    });
    this.#engine.wake();
  }

  setOptions(settings: Partial<UdpSettings>): void {
    const values = udpValues("settings", settings);
    if (this.#error !== null) throw this.#error;
    this.#settings(values);
  }

  #settings(values: Float64Array): Float64Array {
    return this.#engine.exchange(values, (wasm, _, count) =>
      wasm.udp_settings(this.#start.id, count),
    );
  }

  settings(): UdpSettings | null {
    if (this.#error !== null) return null;
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
    if (this.#error !== null) throw this.#error;
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
    return {
      localAddress: check.hostPort(this.address.address, this.address.port),
      remoteAddress,
    };
  }

  #connected(): DatagramTarget | undefined {
    if (this.#remote === null) return undefined;
    return { remoteAddress: this.#remote.address, remotePort: this.#remote.port };
  }

  tryReceive(): Datagram | null {
    if (this.#error !== null) return null;
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

  async receive(options?: { signal?: AbortSignal }): Promise<Datagram> {
    const signal = check.abortSignal("options.signal", check.options("options", options).signal);
    if (this.#error !== null) throw this.#error;
    const datagram = this.#waiters.length === 0 && !signal?.aborted ? this.tryReceive() : null;
    return datagram ?? this.#waiters.wait(signal);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Datagram, void, undefined> {
    for (;;) {
      let datagram: Datagram;
      try {
        datagram = await this.receive();
      } catch (error) {
        if (this.#isClosed()) return;
        throw error;
      }
      yield datagram;
    }
  }

  #isClosed(): boolean {
    return this.#error instanceof SocketError && this.#error.code === "ABORT_ERR";
  }

  get readable(): ReadableStream<Datagram> {
    this.#readable ??= new ReadableStream<Datagram>(
      {
        pull: async (controller) => {
          try {
            controller.enqueue(await this.receive());
          } catch (error) {
            if (!this.#isClosed()) throw error;
            controller.close();
          }
        },
        cancel: () => this.close(),
      },
      { highWaterMark: 0 },
    );
    return this.#readable;
  }

  close(): Promise<void> {
    if (this.#error === null) {
      this.#engine.call((wasm) => wasm.udp_close(this.#start.id));
      this.#finish(
        new SocketError("ABORT_ERR", `the UDP socket on port ${this.address.port} was closed`),
      );
    }
    return this.closed;
  }

  #finish(error: Error): void {
    if (this.#error !== null) return;
    this.#error = error;
    this.#engine.removeSink(this.#start.id);
    this.#waiters.rejectAll(error);
    this.#start.released(this);
    this.#closing.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
