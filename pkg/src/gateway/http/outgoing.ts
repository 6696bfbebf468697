/** Messages on their way to the wire: a head and the body after it, framed as the head says. */

import type { Connection } from "./connection.js";
import type { Framing } from "./framing.js";
import { byteString } from "./head.js";

/** A body is not what its head or the Fetch standard says. `cause` is what its source threw, if it did. */
export class BodyError extends TypeError {
  override readonly name = "BodyError";
}

/** What is written together up to this size is joined: one call to the stack, and fewer segments. */
const JOINED = 16 * 1024;

const LINE_BREAK = byteString("\r\n");
const LAST_CHUNK = byteString("0\r\n\r\n");

/** Writes one message: its head, its body, and what frames the body. */
export class MessageWriter {
  readonly #connection: Connection;
  readonly #framing: Framing;
  #head: Uint8Array | undefined;
  #sent = 0;

  /** The head leaves with the first piece of the body, or with `flush` or `end`. */
  constructor(connection: Connection, head: Uint8Array, framing: Framing) {
    this.#connection = connection;
    this.#head = head;
    this.#framing = framing;
  }

  /** Body bytes written. */
  get sent(): number {
    return this.#sent;
  }

  /** Sends the head now. */
  async flush(): Promise<void> {
    await this.#write();
  }

  /** @throws {BodyError} if the body gets longer than its head says; errors of the connection. */
  async write(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return;
    this.#sent += bytes.length;
    if (this.#framing.kind === "length" && this.#sent > this.#framing.bytes) {
      throw new BodyError(`the body has more than the ${this.#framing.bytes} bytes announced`);
    }
    if (this.#framing.kind !== "chunked") return this.#write(bytes);
    await this.#write(byteString(`${bytes.length.toString(16)}\r\n`), bytes, LINE_BREAK);
  }

  /** @throws {BodyError} if the body is shorter than its head says; errors of the connection. */
  async end(): Promise<void> {
    if (this.#framing.kind === "length" && this.#sent < this.#framing.bytes) {
      throw new BodyError(
        `the body has ${this.#sent} bytes and not the ${this.#framing.bytes} announced`,
      );
    }
    await (this.#framing.kind === "chunked" ? this.#write(LAST_CHUNK) : this.#write());
  }

  async #write(...parts: Uint8Array[]): Promise<void> {
    if (this.#head !== undefined) parts.unshift(this.#head);
    this.#head = undefined;
    const size = parts.reduce((sum, part) => sum + part.length, 0);
    const pieces = parts.length > 1 && size <= JOINED ? [join(parts, size)] : parts;
    for (const piece of pieces) await this.#connection.write(piece);
  }
}

function join(parts: readonly Uint8Array[], size: number): Uint8Array {
  const whole = new Uint8Array(size);
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** How many microtasks a body in memory may take to give its first pieces. */
const TURNS = 32;

/**
 * A body that is about to be sent. One that is in memory gives its only piece and its end at once, so that its length can
 * be told; waiting longer to find out would hold back a live stream.
 */
export class OutgoingBody {
  /** Bytes of the whole body, if they are all there. */
  readonly length: number | undefined;
  readonly #reader: ReadableStreamDefaultReader<unknown> | undefined;
  readonly #first: Uint8Array | undefined;
  /** The piece after `first`, or `first` itself if that has not come yet. */
  #next: Promise<Uint8Array | undefined> | undefined;

  private constructor(
    reader: ReadableStreamDefaultReader<unknown> | undefined,
    first: Uint8Array | undefined,
    next: Promise<Uint8Array | undefined> | undefined,
  ) {
    this.#reader = reader;
    this.#first = first;
    this.#next = next;
    this.length = next === undefined ? (first?.length ?? 0) : undefined;
  }

  /** @throws {BodyError} if the stream fails before it gave anything. */
  static async open(stream: ReadableStream<unknown> | null): Promise<OutgoingBody> {
    if (stream === null) return new OutgoingBody(undefined, undefined, undefined);
    const reader = stream.getReader();
    const next = readPiece(reader);
    const first = await settledSoon(next);
    if (first === undefined) return new OutgoingBody(reader, undefined, next);
    if (first.value === undefined) return new OutgoingBody(reader, undefined, undefined);
    const after = readPiece(reader);
    const second = await settledSoon(after).catch(() => undefined);
    const ended = second !== undefined && second.value === undefined;
    return new OutgoingBody(reader, first.value, ended ? undefined : after);
  }

  /** Sends everything. @throws {BodyError} if the body is at fault; errors of the connection. */
  async sendTo(message: MessageWriter): Promise<void> {
    try {
      if (this.#first !== undefined) await message.write(this.#first);
      else if (this.#next !== undefined) await message.flush();
      while (this.#next !== undefined && this.#reader !== undefined) {
        const piece = await this.#next;
        if (piece === undefined) break;
        await message.write(piece);
        this.#next = readPiece(this.#reader);
      }
      await message.end();
    } catch (error) {
      this.cancel(error);
      throw error;
    }
  }

  /** Nobody wants the body any more: its source may stop. */
  cancel(reason: unknown): void {
    this.#reader?.cancel(reason).catch(() => {});
    this.#next?.catch(() => {});
  }
}

/**
 * What a promise comes to if it settles within a few microtasks, else undefined.
 * @throws what the promise rejects with.
 */
async function settledSoon<T>(promise: Promise<T>): Promise<{ value: T } | undefined> {
  let settled = false;
  const done = () => {
    settled = true;
  };
  promise.then(done, done);
  for (let turn = 0; turn < TURNS; turn += 1) {
    if (settled) return { value: await promise };
    await undefined;
  }
  return undefined;
}

/** The next piece of a body stream; undefined at its end. @throws {BodyError} if the stream fails or gives no bytes. */
async function readPiece(
  reader: ReadableStreamDefaultReader<unknown>,
): Promise<Uint8Array | undefined> {
  let result: ReadableStreamReadResult<unknown>;
  try {
    result = await reader.read();
  } catch (cause) {
    throw new BodyError("the body's stream failed", { cause });
  }
  if (result.done) return undefined;
  if (result.value instanceof Uint8Array) return result.value;
  throw new BodyError(`a body's stream must give Uint8Array pieces, not ${typeof result.value}`);
}
