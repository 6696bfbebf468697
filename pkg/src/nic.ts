/** A stack's interfaces. */

import * as check from "./arguments.js";
import { deferred, type EngineCore } from "./engine_core.js";
import { SocketError } from "./errors.js";
import { countersOf, noCounters, PortBase } from "./ports/port_base.js";
import type { DhcpLease, Nic, PortCounters } from "./types.js";

/** What an interface starts with. */
export interface NicStart {
  host: number;
  /** The interface's number within the stack. */
  id: number;
  /** The interface's port in the engine. */
  port: number;
  name: string;
  mac: string;
  mtu: number;
  /** Waits for a lease before it is configured. */
  dhcp: boolean;
  released: (nic: NicImpl) => void;
}

/** See {@link Nic}. */
export class NicImpl extends PortBase implements Nic {
  readonly id: number;
  readonly mac: string;
  readonly mtu: number;
  readonly configured: Promise<void>;
  readonly #engine: EngineCore;
  readonly #start: NicStart;
  readonly #configuring = deferred<void>();
  #lease: DhcpLease | null = null;
  /** What was counted until the end. */
  #last = noCounters();

  constructor(engine: EngineCore, start: NicStart) {
    super(start.name);
    this.#engine = engine;
    this.#start = start;
    this.id = start.id;
    this.mac = start.mac;
    this.mtu = start.mtu;
    this.configured = this.#configuring.promise;
    // Static addresses are usable at once.
    if (!start.dhcp) this.#configuring.resolve();
  }

  get engine(): EngineCore {
    return this.#engine;
  }

  get addresses(): readonly string[] {
    if (this.isClosed) return [];
    const { host, id } = this.#start;
    return this.#engine
      .rows<{ prefix: string }>((wasm) => wasm.addresses(host, id))
      .map(({ prefix }) => prefix);
  }

  get lease(): DhcpLease | null {
    return this.#lease;
  }

  /** A DHCP server has granted something, or it is over. */
  leased(lease: DhcpLease | null): void {
    this.#lease = lease;
    if (lease !== null) this.#configuring.resolve();
  }

  /** There will be no lease. */
  unconfigured(error: Error): void {
    this.#configuring.reject(error);
  }

  addAddress(prefix: string): void {
    const text = check.string("prefix", prefix);
    const { host, id } = this.#start;
    this.#assertOpen();
    this.#engine.call((wasm, now) => wasm.add_address(now, host, id, text));
    this.#engine.wake();
  }

  removeAddress(prefix: string): void {
    const [address = ""] = check.string("prefix", prefix).split("/");
    const { host, id } = this.#start;
    this.#assertOpen();
    this.#engine.call((wasm) => wasm.remove_address(host, id, address));
    this.#engine.wake();
  }

  #assertOpen(): void {
    if (this.#engine.over !== null) throw this.#engine.over;
    if (this.isClosed) throw new TypeError(`the interface ${this.name} is closed`);
  }

  get counters(): PortCounters {
    if (this.isClosed || this.#engine.over !== null) return { ...this.#last };
    return this.#count();
  }

  #count(): PortCounters {
    return countersOf(this.#engine, this.#start.port);
  }

  attach(): number {
    return this.#start.port;
  }

  detach(): void {}

  protected dispose(): void {
    if (this.#engine.over === null) this.#last = this.#count();
    this.#lease = null;
    const text = `the interface ${this.name} was closed before it had an address`;
    this.#configuring.reject(this.#engine.over ?? new SocketError("ABORT_ERR", text));
    this.#start.released(this);
  }
}
