/** What `fetchEgress` is told, checked and completed. */

import * as check from "../../../arguments.js";
import type { Socket } from "../../../types.js";
import { type HttpLimits, httpLimits } from "../../http/limits.js";
import { portRanges } from "../rules.js";

/** How {@link fetchEgress} works. */
export interface FetchEgressOptions {
  /** By default the platform's. */
  fetch?: typeof globalThis.fetch;
  /**
   * A server that asks in the page's place, where servers do not allow that (CORS): a URL with `{url}` for the encoded URL or `{+url}` for the URL as it is, to which the
   * encoded URL is appended if it has neither; or a function from one URL to another, where null means to ask directly.
   */
  corsProxy?: string | ((url: string) => string | null);
  /** Whether `http://` becomes `https://`, except on this computer. By default in pages that were loaded by https, whose `fetch` cannot do else. */
  upgrade?: boolean;
  /**
   * `"follow"`, the default: guests get what the redirects lead to, and its URL in Content-Location. Outside of pages each redirect is followed by hand, and guests get
   * it themselves where the rules lead its target elsewhere; in pages the browser follows, and what comes from where the rules lead elsewhere is a 502.
   * `"manual"`: they get the redirect, where the platform shows it; browsers do not.
   */
  redirect?: "follow" | "manual";
  /** Whether the page's own cookies are sent: by default `"omit"`, since guests are not the page's user. */
  credentials?: "include" | "omit" | "same-origin";
  /**
   * How the bodies of requests are sent. `"auto"`: as a stream in Node; in a page whole if they fit into `bufferLimit`, else as a stream where the browser has such (to
   * https:// servers that speak HTTP/2). `"buffer"`: always whole. `"stream"`: always as a stream, if the platform can.
   */
  upload?: "auto" | "buffer" | "stream";
  /** Bytes of a request's body that are held in memory; more are answered with 413 where they cannot be streamed. By default 16 MiB. */
  bufferLimit?: number;
  /**
   * Ports on which HTTP is expected; flows to others are refused. By default 80, 443 where TLS can be ended, and those from 1024 on except where it is the server that speaks first
   * (3306, 5900 to 5909).
   */
  ports?: number | string | readonly (number | string)[];
  /**
   * Ends TLS for guests in the name of the server: is given the connection and the name of the server, and returns the connection without TLS, whose `opened` tells
   * when the handshake is over. By default the gateway does, if it has an authority; else port 443 is refused.
   */
  tls?: (connection: Socket, hostname: string) => Socket | Promise<Socket>;
  /** Limits of guests' requests. There is none for bodies by default. */
  http?: Partial<HttpLimits>;
}

/** {@link FetchEgressOptions} with everything decided. */
export interface FetchSettings {
  fetch: typeof globalThis.fetch;
  corsProxy: ((url: string) => string | null) | null;
  isUpgrading: boolean;
  redirect: "error" | "follow" | "manual";
  credentials: "include" | "omit" | "same-origin";
  upload: "auto" | "buffer" | "stream";
  bufferLimit: number;
  ports: readonly (readonly [first: number, last: number])[];
  tls: FetchEgressOptions["tls"] | null;
  http: HttpLimits;
  /** Whether requests are those of a page or its workers, to which CORS applies. */
  isPage: boolean;
}

const BUFFER_LIMIT = 16 * 1024 * 1024;
const MOST_BUFFERED = 1024 ** 3;
/** What URLs of http: mean where they have no port. */
export const HTTP_PORT = 80;
const PORTS = [HTTP_PORT, "1024-3305", "3307-5899", "5910-65535"];
/** Its flows are refused where nobody ends TLS. */
export const TLS_PORT = 443;

/**
 * Checks and completes options.
 * @throws {TypeError | RangeError} that names the option and shows its value.
 */
export function fetchSettings(options: FetchEgressOptions | undefined): FetchSettings {
  const given = check.options("options", options);
  const {
    redirect = "follow",
    credentials = "omit",
    upload = "auto",
    bufferLimit = BUFFER_LIMIT,
  } = given;
  check.oneOf("options.redirect", ["follow", "manual"], redirect);
  check.oneOf("options.credentials", ["omit", "same-origin", "include"], credentials);
  check.oneOf("options.upload", ["auto", "buffer", "stream"], upload);
  const { location } = globalThis as { location?: { protocol?: string } };
  const tls = check.callback("options.tls", given.tls);
  const { ports = [TLS_PORT, ...PORTS] } = given;
  const { fetch = (...request) => globalThis.fetch(...request) } = given;
  return {
    fetch: check.callback("options.fetch", fetch) as typeof globalThis.fetch,
    corsProxy: corsProxyOf(given.corsProxy),
    isUpgrading: check.boolean("options.upgrade", given.upgrade, location?.protocol === "https:"),
    redirect,
    credentials,
    upload,
    bufferLimit: check.integer("options.bufferLimit", bufferLimit, 0, MOST_BUFFERED),
    ports: portRanges("options.ports", ports),
    tls,
    http: httpLimits({
      maxBodyBytes: Number.POSITIVE_INFINITY,
      ...check.options("options.http", given.http),
    }),
    isPage: typeof location === "object",
  };
}

function corsProxyOf(given: FetchEgressOptions["corsProxy"]): FetchSettings["corsProxy"] {
  if (given === undefined) return null;
  if (typeof given === "function") return given;
  const template = check.string("options.corsProxy", given);
  const fill = (url: string): string => {
    const encoded = encodeURIComponent(url);
    if (!/\{\+?url\}/.test(template)) return `${template}${encoded}`;
    return template.replaceAll("{url}", () => encoded).replaceAll("{+url}", () => url);
  };
  if (!URL.canParse(fill("http://test.invalid/"))) {
    throw new RangeError(
      `options.corsProxy must be a URL like "https://proxy.test/?url={url}", got ${check.show(given)}`,
    );
  }
  return fill;
}
