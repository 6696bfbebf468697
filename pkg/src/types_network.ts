/**
 * What joins stacks, and what passes between them: cables, switches and captures.
 * Times are milliseconds, sizes are bytes unless a comment says otherwise.
 *
 * @module
 */

import type { DurationLike, Engine, FrameDirection, Pluggable, Port, RateLike } from "./types.js";
import type { Trace } from "./types_tcp.js";

/** How a switch is made. */
export interface SwitchOptions {
  /** A name for people and captures. */
  name?: string;
  /** By default the one that all of this realm shares. */
  engine?: Engine;
}

/** How a port is plugged into a switch. */
export interface SwitchPlugOptions {
  /**
   * No frame passes from an isolated port to another isolated one, as on a private VLAN (RFC 5517): guests at such ports reach only what is
   * plugged in without it, such as a gateway. Nor does the switch take frames from such a port whose sender has an address that is another's, or that say
   * what only routers and servers say; they are counted as `spoofed` and `rogue`. By default false, but true beside a gateway that isolates its guests.
   */
  isolated?: boolean;
}

/** A learning switch. */
export interface Switch {
  /** A name for people and captures. */
  readonly name: string;
  /** The engine that it is in. */
  readonly engine: Engine;
  /** The ports plugged in now. */
  readonly ports: readonly Port[];
  /** Plugs a port in. Throws if it is plugged in somewhere already. */
  plug(port: Pluggable, options?: SwitchPlugOptions): void;
  /** Unplugs a port; does nothing if it is not plugged in here. */
  unplug(port: Pluggable): void;
  /** Frames forwarded, flooded, filtered and dropped, by reason. */
  counters(): Record<string, number>;
  /** Unplugs all ports and frees the switch. A second call does nothing. */
  close(): void;
  /** As `close`, for `using`. */
  [Symbol.dispose](): void;
}

/** What a cable does to frames; each direction alike. Probabilities are 0 to 1. */
export interface Impairment {
  /** How long a frame is on the way. By default 0. */
  latency?: DurationLike;
  /** The latency varies evenly by up to this either way; frames don't overtake each other, see `reorder`. */
  jitter?: DurationLike;
  /** Probability that a frame is lost. By default 0. */
  loss?: number;
  /** Probability that a frame comes twice. By default 0. */
  duplicate?: number;
  /** Probability that one bit of a frame is wrong. By default 0. */
  corrupt?: number;
  /** Probability that a frame is held back for a moment, so that those behind overtake it. */
  reorder?: number;
  /** Bits per second on the wire. */
  rate?: RateLike;
  /** Frames that may wait for a wire with a `rate`; more are dropped. By default 1000. */
  queue?: number;
}

/** How a cable is made. */
export interface CableOptions extends Impairment {
  /** A name for people and captures. */
  name?: string;
  /** By default the one that all of this realm shares. */
  engine?: Engine;
}

/** A cable with two ends, each a port. */
export interface Cable {
  /** One end. */
  readonly a: Port;
  /** The other end. */
  readonly b: Port;
  /** Changes what the cable does from now on; what is not named stays. */
  set(impairment: Impairment): void;
  /** Unplugs both ends and frees the cable; frames on the way are lost. */
  close(): void;
  /** As `close`, for `using`. */
  [Symbol.dispose](): void;
}

/** Two ports joined by `plug(a, b)`. */
export interface Link {
  /** Takes the two ports apart. */
  unplug(): void;
  /** Changes what the link does to frames. */
  set(impairment: Impairment): void;
  /** As `unplug`, for `using`. */
  [Symbol.dispose](): void;
}

/** How a capture is made. */
export interface CaptureOptions {
  /** Bytes kept of each frame; by default all. */
  snapLength?: number;
  /** Bytes kept in all; the oldest frames go first. By default 64 MiB. */
  memory?: number;
  /**
   * {@link Stack.trace} of the stack that sends and receives the packets: what it says of them becomes their comments, such as "fast retransmit" or "TLP". The
   * trace's events still come to whoever asks for them. By default there are no comments.
   */
  trace?: Trace;
}

/** A frame that a capture saw. */
export interface CapturedFrame {
  /** Counts from 0, without gaps unless frames were dropped before they were looked at. */
  index: number;
  /** Milliseconds since 1970. */
  time: number;
  /** Name of the port that the frame was seen on. */
  port: string;
  /** `"in"`: into the stack, switch or device that owns the port. `"out"`: out of it. */
  direction: FrameDirection;
  /** Length on the wire, which may be more than `data` has. */
  length: number;
  /** From the Ethernet header on, or from the IP header where the port carries IP packets. */
  data: Uint8Array<ArrayBuffer>;
  /** One line for people, such as `10.0.2.15:80 → 10.0.2.2:49152 TCP [SYN, ACK] ...`. */
  summary: string;
  /** What the trace says of it; null for nothing. */
  comment: string | null;
}

/** Frames seen at a port, or at all ports of a switch (each frame then once for each port that it passes). */
export interface Capture {
  /** Frames kept now. */
  readonly length: number;
  /** Frames that the memory limit has pushed out. */
  readonly dropped: number;
  /**
   * All frames that are kept at the moment of the call, as a pcapng file.
   * Rejects with a TypeError if the capture is closed, with an EngineError if the services' module cannot be loaded.
   */
  pcapng(): Promise<Uint8Array<ArrayBuffer>>;
  /** Frames from the oldest kept one on, then live until `stop`. */
  readonly frames: AsyncIterable<CapturedFrame>;
  /** Stops watching. What was kept can still be read. */
  stop(): void;
  /** Stops, and frees what was kept. */
  close(): void;
  /** As `close`, for `using`. */
  [Symbol.dispose](): void;
}
