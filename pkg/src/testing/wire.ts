/**
 * Cables of a world. A cable has two ends outside of the engine, with a cable of the engine from each to what it is plugged into, so that each frame can be
 * looked at on its way. What the engine's cables do to frames, the one at the first end does.
 */

import * as check from "../arguments.js";
import { type EngineCore, eachFrame } from "../engine_core.js";
import { type CheckedImpairment, impairmentOf, type Joined, join } from "../plug.js";
import { ExternalPort, type PortBase } from "../ports/port_base.js";
import type { SwitchImpl } from "../switch.js";
import { FaultImpl } from "./fault.js";
import { PacketView } from "./packet.js";
import type { Random } from "./random.js";
import type { Fault, Packet, Weather, WorldCable } from "./types.js";

/** A frame on its way between two ends. */
export interface Passing {
  readonly packet: PacketView;
  readonly wire: Wire;
  readonly from: WireEnd;
  readonly to: WireEnd;
}

/** Decides whether a frame goes on. */
export type Gate = (passing: Passing) => boolean;

/** What a wire needs of its world. */
export interface WireWorld {
  readonly engine: EngineCore;
  /** Milliseconds since the world began. */
  now(): number;
  /** The program was called. */
  called(): void;
  /** A function of the program's has failed, for whoever waits; false if nobody does. */
  failed(error: Error): boolean;
  /** Gates that all frames of the world have to pass. */
  readonly gates: ReadonlySet<Gate>;
}

/** What an end is plugged into: an interface of a host, a switch, or a port outside of the world. */
export interface Plugged {
  readonly name: string;
  /** The port to join, now; null if there is none, or the switch to plug into. */
  port(): PortBase | SwitchImpl | null;
}

interface Burst {
  start: number;
  stop: number;
  loss: number;
}

/** See {@link WorldCable}. */
export class Wire implements WorldCable {
  readonly name: string;
  readonly a: WireEnd;
  readonly b: WireEnd;
  readonly #world: WireWorld;
  readonly #random: Random;
  readonly #drops = new Set<Gate>();
  #impairment: CheckedImpairment = {};
  #burst: Burst | null = null;
  #isPlugged = false;

  constructor(world: WireWorld, a: Plugged, b: Plugged, name: string, random: Random) {
    this.name = name;
    this.#world = world;
    this.#random = random;
    this.a = new WireEnd(this, a, `${name}:${a.name}`);
    this.b = new WireEnd(this, b, `${name}:${b.name}`);
    this.a.other = this.b;
    this.b.other = this.a;
  }

  set(weather: Weather): void {
    const { burstLoss, ...impairment } = check.options("weather", weather);
    const checked = impairmentOf("weather", impairment);
    if (burstLoss !== undefined) this.#burst = burstOf(burstLoss);
    this.#impairment = { ...this.#impairment, ...checked };
    this.a.joined?.set(checked);
  }

  plug(): void {
    this.#isPlugged = true;
    this.joinEnds();
  }

  /** Joins the ends that can be joined and are not: a host may have got a new interface. */
  joinEnds(): void {
    if (!this.#isPlugged) return;
    this.a.joinWith(this.#impairment);
    this.b.joinWith({});
  }

  unplug(): void {
    this.#isPlugged = false;
    this.a.unplug();
    this.b.unplug();
  }

  drop(filter: (packet: Packet) => boolean | undefined, options: { times?: number } = {}): Fault {
    const drops = check.callback("filter", filter);
    if (drops === null) throw new TypeError("filter must be a function, got nothing");
    const { times } = check.options("options", options);
    const most =
      times === undefined
        ? Number.POSITIVE_INFINITY
        : check.integer("options.times", times, 1, Number.MAX_SAFE_INTEGER);
    const gate: Gate = ({ packet }) => {
      this.#world.called();
      if (!this.#asked(drops, packet, fault)) return true;
      fault.count += 1;
      if (fault.count === most) fault.heal();
      return false;
    };
    const fault = new FaultImpl(() => this.#drops.delete(gate));
    this.#drops.add(gate);
    return fault;
  }

  /** What a filter says. One that fails is asked no more, and that is an error of `run`, `until` or `step`. */
  #asked(filter: (packet: Packet) => unknown, packet: PacketView, fault: Fault): boolean {
    try {
      const answer = filter(packet);
      if (answer instanceof Promise) {
        throw new TypeError("filter must answer at once, and has returned a promise");
      }
      return Boolean(answer);
    } catch (error) {
      fault.heal();
      const failure = error instanceof Error ? error : new Error(String(error));
      if (!this.#world.failed(failure)) throw failure;
      return false;
    }
  }

  /** Whether frames pass without being looked at. */
  get isPlain(): boolean {
    return this.#drops.size === 0 && this.#burst === null && this.#world.gates.size === 0;
  }

  /** Whether a frame goes on. */
  passes(frame: Uint8Array, from: WireEnd): boolean {
    const packet = new PacketView(frame, this.#world.now(), from.at.name, from.other.at.name);
    const passing = { packet, wire: this, from, to: from.other };
    for (const gate of this.#world.gates) if (!gate(passing)) return false;
    for (const gate of [...this.#drops]) if (!gate(passing)) return false;
    return !this.#isLostInBurst(from);
  }

  #isLostInBurst(from: WireEnd): boolean {
    const burst = this.#burst;
    if (burst === null) return false;
    const turns = this.#random.number() < (from.isBad ? burst.stop : burst.start);
    if (turns) from.isBad = !from.isBad;
    return from.isBad && this.#random.number() < burst.loss;
  }
}

function burstOf(given: Weather["burstLoss"]): Burst | null {
  if (given === null) return null;
  const { start, stop, loss } = check.options("weather.burstLoss", given);
  return {
    start: check.probability("weather.burstLoss.start", start ?? 0),
    stop: check.probability("weather.burstLoss.stop", stop ?? 1),
    loss: check.probability("weather.burstLoss.loss", loss ?? 1),
  };
}

/** One end of a wire. */
export class WireEnd extends ExternalPort {
  readonly at: Plugged;
  other: WireEnd = this;
  /** Whether the line is bad for the frames that come in here. */
  isBad = false;
  readonly #wire: Wire;

  constructor(wire: Wire, at: Plugged, name: string) {
    super(name);
    this.#wire = wire;
    this.at = at;
  }

  get joined(): Joined | null {
    return this.joint as Joined | null;
  }

  joinWith(impairment: CheckedImpairment): void {
    if (this.joint !== null) return;
    const port = this.at.port();
    if (port === null) return;
    if ("plug" in port) {
      port.plug(this);
      this.joined?.set(impairment);
    } else {
      join(port, this, impairment);
    }
  }

  onFrames(): void {
    for (let batch = this.take(); batch !== null; batch = this.take()) {
      if (this.#wire.isPlain) this.other.bringBatch(batch);
      else this.#pass(batch.slice());
    }
  }

  #pass(batch: Uint8Array<ArrayBuffer>): void {
    eachFrame(batch, (frame) => {
      if (this.#wire.passes(frame, this)) this.other.bring(frame);
    });
  }

  /** Sends a frame on from here, as if it had come by the wire. */
  inject(frame: Uint8Array): void {
    this.bring(frame);
  }

  protected dispose(): void {}
}
