/** What all ports have in common: a name, a hook for frames, and the one thing that each is plugged into. */

import * as check from "../arguments.js";
import { reportUncaught } from "../clock.js";
import { type EngineCore, eachFrame, type FrameSink, packFrames } from "../engine_core.js";
import { PORT_COUNTERS } from "../names.js";
import { fieldsOf } from "../records.js";
import type { GuardedSource, Isolator, Station } from "../source_guard.js";
import type { FrameDirection, FrameHook, Pluggable, Port, PortCounters } from "../types.js";

const portCounters = fieldsOf(PORT_COUNTERS);

/** What a plugged-in port is plugged into. */
export interface Joint {
  /** Takes the port out. */
  unplug(): void;
  /** Joins anew what is joined, since a port has got a hook or lost it. Frames on the way are lost. */
  rejoin(): void;
}

/** See {@link Port}. */
export abstract class PortBase implements Port {
  readonly name: string;
  /** What the port is plugged into, or null. Set by whoever plugs it. */
  joint: Joint | null = null;
  /** Not null: a switch that this is plugged into keeps all its other ports apart from each other. */
  isolator: Isolator | null = null;
  /** Told when the addresses of what is at this port have changed. */
  onaddresses: (() => void) | null = null;
  #guard: GuardedSource | null = null;
  #hook: FrameHook | null = null;
  #filtered = 0;
  #isClosed = false;

  constructor(name: string) {
    this.name = name;
  }

  /** What is known to be here. */
  station(): Station {
    return { mac: null, addresses: [] };
  }

  /** What has passed, but for what the hook has dropped. */
  protected abstract count(): PortCounters;

  get counters(): PortCounters {
    return { ...this.count(), filtered: this.#filtered };
  }

  get isPlugged(): boolean {
    return this.joint !== null;
  }

  get hook(): FrameHook | null {
    return this.#hook;
  }

  set hook(hook: FrameHook | null) {
    const wasWatched = this.isWatched;
    this.#hook = check.callback("hook", hook);
    if (wasWatched !== this.isWatched) this.hookChanged();
  }

  /** Says which frames a switch takes from this port, after the hook; null if all. */
  get guard(): GuardedSource | null {
    return this.#guard;
  }

  set guard(guard: GuardedSource | null) {
    const wasWatched = this.isWatched;
    this.#guard = guard;
    if (wasWatched !== this.isWatched) this.hookChanged();
  }

  /** Whether somebody looks at each frame. */
  get isWatched(): boolean {
    return this.#hook !== null || this.#guard !== null;
  }

  /** There is somebody who looks at each frame now and was none, or the other way round: frames may have to go another way. */
  protected hookChanged(): void {
    this.joint?.rejoin();
  }

  /** What the hook, and who guards the network from this port, make of a frame; null if that is nothing. */
  filter(frame: Uint8Array<ArrayBuffer>, direction: FrameDirection): Uint8Array | null {
    const kept = this.hooked(frame, direction);
    if (kept === null || direction === "in" || this.#guard === null) return kept;
    return this.#guard.passes(kept) ? kept : null;
  }

  /** What the hook makes of a frame, which is its to keep and change; null if that is nothing. */
  protected hooked(frame: Uint8Array<ArrayBuffer>, direction: FrameDirection): Uint8Array | null {
    const hook = this.#hook;
    if (hook === null) return frame;
    try {
      const verdict = hook(frame, direction);
      if (verdict === undefined || verdict === true) return frame;
      if (verdict instanceof Uint8Array && isFrame(verdict)) return verdict;
      if (verdict !== false && verdict !== null) {
        throw new TypeError(
          `the hook of the port ${this.name} must return a frame, a boolean or nothing, got ${check.show(verdict)}`,
        );
      }
    } catch (error) {
      reportUncaught(error);
    }
    this.#filtered += 1;
    return null;
  }

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

  unplug(): void {
    this.joint?.unplug();
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
    filtered: 0,
    invalid: 0,
  };
}

/** An Ethernet header; anything shorter is no frame. */
export const SHORTEST_FRAME = 14;
/** The largest IP packet, with an Ethernet header and a VLAN tag. */
export const LONGEST_FRAME = 65_535 + 18;

function isFrame({ byteLength }: Uint8Array): boolean {
  return byteLength >= SHORTEST_FRAME && byteLength <= LONGEST_FRAME;
}

/** The bytes of a message, as a view over the same memory; null if it has none. It may come from another realm. */
export function bytesOf(data: unknown): Uint8Array | null {
  if (data instanceof Uint8Array) return data;
  if (ArrayBuffer.isView(data))
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return Object.prototype.toString.call(data) === "[object ArrayBuffer]"
    ? new Uint8Array(data as ArrayBuffer)
    : null;
}

/**
 * A port whose owner is outside of every engine: a virtual machine, a WebSocket, functions. While it is plugged in, frames for
 * the owner wait in the engine, up to the bound of the cable; the port takes them when it is told and able.
 */
export abstract class ExternalPort extends PortBase implements FrameSink {
  readonly #past = noCounters();
  #at: { engine: EngineCore; id: number } | null = null;
  /** Those who wait until what they have brought is in the network, or can go nowhere. */
  readonly #bringers = new Set<() => void>();
  #forgetSignal: (() => void) | null = null;
  #mayHaveMore = false;

  /** Closes the port when the signal aborts, which may have happened. */
  closeOn(signal: AbortSignal | null): void {
    if (signal === null) return;
    if (signal.aborted) {
      this.close();
      return;
    }
    const onAbort = (): void => this.close();
    signal.addEventListener("abort", onAbort, { once: true });
    this.#forgetSignal = () => signal.removeEventListener("abort", onAbort);
  }

  override close(): void {
    super.close();
    this.#forgetSignal?.();
    this.#forgetSignal = null;
  }

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
    for (const released of [...this.#bringers]) released();
    at.engine.removePort(at.id);
    if (at.engine.over !== null) return;
    add(this.#past, countersOf(at.engine, at.id));
    at.engine.call((wasm) => wasm.remove_port(at.id));
  }

  onEngineOver(_error: Error): void {
    this.close();
  }

  protected count(): PortCounters {
    const total = { ...this.#past };
    const at = this.#live;
    if (at !== null) add(total, countersOf(at.engine, at.id));
    return total;
  }

  /** The hook is looked at frame by frame here, where all frames pass. */
  protected override hookChanged(): void {}

  /** Brings a frame into the network; it is copied. False if it was dropped, which is counted. */
  protected bring(frame: Uint8Array): boolean {
    if (!isFrame(frame)) {
      this.#past.invalid += 1;
      return false;
    }
    if (this.#live === null) {
      this.#past.dropped += 1;
      return false;
    }
    const passed = this.hook === null ? frame : this.hooked(frame.slice(), "out");
    if (passed === null || this.guard?.passes(passed) === false) return false;
    // Again, since the hook may have unplugged the port.
    const at = this.#live;
    if (at === null) {
      this.#past.dropped += 1;
      return false;
    }
    at.engine.receiveFrame(at.id, passed);
    return true;
  }

  /** Where the port is plugged in, unless that engine is over. */
  get #live(): { readonly engine: EngineCore; readonly id: number } | null {
    return this.#at !== null && this.#at.engine.over === null ? this.#at : null;
  }

  /** Brings a batch into the network that another port's `take` gave. */
  bringBatch(batch: Uint8Array): void {
    const at = this.#live;
    at?.engine.receiveBatch(at.id, batch);
  }

  /** Brings all frames that wait here into the network at another port, as what `take` gives in batches. Nothing looks at them on the way. */
  protected passAll(to: ExternalPort): void {
    let isMore = true;
    while (isMore) {
      const from = this.#live;
      const into = to.#live;
      if (from === null || into === null) return;
      isMore = from.engine.passFrames(from.id, into.engine, into.id);
    }
  }

  /**
   * Until the network has taken what was brought, so that a source that can wait is not read faster than its frames are
   * dealt with. At once if the port is not plugged in.
   */
  protected taken(): Promise<void> {
    const engine = this.#live?.engine;
    if (engine === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      const released = (): void => {
        engine.removeObserver(released);
        this.#bringers.delete(released);
        resolve();
      };
      this.#bringers.add(released);
      engine.addObserver(released);
      engine.wake();
    });
  }

  /** Up to `most` frames for the outside, as {@link EngineCore.takeFrames} gives them. */
  protected take(most?: number): Uint8Array<ArrayBuffer> | null {
    for (let at = this.#live; at !== null; at = this.#live) {
      const batch = at.engine.takeFrames(at.id, most);
      this.#mayHaveMore = at.engine.mayHaveLeft(batch);
      if (batch.byteLength === 0) return null;
      if (this.hook === null) return batch;
      const passed: Uint8Array[] = [];
      // Copied, since the hook may call into the module, and may keep the frames.
      eachFrame(batch.slice(), (frame) => {
        const kept = this.filter(frame, "in");
        if (kept !== null) passed.push(kept);
      });
      if (passed.length > 0) return packFrames(passed);
    }
    return null;
  }

  /** Whether frames may wait that the last batch of `take`, which was asked for as many as fit, had no room for. */
  protected get mayHaveMore(): boolean {
    return this.#mayHaveMore;
  }

  /** Counts what came from outside and is no frame. */
  protected countInvalid(): void {
    this.#past.invalid += 1;
  }

  /** Counts frames that the outside could not take. */
  protected countDropped(frames = 1): void {
    this.#past.dropped += frames;
  }
}

/** What passed a port of an engine. */
export function countersOf(engine: EngineCore, id: number): PortCounters {
  const counted = engine.record<PortCounters>(portCounters, (wasm) => wasm.port_counters(id));
  return { ...noCounters(), ...counted };
}

function add(to: PortCounters, more: PortCounters): void {
  to.framesReceived += more.framesReceived;
  to.bytesReceived += more.bytesReceived;
  to.framesSent += more.framesSent;
  to.bytesSent += more.bytesSent;
  to.dropped += more.dropped;
  to.invalid += more.invalid;
}
