/** Timers in the order in which they are due. */

/** A timer that waits. */
export interface Waiting {
  /** Microseconds of virtual time. */
  readonly due: number;
  readonly callback: () => void;
  /** Whether the program has its turn after it. */
  readonly yields: boolean;
  /** Who waits, for messages; null for what is not told of. */
  readonly label: string | null;
}

interface Entry extends Waiting {
  readonly order: number;
  isCancelled: boolean;
}

/** Cancelled entries that may lie about before they are swept out. */
const SLACK = 64;

/** A binary heap by time, and by order of arrival where times are equal. What is cancelled stays until it comes up, or is half of all. */
export class TimerQueue {
  #heap: Entry[] = [];
  #arrivals = 0;
  #cancelled = 0;

  add(timer: Waiting): unknown {
    const { due, callback, yields, label } = timer;
    const order = this.#arrivals;
    const entry: Entry = { due, callback, yields, label, order, isCancelled: false };
    this.#arrivals += 1;
    this.#heap.push(entry);
    this.#rise(this.#heap.length - 1);
    return entry;
  }

  cancel(timer: unknown): void {
    const entry = timer as Entry | null | undefined;
    if (typeof entry !== "object" || entry === null || entry.isCancelled !== false) return;
    entry.isCancelled = true;
    this.#cancelled += 1;
    if (this.#cancelled > SLACK && 2 * this.#cancelled > this.#heap.length) this.#sweep();
  }

  /** The timer that is due first. */
  get first(): Waiting | null {
    for (;;) {
      const top = this.#heap[0];
      if (top === undefined) return null;
      if (!top.isCancelled) return top;
      this.#cancelled -= 1;
      this.#removeTop();
    }
  }

  /** Takes the first timer out if it is due by then. */
  take(by: number): Waiting | null {
    const { first } = this;
    if (first === null || first.due > by) return null;
    this.#removeTop();
    // Cancelling it later does nothing.
    (first as Entry).isCancelled = true;
    return first;
  }

  /** Those that wait, in no order. */
  list(): Waiting[] {
    return this.#heap.filter((entry) => !entry.isCancelled);
  }

  clear(): void {
    this.#heap = [];
    this.#cancelled = 0;
  }

  #sweep(): void {
    // A sorted array is a heap.
    this.#heap = this.#heap.filter((entry) => !entry.isCancelled).sort((a, b) => compare(a, b));
    this.#cancelled = 0;
  }

  #removeTop(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    this.#sink();
  }

  #rise(from: number): void {
    for (let at = from; at > 0; ) {
      const parent = (at - 1) >> 1;
      if (!this.#swapIfWrong(parent, at)) return;
      at = parent;
    }
  }

  #sink(): void {
    for (let at = 0; ; ) {
      const left = 2 * at + 1;
      const a = this.#heap[left];
      const b = this.#heap[left + 1];
      if (a === undefined) return;
      const child = b !== undefined && compare(b, a) < 0 ? left + 1 : left;
      if (!this.#swapIfWrong(at, child)) return;
      at = child;
    }
  }

  #swapIfWrong(parent: number, child: number): boolean {
    const above = this.#heap[parent];
    const below = this.#heap[child];
    if (above === undefined || below === undefined || compare(above, below) <= 0) return false;
    this.#heap[parent] = below;
    this.#heap[child] = above;
    return true;
  }
}

function compare(a: Entry, b: Entry): number {
  return a.due - b.due || a.order - b.order;
}
