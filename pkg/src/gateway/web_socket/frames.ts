/** Frames of the WebSocket protocol (RFC 6455 §5), as a client reads and writes them. */

import type { Connection } from "../http/connection.js";

/** What a frame carries. */
export const Opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** The most that control frames carry (§5.5). */
export const MAX_CONTROL = 125;
/** The most that a message may have; more ends the connection with 1009. */
const MAX_MESSAGE = 256 * 1024 * 1024;
/** What a fragment is taken to cost beyond its payload, in bytes: a message of many small ones, or of empty ones without end, has a bound as well. */
const FRAGMENT_COST = 1024;
/** How much is asked of the network at a time, so that a length that is only announced costs no memory. */
const PIECE = 1024 * 1024;

/** The server breaks the protocol; `code` is what it is told. */
export class ProtocolError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** A whole message, or a control frame. */
export interface Message {
  opcode: number;
  payload: Uint8Array<ArrayBuffer>;
}

/** A masked frame: all of a message, or of what ends it. */
export function frameOf(opcode: number, payload: Uint8Array): Uint8Array {
  const { length } = payload;
  const extended = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const at = 2 + extended + 4;
  const frame = new Uint8Array(at + length);
  frame[0] = 0x80 | opcode;
  frame[1] = 0x80 | (extended === 0 ? length : extended === 2 ? 126 : 127);
  const view = new DataView(frame.buffer);
  if (extended === 2) view.setUint16(2, length);
  if (extended === 8) view.setBigUint64(2, BigInt(length));
  const mask = crypto.getRandomValues(frame.subarray(at - 4, at));
  for (let index = 0; index < length; index += 1) {
    frame[at + index] = (payload[index] ?? 0) ^ (mask[index & 3] ?? 0);
  }
  return frame;
}

/** Reads messages. */
export class MessageReader {
  readonly #connection: Connection;
  readonly #header = new Uint8Array(8);
  /** The fragments of a message so far. */
  #fragments: Uint8Array[] = [];
  #size = 0;
  #opcode = 0;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** The next whole message or control frame; null where the connection ends between frames. @throws {ProtocolError} */
  async next(): Promise<Message | null> {
    for (;;) {
      const first = new Uint8Array(2);
      if ((await this.#connection.read(first.subarray(0, 1))) === 0) return null;
      await this.#fill(first.subarray(1));
      const [flags = 0, size = 0] = first;
      const opcode = flags & 15;
      const isFinal = (flags & 0x80) !== 0;
      if ((flags & 0x70) !== 0) throw new ProtocolError(1002, "a reserved bit is set");
      if ((size & 0x80) !== 0) throw new ProtocolError(1002, "a server's frame is masked");
      const length = await this.#length(size);
      if (opcode >= Opcode.close) {
        if (opcode > Opcode.pong) throw new ProtocolError(1002, `unknown opcode ${opcode}`);
        if (!isFinal) throw new ProtocolError(1002, "a control frame is fragmented");
        if (length > MAX_CONTROL) throw new ProtocolError(1002, "a control frame is too long");
        return { opcode, payload: await this.#payload(length) };
      }
      if (opcode > Opcode.binary) throw new ProtocolError(1002, `unknown opcode ${opcode}`);
      const continues = opcode === Opcode.continuation;
      if (continues !== this.#fragments.length > 0) {
        throw new ProtocolError(1002, "a message begins within another, or goes on without one");
      }
      if (!continues) this.#opcode = opcode;
      const cost = this.#fragments.length * FRAGMENT_COST;
      if (this.#size + length + cost > MAX_MESSAGE) {
        throw new ProtocolError(
          1009,
          `a message has more than ${MAX_MESSAGE} bytes, of which each fragment takes ${FRAGMENT_COST}`,
        );
      }
      this.#fragments.push(await this.#payload(length));
      this.#size += length;
      if (isFinal) return this.#whole();
    }
  }

  #whole(): Message {
    const payload = joined(this.#fragments, this.#size);
    this.#fragments = [];
    this.#size = 0;
    return { opcode: this.#opcode, payload };
  }

  async #length(size: number): Promise<number> {
    if (size < 126) return size;
    const bytes = this.#header.subarray(0, size === 126 ? 2 : 8);
    await this.#fill(bytes);
    let length = 0;
    for (const byte of bytes) length = length * 256 + byte;
    return length;
  }

  async #payload(length: number): Promise<Uint8Array<ArrayBuffer>> {
    if (length > MAX_MESSAGE) {
      throw new ProtocolError(1009, `a message has more than ${MAX_MESSAGE} bytes`);
    }
    const pieces: Uint8Array[] = [];
    for (let left = length; left > 0; ) {
      const piece = new Uint8Array(Math.min(left, PIECE));
      await this.#fill(piece);
      pieces.push(piece);
      left -= piece.length;
    }
    return joined(pieces, length);
  }

  async #fill(into: Uint8Array): Promise<void> {
    for (let filled = 0; filled < into.length; ) {
      const count = await this.#connection.read(into.subarray(filled));
      if (count === 0) throw new Error("the connection ended within a frame");
      filled += count;
    }
  }
}

function joined(pieces: readonly Uint8Array[], size: number): Uint8Array<ArrayBuffer> {
  const [only] = pieces;
  if (pieces.length === 1 && only !== undefined) return only as Uint8Array<ArrayBuffer>;
  const whole = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
