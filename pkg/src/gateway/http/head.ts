/** Heads of HTTP/1.1 messages: found, parsed, written. */

/** The parser's functions; see `wasm/services/src/http.rs` for what the numbers mean. */
export interface HeadParser {
  parse_request_head(bytes: Uint8Array): Uint32Array | undefined;
  parse_response_head(bytes: Uint8Array): Uint32Array | undefined;
  parse_chunk_size(bytes: Uint8Array): Float64Array | undefined;
}

/** A message that cannot be understood; `status` is what a server answers. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  readonly status: number;

  constructor(status: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
  }
}

/** Header fields in the order in which they came; names are lower case. */
export class Fields {
  readonly list: (readonly [name: string, value: string])[] = [];

  /** Every value of a field. */
  all(name: string): string[] {
    return this.list.filter(([other]) => other === name).map(([, value]) => value);
  }

  /** The members of a comma-separated field, over all its lines, in lower case. */
  tokens(name: string): string[] {
    return this.all(name)
      .join(",")
      .split(",")
      .map((token) => token.trim().toLowerCase())
      .filter((token) => token !== "");
  }
}

/** A parsed request head. */
export interface RequestHead {
  /** Bytes that it took. */
  length: number;
  /** 0 for HTTP/1.0, 1 for HTTP/1.1. */
  minor: number;
  method: string;
  target: string;
  fields: Fields;
}

/** A parsed response head. */
export interface ResponseHead {
  length: number;
  minor: number;
  status: number;
  reason: string;
  fields: Fields;
}

const CR = 13;
const LF = 10;

/**
 * Where the head at the start of `bytes` ends, -1 if it is not complete. Looking for the empty line first keeps the work
 * linear when a head arrives byte by byte: `from` is where the last search stopped.
 */
export function findHeadEnd(bytes: Uint8Array, from: number): number {
  let lf = bytes.indexOf(LF, Math.max(0, from - 2));
  while (lf !== -1) {
    if (bytes[lf + 1] === LF) return lf + 2;
    if (bytes[lf + 1] === CR && bytes[lf + 2] === LF) return lf + 3;
    lf = bytes.indexOf(LF, lf + 1);
  }
  return -1;
}

/** How many bytes of empty lines precede a request line. RFC 9112 §2.2 has a server ignore at least one. */
export function emptyLines(bytes: Uint8Array): number {
  let count = 0;
  while (bytes[count] === CR || bytes[count] === LF) count += 1;
  return count;
}

/**
 * Parses a complete request head.
 * @throws {HttpError} 400, or 431 for too many fields.
 */
export function parseRequestHead(parser: HeadParser, bytes: Uint8Array): RequestHead {
  const numbers = parse(() => parser.parse_request_head(bytes));
  const text = latin1(bytes);
  const [length = 0, minor = 0] = numbers;
  return {
    length,
    minor,
    method: text.slice(numbers[2], numbers[3]),
    target: text.slice(numbers[4], numbers[5]),
    fields: parseFields(numbers, 6, text),
  };
}

/**
 * Parses a complete response head.
 * @throws {HttpError} if it is malformed.
 */
export function parseResponseHead(parser: HeadParser, bytes: Uint8Array): ResponseHead {
  const numbers = parse(() => parser.parse_response_head(bytes));
  const text = latin1(bytes);
  const [length = 0, minor = 0, status = 0] = numbers;
  return {
    length,
    minor,
    status,
    reason: text.slice(numbers[3], numbers[4]),
    fields: parseFields(numbers, 5, text),
  };
}

/** A head as bytes: the start line, the fields, the empty line. Values are byte strings, as `Headers` has them. */
export function formatHead(
  startLine: string,
  fields: Iterable<readonly [string, string]>,
): Uint8Array {
  let text = `${startLine}\r\n`;
  for (const [name, value] of fields) text += `${name}: ${value}\r\n`;
  return byteString(`${text}\r\n`);
}

/** Characters U+0000 to U+00FF as bytes. */
export function byteString(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index += 1) bytes[index] = text.charCodeAt(index);
  return bytes;
}

function parse(run: () => Uint32Array | undefined): Uint32Array {
  let numbers: Uint32Array | undefined;
  try {
    numbers = run();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new HttpError(error instanceof RangeError ? 431 : 400, message, { cause: error });
  }
  if (numbers === undefined) throw new HttpError(400, "malformed head");
  return numbers;
}

function parseFields(numbers: Uint32Array, from: number, text: string): Fields {
  const fields = new Fields();
  for (let index = from; index + 3 < numbers.length; index += 4) {
    const name = text.slice(numbers[index], numbers[index + 1]).toLowerCase();
    const value = text.slice(numbers[index + 2], numbers[index + 3]);
    // RFC 9112 §5.2: a folded line becomes one with spaces. Only responses get here with one.
    fields.list.push([name, value.replace(/[ \t]*\r?\n[ \t]+/g, " ")]);
  }
  return fields;
}

/** Bytes as characters U+0000 to U+00FF. `TextDecoder("latin1")` is Windows-1252, which changes 0x80 to 0x9f. */
function latin1(bytes: Uint8Array): string {
  const PIECE = 8192;
  let text = "";
  for (let start = 0; start < bytes.length; start += PIECE) {
    text += String.fromCharCode(...bytes.subarray(start, start + PIECE));
  }
  return text;
}
