/** The types of multicast DNS and service discovery. */

import type { DurationLike, Nic } from "./types.js";

/** How multicast DNS is spoken on an interface. */
export interface MdnsOptions {
  /** The name that the stack wants, without `.local`; if another host has it, a number is appended. By default the stack's host name. */
  hostname?: string;
}

/** What a service tells about itself (RFC 6763 §6): values by key, or `true` for a key without one. At most 255 bytes each. */
export type ServiceText = Readonly<Record<string, string | true>>;

/** Names an instance of a service on a link. */
export interface ServiceName {
  /** What people call it: `Tom's files`. */
  name: string;
  /** What kind it is: `_http._tcp`. */
  type: string;
}

/** A service to tell of. */
export interface ServiceOptions extends ServiceName {
  /** Subtypes that some browse for (RFC 6763 §7.1): `["_printer"]`. Four at most. */
  subtypes?: readonly string[];
  /** Where it listens. */
  port: number;
  /** What it tells about itself. By default nothing. */
  text?: ServiceText;
}

/** Where a service is. */
export interface ServiceDetails extends ServiceName {
  /** The host: `printer.local`. */
  hostname: string;
  /** Where it listens. */
  port: number;
  /** What it tells about itself. */
  text: ServiceText;
  /** The host's addresses; a link-local one is of the interface that was asked on. */
  addresses: string[];
}

/** A service has come or gone. */
export interface ServiceChange {
  /** Whether it is there now. */
  kind: "found" | "gone";
  /** Which one. */
  service: ServiceName;
}

/** A service that is told of until it is closed. */
export interface PublishedService {
  /** Its name, to which a number was appended if another host has it; empty once it is closed. */
  readonly name: string;
  /** What kind it is: `_http._tcp`. */
  readonly type: string;
  /** Changes its text, and tells that. */
  setText(text: ServiceText): void;
  /** Tells that it is gone. */
  close(): void;
  /** As `close`, for `using`. */
  [Symbol.dispose](): void;
}

/** How long an answer is waited for. */
export interface WaitOptions {
  /** Rejects when it aborts, with its reason as `cause`. */
  signal?: AbortSignal;
  /** By default 5 s; then it rejects with ENOTFOUND. */
  timeout?: DurationLike;
}

/**
 * Multicast DNS on one interface (RFC 6762): the stack answers for its name there, tells of services and finds those of others (RFC 6763), without a
 * server. It ends with its interface.
 */
export interface Mdns {
  /** The interface. */
  readonly nic: Nic;
  /** The stack's name on the link as it claims it at present: `page.local`. */
  readonly hostname: string;
  /**
   * Tells of a service. Resolves when its name is certain to be its own, about a second after the interface has an address. Rejects with a RangeError what is no
   * name or type, and more than 32 services.
   */
  publish(service: ServiceOptions): Promise<PublishedService>;
  /**
   * The services of a type, `_http._tcp`, or of a subtype, `_printer._sub._http._tcp`, that are there, and then those that come and go, until the iteration ends: what was told and what is there now are
   * compared whenever somebody asks, so that who is slow misses nothing and nothing is kept.
   */
  browse(type: string, options?: { signal?: AbortSignal }): AsyncIterableIterator<ServiceChange>;
  /** Where a service is. */
  resolve(service: ServiceName, options?: WaitOptions): Promise<ServiceDetails>;
  /** The addresses of a host: `printer.local`. */
  lookup(hostname: string, options?: WaitOptions): Promise<string[]>;
  /** Tells that the stack and its services are gone. */
  close(): void;
  /** As `close`, for `using`. */
  [Symbol.dispose](): void;
}
