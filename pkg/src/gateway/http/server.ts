/**
 * HTTP/1.1 server connections (RFC 9112): requests in, one at a time and in their order, `Request` to the handler,
 * `Response` back to the wire.
 */

import type { Clock } from "../../types.js";
import { Connection, type HttpSocket, StallError } from "./connection.js";
import { BodyReader, bodyStream, requestFraming } from "./framing.js";
import {
  byteString,
  emptyLines,
  findHeadEnd,
  type HeadParser,
  HttpError,
  parseRequestHead,
  type RequestHead,
} from "./head.js";
import type { HttpLimits } from "./limits.js";
import { BodyError } from "./outgoing.js";
import { plainResponse, ResponseWriter } from "./response.js";
import type { Handler } from "./routes.js";

/** A finished exchange. */
export interface ExchangeRecord {
  /** The request's method. */
  method: string;
  /** What was asked for, absolute. */
  url: string;
  /** The response's status; 0 if the connection failed. */
  status: number;
  /** Body bytes received and sent. */
  bytesReceived: number;
  /** Body bytes sent. */
  bytesSent: number;
  /** Milliseconds from the end of the head to the end of the response. */
  duration: number;
  /** Who asked. */
  remoteAddress: string;
}

/** What a request asks for: its URL, and the handler or, where there is none, the answer. */
export interface Resolved {
  url: URL;
  answer: Handler | Response;
}

/** What connections need of the server that they belong to. */
export interface ServerContext {
  readonly parser: HeadParser;
  readonly clock: Clock;
  readonly limits: HttpLimits;
  /**
   * What a request that came in by `port` asks for, and who answers it.
   * @throws {HttpError} if that cannot be said, which closes the connection.
   */
  resolve(head: RequestHead, port: number): Resolved;
  /** Aborts when no more requests are answered: then connections that wait for one end, and others after what they answer. */
  readonly closing?: AbortSignal;
  /** An exchange has ended, well or not. */
  exchanged(record: ExchangeRecord): void;
  /** A handler, or the stream of its response, failed. */
  failed(error: unknown, url: string): void;
}

/** The most of a request's body that is held in memory, where it cannot be a stream. */
const WHOLE_BODY_LIMIT = 64 * 1024 * 1024;
const HANDLER_FAILED = "The handler of this page failed.\n";
/** An unread rest of a request's body that is not worth a new connection. */
const DISCARD_LIMIT = 256 * 1024;
/**
 * For how long what a peer still sends is read after the last response, in all and from piece to piece, in milliseconds. RFC 9112 §9.6: a server that closes while more is coming
 * has its peer's stack answer by a reset, which may erase the response before it was read.
 */
const LINGER_TIME = 30_000;
const LINGER_PAUSE = 2_000;

/** Serves one accepted connection, which came in by `port`, until it ends. Never rejects. */
export async function serveConnection(
  socket: HttpSocket,
  port: number,
  context: ServerContext,
): Promise<void> {
  const connection = new Connection(socket, context.clock, context.limits.stallTimeout);
  const server = new ServerConnection(connection, port, context);
  const stop = () => server.stop();
  context.closing?.addEventListener("abort", stop, { once: true });
  try {
    await server.run();
    await linger(connection, context.clock);
  } catch (error) {
    // The connection failed, or a message cannot be finished: the guest must not take it for complete.
    connection.abort(error);
  } finally {
    context.closing?.removeEventListener("abort", stop);
    connection.close();
  }
}

class ServerConnection {
  readonly #connection: Connection;
  readonly #port: number;
  readonly #context: ServerContext;
  /** Whether it waits for the first byte of a request. */
  #isIdle = false;

  constructor(connection: Connection, port: number, context: ServerContext) {
    this.#connection = connection;
    this.#port = port;
    this.#context = context;
  }

  /** Waits for no request any more. */
  stop(): void {
    if (this.#isIdle) this.#connection.endReading();
  }

  /** Answers requests until one of the two sides wants the connection to end. */
  async run(): Promise<void> {
    for (;;) {
      try {
        const bytes = await this.#readHead();
        if (bytes === undefined) return;
        const head = parseRequestHead(this.#context.parser, bytes);
        if (!(await this.#exchange(head))) return;
      } catch (error) {
        if (!(error instanceof HttpError)) throw error;
        await this.#refuse(error);
        return;
      }
    }
  }

  /** The bytes of the next head; undefined if the peer has no more requests. */
  async #readHead(): Promise<Uint8Array | undefined> {
    const { limits, clock } = this.#context;
    let deadline = Infinity;
    for (let searched = 0; ; ) {
      if (searched === 0) this.#connection.consume(emptyLines(this.#connection.buffered));
      const bytes = this.#connection.buffered;
      const length = findHeadEnd(bytes, searched);
      if ((length === -1 ? bytes.length : length) > limits.maxHeadBytes) {
        const line = bytes.subarray(0, limits.maxHeadBytes).includes(10);
        throw new HttpError(
          line ? 431 : 414,
          `the head has more than ${limits.maxHeadBytes} bytes`,
        );
      }
      if (length !== -1) {
        const head = bytes.slice(0, length);
        this.#connection.consume(length);
        return head;
      }
      searched = bytes.length;
      const now = clock.now();
      if (searched > 0 && deadline === Infinity) deadline = now + limits.headTimeout;
      const timeout = searched > 0 ? deadline - now : limits.keepAliveTimeout;
      if (searched === 0 && this.#context.closing?.aborted) return undefined;
      this.#isIdle = searched === 0;
      try {
        if (await this.#connection.fill(Math.max(timeout, 0))) continue;
      } catch (error) {
        if (!(error instanceof StallError)) throw error;
        if (searched > 0) throw new HttpError(408, "the request's head did not arrive in time");
        return undefined;
      } finally {
        this.#isIdle = false;
      }
      if (searched > 0) throw new HttpError(400, "the connection ended within a request's head");
      return undefined;
    }
  }

  /** Answers one request. Returns whether the connection can take another. */
  async #exchange(head: RequestHead): Promise<boolean> {
    const context = this.#context;
    const resolved = context.resolve(head, this.#port);
    const framing = requestFraming(head.fields, head.minor);
    const { maxBodyBytes } = context.limits;
    const reader = new BodyReader(this.#connection, framing, context.parser, maxBodyBytes);
    const started = context.clock.now();
    const incoming = new IncomingRequest(head, resolved, reader, this.#connection);
    const writer = new ResponseWriter(this.#connection, head);
    let status = 0;
    try {
      const response = await this.#answer(incoming);
      status = response.status;
      await writer.send(response, incoming.awaitsContinue || context.closing?.aborted === true);
    } catch (error) {
      if (error instanceof HttpError) status = error.status;
      if (!(error instanceof BodyError) || incoming.refusal !== undefined) throw error;
      context.failed(error.cause ?? error, resolved.url.href);
      if (writer.started) throw error;
      status = 500;
      await writer.send(plainResponse(status, HANDLER_FAILED), true);
    } finally {
      incoming.finish();
      context.exchanged({
        method: head.method,
        url: resolved.url.href,
        status,
        bytesReceived: reader.received,
        bytesSent: writer.bytesSent,
        duration: context.clock.now() - started,
        remoteAddress: this.#connection.socket.remote.address,
      });
    }
    return writer.keepAlive && (await incoming.discard());
  }

  async #answer(incoming: IncomingRequest): Promise<Response> {
    const { answer, url } = incoming.resolved;
    if (typeof answer !== "function") return answer;
    const request = await incoming.toRequest();
    try {
      const response: unknown = await answer(request, {
        remote: this.#connection.socket.remote,
      });
      return checkResponse(response);
    } catch (error) {
      if (incoming.refusal !== undefined) throw incoming.refusal;
      this.#context.failed(error, url.href);
      return plainResponse(500, HANDLER_FAILED);
    }
  }

  /** Tells the peer what was wrong with its request; what follows on the connection cannot be trusted. */
  async #refuse(error: HttpError): Promise<void> {
    const writer = new ResponseWriter(this.#connection, { method: "GET", minor: 1 });
    await writer.send(plainResponse(error.status, `${error.message}\n`), true);
  }
}

/** A request between its head and the end of its exchange. */
class IncomingRequest {
  readonly #head: RequestHead;
  readonly resolved: Resolved;
  readonly #reader: BodyReader;
  readonly #connection: Connection;
  readonly #abort = new AbortController();
  /** Whether the peer waits for a 100 before it sends the body (RFC 9110 §10.1.1). */
  #awaitsContinue: boolean;
  #bodyStarted = false;
  #finished = false;
  /** Held until the exchange is over: Node's `Request` lets go of its signal when it is collected itself. */
  request: Request | undefined;
  /** What was wrong with the peer or its body, if anything was: then a handler that fails is not to blame. */
  refusal: unknown;

  constructor(head: RequestHead, resolved: Resolved, reader: BodyReader, connection: Connection) {
    this.#head = head;
    this.resolved = resolved;
    this.#reader = reader;
    this.#connection = connection;
    const expected = head.fields.tokens("expect").includes("100-continue");
    this.#awaitsContinue = expected && head.minor > 0 && !reader.done;
    this.#watch();
  }

  /** Has `signal` abort when the peer goes away. */
  #watch(): void {
    this.#connection.watch((reason) => {
      this.refusal ??= reason;
      this.#abort.abort(reason);
    });
  }

  /** True while a body may or may not follow: the peer still waits for a 100. */
  get awaitsContinue(): boolean {
    return this.#awaitsContinue;
  }

  /** The request as the handler sees it. Its `signal` aborts when the guest goes away. */
  async toRequest(): Promise<Request> {
    const { method, fields } = this.#head;
    const headers = new Headers();
    for (const [name, value] of fields.list) headers.append(name, value);
    let body: BodyInit | null = null;
    // A body that GET and HEAD cannot have in the Fetch standard is skipped.
    if (method !== "GET" && method !== "HEAD" && !this.#reader.done) {
      body = takesStreams() ? this.#body() : await this.#wholeBody();
    }
    let request: Request;
    try {
      const init = { method, body, duplex: "half", signal: this.#abort.signal };
      request = new Request(this.resolved.url, init as RequestInit);
    } catch (error) {
      throw new HttpError(501, `${method} is not implemented`, { cause: error });
    }
    // In a browser the headers of a Request that a page makes lose Host, Cookie and others that a server needs.
    Object.defineProperty(request, "headers", { value: headers, enumerable: true });
    this.request = request;
    return request;
  }

  /** The exchange is over: nothing about this request is of interest any more. */
  finish(): void {
    this.#finished = true;
    this.#connection.watch(undefined);
  }

  /** Skips what is left of the body. False if that is too much or malformed, or somebody may still be reading it. */
  async discard(): Promise<boolean> {
    if (this.#reader.done) return true;
    if (this.#bodyStarted || this.#awaitsContinue) return false;
    try {
      return await this.#reader.discard(DISCARD_LIMIT);
    } catch (error) {
      if (error instanceof HttpError) return false;
      throw error;
    }
  }

  /**
   * All of the body, for a platform whose `Request` takes no stream.
   * @throws {HttpError} 413 if it is more than should be held in memory.
   */
  async #wholeBody(): Promise<Blob> {
    const pieces: Uint8Array<ArrayBuffer>[] = [];
    let size = 0;
    const reader = this.#body().getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      size += piece.value.length;
      if (size > WHOLE_BODY_LIMIT) throw new HttpError(413, `more than ${WHOLE_BODY_LIMIT} bytes`);
      pieces.push(piece.value);
    }
    return new Blob(pieces);
  }

  #body(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return bodyStream(this.#reader, {
      started: async () => {
        this.#bodyStarted = true;
        if (!this.#awaitsContinue) return;
        this.#awaitsContinue = false;
        await this.#connection.write(byteString("HTTP/1.1 100 Continue\r\n\r\n"));
      },
      ended: (error) => {
        const stalled = error instanceof StallError;
        if (error !== undefined)
          this.refusal ??= stalled ? new HttpError(408, error.message) : error;
        // The end of the connection may have come with the end of the body.
        if (!this.#finished && !this.#abort.signal.aborted) this.#watch();
      },
    });
  }
}

/** Whether a `Request` can have a stream as its body. Where it cannot, the stream's name would be the body. */
let streamsTaken: boolean | undefined;
export function takesStreams(): boolean {
  if (streamsTaken === undefined) {
    let asked = false;
    const init = {
      method: "POST",
      body: new ReadableStream(),
      get duplex() {
        asked = true;
        return "half";
      },
    };
    const { headers } = new Request("http://test.invalid/", init as RequestInit);
    streamsTaken = asked && !headers.has("content-type");
  }
  return streamsTaken;
}

function checkResponse(response: unknown): Response {
  const candidate = response as Partial<Response> | null | undefined;
  if (typeof candidate?.status !== "number" || candidate.headers === undefined) {
    throw new TypeError(`the handler returned ${String(response)} and not a Response`);
  }
  if (candidate.status < 200) throw new TypeError("the handler returned Response.error()");
  if (candidate.bodyUsed) throw new TypeError("the body of the handler's Response is used already");
  if (candidate.body?.locked) {
    throw new TypeError("the body of the handler's Response is locked by another reader");
  }
  return response as Response;
}

/** Half-closes, and reads on until the peer has closed too, however much it still sends. */
async function linger(connection: Connection, clock: Clock): Promise<void> {
  connection.shutdown();
  const deadline = clock.now() + LINGER_TIME;
  for (let left = LINGER_TIME; left > 0; left = deadline - clock.now()) {
    connection.consume(connection.buffered.length);
    try {
      if (!(await connection.fill(Math.min(left, LINGER_PAUSE)))) return;
    } catch {
      return;
    }
  }
}
