/** Which handler answers for which origin. */

import { show } from "../../arguments.js";
import type { SocketAddress } from "../../types.js";
import { HttpError, type RequestHead } from "./head.js";
import { plainResponse } from "./response.js";

/** What a handler is told besides the request. */
export interface RequestContext {
  /** The guest's address and port. */
  readonly remote: SocketAddress;
}

/** Answers a request from the network. */
export type Handler = (request: Request, context: RequestContext) => Response | Promise<Response>;

/** A served origin. */
export interface Route {
  readonly origin: string;
  /** As a URL has it: lower case, IPv6 addresses in brackets. */
  readonly hostname: string;
  readonly port: number;
  /** `"http:"` or `"https:"`. */
  readonly scheme: Scheme;
  readonly handler: Handler;
}

/** What is spoken on a port. */
export type Scheme = "http:" | "https:";

/**
 * Checks what `serve` was given.
 * @throws {TypeError} that names the value.
 */
export function parseOrigin(origin: string, handler: Handler): Route {
  if (typeof handler !== "function") {
    throw new TypeError(`serve: the handler must be a function, not ${show(handler)}`);
  }
  if (typeof origin !== "string") {
    throw new TypeError(`serve: the origin must be a string, not ${show(origin)}`);
  }
  const url = URL.canParse(origin) ? new URL(origin) : undefined;
  if (url?.protocol !== "http:" && url?.protocol !== "https:") {
    throw new TypeError(`serve: "${origin}" is no origin such as "http://shop.test"`);
  }
  if (`${url.pathname}${url.search}${url.hash}` !== "/" || url.username || url.password) {
    throw new TypeError(`serve: "${origin}" has more than a scheme, a host and a port`);
  }
  const scheme = url.protocol;
  const port = Number(url.port || (scheme === "http:" ? 80 : 443));
  return { origin: url.origin, hostname: url.hostname, port, scheme, handler };
}

/** The served origins, found by host name and the port that the request came in by. */
export class Routes {
  readonly #routes = new Map<string, Route>();

  /** @throws {TypeError} if the origin is served already, or its port by the other scheme. */
  add(route: Route): void {
    const key = `${route.hostname}:${route.port}`;
    if (this.#routes.has(key)) throw new TypeError(`serve: ${route.origin} is served already`);
    const [other] = this.list(route.port);
    if (other !== undefined && other.scheme !== route.scheme) {
      throw new TypeError(`serve: ${route.origin}: port ${route.port} is that of ${other.origin}`);
    }
    this.#routes.set(key, route);
  }

  remove(route: Route): void {
    this.#routes.delete(`${route.hostname}:${route.port}`);
  }

  /** All routes on a port, or all there are. */
  list(port?: number): Route[] {
    const all = [...this.#routes.values()];
    return port === undefined ? all : all.filter((route) => route.port === port);
  }

  /** What is spoken on a port. */
  scheme(port: number): Scheme {
    return this.list(port)[0]?.scheme ?? "http:";
  }

  find(hostname: string, port: number): Route | undefined {
    return this.#routes.get(`${hostname}:${port}`);
  }
}

/**
 * The URL of a request (RFC 9112 §3.3) that came in by `port`, and the route that answers, if one does.
 * @throws {HttpError} 400 if the target or the Host field is invalid, 501 for CONNECT.
 */
function resolveRequest(
  head: RequestHead,
  routes: Routes,
  port: number,
): { url: URL; route: Route | undefined } {
  const only = routes.list(port);
  // HTTP/1.0 has no Host field: the request is for the only origin there is.
  const authority =
    only.length === 1 && only[0] ? `${only[0].hostname}:${port}` : `localhost:${port}`;
  const url = requestUrl(head, routes.scheme(port), authority);
  return { url, route: routes.find(url.hostname, port) };
}

/**
 * The URL of a request (RFC 9112 §3.3); `authority` is whom it is for where it does not say so itself.
 * @throws {HttpError} 400 if the target or the Host field is invalid, 501 for CONNECT.
 */
export function requestUrl(head: RequestHead, scheme: Scheme, authority: string): URL {
  if (head.method === "CONNECT") throw new HttpError(501, "CONNECT is not implemented");
  const hosts = head.fields.all("host");
  // RFC 9112 §3.2: one Host in HTTP/1.1, never two.
  if (hosts.length > 1) throw new HttpError(400, "more than one Host field");
  if (hosts.length === 0 && head.minor > 0) throw new HttpError(400, "no Host field");
  const [host = ""] = hosts;
  if (/[\s/?#@\\]/.test(host)) throw new HttpError(400, `invalid Host field: ${host}`);

  // RFC 9112 §3.2.2: the host of a target in absolute form wins over the field.
  const absolute = new RegExp(`^${scheme}//`, "i").test(head.target);
  const target = absolute ? head.target : originForm(head, `${scheme}//${host || authority}`);
  if (!URL.canParse(target)) throw new HttpError(400, `invalid request target: ${head.target}`);
  const url = new URL(target);
  if (url.username || url.password) throw new HttpError(400, "user name in the request target");
  return url;
}

function originForm(head: RequestHead, origin: string): string {
  const asterisk = head.target === "*" && head.method === "OPTIONS";
  if (!head.target.startsWith("/") && !asterisk) {
    throw new HttpError(400, `invalid request target: ${head.target}`);
  }
  return `${origin}${asterisk ? "/*" : head.target}`;
}

/** Resolves requests by the origins served; who asks for another gets what `otherwise` has, or is told which there are. */
export function resolvingBy(
  routes: Routes,
  otherwise: (url: URL) => Response | null = () => null,
): (head: RequestHead, port: number) => { url: URL; answer: Handler | Response } {
  return (head, port) => {
    const { url, route } = resolveRequest(head, routes, port);
    if (route !== undefined) return { url, answer: route.handler };
    return { url, answer: otherwise(url) ?? plainResponse(404, unknownHostText(url, routes)) };
  };
}

/** The text of the 404 for a host that nobody serves. */
function unknownHostText(url: URL, routes: Routes): string {
  const served = routes.list().map((route) => `  ${route.origin}/\n`);
  const list =
    served.length === 0 ? "No origin is served yet.\n" : `Served here:\n${served.join("")}`;
  return `This gateway does not serve ${url.origin}.\n${list}`;
}
