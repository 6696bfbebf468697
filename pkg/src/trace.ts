/** The trace of a stack: events from a bounded ring in the engine, taken in batches by whoever asks first. */

import type { EngineCore } from "./engine_core.js";
import { TRACE_EVENTS, TRACE_RECORD } from "./names.js";
import { type Field, fieldsOf, recordOf } from "./records.js";
import type { Trace, TraceEvent } from "./types.js";

/** Numbers of each record of the module. */
const WIDTH = 11;
/** Records that an iteration takes at a time. */
const BATCH = 256;

const COMMON = fieldsOf(TRACE_RECORD);
const KINDS: readonly { type: string; fields: readonly Field[] }[] = TRACE_EVENTS.trim()
  .split("\n")
  .map((line) => {
    const [type = "", ...names] = line.trim().split(" ");
    return { type, fields: names.length === 0 ? [] : fieldsOf(names.join(" ")) };
  });

/** Sees an event, with its time on the engine's clock in microseconds. */
export type TraceWatcher = (event: TraceEvent, micros: number) => void;

/** See {@link Trace}. */
export class TraceImpl implements Trace {
  readonly #engine: EngineCore;
  readonly #host: number;
  /** The wall clock's time at the engine's time 0, in milliseconds. */
  readonly #origin: number;
  /** How many events are kept for whoever asks; 0 without a trace. */
  readonly #limit: number;
  /** Those who see each event, whoever asks for it. */
  readonly #watchers = new Set<TraceWatcher>();
  readonly #pull = (): void => this.pull();
  /** Those who wait for the next event. */
  readonly #followers = new Set<() => void>();
  /** What was taken from the engine and not asked for yet. */
  readonly #taken: TraceEvent[] = [];
  /** Of what was taken from the engine, what nobody has asked for in time. */
  #outdated = 0;
  /** How many were dropped in all, once the stack has ended. */
  #finallyDropped: number | null = null;

  constructor(engine: EngineCore, host: number, limit: number) {
    this.#engine = engine;
    this.#host = host;
    this.#origin = engine.wallTime(0);
    this.#limit = limit;
  }

  get dropped(): number {
    const dropped = () => this.#engine.call((wasm) => wasm.trace_dropped(this.#host));
    return (this.#finallyDropped ?? dropped()) + this.#outdated;
  }

  #assertOn(): void {
    if (this.#limit > 0) return;
    throw new TypeError(
      "the stack has no trace: give createStack({ limits: { trace: 4096 } }), or another number of events",
    );
  }

  /**
   * Lets `watcher` see each event from now on, until the returned function is called. What it sees still waits for whoever asks, as many as the trace
   * keeps.
   * @throws TypeError without a trace.
   */
  watch(watcher: TraceWatcher): () => void {
    this.#assertOn();
    this.pull();
    if (this.#watchers.size === 0) this.#engine.addObserver(this.#pull);
    this.#watchers.add(watcher);
    return () => {
      if (this.#watchers.has(watcher)) this.pull();
      this.#watchers.delete(watcher);
      if (this.#watchers.size === 0) this.#engine.removeObserver(this.#pull);
    };
  }

  /** Takes all events from the engine, for those who watch. */
  pull(): void {
    if (this.#engine.over !== null) return;
    this.#fetch(Number.POSITIVE_INFINITY);
    const outdated = this.#taken.length - this.#limit;
    if (outdated <= 0) return;
    this.#taken.splice(0, outdated);
    this.#outdated += outdated;
  }

  take(most = Number.POSITIVE_INFINITY): TraceEvent[] {
    this.#fetch(most - this.#taken.length);
    return this.#taken.splice(0, most);
  }

  /** Takes up to `most` events from the engine. */
  #fetch(most: number): void {
    if (this.#finallyDropped !== null || most <= 0) return;
    const records = Math.min(most, 2 ** 32 - 1);
    const numbers = this.#engine.numbers((wasm) => wasm.take_trace(this.#host, records));
    for (let at = 0; at < numbers.length; at += WIDTH) {
      const kind = KINDS[numbers[at] ?? -1];
      if (kind === undefined) continue;
      const event = this.#event(kind, numbers, at);
      this.#taken.push(event);
      const micros = numbers[at + 1] ?? 0;
      for (const watcher of this.#watchers) watcher(event, micros);
    }
  }

  #event({ type, fields }: (typeof KINDS)[number], numbers: Float64Array, at: number): TraceEvent {
    const { kind: _, time, ...common } = recordOf(COMMON, numbers, at);
    return {
      type,
      time: this.#origin + Number(time) / 1_000,
      ...common,
      ...recordOf(fields, numbers, at + COMMON.length),
    } as TraceEvent;
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<TraceEvent, void, undefined> {
    const waiting = new Set<() => void>();
    let isOver = false;
    return {
      next: async () => {
        this.#assertOn();
        while (!isOver) {
          if (this.#taken.length === 0) this.#fetch(BATCH);
          const event = this.#taken.shift();
          if (event !== undefined) return { done: false, value: event };
          if (this.#finallyDropped === null) await this.#more(waiting);
          else isOver = true;
        }
        return { done: true, value: undefined };
      },
      // Ends a `next` that waits, which that of a generator does not.
      return: async () => {
        isOver = true;
        for (const look of waiting) look();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /** Waits until frames may have moved; is one of those that wait until then. */
  #more(waiting: Set<() => void>): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        this.#engine.removeObserver(look);
        this.#followers.delete(look);
        waiting.delete(look);
        resolve();
      };
      this.#engine.addObserver(look);
      this.#followers.add(look);
      waiting.add(look);
    });
  }

  /** The stack is over: what waits can still be taken. */
  end(): void {
    if (this.#finallyDropped !== null) return;
    if (this.#engine.over === null) this.#fetch(Number.POSITIVE_INFINITY);
    this.#finallyDropped = this.#engine.over === null ? this.dropped - this.#outdated : 0;
    this.#watchers.clear();
    this.#engine.removeObserver(this.#pull);
    for (const look of this.#followers) look();
  }
}
