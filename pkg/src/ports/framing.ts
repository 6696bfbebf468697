/** Frames in a stream of bytes: each with its length before it in 32 bits, the highest byte first, as QEMU has it. */

import { eachFrame } from "../engine_core.js";
import { LONGEST_FRAME, SHORTEST_FRAME } from "./port_base.js";

const PREFIX = 4;
/** What QEMU takes for a frame at most (its NET_BUFSIZE); a longer one is a sign that the stream is something else. */
const LONGEST_BELIEVED = 4_096 + 65_536;

/** The frames of a batch as a piece of a stream. */
export function streamOf(batch: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  let length = 0;
  eachFrame(batch, (frame) => {
    length += PREFIX + frame.byteLength;
  });
  const stream = new Uint8Array(length);
  const view = new DataView(stream.buffer);
  let at = 0;
  eachFrame(batch, (frame) => {
    view.setUint32(at, frame.byteLength);
    stream.set(frame, at + PREFIX);
    at += PREFIX + frame.byteLength;
  });
  return stream;
}

/** What a {@link FrameReader} tells. */
export interface FrameVisitor {
  /** A frame; the array is valid during the call. */
  frame(frame: Uint8Array): void;
  /** A length that no frame has, with that many bytes, which were skipped. */
  invalid(): void;
}

/** Finds the frames of a stream, in whatever pieces it comes. It keeps one incomplete frame at most. */
export class FrameReader {
  /** The bytes of a length that has not come whole, then the bytes of its frame. */
  readonly #prefix = new Uint8Array(PREFIX);
  #prefixFilled = 0;
  #frame = new Uint8Array(0);
  #frameFilled = 0;
  /** Length of the frame that is being read; null while its length is. */
  #length: number | null = null;

  /** Whether the stream has ended within a frame, if it has ended here. */
  get isInside(): boolean {
    return this.#length !== null || this.#prefixFilled > 0;
  }

  /** Takes the next piece. False if the stream is none of frames: there is no way to find the next one. */
  push(bytes: Uint8Array, visitor: FrameVisitor): boolean {
    let at = 0;
    while (at < bytes.byteLength) {
      if (this.#length === null) {
        const taken = bytes.subarray(at, at + PREFIX - this.#prefixFilled);
        this.#prefix.set(taken, this.#prefixFilled);
        this.#prefixFilled += taken.byteLength;
        at += taken.byteLength;
        if (this.#prefixFilled < PREFIX) break;
        const length = new DataView(this.#prefix.buffer).getUint32(0);
        this.#prefixFilled = 0;
        if (length > LONGEST_BELIEVED) return false;
        if (length === 0) visitor.invalid();
        else this.#length = length;
      } else {
        at += this.#content(bytes.subarray(at), this.#length, visitor);
      }
    }
    return true;
  }

  /** Takes the bytes of a frame from the beginning of a piece, and returns how many. */
  #content(bytes: Uint8Array, length: number, visitor: FrameVisitor): number {
    const taken = bytes.subarray(0, length - this.#frameFilled);
    const isWhole = this.#frameFilled + taken.byteLength === length;
    const isFrame = length >= SHORTEST_FRAME && length <= LONGEST_FRAME;
    if (isFrame && isWhole && this.#frameFilled === 0) {
      this.#length = null;
      visitor.frame(taken);
      return length;
    }
    if (isFrame) {
      if (this.#frame.byteLength < length) this.#frame = new Uint8Array(length);
      this.#frame.set(taken, this.#frameFilled);
    }
    this.#frameFilled += taken.byteLength;
    if (isWhole) {
      this.#length = null;
      this.#frameFilled = 0;
      if (isFrame) visitor.frame(this.#frame.subarray(0, length));
      else visitor.invalid();
    }
    return taken.byteLength;
  }
}
