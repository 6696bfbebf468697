/**
 * What joins stacks, what passes between them and what others can be plugged in: cables, switches, captures and ports from outside.
 * Times are milliseconds, sizes are bytes unless a comment says otherwise.
 *
 * @module
 */

import type { DurationLike, Engine, Pluggable, Port, RateLike } from "./types.js";

/** How a switch is made. */
export interface SwitchOptions {
  name?: string;
  engine?: Engine;
}

/** A learning switch. */
export interface Switch {
  readonly name: string;
  readonly engine: Engine;
  /** The ports plugged in now. */
  readonly ports: readonly Port[];
  /** Plugs a port in. Throws if it is plugged in somewhere already. */
  plug(port: Pluggable): void;
  /** Unplugs a port; does nothing if it is not plugged in here. */
  unplug(port: Pluggable): void;
  /** Frames forwarded, flooded, filtered and dropped, by reason. */
  counters(): Record<string, number>;
  close(): void;
  [Symbol.dispose](): void;
}

/** What a cable does to frames; each direction alike. Probabilities are 0 to 1. */
export interface Impairment {
  latency?: DurationLike;
  /** The latency varies evenly by up to this either way; frames don't overtake each other, see `reorder`. */
  jitter?: DurationLike;
  loss?: number;
  duplicate?: number;
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
  name?: string;
  engine?: Engine;
}

/** A cable with two ends, each a port. */
export interface Cable {
  readonly a: Port;
  readonly b: Port;
  /** Changes what the cable does from now on; what is not named stays. */
  set(impairment: Impairment): void;
  close(): void;
  [Symbol.dispose](): void;
}

/** Two ports joined by `plug(a, b)`. */
export interface Link {
  /** Takes the two ports apart. */
  unplug(): void;
  /** Changes what the link does to frames. */
  set(impairment: Impairment): void;
  [Symbol.dispose](): void;
}

/** How a capture is made. */
export interface CaptureOptions {
  /** Bytes kept of each frame; by default all. */
  snapLength?: number;
  /** Bytes kept in all; the oldest frames go first. By default 64 MiB. */
  memory?: number;
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
  direction: "in" | "out";
  /** Length on the wire, which may be more than `data` has. */
  length: number;
  /** From the Ethernet header on, or from the IP header where the port carries IP packets. */
  data: Uint8Array<ArrayBuffer>;
  /** One line for people, such as `10.0.2.15:80 → 10.0.2.2:49152 TCP [SYN, ACK] ...`. */
  summary: string;
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
  [Symbol.dispose](): void;
}

/** How a port made of functions works. */
export interface FunctionPortOptions {
  /** Takes a frame out of the network. The array is valid during the call only: copy what must stay. */
  send(frame: Uint8Array): void;
  /** Told when the port was closed, by whatever side. */
  closed?(): void;
  name?: string;
}

/** A port made of functions. */
export interface FunctionPort extends Port {
  /** Brings a frame into the network; it is copied. Returns false if it was dropped (not plugged in, full, no frame). */
  receive(frame: Uint8Array): boolean;
}

/** The part of a v86 emulator that a port needs. */
export interface V86Emulator {
  add_listener(event: string, listener: (value: Uint8Array) => void): void;
  remove_listener(event: string, listener: (value: Uint8Array) => void): void;
  bus: { send(event: string, value: Uint8Array): void };
}

/** How a virtual machine is plugged in. */
export interface V86PortOptions {
  /** Number of the virtual machine's network card. By default 0. */
  nic?: number;
  name?: string;
}

/** The part of a WebSocket that a port needs; that of browsers, Node 22 and `ws` have it. */
export interface WebSocketLike {
  binaryType: string;
  readonly readyState: number;
  readonly bufferedAmount: number;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: string, listener: (event: never) => void): void;
  removeEventListener(type: string, listener: (event: never) => void): void;
}

/** How a WebSocket is plugged in. */
export interface WebSocketPortOptions {
  name?: string;
  /** Bytes that may wait in the socket's own buffer before frames for it are dropped. By default 1 MiB. */
  queue?: number;
  /** Sub-protocols, when a URL is given. */
  protocols?: string | string[];
}

/** A WebSocket with one Ethernet frame in each binary message. */
export interface WebSocketPort extends Port {
  /** Resolves when the socket is open, rejects if it closes before. */
  readonly opened: Promise<void>;
  /** Resolves when the socket has closed, for whatever reason; the port is unplugged then. */
  readonly closed: Promise<{ code: number; reason: string }>;
}
