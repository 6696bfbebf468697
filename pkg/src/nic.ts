/** A stack's interfaces. */

import * as check from "./arguments.js";
import type { EngineCore } from "./engine_core.js";
import { countersOf, noCounters, PortBase } from "./ports/port_base.js";
import type { Nic, PortCounters } from "./types.js";

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
  /** What was counted until the end. */
  #last = noCounters();

  constructor(engine: EngineCore, start: NicStart) {
    super(start.name);
    this.#engine = engine;
    this.#start = start;
    this.id = start.id;
    this.mac = start.mac;
    this.mtu = start.mtu;
    // Static addresses are usable at once.
    this.configured = Promise.resolve();
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
    this.#start.released(this);
  }
}
