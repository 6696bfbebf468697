/** Captures: what passed ports, as a pcapng file and frame by frame. */

import * as check from "./arguments.js";
import { PacketComments } from "./comments.js";
import type { Dependent, EngineCore } from "./engine_core.js";
import { EngineError } from "./errors.js";
import { CAPTURED } from "./names.js";
import { ExternalPort, type PortBase, portOf } from "./ports/port_base.js";
import { fieldsOf } from "./records.js";
import { Services } from "./services.js";
import { SwitchImpl } from "./switch.js";
import { TraceImpl } from "./trace.js";
import type { Capture, CapturedFrame, CaptureOptions, Pluggable, Switch } from "./types.js";

const DEFAULT_MEMORY = 64 * 1024 * 1024;
const LONGEST_FRAME = 65_535 + 18;

/** What `capture_frame` tells of a frame whose bytes are in the scratch memory. */
interface Seen {
  index: number;
  time: number;
  port: string;
  direction: "in" | "out";
  length: number;
  kept: number;
  /** Whether it is an IP packet without an Ethernet header. */
  isPacket: boolean;
}

const seenFields = fieldsOf(CAPTURED);

/**
 * Begins to watch a port or a switch. A port that comes from outside (a virtual machine, a WebSocket) must be plugged in.
 */
export function capture(target: Pluggable | Switch, options?: CaptureOptions): Capture {
  const { snapLength, memory, trace } = check.options("options", options);
  const snap =
    snapLength === undefined
      ? LONGEST_FRAME
      : check.integer("options.snapLength", snapLength, 1, LONGEST_FRAME);
  const bytes =
    memory === undefined
      ? DEFAULT_MEMORY
      : check.integer("options.memory", memory, LONGEST_FRAME, 1024 * 1024 * 1024);
  if (trace !== undefined && !(trace instanceof TraceImpl)) {
    throw new TypeError(`options.trace must be the trace of a stack, got ${check.show(trace)}`);
  }
  const comments = trace === undefined ? null : new PacketComments(trace);
  try {
    return begin(target, bytes, snap, comments);
  } catch (error) {
    comments?.stop();
    throw error;
  }
}

function begin(
  target: Pluggable | Switch,
  bytes: number,
  snap: number,
  comments: PacketComments | null,
): Capture {
  if (target instanceof SwitchImpl) {
    const id = target.engine.call((wasm) => wasm.add_capture(bytes, snap));
    const { engine } = target;
    const watched: number[] = [];
    const forget = target.watchPorts((port) => {
      engine.call((wasm) => wasm.watch(id, port));
      watched.push(port);
    });
    return new CaptureImpl(engine, id, comments, () => {
      forget();
      if (engine.over !== null) return;
      for (const port of watched) engine.call((wasm) => wasm.unwatch(id, port));
    });
  }
  const { engine, port } = whereIs(portOf("target", target as Pluggable));
  const id = engine.call((wasm) => wasm.add_capture(bytes, snap));
  engine.call((wasm) => wasm.watch(id, port));
  return new CaptureImpl(engine, id, comments, () => {
    if (engine.over === null) engine.call((wasm) => wasm.unwatch(id, port));
  });
}

function whereIs(port: PortBase): { engine: EngineCore; port: number } {
  if (port.isClosed) throw new TypeError(`target: the port ${port.name} is closed`);
  if (port instanceof ExternalPort) {
    if (port.attached !== null) return { engine: port.attached.engine, port: port.attached.id };
    throw new TypeError(`target: the port ${port.name} is not plugged in, so nothing passes it`);
  }
  if (port.engine === null) throw new TypeError(`target: the port ${port.name} is in no engine`);
  return { engine: port.engine, port: port.attach(port.engine) };
}

/** What the captures of an engine are read with: one for all, loaded when the first is read. */
const inspectors = new WeakMap<EngineCore, Promise<Services>>();

function inspectorOf(engine: EngineCore): Promise<Services> {
  const known = inspectors.get(engine);
  if (known !== undefined) return known;
  const loading = Services.load(engine);
  inspectors.set(engine, loading);
  // The next who asks tries again.
  loading.then(
    (services) => {
      services.ontrap = () => inspectors.delete(engine);
    },
    () => inspectors.delete(engine),
  );
  return loading;
}

/** See {@link Capture}. */
class CaptureImpl implements Capture, Dependent {
  readonly #engine: EngineCore;
  readonly #id: number;
  /** What a stack's trace says of its packets, if that was asked for. */
  readonly #comments: PacketComments | null;
  readonly #unwatch: () => void;
  /** The wall clock's time at the engine's time 0, in milliseconds: one for all frames, or neighbours could swap. */
  readonly #origin: number;
  /** Those who wait for the next frame. */
  readonly #followers = new Set<() => void>();
  #isStopped = false;
  #isClosed = false;

  constructor(
    engine: EngineCore,
    id: number,
    comments: PacketComments | null,
    unwatch: () => void,
  ) {
    this.#engine = engine;
    this.#id = id;
    this.#comments = comments;
    this.#unwatch = unwatch;
    this.#origin = engine.wallTime(0);
    engine.addDependent(this);
  }

  get length(): number {
    return this.#seen() - this.dropped;
  }

  get dropped(): number {
    if (this.#isClosed) return 0;
    return this.#engine.call((wasm) => wasm.capture_dropped(this.#id));
  }

  /** Frames seen so far, kept or not. */
  #seen(): number {
    if (this.#isClosed) return 0;
    return this.#engine.call((wasm) => wasm.capture_seen(this.#id));
  }

  async pcapng(): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#isClosed) throw new TypeError("the capture is closed");
    // What is kept now, whatever passes while the module is loaded.
    const packets = this.#engine.call((wasm) => wasm.capture_packets(this.#id));
    const comments = this.#comments?.linesFor(packets) ?? "";
    const inspector = await inspectorOf(this.#engine);
    const file = inspector.call((wasm) =>
      wasm.pcapng_file(packets, this.#origin * 1_000, comments),
    );
    if (file === undefined) throw new EngineError("the captured packets could not be written");
    return file as Uint8Array<ArrayBuffer>;
  }

  get frames(): AsyncIterable<CapturedFrame> {
    return { [Symbol.asyncIterator]: () => this.#follow() };
  }

  async *#follow(): AsyncGenerator<CapturedFrame, void, undefined> {
    const inspector = await inspectorOf(this.#engine);
    const match = this.#comments?.matcher() ?? (() => null);
    for (let next = 0; ; ) {
      const frame = this.#isClosed ? null : this.#frame(inspector, next, match);
      if (frame !== null) {
        next = frame.index + 1;
        yield frame;
      } else if (this.#isStopped) {
        return;
      } else {
        await this.#moreThan(next);
      }
    }
  }

  /** The first kept frame from this number on. */
  #frame(
    inspector: Services,
    from: number,
    match: ReturnType<PacketComments["matcher"]>,
  ): CapturedFrame | null {
    const seen = this.#engine.record<Seen>(seenFields, (wasm) =>
      wasm.capture_frame(this.#id, from),
    );
    if (seen === null) return null;
    const { index, port, direction, length } = seen;
    const data = this.#engine.scratchBytes(seen.kept);
    const { isPacket } = seen;
    return {
      index,
      time: this.#origin + seen.time / 1_000,
      port,
      direction,
      length,
      data,
      summary: inspector.call((wasm) => wasm.frame_summary(data, isPacket)),
      comment: match(seen.time, data, isPacket),
    };
  }

  /** Waits until there is a frame with this number, or the capture is stopped. */
  #moreThan(next: number): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!this.#isStopped && this.#seen() <= next) return;
        this.#engine.removeObserver(look);
        this.#followers.delete(look);
        resolve();
      };
      this.#engine.addObserver(look);
      this.#followers.add(look);
    });
  }

  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#unwatch();
    this.#comments?.stop();
    this.#engine.removeDependent(this);
    for (const look of this.#followers) look();
  }

  close(): void {
    if (this.#isClosed) return;
    this.stop();
    this.#isClosed = true;
    if (this.#engine.over === null) {
      this.#engine.call((wasm) => wasm.remove_capture(this.#id));
    }
  }

  onEngineOver(): void {
    this.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
