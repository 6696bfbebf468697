/** What all ports have in common: a name, and the one thing that each is plugged into. */

import * as check from "../arguments.js";
import type { EngineCore, FrameSink } from "../engine_core.js";
import type { Pluggable, Port, PortCounters } from "../types.js";

/** What a plugged-in port is plugged into. */
export interface Joint {
  /** Takes the port out. */
  unplug(): void;
}

/** See {@link Port}. */
export abstract class PortBase implements Port {
  readonly name: string;
  /** What the port is plugged into, or null. Set by whoever plugs it. */
  joint: Joint | null = null;
  #isClosed = false;

  constructor(name: string) {
    this.name = name;
  }

  abstract get counters(): PortCounters;

  /** The engine that the port belongs to; null for a port that comes to an engine when it is plugged in. */
  abstract get engine(): EngineCore | null;

  /** The port's number in the engine that it is being plugged into. */
  abstract attach(engine: EngineCore): number;

  /** Frames pass no more: what `attach` has made in the engine can go. */
  abstract detach(): void;

  /** The port was taken out of what it was plugged into. */
  unplugged(): void {}

  /** Frees what belongs to the port; called once. */
  protected abstract dispose(): void;

  get isClosed(): boolean {
    return this.#isClosed;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.joint?.unplug();
    this.dispose();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The port of whatever a caller wants to plug in. */
export function portOf(argument: string, value: Pluggable): PortBase {
  if (value instanceof PortBase) return value;
  if (
    typeof value === "object" &&
    value !== null &&
    "port" in value &&
    value.port instanceof PortBase
  ) {
    return value.port;
  }
  throw new TypeError(`${argument} must be a port of ethertab, got ${check.show(value)}`);
}

/** The port of whatever a caller wants to plug in, if it is free. */
export function freePortOf(argument: string, value: Pluggable): PortBase {
  const port = portOf(argument, value);
  if (port.isClosed) throw new TypeError(`${argument}: the port ${port.name} is closed`);
  if (port.joint !== null)
    throw new TypeError(`${argument}: the port ${port.name} is plugged in already`);
  return port;
}

/** No frame yet. */
export function noCounters(): PortCounters {
  return {
    framesReceived: 0,
    bytesReceived: 0,
    framesSent: 0,
    bytesSent: 0,
    dropped: 0,
    invalid: 0,
  };
}

/** An Ethernet header; anything shorter is no frame. */
export const SHORTEST_FRAME = 14;
/** The largest IP packet, with an Ethernet header and a VLAN tag. */
export const LONGEST_FRAME = 65_535 + 18;

/**
 * A port whose owner is outside of every engine: a virtual machine, a WebSocket, functions. While it is plugged in, frames for
 * the owner wait in the engine, up to the bound of the cable; the port takes them when it is told and able.
 */
export abstract class ExternalPort extends PortBase implements FrameSink {
  readonly #past = noCounters();
  #at: { engine: EngineCore; id: number } | null = null;

  /** Frames wait: take what can be sent now. The rest stays in the engine until the next call of `take`. */
  abstract onFrames(): void;

  get engine(): EngineCore | null {
    return null;
  }

  /** The engine that the port is plugged into, and its number there. */
  get attached(): { readonly engine: EngineCore; readonly id: number } | null {
    return this.#at;
  }

  attach(engine: EngineCore): number {
    const id = engine.call((wasm) => wasm.add_external(this.name));
    this.#at = { engine, id };
    engine.addPort(id, this);
    return id;
  }

  detach(): void {
    const at = this.#at;
    if (at === null) return;
    this.#at = null;
    at.engine.removePort(at.id);
    if (at.engine.over !== null) return;
    add(this.#past, countersOf(at.engine, at.id));
    at.engine.call((wasm) => wasm.remove_port(at.id));
  }

  onEngineOver(_error: Error): void {
    this.close();
  }

  get counters(): PortCounters {
    const total = { ...this.#past };
    if (this.#at !== null && this.#at.engine.over === null) {
      add(total, countersOf(this.#at.engine, this.#at.id));
    }
    return total;
  }

  /** Brings a frame into the network; it is copied. False if it was dropped, which is counted. */
  protected bring(frame: Uint8Array): boolean {
    if (frame.byteLength < SHORTEST_FRAME || frame.byteLength > LONGEST_FRAME) {
      this.#past.invalid += 1;
      return false;
    }
    if (this.#at === null || this.#at.engine.over !== null) {
      this.#past.dropped += 1;
      return false;
    }
    this.#at.engine.receiveFrame(this.#at.id, frame);
    return true;
  }

  /** Brings a batch into the network that another port's `take` gave. */
  bringBatch(batch: Uint8Array): void {
    if (this.#at !== null && this.#at.engine.over === null) {
      this.#at.engine.receiveBatch(this.#at.id, batch);
    }
  }

  /** Up to `most` frames for the outside, as {@link EngineCore.takeFrames} gives them. */
  protected take(most?: number): Uint8Array<ArrayBuffer> | null {
    if (this.#at === null || this.#at.engine.over !== null) return null;
    const batch = this.#at.engine.takeFrames(this.#at.id, most);
    return batch.byteLength === 0 ? null : batch;
  }

  /** Counts what came from outside and is no frame. */
  protected countInvalid(): void {
    this.#past.invalid += 1;
  }

  /** Counts a frame that the outside could not take. */
  protected countDropped(): void {
    this.#past.dropped += 1;
  }
}

/** What passed a port of an engine. */
export function countersOf(engine: EngineCore, id: number): PortCounters {
  return engine.row<PortCounters>((wasm) => wasm.port_counters(id)) ?? noCounters();
}

function add(to: PortCounters, more: PortCounters): void {
  to.framesReceived += more.framesReceived;
  to.bytesReceived += more.bytesReceived;
  to.framesSent += more.framesSent;
  to.bytesSent += more.bytesSent;
  to.dropped += more.dropped;
  to.invalid += more.invalid;
}
