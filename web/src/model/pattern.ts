/** Bytes that look random and are the same on every run, so that both ends of a transfer know what must arrive. */

/** Fills whole words from Marsaglia's xorshift generator, whose period is 2^32 - 1 words. */
export function pattern(length: number, seed = 0x9e3779b9): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(length / 4));
  let word = seed;
  for (let index = 0; index < words.length; index += 1) {
    word ^= word << 13;
    word ^= word >>> 17;
    word ^= word << 5;
    words[index] = word;
  }
  return new Uint8Array(words.buffer, 0, length);
}

/** Compares what arrives, piece by piece, with a block of bytes that is sent again and again. */
export class PatternCheck {
  readonly #block: Uint8Array;
  #received = 0;

  constructor(block: Uint8Array) {
    this.#block = block;
  }

  get received(): number {
    return this.#received;
  }

  /** @throws {Error} that names the first byte that differs. */
  add(piece: Uint8Array): void {
    const block = this.#block;
    let at = this.#received % block.length;
    for (let index = 0; index < piece.length; index += 1) {
      if (piece[index] !== block[at]) {
        throw new Error(`byte ${this.#received + index} arrived changed`);
      }
      at = at + 1 === block.length ? 0 : at + 1;
    }
    this.#received += piece.length;
  }
}
