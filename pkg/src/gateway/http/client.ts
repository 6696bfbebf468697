/** `fetch` into the network: HTTP/1.1 exchanges, one after the other on connections that are kept. */

import { reasonOf } from "../../errors.js";
import { type Connection, StallError } from "./connection.js";
import { decoded } from "./decoding.js";
import { BodyReader, bodyStream, type Framing, responseFraming } from "./framing.js";
import {
  findHeadEnd,
  formatHead,
  type HeadParser,
  parseResponseHead,
  type ResponseHead,
} from "./head.js";
import { BodyError, MessageWriter, OutgoingBody } from "./outgoing.js";
import type { ConnectionPool } from "./pool.js";
import { CONNECTION_FIELDS } from "./response.js";
import { type Secure, type Target, targetOf } from "./target.js";

/** What the client needs of its surroundings. */
export interface ClientContext {
  readonly parser: HeadParser;
  readonly pool: ConnectionPool;
  readonly secure: Secure;
}

/** As the Fetch standard has it. */
const MAX_REDIRECTS = 20;
const MAX_HEAD = 64 * 1024;
const MAX_INTERIM_RESPONSES = 16;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** Methods whose requests tell an empty body's length (RFC 9110 §8.6). */
const METHODS_WITH_BODY = new Set(["PATCH", "POST", "PUT"]);
/** RFC 9110 §9.2.2: to do it twice is to do it once, so that it may be sent again when a kept connection turns out to be gone. */
const IDEMPOTENT = new Set(["DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"]);
/** The body of a redirect is read up to this size, so that the connection can be kept. */
const MAX_REDIRECT_BODY = 64 * 1024;
/** Not in the Fetch standard's list of statuses without a body that HTTP has as well: 205 may have an empty one. */
const RESET_CONTENT = 205;
const BODY_FIELDS = ["content-encoding", "content-language", "content-location", "content-type"];

/**
 * The Fetch standard's `fetch` over a stack, without what belongs to a page: no cookies, no cache and no CORS. Content codings are undone, but none is asked
 * for: on a network within one machine compression only costs time, most of all an emulated processor's.
 * @throws {TypeError} with the reason as `cause` where the exchange fails, and the signal's reason where it aborts.
 */
export async function fetchOver(
  context: ClientContext,
  input: string | URL | Request,
  init?: RequestInit,
): Promise<Response> {
  const request = new Request(input, withDuplex(init));
  const headers = requestHeaders(input, init, request);
  let exchange: Exchange = {
    url: new URL(request.url),
    method: request.method,
    headers,
    ...(await bodyOf(request, init?.body)),
    again:
      init?.body instanceof ReadableStream
        ? null
        : () => {
            const repeated = new Request(request.url, init);
            return { request: repeated, body: bodyOf(repeated, init?.body) };
          },
    request,
  };
  for (let redirects = 0; ; redirects += 1) {
    request.signal.throwIfAborted();
    const { head, response, discard } = await run(context, exchange, redirects > 0);
    const location = head.fields.all("location")[0];
    if (!REDIRECTS.has(head.status) || location === undefined || request.redirect === "manual") {
      return response;
    }
    await discard();
    if (request.redirect === "error") throw failure(exchange.url, new Error("unexpected redirect"));
    if (redirects === MAX_REDIRECTS)
      throw failure(exchange.url, new Error("redirect count exceeded"));
    exchange = await redirected(exchange, head.status, location);
  }
}

interface Exchange {
  url: URL;
  method: string;
  headers: Headers;
  body: ReadableStream<Uint8Array> | null;
  /** Bytes of the body, where that is known. */
  length: number | undefined;
  /** Makes a request with the same body, for a redirect; null where the body was a stream, which is used up. */
  again: (() => { request: Request; body: Promise<Pick<Exchange, "body" | "length">> }) | null;
  /**
   * What was asked for, held until the response is over: in Node a request's signal follows the caller's only while the
   * request itself is not collected.
   */
  request: Request;
}

/** A stream as body needs `duplex`, which callers of the browser's `fetch` know, but need not know here. */
function withDuplex(init: RequestInit | undefined): RequestInit | undefined {
  return init?.body instanceof ReadableStream ? ({ duplex: "half", ...init } as RequestInit) : init;
}

/** The headers asked for. A `Request` made in a browser drops some that are harmless here, such as Host and Cookie. */
function requestHeaders(
  input: string | URL | Request,
  init: RequestInit | undefined,
  request: Request,
): Headers {
  const given = init?.headers ?? (input instanceof Request ? input.headers : undefined);
  const headers = new Headers(given);
  for (const [name, value] of request.headers) if (!headers.has(name)) headers.set(name, value);
  return headers;
}

/** What an exchange came to. */
interface Answer {
  head: ResponseHead;
  response: Response;
  /** Does without the body. */
  discard(): Promise<void>;
}

async function run(
  context: ClientContext,
  exchange: Exchange,
  redirected: boolean,
): Promise<Answer> {
  const { url, request, method } = exchange;
  const target = reached(url, context.secure);
  let current = exchange;
  for (let mayBeKept = IDEMPOTENT.has(method) && isRepeatable(exchange); ; mayBeKept = false) {
    try {
      return await attempt(context, target, current, redirected, mayBeKept);
    } catch (error) {
      if (request.signal.aborted) throw request.signal.reason;
      if (!(error instanceof KeptConnectionGone)) throw failure(url, error);
      // RFC 9112 §9.3.1: the server may have closed it while the request was on its way.
      const { body, length } = await bodyAgain(exchange);
      current = { ...exchange, body, length };
    }
  }
}

function reached(url: URL, secure: Secure): Target {
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw failure(url, new Error(`${url.protocol} is not supported`));
  }
  try {
    return targetOf(url, secure);
  } catch (error) {
    throw failure(url, error);
  }
}

/** A kept connection has ended without a byte of a response. */
class KeptConnectionGone extends Error {}

function isRepeatable({ body, again }: Exchange): boolean {
  return body === null || again !== null;
}

async function attempt(
  { pool, parser }: ClientContext,
  target: Target,
  exchange: Exchange,
  redirected: boolean,
  mayBeKept: boolean,
): Promise<Answer> {
  const { url, request } = exchange;
  const { connection, isKept } = await pool.take(target, request.signal, mayBeKept);
  const abort = () => connection.abort(request.signal.reason);
  request.signal.addEventListener("abort", abort, { once: true });
  const done = () => request.signal.removeEventListener("abort", abort);
  try {
    request.signal.throwIfAborted();
    let isSent = false;
    const sending = send(connection, exchange).then(() => {
      isSent = true;
    });
    // A server may answer before it has read all of the body.
    const broken = brokenBody(sending);
    broken.catch((error: unknown) => connection.abort(error));
    const head = await Promise.race([receiveHead(connection, parser, isKept), broken]);
    const framing = responseFraming(exchange.method, head.status, head.fields);
    const idleTime = closes(exchange.headers) ? undefined : persistence(head, framing);
    const reader = new BodyReader(connection, framing, parser);
    const finish = () => {
      done();
      if (isSent && idleTime !== undefined) pool.keep(target, connection, idleTime);
      else connection.close();
    };
    const fail = (reason: unknown) => {
      done();
      connection.abort(reason);
    };
    const response = responseOf(head, reader, exchange, finish, fail);
    const shown = new URL(url);
    shown.hash = "";
    Object.defineProperty(response, "url", { value: shown.href, enumerable: true });
    Object.defineProperty(response, "redirected", { value: redirected, enumerable: true });
    const discard = async () => {
      if (reader.done) return;
      const isRead = await reader.discard(MAX_REDIRECT_BODY).catch(() => false);
      if (isRead) finish();
      else fail(new Error("the rest of a redirect is not wanted"));
    };
    return { head, response, discard };
  } catch (error) {
    done();
    connection.abort(error);
    throw error;
  }
}

/** Whether the caller wants the connection to end. */
function closes(headers: Headers): boolean {
  return /(?:^|,)\s*close\s*(?:,|$)/i.test(headers.get("connection") ?? "");
}

/**
 * How long the server keeps the connection, in milliseconds: null if it does not say, undefined if it does not keep it (RFC 9112 §9.3).
 */
function persistence(head: ResponseHead, framing: Framing): number | null | undefined {
  const wishes = head.fields.tokens("connection");
  const isKept =
    framing.kind !== "until-close" &&
    !wishes.includes("close") &&
    (head.minor > 0 || wishes.includes("keep-alive"));
  if (!isKept) return undefined;
  const timeout = /(?:^|[,\s])timeout=(\d{1,9})/i.exec(
    head.fields.all("keep-alive").join(","),
  )?.[1];
  return timeout === undefined ? null : Number(timeout) * 1_000;
}

/** Settles only if the body that is sent is at fault. A connection that failed is for the receiver to report. */
function brokenBody(sending: Promise<void>): Promise<never> {
  return new Promise((_, reject) => {
    sending.catch((error: unknown) => {
      if (error instanceof BodyError) reject(error);
    });
  });
}

async function send(connection: Connection, exchange: Exchange): Promise<void> {
  const { method, url, headers } = exchange;
  const body = await OutgoingBody.open(exchange.body);
  const declared = headers.get("content-length");
  const length = declared === null ? (exchange.length ?? body.length) : Number(declared);
  const fields: [string, string][] = headers.has("host") ? [] : [["host", url.host]];
  for (const [name, value] of headers) {
    if (!CONNECTION_FIELDS.has(name)) fields.push([name, value]);
  }
  if (!headers.has("accept")) fields.push(["accept", "*/*"]);
  if (length === undefined) fields.push(["transfer-encoding", "chunked"]);
  else if (length > 0 || METHODS_WITH_BODY.has(method))
    fields.push(["content-length", String(length)]);
  if (closes(headers)) fields.push(["connection", "close"]);
  if (!headers.has("accept-encoding")) fields.push(["accept-encoding", "identity"]);
  const head = formatHead(`${method} ${url.pathname}${url.search} HTTP/1.1`, fields);
  const framing: Framing =
    length === undefined ? { kind: "chunked" } : { kind: "length", bytes: length };
  await body.sendTo(new MessageWriter(connection, head, framing));
}

/** The final response's head; interim responses (1xx) are skipped. */
async function receiveHead(
  connection: Connection,
  parser: HeadParser,
  isKept: boolean,
): Promise<ResponseHead> {
  let searched = 0;
  if (isKept) await firstByte(connection);
  for (let interim = 0; interim <= MAX_INTERIM_RESPONSES; ) {
    const bytes = connection.buffered;
    const length = findHeadEnd(bytes, searched);
    if ((length === -1 ? bytes.length : length) > MAX_HEAD) {
      throw new Error(`the response's head has more than ${MAX_HEAD} bytes`);
    }
    if (length === -1) {
      searched = bytes.length;
      if (!(await connection.fill()))
        throw new Error("the server closed the connection without a response");
      continue;
    }
    const head = parseResponseHead(parser, bytes.slice(0, length));
    connection.consume(length);
    if (head.status === 101) throw new Error("the server switched to another protocol");
    if (head.status >= 200) return head;
    interim += 1;
    searched = 0;
  }
  throw new Error(`more than ${MAX_INTERIM_RESPONSES} interim responses`);
}

/** @throws {KeptConnectionGone} if there is none. */
async function firstByte(connection: Connection): Promise<void> {
  try {
    if (await connection.fill()) return;
  } catch (error) {
    // A server that is silent has got the request.
    if (error instanceof StallError) throw error;
  }
  throw new KeptConnectionGone();
}

function responseOf(
  head: ResponseHead,
  reader: BodyReader,
  { url, request }: Exchange,
  finish: () => void,
  fail: (reason: unknown) => void,
): Response {
  const headers = new Headers(
    head.fields.list.map(([name, value]): [string, string] => [name, value]),
  );
  const init = { status: head.status, statusText: head.reason, headers };
  const isEmpty = reader.done || head.status === RESET_CONTENT;
  let body: ReadableStream<Uint8Array<ArrayBuffer>> | null = null;
  if (!isEmpty) {
    let told: unknown;
    const failed = (error: unknown) => {
      if (error !== told)
        told = request.signal.aborted ? request.signal.reason : failure(url, error);
      return told;
    };
    const raw = bodyStream(reader, {
      failed,
      ended: (error) => {
        if (error === undefined) finish();
        else fail(error);
      },
      cancelled: (reason) => fail(reason ?? new Error("the response was cancelled")),
    });
    body = decoded(raw, head.fields.tokens("content-encoding"), failed);
  }
  const response = new Response(body, init);
  // The headers of a browser's Response drop Set-Cookie.
  if (headers.has("set-cookie")) {
    Object.defineProperty(response, "headers", { value: headers, enumerable: true });
  }
  if (reader.done) finish();
  else if (isEmpty) fail(new Error("a response that resets has no body"));
  return response;
}

/** The Fetch standard's HTTP-redirect fetch, steps for method, body and headers. */
async function redirected(exchange: Exchange, status: number, location: string): Promise<Exchange> {
  if (!URL.canParse(location, exchange.url)) {
    throw failure(exchange.url, new Error(`invalid redirect to "${location}"`));
  }
  const url = new URL(location, exchange.url);
  if (url.hash === "") url.hash = exchange.url.hash;
  const { method } = exchange;
  const headers = new Headers(exchange.headers);
  headers.delete("host");
  if (url.origin !== exchange.url.origin) {
    for (const name of ["authorization", "cookie", "proxy-authorization"]) headers.delete(name);
  }
  const becomesGet =
    ((status === 301 || status === 302) && method === "POST") ||
    (status === 303 && method !== "GET" && method !== "HEAD");
  if (!becomesGet) {
    const { body, length, type } = await bodyAgain(exchange);
    // A multipart body has a new boundary each time.
    if (type !== null) headers.set("content-type", type);
    return { ...exchange, url, headers, body, length };
  }
  for (const name of [...BODY_FIELDS, "content-length"]) headers.delete(name);
  return { ...exchange, url, headers, method: "GET", body: null, length: undefined };
}

async function bodyAgain(
  exchange: Exchange,
): Promise<Pick<Exchange, "body" | "length"> & { type: string | null }> {
  if (exchange.body === null) return { body: null, length: undefined, type: null };
  const again = exchange.again?.();
  if (again === undefined) {
    throw failure(
      exchange.url,
      new Error("a body that was a stream cannot be sent again to follow a redirect"),
    );
  }
  return { ...(await again.body), type: again.request.headers.get("content-type") };
}

/**
 * A request's body, and its length where `given` tells it: small servers know bodies by no other framing, and browsers give the bytes of what is in memory no
 * earlier than those of a live stream.
 */
async function bodyOf(
  request: Request,
  given: unknown,
): Promise<Pick<Exchange, "body" | "length">> {
  const { body } = request;
  if (body === null || given === undefined || given instanceof ReadableStream) {
    return { body, length: undefined };
  }
  if (given instanceof FormData) {
    const whole = await request.blob();
    return { body: whole.stream(), length: whole.size };
  }
  return { body, length: sizeOf(given) };
}

function sizeOf(given: unknown): number {
  if (given instanceof Blob) return given.size;
  if (given instanceof ArrayBuffer || ArrayBuffer.isView(given)) return given.byteLength;
  return new TextEncoder().encode(String(given)).length;
}

function failure(url: URL, cause: unknown): TypeError {
  return new TypeError(`fetch of ${url.href} failed: ${reasonOf(cause)}`, { cause });
}
