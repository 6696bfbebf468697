/** Responses on their way to the wire. */

import type { Connection } from "./connection.js";
import { type Framing, hasNoBody } from "./framing.js";
import { formatHead, type RequestHead } from "./head.js";
import { MessageWriter, OutgoingBody } from "./outgoing.js";
import { REASONS } from "./reasons.js";

/** What a response must know of its request. */
export type RequestFacts = Pick<RequestHead, "method" | "minor"> &
  Partial<Pick<RequestHead, "fields">>;

/** Fields that belong to the connection and not to the message (RFC 9110 §7.6.1), or that the framing decides. */
export const CONNECTION_FIELDS: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** A response of text. */
export function plainResponse(status: number, text: string): Response {
  return new Response(text, { status, headers: { "content-type": "text/plain; charset=utf-8" } });
}

/** Sends one response. */
export class ResponseWriter {
  readonly #connection: Connection;
  readonly #request: RequestFacts;
  #message: MessageWriter | undefined;
  #keepAlive = false;

  constructor(connection: Connection, request: RequestFacts) {
    this.#connection = connection;
    this.#request = request;
  }

  /** Whether the connection can carry another response after this one. */
  get keepAlive(): boolean {
    return this.#keepAlive;
  }

  /** Whether it is too late for another response. */
  get started(): boolean {
    return this.#message !== undefined;
  }

  /** Body bytes handed to the stack. */
  get bytesSent(): number {
    return this.#message?.sent ?? 0;
  }

  /**
   * Sends `response`; `close` if the connection must end after it.
   * @throws {BodyError} if the response's body is at fault; errors of the connection.
   */
  async send(response: Response, close: boolean): Promise<void> {
    if (this.#request.method === "HEAD" || hasNoBody(response.status)) {
      response.body?.cancel().catch(() => {});
      return this.#sendHead(response, close);
    }
    const body = await OutgoingBody.open(response.body);
    const framing = this.#framing(declaredLength(response) ?? body.length);
    const head = this.#head(response, framing, close);
    this.#message = new MessageWriter(this.#connection, head, framing);
    await body.sendTo(this.#message);
  }

  /** A response that has no body may still tell the length that it would have (RFC 9110 §8.6). */
  async #sendHead(response: Response, close: boolean): Promise<void> {
    const length = response.status === 204 ? undefined : declaredLength(response);
    const framing: Framing | undefined =
      length === undefined ? undefined : { kind: "length", bytes: length };
    const head = this.#head(response, framing, close);
    this.#message = new MessageWriter(this.#connection, head, { kind: "until-close" });
    await this.#message.end();
  }

  /** Announces a length where it is known; without one HTTP/1.0 has only the connection's end. */
  #framing(length: number | undefined): Framing {
    if (length !== undefined) return { kind: "length", bytes: length };
    return this.#request.minor > 0 ? { kind: "chunked" } : { kind: "until-close" };
  }

  #head(response: Response, framing: Framing | undefined, close: boolean): Uint8Array {
    const { minor, fields: asked } = this.#request;
    const wishes = asked?.tokens("connection") ?? [];
    const ends = (response.headers.get("connection") ?? "").toLowerCase().includes("close");
    const persistent =
      minor > 0
        ? !wishes.includes("close")
        : wishes.includes("keep-alive") && framing !== undefined;
    this.#keepAlive = persistent && !ends && !close && framing?.kind !== "until-close";
    // No Date: the engine's clock may be a virtual one (RFC 9110 §6.6.1).
    const fields: [string, string][] = [];
    for (const [name, value] of response.headers) {
      if (!CONNECTION_FIELDS.has(name)) fields.push([name, value]);
    }
    if (framing?.kind === "length") fields.push(["content-length", String(framing.bytes)]);
    if (framing?.kind === "chunked") fields.push(["transfer-encoding", "chunked"]);
    if (!this.#keepAlive) fields.push(["connection", "close"]);
    else if (minor === 0) fields.push(["connection", "keep-alive"]);
    const reason = response.statusText || REASONS[response.status] || "";
    return formatHead(`HTTP/1.1 ${response.status} ${reason}`, fields);
  }
}

/** The Content-Length that the handler set. */
function declaredLength(response: Response): number | undefined {
  const value = response.headers.get("content-length");
  return value !== null && /^[0-9]{1,15}$/.test(value) ? Number(value) : undefined;
}
