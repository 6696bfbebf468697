// The bytes that the benchmarks in JavaScript send, and the comparison of what arrives.

/** A prime, so that no buffer size is in step with it. */
const PERIOD = 1_048_573;

/** Endless bytes, of which any stretch of up to `longest` is at hand without a copy. */
export class Pattern {
  #bytes;

  constructor(longest) {
    this.#bytes = new Uint8Array(PERIOD + longest);
    // xorshift32: a piece that is lost, repeated or displaced shows.
    let x = 1;
    for (let i = 0; i < PERIOD; i++) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      // No zeros: busybox's wget takes a file that it posts for a text, which would end there.
      this.#bytes[i] = x & 0xff || 1;
    }
    this.#bytes.copyWithin(PERIOD, 0, longest);
  }

  /** `length` bytes from `offset` on. */
  at(offset, length) {
    const start = offset % PERIOD;
    return this.#bytes.subarray(start, start + length);
  }

  /** Whether `received` is what stands at `offset`; of any length. */
  matches(offset, received) {
    const longest = this.#bytes.length - PERIOD;
    for (let done = 0; done < received.length; done += longest) {
      const piece = received.subarray(done, done + longest);
      if (Buffer.compare(piece, this.at(offset + done, piece.length)) !== 0) return false;
    }
    return true;
  }
}
