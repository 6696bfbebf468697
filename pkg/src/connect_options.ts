/** What `connect` and `listen` are told, checked: the same wherever the stack is. */

import * as check from "./arguments.js";
import { SocketError } from "./errors.js";
import { tcpValues } from "./tcp_options.js";
import type {
  ConnectOptions,
  ConnectTarget,
  ListenOptions,
  SocketAddress,
  TcpOptions,
} from "./types.js";

/** As in Node. */
const DEFAULT_BACKLOG = 511;
/** What the module takes for a local address when there is a choice, or when all are meant. */
export const ANY = "";
/** All addresses of both families, or of IPv6 only. */
const ANY_IPV6 = "::";

/** A connection to be made. */
export interface ConnectPlan {
  remote: SocketAddress;
  signal: AbortSignal | null;
  /** Milliseconds, or infinity. */
  connectTimeout: number;
  settings: Float64Array<ArrayBuffer>;
  fastOpen: boolean;
  allowHalfOpen: boolean;
  /** {@link ANY} where the stack chooses. */
  localAddress: string;
  localPort: number;
}

/** Checks what `connect` is called with. */
export function connectPlan(
  address: ConnectTarget | string,
  options: ConnectOptions | undefined,
): ConnectPlan {
  const given = check.options("options", options);
  const remote = targetOf(address);
  checkTlsOnly(given);
  return {
    remote,
    signal: check.abortSignal("options.signal", given.signal),
    connectTimeout:
      given.connectTimeout === undefined
        ? Number.POSITIVE_INFINITY
        : check.duration("options.connectTimeout", given.connectTimeout),
    settings: settingsOf(given),
    fastOpen: check.boolean("options.fastOpen", given.fastOpen, false),
    allowHalfOpen: check.boolean("options.allowHalfOpen", given.allowHalfOpen, false),
    localAddress:
      given.localAddress === undefined
        ? ANY
        : check.address("options.localAddress", given.localAddress),
    localPort:
      given.localPort === undefined ? 0 : check.port("options.localPort", given.localPort, 0),
  };
}

/** "May be specified if and only if secureTransport is `on` or `starttls`", but for their defaults. */
function checkTlsOnly({ secureTransport = "off", sni, alpn }: Partial<ConnectOptions>): void {
  if (secureTransport !== "off") return;
  const option = sni === undefined || sni === null ? (alpn?.length ? "alpn" : null) : "sni";
  if (option === null) return;
  throw new TypeError(`options.${option} needs options.secureTransport to be "on" or "starttls"`);
}

/** A listener to be made. */
export interface ListenPlan {
  port: number;
  /** {@link ANY} for all addresses of both families. */
  hostname: string;
  backlog: number;
  allowHalfOpen: boolean;
  settings: Float64Array<ArrayBuffer>;
  fastOpen: number;
}

/** Checks what `listen` is called with. */
export function listenPlan(options: ListenOptions): ListenPlan {
  const given = check.options("options", options);
  const hostname =
    given.hostname === undefined ? ANY_IPV6 : check.address("options.hostname", given.hostname);
  const ipv6Only = check.boolean("options.ipv6Only", given.ipv6Only, false);
  return {
    port: check.port("options.port", given.port, 0),
    // All of IPv6 includes IPv4 unless it is said not to, as systems have it.
    hostname: hostname === ANY_IPV6 && !ipv6Only ? ANY : hostname,
    backlog:
      given.backlog === undefined
        ? DEFAULT_BACKLOG
        : check.integer("options.backlog", given.backlog, 1, 65_535),
    allowHalfOpen: check.boolean("options.allowHalfOpen", given.allowHalfOpen, false),
    settings: settingsOf(given),
    fastOpen:
      given.fastOpen === undefined
        ? 0
        : check.integer("options.fastOpen", given.fastOpen, 0, 65_535),
  };
}

/** The settings of a socket's own, of which `noDelay` may stand outside. */
function settingsOf(given: { tcp?: TcpOptions; noDelay?: boolean }): Float64Array<ArrayBuffer> {
  const { tcp, noDelay } = given;
  if (noDelay === undefined) return tcpValues("options.tcp", tcp);
  check.boolean("options.noDelay", noDelay, false);
  return tcpValues("options.tcp", { noDelay, ...check.options("options.tcp", tcp) });
}

/** Where to connect to. */
function targetOf(address: ConnectTarget | string): SocketAddress {
  const { hostname, port } =
    typeof address === "string" ? splitAddress(address) : check.options("address", address);
  const host = check.string("address.hostname", hostname);
  // Brackets are those of IPv6 in URLs.
  if (host === "" || /^\[[^:]*\]$/.test(host)) {
    throw invalid('address.hostname must be a name or an address like "10.0.2.15"', hostname);
  }
  if (typeof port === "number" && !(Number.isInteger(port) && port >= 1 && port <= 65_535)) {
    throw invalid("address.port must be an integer from 1 to 65535", port);
  }
  const number = check.port("address.port", port);
  return { address: check.addressLiteral(host) ?? host, port: number };
}

/** Why a connection cannot even be tried. */
export function failureOf(remote: SocketAddress, signal: AbortSignal | null): Error | null {
  const remoteAddress = check.hostPort(remote.address, remote.port);
  if (signal?.aborted) {
    const options = { cause: signal.reason, remoteAddress };
    return new SocketError("ABORT_ERR", `connect to ${remoteAddress}: aborted`, options);
  }
  return null;
}

/** "`connect` may throw a SocketError. One case where this can happen is if the input address is incorrectly formatted." */
function invalid(expected: string, value: unknown): SocketError {
  return new SocketError("EINVAL", `${expected}, got ${check.show(value)}`);
}

function splitAddress(text: string): ConnectTarget {
  const [, hostname, port] = /^(\[[^\]]+\]|[^:]+):(\d{1,5})$/.exec(text) ?? [];
  if (hostname === undefined || !(Number(port) >= 1 && Number(port) <= 65_535)) {
    throw invalid('address must be like "10.0.2.15:80" or "[fd00::2]:80"', text);
  }
  return { hostname, port: Number(port) };
}
