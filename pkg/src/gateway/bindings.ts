/** The functions of the WebAssembly module that a gateway uses; see `http.rs` and `services.rs` in `wasm`. */

import type { HeadParser } from "./http/head.js";

/** What the DHCP server is told. */
export interface DhcpServiceOptions {
  server: string;
  prefixLength: number;
  first: string;
  last: string;
  domain: string;
  mtu: number;
  /** Seconds. */
  leaseTime: number;
}

/** An answer of the DHCP server and where it goes. */
export interface DhcpAnswer {
  message: Uint8Array<ArrayBuffer>;
  address: string;
  port: number;
  mac?: string;
}

/** A lease with its end in microseconds of the engine's time. */
export interface RawLease {
  address: string;
  mac: string;
  hostname: string;
  state: LeaseState;
  expires?: number;
  reserved: boolean;
}

/** What has become of a lease. */
export type LeaseState = "reserved" | "offered" | "bound" | "released" | "declined" | "expired";

export interface DhcpService {
  reserve(now: number, mac: string, address: string, hostname: string): void;
  handle(now: number, message: Uint8Array): DhcpAnswer | undefined;
  poll_event(): string[] | undefined;
  leases(now: number): RawLease[];
  counters(): Record<string, number>;
  free(): void;
}

/** What the DNS server wants done: a message sent, or a question answered. */
export type DnsAction =
  | { message: Uint8Array<ArrayBuffer>; question?: undefined }
  | { message?: undefined; question: number; name: string; type: string };

export interface DnsService {
  add(name: string, address: string): void;
  remove(name: string): void;
  addresses(name: string): string[];
  handle(
    now: number,
    address: string,
    port: number,
    message: Uint8Array,
    stream: boolean,
  ): DnsAction | undefined;
  answer(
    question: number,
    addresses: string[],
    pointer: string | undefined,
    failure: string | undefined,
    ttl: number,
  ): Uint8Array<ArrayBuffer> | undefined;
  counters(): Record<string, number>;
  free(): void;
}

/** See the module's comment. */
export interface GatewayBindings extends HeadParser {
  DhcpService: new (options: DhcpServiceOptions) => DhcpService;
  DnsService: new (ttl: number) => DnsService;
}
