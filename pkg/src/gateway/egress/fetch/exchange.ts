/** One HTTP exchange of a guest, done by `fetch`. */

import { CONNECTION_FIELDS, plainResponse } from "../../http/response.js";
import { takesStreams } from "../../http/server.js";
import type { FetchSettings } from "./options.js";
import { type Asked, type Followed, follow } from "./redirects.js";
import { type UploadSettings, UploadTooLarge, uploadOf } from "./upload.js";

/** Fields that `fetch` sets itself, and that have no meaning for another connection than the guest's. */
const NOT_SENT: ReadonlySet<string> = new Set([
  ...CONNECTION_FIELDS,
  "accept-encoding",
  "expect",
  "host",
  "http2-settings",
  "proxy-authenticate",
  "proxy-authorization",
]);

/**
 * Fields that a page may set, but for which the server would have to allow it (CORS preflight), although they matter little: with them most requests would
 * fail that work without.
 */
const NOT_FROM_PAGES: ReadonlySet<string> = new Set([
  "cache-control",
  "pragma",
  "priority",
  "upgrade-insecure-requests",
  "user-agent",
]);

/** Codings that `fetch` has undone. */
const DECODED: ReadonlySet<string> = new Set([
  "br",
  "deflate",
  "gzip",
  "x-gzip",
  "zstd",
  "identity",
]);

/** Statuses whose `Response` can have no body. */
const NULL_BODY: ReadonlySet<number> = new Set([204, 205, 304]);

/** What exchanges have come to. */
export interface ExchangeCounters {
  requests: number;
  /** Requests that were answered with 502. */
  failures: number;
  /** Uploads that were answered with 413. */
  uploadsTooLarge: number;
}

/**
 * Asks a server for a guest; `leadsTo` is whether the rules have the guest's requests for a URL come here. Rejects only when the guest has gone, or its request
 * was at fault.
 */
export async function exchange(
  request: Request,
  settings: FetchSettings,
  counters: ExchangeCounters,
  leadsTo: (url: URL) => boolean,
): Promise<Response> {
  counters.requests += 1;
  const url = upgraded(new URL(request.url), settings.isUpgrading);
  const target = settings.corsProxy?.(url.href) ?? url.href;
  const headers = headersFor(request.headers, settings.isPage);
  if (headers.has("range") && !settings.isPage) headers.set("accept-encoding", "identity");
  const init: Asked["init"] & { duplex?: "half" } = {
    method: request.method,
    headers,
    signal: request.signal,
    redirect: settings.redirect,
    credentials: settings.credentials,
    cache: "no-store",
    referrerPolicy: "no-referrer",
  };
  let followed: Followed;
  try {
    const body = await bodyOf(request, uploadSettings(target, settings));
    if (body !== null) init.body = body;
    if (body instanceof ReadableStream) init.duplex = "half";
    followed = await ask(target, init, settings, leadsTo);
  } catch (error) {
    if (error instanceof UploadTooLarge) {
      counters.uploadsTooLarge += 1;
      return plainResponse(413, `${error.message}.\n`);
    }
    if (request.signal.aborted) throw error;
    counters.failures += 1;
    return plainResponse(502, failureText(url, error, settings));
  }
  const { response } = followed;
  if (response.type === "opaqueredirect" || response.type === "opaque" || response.status < 200) {
    counters.failures += 1;
    return plainResponse(502, opaqueText(url, response));
  }
  if (settings.corsProxy === null && !mayBeShown(response, url, leadsTo)) {
    response.body?.cancel().catch(() => {});
    counters.failures += 1;
    const text = `${url.href} redirects to ${response.url}, where the rules do not lead.\n`;
    return plainResponse(502, text);
  }
  return answerOf(followed, target, request.method);
}

/** Whether what the platform has followed redirects to is where the rules lead, too, or the same host. */
function mayBeShown(response: Response, url: URL, leadsTo: (url: URL) => boolean): boolean {
  if (!response.redirected || !URL.canParse(response.url)) return true;
  const end = new URL(response.url);
  return end.hostname === url.hostname || leadsTo(end);
}

/** Pages are not shown redirects, so that they can only have the browser follow them. */
async function ask(
  target: string,
  init: Asked["init"],
  settings: FetchSettings,
  leadsTo: (url: URL) => boolean,
): Promise<Followed> {
  if (settings.redirect === "follow" && !settings.isPage) {
    return follow(settings.fetch, { url: target, init }, leadsTo);
  }
  const response = await settings.fetch(target, init);
  const url = response.redirected && response.url !== "" ? response.url : target;
  return { response, url, left: null, isChanged: false };
}

/** A request's body for `fetch`. A platform whose requests take no streams has it as a whole already. */
async function bodyOf(
  request: Request,
  settings: UploadSettings,
): Promise<Blob | ReadableStream<Uint8Array<ArrayBuffer>> | null> {
  const { body } = request as { body?: ReadableStream<Uint8Array<ArrayBuffer>> | null };
  if (body) return uploadOf(body, settings);
  if (body === null || request.method === "GET" || request.method === "HEAD") return null;
  const whole = await request.blob();
  if (whole.size > settings.bufferLimit) throw new UploadTooLarge(settings.bufferLimit);
  return whole.size === 0 ? null : whole;
}

/** Pages that were loaded by https cannot ask for http://, unless it is this computer. */
function upgraded(url: URL, isUpgrading: boolean): URL {
  const isOwn = /^(localhost|.*\.localhost|127\..*|\[::1\])$/.test(url.hostname);
  if (isUpgrading && url.protocol === "http:" && !isOwn) url.protocol = "https:";
  return url;
}

function headersFor(given: Headers, isPage: boolean): Headers {
  const named = namedBy(given);
  const headers = new Headers();
  for (const [name, value] of given) {
    if (NOT_SENT.has(name) || named.includes(name)) continue;
    if (isPage && NOT_FROM_PAGES.has(name)) continue;
    headers.append(name, value);
  }
  return headers;
}

/** Fields that belong to a connection (RFC 9110 §7.6.1): its own, and those that it names. */
function namedBy(headers: Headers): string[] {
  const names = (headers.get("connection") ?? "").split(",").map((name) => name.trim());
  return [
    "connection",
    "keep-alive",
    ...names.filter((name) => /^[\w!#$%&'*+.^`|~-]+$/.test(name)),
  ].map((name) => name.toLowerCase());
}

function uploadSettings(
  target: string,
  { upload, bufferLimit, isPage }: FetchSettings,
): UploadSettings {
  // Browsers stream over HTTP/2 and HTTP/3 only, which are spoken over TLS.
  const isPossible = takesStreams() && (!isPage || target.startsWith("https:"));
  const mayStream = upload === "stream" ? takesStreams() : upload === "auto" && isPossible;
  // What servers make of a stream is known in Node; in a browser the protocol decides, which scripts are not told.
  const collected = upload === "stream" ? 0 : isPage ? bufferLimit : 64 * 1024;
  return { bufferLimit, mayStream, collected };
}

/** The response for the guest: decoded, and about this connection. */
function answerOf(followed: Followed, target: string, method: string): Response {
  const { response, url, left, isChanged } = followed;
  const headers = new Headers(response.headers);
  // Whether the server's connection goes on is nothing to the guest's.
  for (const name of namedBy(headers)) headers.delete(name);
  const codings = (headers.get("content-encoding") ?? "")
    .split(",")
    .map((coding) => coding.trim().toLowerCase())
    .filter((coding) => coding !== "");
  const isDecoded = codings.every((coding) => DECODED.has(coding));
  if (isDecoded) headers.delete("content-encoding");
  // The length is that of what was sent, encoded. A server of another origin does not show a page whether it was.
  const isKnown =
    codings.length === 0 && (response.type === "basic" || response.type === "default");
  if (!isKnown) headers.delete("content-length");
  if (url !== target) headers.set("content-location", url);
  // The guest may go there by a connection of its own, about which the rules are asked.
  if (left !== null) headers.set("location", left);
  const status = left !== null && isChanged ? 303 : response.status;
  const { statusText } = response;
  const hasBody = method !== "HEAD" && !NULL_BODY.has(status);
  if (!hasBody) response.body?.cancel().catch(() => {});
  return new Response(hasBody ? response.body : null, { status, statusText, headers });
}

function failureText(url: URL, error: unknown, { isPage }: FetchSettings): string {
  const reason = isPage
    ? `Either ${url.host} does not allow pages of ${originOfPage()} to read this (CORS), or it cannot be reached (network).`
    : "";
  return [
    `CORS or network: the request for ${url.href} failed, and scripts cannot tell why.`,
    reason,
    `What fetch says: ${reasonsOf(error)}`,
  ]
    .filter((line) => line !== "")
    .map((line) => `${line}\n`)
    .join("");
}

function opaqueText(url: URL, response: Response): string {
  const why =
    response.type === "opaqueredirect"
      ? "the server redirects, and pages are not shown where to"
      : "pages are not shown what the server answers";
  return `CORS or network: the request for ${url.href} failed: ${why}.\n`;
}

function originOfPage(): string {
  return (globalThis as { location?: { origin?: string } }).location?.origin ?? "this origin";
}

/** An error with its causes. */
function reasonsOf(error: unknown): string {
  const reasons: string[] = [];
  for (let next = error; next instanceof Error && reasons.length < 4; next = next.cause) {
    if (next.message !== "") reasons.push(next.message);
  }
  return reasons.join(": ") || String(error);
}
