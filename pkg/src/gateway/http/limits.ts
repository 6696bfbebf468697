/** What an HTTP server accepts. */

import { show } from "../../arguments.js";

/** Sizes are bytes, times milliseconds. `Infinity` switches a limit off. */
export interface HttpLimits {
  /** Request line and header fields together; more is answered with 431 (414 for the line alone). */
  maxHeadBytes: number;
  /** A request's body; more is answered with 413. */
  maxBodyBytes: number;
  /** Connections served at a time, each listener's; more wait to be accepted. */
  maxConnections: number;
  /** From a head's first byte to its last; then 408. */
  headTimeout: number;
  /** How long a connection may wait for its next request. */
  keepAliveTimeout: number;
  /** How long a peer may send or take nothing within a message. */
  stallTimeout: number;
}

/** The limits where none are given. */
export const DEFAULT_HTTP_LIMITS: Readonly<HttpLimits> = {
  maxHeadBytes: 64 * 1024,
  maxBodyBytes: 1024 ** 3,
  maxConnections: 512,
  headTimeout: 30_000,
  keepAliveTimeout: 75_000,
  stallTimeout: 120_000,
};

/**
 * The limits given, over the defaults.
 * @throws {TypeError} that names what is wrong with which value.
 */
export function httpLimits(given: Partial<HttpLimits> = {}): HttpLimits {
  const limits = { ...DEFAULT_HTTP_LIMITS };
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(limits, name)) throw new TypeError(`http: there is no limit "${name}"`);
    if (value === undefined) continue;
    if (typeof value !== "number" || !(value > 0)) {
      throw new TypeError(`http.${name} must be a positive number, not ${show(value)}`);
    }
    limits[name as keyof HttpLimits] = value;
  }
  return limits;
}
