/** A transfer as the page shows it: figures now, and how they were. */

import { type Readable, writable } from "svelte/store";
import { errorText } from "./format.js";
import type { Transfer } from "./transfer.js";

/** A moment of a transfer. */
export interface Sample {
  /** Milliseconds since the connection was asked for. */
  time: number;
  /** Bits per second that arrived since the sample before. */
  rate: number;
  /** Bytes. */
  cwnd: number;
}

/** What the transfer's panel shows. */
export interface TransferState {
  kind: "idle" | "running" | "done" | "stopped" | "failed";
  received: number;
  total: number;
  /** Milliseconds. */
  elapsed: number;
  samples: readonly Sample[];
  /** What went wrong, with `failed`. */
  message: string;
}

const IDLE: TransferState = {
  kind: "idle",
  received: 0,
  total: 0,
  elapsed: 0,
  samples: [],
  message: "",
};

/** Samples are thinned to half when there are more. */
const SAMPLES = 400;

/** Bits per second of a transfer as a whole. */
export function throughput({ received, elapsed }: TransferState): number {
  return elapsed > 0 ? (received * 8 * 1000) / elapsed : 0;
}

/** One transfer after the other. */
export class TransferSession {
  readonly state: Readable<TransferState>;
  readonly #state = writable<TransferState>(IDLE);
  readonly #start: (bytes: number, signal: AbortSignal) => Transfer;
  readonly #interval: number;
  #running: AbortController | null = null;

  /** @param interval  between two samples, in milliseconds */
  constructor(start: (bytes: number, signal: AbortSignal) => Transfer, interval = 250) {
    this.#start = start;
    this.#interval = interval;
    this.state = this.#state;
  }

  /** Runs a transfer; resolves when it has ended, however it did. Does nothing while one runs. */
  async run(bytes: number): Promise<void> {
    if (this.#running !== null) return;
    const running = new AbortController();
    this.#running = running;
    this.#state.set({ ...IDLE, kind: "running", total: bytes });
    let timer: ReturnType<typeof setInterval> | undefined;
    try {
      const current = this.#start(bytes, running.signal);
      timer = setInterval(() => this.#sample(current), this.#interval);
      const end = await current.done;
      this.#state.update((state) => ({ ...state, ...end, kind: "done" }));
    } catch (error) {
      const kind = running.signal.aborted ? "stopped" : "failed";
      this.#state.update((state) => ({ ...state, kind, message: errorText(error) }));
    } finally {
      clearInterval(timer);
      this.#running = null;
    }
  }

  /** Ends the transfer that runs. */
  stop(): void {
    this.#running?.abort();
  }

  #sample(current: Transfer): void {
    const { received, total, elapsed } = current.progress();
    const cwnd = current.socket.info()?.cwnd ?? 0;
    this.#state.update((state) => {
      const span = elapsed - state.elapsed;
      const rate = span > 0 ? ((received - state.received) * 8 * 1000) / span : 0;
      const samples = [...state.samples, { time: elapsed, rate, cwnd }];
      return {
        ...state,
        received,
        total,
        elapsed,
        samples: samples.length > SAMPLES ? samples.filter((_, index) => index % 2 === 0) : samples,
      };
    });
  }
}
