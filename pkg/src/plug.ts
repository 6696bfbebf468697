/** Joining ports: cables, and the bridge between the ports of two engines. */

import * as check from "./arguments.js";
import { engineFor } from "./engine.js";
import { type EngineCore, eachFrame } from "./engine_core.js";
import { IMPAIRMENT } from "./names.js";
import { ExternalPort, freePortOf, type Joint, noCounters, PortBase } from "./ports/port_base.js";
import { fieldsOf, valuesOf } from "./records.js";
import type {
  Cable,
  CableOptions,
  FrameDirection,
  Impairment,
  Link,
  Pluggable,
  Port,
  PortCounters,
} from "./types.js";

const MICROSECONDS = 1_000;
const impairments = fieldsOf(IMPAIRMENT);

/** Checked, in the units of the engine: microseconds and bits per second. */
export type CheckedImpairment = Record<string, number>;

/** Checks an impairment; what is not named is not in the result. */
export function impairmentOf(
  argument: string,
  impairment: Impairment | undefined,
): CheckedImpairment {
  const given = check.options(argument, impairment);
  const checked: CheckedImpairment = {};
  for (const name of ["latency", "jitter"] as const) {
    const value = given[name];
    if (value !== undefined)
      checked[name] = check.duration(`${argument}.${name}`, value) * MICROSECONDS;
  }
  for (const name of ["loss", "duplicate", "corrupt", "reorder"] as const) {
    const value = given[name];
    if (value !== undefined) checked[name] = check.probability(`${argument}.${name}`, value);
  }
  if (given.rate !== undefined) checked["rate"] = check.rate(`${argument}.rate`, given.rate);
  if (given.queue !== undefined) {
    checked["queue"] = check.integer(`${argument}.queue`, given.queue, 1, 1_000_000);
  }
  return checked;
}

/**
 * Joins two ports, with what the cable between them does to frames. One of them at least must be of an engine: a stack's
 * interface or the end of a cable.
 */
export function plug(a: Pluggable, b: Pluggable, impairment?: Impairment): Link {
  const first = freePortOf("a", a);
  const second = freePortOf("b", b);
  if (first === second) throw new TypeError(`the port ${first.name} cannot be plugged into itself`);
  const checked = impairmentOf("impairment", impairment);
  const link = join(first, second, checked);
  return {
    unplug: () => link.unplug(),
    set: (changed) => link.set(impairmentOf("impairment", changed)),
    [Symbol.dispose]: () => link.unplug(),
  };
}

/** What joins two ports. */
export interface Joined extends Joint {
  set(impairment: CheckedImpairment): void;
}

/** Joins two free ports. */
export function join(a: PortBase, b: PortBase, impairment: CheckedImpairment): Joined {
  if (a instanceof CableEnd) return a.plugInto(b, impairment);
  if (b instanceof CableEnd) return b.plugInto(a, impairment);
  const engine = a.engine ?? b.engine;
  if (engine === null) {
    throw new TypeError(
      `neither ${a.name} nor ${b.name} belongs to an engine: plug both into a switch, or into the ends of a cable`,
    );
  }
  let connection = connect(engine, [a], [b], impairment);
  let current = impairment;
  const joined: Joined = {
    unplug() {
      if (a.joint !== joined) return;
      a.joint = null;
      b.joint = null;
      connection.unplug();
      a.unplugged();
      b.unplugged();
    },
    set(changed) {
      // The engine's number for the cable may stand for another one by now.
      if (a.joint !== joined) throw unplugged(a, b);
      current = { ...current, ...changed };
      connection.set(changed);
    },
    rejoin() {
      if (engine.over !== null) return;
      connection.unplug();
      connection = connect(engine, [a], [b], current);
    },
  };
  a.joint = joined;
  b.joint = joined;
  return joined;
}

function unplugged(a: PortBase, b: PortBase): TypeError {
  return new TypeError(`the link between ${a.name} and ${b.name} is unplugged`);
}

/** A port, and the end of the cable that it is plugged into if that is another port, which may have a hook as well. */
type Plugged = readonly [port: PortBase, end?: CableEnd];

/** What lets frames pass between two ports; `unplug` may be called once. */
interface Connection {
  unplug(): void;
  set(impairment: CheckedImpairment): void;
}

/** Lets frames pass between two ports. */
function connect(
  engine: EngineCore,
  a: Plugged,
  b: Plugged,
  impairment: CheckedImpairment,
): Connection {
  return lay(engine, ownOrBridge(engine, a), ownOrBridge(engine, b), impairment);
}

/** Lays a cable between two ports that can be attached to the engine. */
function lay(
  engine: EngineCore,
  first: PortBase,
  second: PortBase,
  impairment: CheckedImpairment,
): Connection {
  const port = first.attach(engine);
  const cable = engine.call((wasm) => {
    const id = wasm.plug(port, second.attach(engine));
    return id;
  });
  const set = (changed: CheckedImpairment): void => {
    engine.call((wasm) => {
      engine.give(valuesOf(impairments, changed));
      return wasm.impair(cable);
    });
    engine.wake();
  };
  set(impairment);
  return {
    unplug() {
      if (engine.over === null) {
        for (const end of [first, second]) if (end instanceof BridgePort) end.passRest();
        engine.call((wasm) => wasm.unplug(port));
        engine.wake();
      }
      first.detach();
      second.detach();
    },
    set,
  };
}

/** The port itself if it can be attached to the engine and nobody looks at its frames, else one end of a bridge, with the port at the other end. */
function ownOrBridge(engine: EngineCore, [port, end]: Plugged): PortBase {
  // A port from outside applies its own hook.
  const isHooked = (port.isWatched && !(port instanceof ExternalPort)) || end?.isWatched === true;
  const isNear = port.engine === null || port.engine === engine;
  if (isNear && !isHooked) return port;
  const near = new BridgePort(port.name);
  const far = new BridgePort(port.name);
  near.other = far;
  far.other = near;
  if (isHooked) {
    near.passes = passing(port, "in", end, "out");
    far.passes = passing(port, "out", end, "in");
  }
  near.connection = lay(port.engine ?? engine, port, far, {});
  return near;
}

/** What the hooks of a port and of the cable's end make of a frame that goes one way. */
function passing(
  port: PortBase,
  atPort: FrameDirection,
  end: CableEnd | undefined,
  atEnd: FrameDirection,
): (frame: Uint8Array<ArrayBuffer>) => Uint8Array | null {
  const hooked: [PortBase, FrameDirection][] = [];
  if (!(port instanceof ExternalPort)) hooked.push([port, atPort]);
  if (end !== undefined) hooked.push([end, atEnd]);
  // From the one that the frame comes out of to the one that it goes into.
  if (atPort === "in") hooked.reverse();
  return (frame) => {
    let passed: Uint8Array | null = frame;
    for (const [at, direction] of hooked) {
      if (passed === null) break;
      passed = at.filter(passed as Uint8Array<ArrayBuffer>, direction);
    }
    return passed;
  };
}

/** One end of a bridge, between two engines or past hooks: what leaves one goes into the other in whole batches. */
class BridgePort extends ExternalPort {
  other: BridgePort | null = null;
  /** What joins the other end to the port there; undone with this end. */
  connection: Connection | null = null;
  /** What becomes of frames from here to the other end, where hooks are asked. */
  passes: ((frame: Uint8Array<ArrayBuffer>) => Uint8Array | null) | null = null;

  onFrames(): void {
    if (this.passes === null) {
      if (this.other !== null) this.passAll(this.other);
      return;
    }
    do {
      const batch = this.take();
      if (batch === null) return;
      this.#pass(batch.slice(), this.passes);
    } while (this.mayHaveMore);
  }

  #pass(
    batch: Uint8Array<ArrayBuffer>,
    passes: (frame: Uint8Array<ArrayBuffer>) => Uint8Array | null,
  ): void {
    eachFrame(batch, (frame) => {
      const passed = passes(frame);
      if (passed !== null) this.other?.bring(passed);
    });
  }

  /** What has left the other end comes in here before the cable goes: a host that is about to go has given back its lease. */
  passRest(): void {
    this.other?.onFrames();
    this.attached?.engine.sendStaged();
  }

  override detach(): void {
    super.detach();
    this.connection?.unplug();
    this.connection = null;
  }

  protected dispose(): void {}
}

/** Makes a cable with two free ends, for ports that may be of any engine or none. */
export async function createCable(options: CableOptions = {}): Promise<Cable> {
  const { name, engine, ...impairment } = check.options("options", options);
  const checked = impairmentOf("options", impairment);
  const label = name === undefined ? "cable" : check.string("options.name", name);
  return new CableImpl(await engineFor(engine), label, checked);
}

class CableImpl implements Cable {
  readonly a: Port;
  readonly b: Port;
  readonly engine: EngineCore;
  readonly #ends: readonly [CableEnd, CableEnd];
  #impairment: CheckedImpairment;
  #joined: Connection | null = null;

  constructor(engine: EngineCore, name: string, impairment: CheckedImpairment) {
    this.engine = engine;
    this.#impairment = impairment;
    this.#ends = [new CableEnd(this, `${name}:a`), new CableEnd(this, `${name}:b`)];
    [this.a, this.b] = this.#ends;
  }

  /** Something was plugged into an end, or out of it: frames pass while both ends have something. */
  endChanged(): void {
    const [a, b] = this.#ends;
    if (a.far !== null && b.far !== null) {
      this.#joined ??= connect(this.engine, [a.far, a], [b.far, b], this.#impairment);
    } else {
      this.#joined?.unplug();
      this.#joined = null;
    }
  }

  /** A port that is plugged in, or an end, has a hook now, or none any more. */
  rejoin(): void {
    this.#joined?.unplug();
    this.#joined = null;
    if (this.engine.over === null) this.endChanged();
  }

  set(impairment: Impairment): void {
    this.change(impairmentOf("impairment", impairment));
  }

  change(changed: CheckedImpairment): void {
    this.#impairment = { ...this.#impairment, ...changed };
    this.#joined?.set(this.#impairment);
  }

  /** What passed the cable, as the port at one end sees it. */
  countersAt(end: CableEnd): PortCounters {
    const seen = end.far?.counters ?? noCounters();
    return {
      ...noCounters(),
      framesReceived: seen.framesSent,
      bytesReceived: seen.bytesSent,
      framesSent: seen.framesReceived,
      bytesSent: seen.bytesReceived,
    };
  }

  close(): void {
    for (const end of this.#ends) end.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** One end of a cable. It has no port of its own in the engine: what is plugged into both ends is joined there. */
class CableEnd extends PortBase {
  readonly cable: CableImpl;
  /** What is plugged into this end. */
  far: PortBase | null = null;

  constructor(cable: CableImpl, name: string) {
    super(name);
    this.cable = cable;
  }

  get engine(): EngineCore {
    return this.cable.engine;
  }

  protected count(): PortCounters {
    return this.cable.countersAt(this);
  }

  plugInto(port: PortBase, impairment: CheckedImpairment): Joined {
    if (port instanceof CableEnd) {
      throw new TypeError(`${this.name} and ${port.name}: a cable cannot be plugged into a cable`);
    }
    const joined: Joined = {
      unplug: () => {
        if (this.joint !== joined) return;
        this.far = null;
        this.joint = null;
        port.joint = null;
        this.cable.endChanged();
        port.unplugged();
      },
      set: (changed) => {
        if (this.joint !== joined) throw unplugged(this, port);
        this.cable.change(changed);
      },
      rejoin: () => this.cable.rejoin(),
    };
    this.far = port;
    this.joint = joined;
    port.joint = joined;
    this.cable.change(impairment);
    this.cable.endChanged();
    return joined;
  }

  attach(): never {
    throw new TypeError(`${this.name} has no port of its own`);
  }

  detach(): void {}

  protected dispose(): void {}
}
