/** Where the body of a message ends (RFC 9112 §6.3), and bodies read and written accordingly. */

import type { Connection } from "./connection.js";
import { type Fields, type HeadParser, HttpError } from "./head.js";

/** How long a body is. */
export type Framing =
  | { kind: "length"; bytes: number }
  | { kind: "chunked" }
  | { kind: "until-close" };

const EMPTY: Framing = { kind: "length", bytes: 0 };

/** The longest chunk-size line, extensions included, and the most trailers, in bytes. */
const MAX_CHUNK_LINE = 4096;
const MAX_TRAILERS = 16 * 1024;

/** Statuses whose responses have no body (RFC 9110 §6.4.1), besides 1xx. */
export function hasNoBody(status: number): boolean {
  return status < 200 || status === 204 || status === 304;
}

/**
 * The body of a request.
 * @throws {HttpError} 400 where two readers could disagree about its end, 501 for an unknown coding.
 */
export function requestFraming(fields: Fields, minor: number): Framing {
  const codings = fields.tokens("transfer-encoding");
  const lengths = fields.all("content-length");
  if (fields.all("transfer-encoding").length > 0) {
    // RFC 9112 §6.1: a server may reject both, and must close; a field that HTTP/1.0 does not have is faulty framing.
    if (lengths.length > 0) throw new HttpError(400, "both Content-Length and Transfer-Encoding");
    if (minor === 0) throw new HttpError(400, "Transfer-Encoding in an HTTP/1.0 request");
    if (codings.length === 1 && codings[0] === "chunked") return { kind: "chunked" };
    if (codings.at(-1) !== "chunked" || codings.filter((c) => c === "chunked").length > 1) {
      throw new HttpError(400, "a request's last transfer coding must be chunked, once");
    }
    throw new HttpError(501, `transfer coding ${codings[0]} is not implemented`);
  }
  return lengths.length === 0 ? EMPTY : { kind: "length", bytes: parseLength(lengths) };
}

/**
 * The body of a response to a request with `method`.
 * @throws {HttpError} if its length is malformed or its coding unknown.
 */
export function responseFraming(method: string, status: number, fields: Fields): Framing {
  if (method === "HEAD" || hasNoBody(status)) return EMPTY;
  const codings = fields.tokens("transfer-encoding");
  if (codings.length > 0) {
    const others = codings.filter((coding) => coding !== "chunked" && coding !== "identity");
    if (others.length > 0) throw new HttpError(502, `unknown transfer coding ${others[0]}`);
    return codings.at(-1) === "chunked" ? { kind: "chunked" } : { kind: "until-close" };
  }
  const lengths = fields.all("content-length");
  if (lengths.length === 0) return { kind: "until-close" };
  return { kind: "length", bytes: parseLength(lengths) };
}

/** RFC 9112 §6.3: a list of one and the same number counts as that number, anything else is an error. */
function parseLength(lines: string[]): number {
  const values = new Set(
    lines
      .join(",")
      .split(",")
      .map((value) => value.trim()),
  );
  const [value = ""] = values;
  if (values.size > 1 || !/^[0-9]+$/.test(value)) {
    throw new HttpError(400, `invalid Content-Length: ${lines.join(", ")}`);
  }
  const length = Number(value);
  if (!Number.isSafeInteger(length))
    throw new HttpError(413, `Content-Length ${value} is too large`);
  return length;
}

/** Reads one body. */
export class BodyReader {
  readonly #connection: Connection;
  readonly #parser: HeadParser;
  readonly #chunked: boolean;
  readonly #untilClose: boolean;
  /** Bytes left of the body, or of the present chunk. */
  #left: number;
  /** Whether a chunk's data has been read but not the line break after it. */
  #inChunk = false;
  #received = 0;
  readonly #limit: number;
  #done: boolean;

  /** `limit` is the most bytes that the body may have. */
  constructor(connection: Connection, framing: Framing, parser: HeadParser, limit = Infinity) {
    this.#connection = connection;
    this.#parser = parser;
    this.#limit = limit;
    this.#chunked = framing.kind === "chunked";
    this.#untilClose = framing.kind === "until-close";
    this.#left = framing.kind === "length" ? framing.bytes : 0;
    this.#done = framing.kind === "length" && framing.bytes === 0;
    if (this.#left > limit) throw tooLarge(limit);
  }

  /** Body bytes read. */
  get received(): number {
    return this.#received;
  }

  /** Whether the body has been read to its end. */
  get done(): boolean {
    return this.#done;
  }

  /**
   * Copies at least one byte of the body to `into`; 0 at its end.
   * @throws {HttpError} 400 for malformed chunks and a body that ends early, 413 beyond the limit; errors of the
   *   connection.
   */
  async read(into: Uint8Array): Promise<number> {
    if (this.#done) return 0;
    if (this.#chunked) return this.#readChunked(into);
    const wanted = this.#untilClose ? into.length : Math.min(into.length, this.#left);
    const count = await this.#connection.read(into.subarray(0, wanted));
    if (this.#untilClose) {
      this.#done = count === 0;
    } else {
      if (count === 0) throw shortBody(this.#received, this.#received + this.#left);
      this.#left -= count;
      this.#done = this.#left === 0;
    }
    this.#count(count);
    return count;
  }

  /** Reads and forgets up to `limit` bytes; true if that was the rest of the body. */
  async discard(limit: number): Promise<boolean> {
    if (!this.#chunked && !this.#untilClose && this.#left > limit) return false;
    const into = new Uint8Array(Math.min(limit, 64 * 1024));
    for (let discarded = 0; !this.#done && discarded < limit; ) discarded += await this.read(into);
    return this.#done;
  }

  /** Fills `into` from as many chunks as have arrived, so that small chunks don't become small pieces. */
  async #readChunked(into: Uint8Array): Promise<number> {
    let filled = 0;
    while (filled < into.length) {
      if (this.#left === 0) {
        if (filled > 0 && this.#connection.buffered.length < 2) break;
        await this.#nextChunk();
        if (this.#done) break;
      }
      const room = into.subarray(filled, filled + this.#left);
      const count = filled > 0 ? this.#connection.tryRead(room) : await this.#connection.read(room);
      if (count === 0) throw shortBody(this.#received);
      if (count === -1) break;
      filled += count;
      this.#left -= count;
      this.#count(count);
    }
    return filled;
  }

  /** Reads up to the next chunk's data; after the last chunk, reads the trailers. */
  async #nextChunk(): Promise<void> {
    if (this.#inChunk) {
      const [cr, lf] = await this.#peek(2);
      if (cr !== 13 || lf !== 10) throw new HttpError(400, "no line break after a chunk");
      this.#connection.consume(2);
      this.#inChunk = false;
    }
    for (;;) {
      const [length, size] = this.#parseChunkSize() ?? [];
      if (length !== undefined && size !== undefined) {
        this.#connection.consume(length);
        if (size === 0) return this.#skipTrailers();
        this.#left = size;
        this.#inChunk = true;
        return;
      }
      if (this.#connection.buffered.length > MAX_CHUNK_LINE) {
        throw new HttpError(400, "chunk-size line too long");
      }
      await this.#more();
    }
  }

  #parseChunkSize(): Float64Array | undefined {
    try {
      return this.#parser.parse_chunk_size(this.#connection.buffered.subarray(0, MAX_CHUNK_LINE));
    } catch (error) {
      throw new HttpError(400, error instanceof Error ? error.message : String(error), {
        cause: error,
      });
    }
  }

  /** RFC 9112 §7.1.2 lets a recipient discard trailers. */
  async #skipTrailers(): Promise<void> {
    for (let skipped = 0; ; ) {
      const line = this.#connection.buffered.indexOf(10) + 1;
      if (line === 0) {
        if (skipped + this.#connection.buffered.length > MAX_TRAILERS) {
          throw new HttpError(431, "trailers too large");
        }
        await this.#more();
        continue;
      }
      const empty = line === 1 || (line === 2 && this.#connection.buffered[0] === 13);
      this.#connection.consume(line);
      skipped += line;
      if (empty) {
        this.#done = true;
        return;
      }
    }
  }

  async #peek(count: number): Promise<Uint8Array> {
    while (this.#connection.buffered.length < count) await this.#more();
    return this.#connection.buffered;
  }

  async #more(): Promise<void> {
    if (!(await this.#connection.fill())) throw shortBody(this.#received);
  }

  #count(count: number): void {
    this.#received += count;
    if (this.#received > this.#limit) throw tooLarge(this.#limit);
  }
}

function shortBody(received: number, expected?: number): HttpError {
  const whole = expected === undefined ? "" : ` of ${expected}`;
  return new HttpError(
    400,
    `the connection ended within the body, after ${received}${whole} bytes`,
  );
}

function tooLarge(limit: number): HttpError {
  return new HttpError(413, `the body has more than ${limit} bytes`);
}

/** Size of the pieces in which a body is given to its reader. */
const PIECE = 64 * 1024;

/** What a body stream tells its owner. */
export interface BodyStreamHooks {
  /** Before the first byte is read. */
  started?(): Promise<void>;
  /** What the stream's reader sees in place of an error. */
  failed?(error: unknown): unknown;
  /** After the last byte, or when reading failed. */
  ended?(error: unknown): void;
  /** When the reader of the stream wants no more. */
  cancelled?(reason: unknown): void;
}

/** A body as a byte stream, read no earlier and no faster than somebody reads the stream. */
export function bodyStream(
  reader: BodyReader,
  hooks: BodyStreamHooks,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  let started = false;
  const source: UnderlyingByteSource = {
    type: "bytes",
    autoAllocateChunkSize: PIECE,
    async pull(controller: ReadableByteStreamController) {
      const request = controller.byobRequest;
      const view = request?.view;
      if (!request || !view) return;
      try {
        if (!started) await hooks.started?.();
        started = true;
        const into = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
        const count = await reader.read(into);
        if (count > 0) request.respond(count);
        if (reader.done) controller.close();
        if (count === 0) request.respond(0);
        if (reader.done) hooks.ended?.(undefined);
      } catch (error) {
        controller.error(hooks.failed?.(error) ?? error);
        hooks.ended?.(error);
      }
    },
    cancel(reason) {
      hooks.cancelled?.(reason);
    },
  };
  return new ReadableStream(source) as ReadableStream<Uint8Array<ArrayBuffer>>;
}
