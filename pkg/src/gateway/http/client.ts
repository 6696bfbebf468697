/** `fetch` into the network: one HTTP/1.1 exchange on a connection of its own. */

import type { Clock } from "../../types.js";
import { Connection, type HttpSocket } from "./connection.js";
import { BodyReader, bodyStream, type Framing, hasNoBody, responseFraming } from "./framing.js";
import {
  findHeadEnd,
  formatHead,
  type HeadParser,
  parseResponseHead,
  type ResponseHead,
} from "./head.js";
import { BodyError, MessageWriter, OutgoingBody } from "./outgoing.js";
import { CONNECTION_FIELDS } from "./response.js";

/** What the client needs of its surroundings. */
export interface ClientContext {
  readonly parser: HeadParser;
  readonly clock: Clock;
  /** Opens a connection to a host and port; the name has been taken from a URL. */
  connect(hostname: string, port: number, signal: AbortSignal): Promise<HttpSocket>;
  /** How long the server may be silent, in milliseconds. */
  readonly stallTimeout: number;
}

/** As the Fetch standard has it. */
const MAX_REDIRECTS = 20;
const MAX_HEAD = 64 * 1024;
const MAX_INTERIM_RESPONSES = 16;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** Methods whose requests tell an empty body's length (RFC 9110 §8.6). */
const METHODS_WITH_BODY = new Set(["PATCH", "POST", "PUT"]);
const BODY_FIELDS = ["content-encoding", "content-language", "content-location", "content-type"];

/**
 * The Fetch standard's `fetch` over a stack, without what belongs to a page: no cookies, cache, CORS or content coding.
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
    body: request.body,
    again: init?.body instanceof ReadableStream ? null : () => new Request(request.url, init),
    request,
  };
  for (let redirects = 0; ; redirects += 1) {
    request.signal.throwIfAborted();
    const { head, response } = await run(context, exchange, redirects > 0);
    const location = head.fields.all("location")[0];
    if (!REDIRECTS.has(head.status) || location === undefined || request.redirect === "manual") {
      return response;
    }
    await response.body?.cancel();
    if (request.redirect === "error") throw failure(exchange.url, new Error("unexpected redirect"));
    if (redirects === MAX_REDIRECTS)
      throw failure(exchange.url, new Error("redirect count exceeded"));
    exchange = redirected(exchange, head.status, location);
  }
}

interface Exchange {
  url: URL;
  method: string;
  headers: Headers;
  body: ReadableStream<Uint8Array> | null;
  /** Makes a request with the same body, for a redirect; null where the body was a stream, which is used up. */
  again: (() => Request) | null;
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

async function run(
  context: ClientContext,
  exchange: Exchange,
  redirected: boolean,
): Promise<{ head: ResponseHead; response: Response }> {
  const { url, request } = exchange;
  if (url.protocol !== "http:") throw failure(url, new Error(`${url.protocol} is not supported`));
  let connection: Connection | undefined;
  const abort = () => connection?.abort(request.signal.reason);
  try {
    const socket = await context.connect(url.hostname, Number(url.port || 80), request.signal);
    connection = new Connection(socket, context.clock, context.stallTimeout);
    request.signal.addEventListener("abort", abort, { once: true });
    const sending = send(connection, exchange);
    // A server may answer before it has read all of the body.
    const broken = brokenBody(sending);
    broken.catch((error: unknown) => connection?.abort(error));
    const head = await Promise.race([receiveHead(connection, context.parser), broken]);
    const done = () => request.signal.removeEventListener("abort", abort);
    const response = receiveBody(connection, head, exchange, context.parser, done);
    Object.defineProperty(response, "url", { value: url.href, enumerable: true });
    Object.defineProperty(response, "redirected", { value: redirected, enumerable: true });
    return { head, response };
  } catch (error) {
    request.signal.removeEventListener("abort", abort);
    connection?.abort(error);
    if (request.signal.aborted) throw request.signal.reason;
    throw failure(url, error);
  }
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
  const length = declared === null ? body.length : Number(declared);
  const fields: [string, string][] = headers.has("host") ? [] : [["host", url.host]];
  for (const [name, value] of headers) {
    if (!CONNECTION_FIELDS.has(name)) fields.push([name, value]);
  }
  if (!headers.has("accept")) fields.push(["accept", "*/*"]);
  if (length === undefined) fields.push(["transfer-encoding", "chunked"]);
  else if (length > 0 || METHODS_WITH_BODY.has(method))
    fields.push(["content-length", String(length)]);
  fields.push(["connection", "close"]);
  const head = formatHead(`${method} ${url.pathname}${url.search} HTTP/1.1`, fields);
  const framing: Framing =
    length === undefined ? { kind: "chunked" } : { kind: "length", bytes: length };
  await body.sendTo(new MessageWriter(connection, head, framing));
}

/** The final response's head; interim responses (1xx) are skipped. */
async function receiveHead(connection: Connection, parser: HeadParser): Promise<ResponseHead> {
  let searched = 0;
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

function receiveBody(
  connection: Connection,
  head: ResponseHead,
  exchange: Exchange,
  parser: HeadParser,
  done: () => void,
): Response {
  const headers = new Headers(
    head.fields.list.map(([name, value]): [string, string] => [name, value]),
  );
  const framing = responseFraming(exchange.method, head.status, head.fields);
  const reader = new BodyReader(connection, framing, parser);
  const init = { status: head.status, statusText: head.reason, headers };
  if (reader.done) {
    done();
    connection.close();
    return new Response(null, init);
  }
  const { url, request } = exchange;
  const body = bodyStream(reader, {
    failed: (error) => (request.signal.aborted ? request.signal.reason : failure(url, error)),
    ended: (error) => {
      done();
      if (error === undefined) connection.close();
      else connection.abort(error);
    },
    cancelled: (reason) => {
      done();
      connection.abort(reason ?? new Error("the response was cancelled"));
    },
  });
  return new Response(hasNoBody(head.status) ? null : body, init);
}

/** The Fetch standard's HTTP-redirect fetch, steps for method, body and headers. */
function redirected(exchange: Exchange, status: number, location: string): Exchange {
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
    const { body, type } = bodyAgain(exchange);
    // A multipart body has a new boundary each time.
    if (type !== null) headers.set("content-type", type);
    return { ...exchange, url, headers, body };
  }
  for (const name of [...BODY_FIELDS, "content-length"]) headers.delete(name);
  return { ...exchange, url, headers, method: "GET", body: null };
}

function bodyAgain(exchange: Exchange): Pick<Exchange, "body"> & { type: string | null } {
  if (exchange.body === null) return { body: null, type: null };
  const request = exchange.again?.();
  if (!request?.body) {
    throw failure(
      exchange.url,
      new Error("a body that was a stream cannot be sent again to follow a redirect"),
    );
  }
  return { body: request.body, type: request.headers.get("content-type") };
}

function failure(url: URL, cause: unknown): TypeError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new TypeError(`fetch of ${url.href} failed: ${reason}`, { cause });
}
