/** How much may be under way between the two threads. */

/** Bytes of a connection, each way: what was sent and not yet taken at the other end. */
export const WINDOW = 1024 * 1024;
/** Most bytes in one message. */
export const CHUNK = 128 * 1024;
/** Accepted connections that wait in the other thread; the others wait in the stack's accept queue. */
export const ACCEPTS = 16;
/** Datagrams that wait in the other thread; the others wait in the stack's queue. */
export const DATAGRAMS = 64;

/** What was taken is told when half of what may be under way was, and not each time. */
export class Credit {
  readonly #most: number;
  readonly #give: (count: number) => void;
  #taken = 0;

  constructor(most: number, give: (count: number) => void) {
    this.#most = most;
    this.#give = give;
  }

  take(count: number): void {
    this.#taken += count;
    if (this.#taken < this.#most / 2) return;
    const taken = this.#taken;
    this.#taken = 0;
    this.#give(taken);
  }
}
