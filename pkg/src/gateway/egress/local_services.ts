/** Services of the gateway's at addresses that are nobody's: which handler a flow belongs to. */

import * as check from "../../arguments.js";
import type { Datagram, Socket, SocketAddress } from "../../types.js";
import { plainName } from "./prefixes.js";

/** What a handler is told of a connection. */
export interface TcpServiceContext {
  /** The name, or address, that the service was registered with. */
  readonly hostname: string;
  /** The address and port that the guest wanted to reach. */
  readonly local: SocketAddress;
  /** The guest. */
  readonly remote: SocketAddress;
}

/**
 * Serves a guest's connection. What it throws, or a rejection, resets the connection and is an `error` event of the gateway; the connection ends when the
 * handler closes it.
 */
export type TcpHandler = (socket: Socket, context: TcpServiceContext) => void | Promise<void>;

/** Takes one datagram; `reply` sends one back to its sender. */
export type UdpHandler = (
  datagram: Datagram,
  reply: (data: Uint8Array) => void,
) => void | Promise<void>;

/** A service at an address, as the table has it. */
export type LocalService =
  | {
      readonly protocol: "tcp";
      readonly hostname: string;
      readonly allowHalfOpen: boolean;
      readonly handler: TcpHandler;
    }
  | { readonly protocol: "udp"; readonly hostname: string; readonly handler: UdpHandler };

/** Where a service is: `"10.0.2.100:22"`, `"[fd00::100]:22"` or `"db.test:5432"`. */
export interface ServiceAddress {
  /** As names are asked for: in small letters, in ASCII, without a dot at the end. */
  hostname: string;
  port: number;
  isLiteral: boolean;
}

const ADDRESS = /^(\[[^\]]+\]|[^:]+):(\d{1,5})$/;
const NAME = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*$/;

/**
 * Takes a service's address apart.
 * @throws {TypeError | RangeError} that names `argument`.
 */
export function serviceAddress(
  argument: string,
  value: string | { hostname: string; port: number },
): ServiceAddress {
  const given = typeof value === "string" ? ADDRESS.exec(value) : null;
  const parts =
    typeof value === "string"
      ? { hostname: given?.[1], port: Number(given?.[2]) }
      : check.options(argument, value);
  const wrong = (): RangeError =>
    new RangeError(
      `${argument} must be like "10.0.2.100:22" or "db.test:5432", got ${check.show(value)}`,
    );
  if (parts.hostname === undefined) throw wrong();
  const text = check.string(`${argument}.hostname`, parts.hostname);
  const port = check.port(`${argument}.port`, parts.port);
  const literal = check.addressLiteral(text);
  if (literal !== null) return { hostname: literal, port, isLiteral: true };
  const hostname = plainName(argument, text);
  if (!NAME.test(hostname)) throw wrong();
  return { hostname, port, isLiteral: false };
}

/** The services that flows are looked for in. */
export class LocalServices {
  readonly #services = new Map<string, LocalService>();

  /** @throws {TypeError} if there is one already. */
  add(address: string, port: number, service: LocalService): void {
    const key = keyOf(service.protocol, address, port);
    if (this.#services.has(key)) {
      throw new TypeError(`${check.hostPort(service.hostname, port)} is served already`);
    }
    this.#services.set(key, service);
  }

  remove(address: string, port: number, service: LocalService): void {
    const key = keyOf(service.protocol, address, port);
    if (this.#services.get(key) === service) this.#services.delete(key);
  }

  find(protocol: "tcp" | "udp", address: string, port: number): LocalService | null {
    return this.#services.get(keyOf(protocol, address, port)) ?? null;
  }
}

function keyOf(protocol: string, address: string, port: number): string {
  return `${protocol} ${address} ${port}`;
}
