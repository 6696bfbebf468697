/** `wispEgress`: TCP and UDP by a Wisp server, which makes the connections that pages may not. */

import * as check from "../../arguments.js";
import { realClock } from "../../clock.js";
import type { KeyPair } from "../../platform.js";
import { backoffOf } from "../../ports/backoff.js";
import type { Clock, DurationLike, ReconnectOptions } from "../../types.js";
import type { Egress } from "./types.js";
import { WispClient, type WispCounters, type WispState } from "./wisp_client.js";
import { credentialsOf, type WispPassword } from "./wisp_extensions.js";
import { linkOpener, type WebSocketConstructor } from "./wisp_link.js";
import { TcpRelay, UdpRelay } from "./wisp_relay.js";

const MIB = 1024 * 1024;
const MOST_STREAMS = 1024;
const BUFFER = 64 * MIB;
const TOTAL_BUFFER = 256 * MIB;
const OPEN_TIMEOUT = 20_000;
const HALF_CLOSE_TIMEOUT = 30_000;

/** How a Wisp server is spoken to. */
export interface WispEgressOptions {
  /** By default `"wisp"`. */
  name?: string;
  /** The newest version of the protocol to speak. By default 2; servers of version 1 are spoken to in theirs. */
  version?: 1 | 2;
  /** For servers that ask for it (version 2). */
  password?: WispPassword;
  /** Ed25519 keys of WebCrypto, for servers that know the public one (version 2). The public key must be extractable. */
  key?: KeyPair;
  /**
   * A class with the interface of `WebSocket`, such as that of the `ws` package; needed in Node 20. By default the platform's `WebSocketStream`, which can
   * hold a server back, or `WebSocket`, which cannot.
   */
  webSocket?: WebSocketConstructor;
  /** Whether, and how, it connects again when the WebSocket has ended. By default it does, for as long as it takes. */
  reconnect?: boolean | ReconnectOptions;
  /** Connections and UDP flows that may be open at a time; more are told that the network is unreachable. By default 1024. */
  maxStreams?: number;
  /**
   * Bytes that may wait for one guest's connection, and for all. What comes from the server faster than guests take it waits here, where the platform
   * cannot hold the server back; above, the connection is reset and counted. By default 64 MiB and 256 MiB.
   */
  maxBuffer?: number;
  /** The same for all connections together. */
  maxTotalBuffer?: number;
  /** How long a connection may take to be opened, the time until there is a server included. By default 20 s. */
  openTimeout?: DurationLike;
  /** How long the server may be silent after a guest has ended its half of a connection, of which Wisp cannot tell it. By default 30 s. */
  halfCloseTimeout?: DurationLike;
  /** Called when `state` has changed. */
  onstate?: ((egress: WispEgress) => void) | null;
  /** Time for all timeouts. By default real time. */
  clock?: Clock;
}

/** A way out by a Wisp server. */
export interface WispEgress extends Egress {
  readonly name: string;
  /** Where the connection to the server is in its life. */
  readonly state: WispState;
  /** The version of the protocol that is spoken; null before the first handshake. */
  readonly version: 1 | 2 | null;
  /** The server's message of the day; null if it has none. */
  readonly motd: string | null;
  /** Why the last connection, or attempt, has ended; null while it is open. */
  readonly error: Error | null;
  counters(): Record<keyof WispCounters | "datagramsDropped", number>;
  /** Closes the WebSocket; connections of guests are reset. */
  close(): void;
}

/**
 * Takes guests' connections and datagrams to the Internet by a Wisp server: the protocol's version 2 with its extensions, or 1. It connects at once, and
 * again when the connection is lost. Names that guests have looked up go to the server as names.
 *
 * ```js
 * const gateway = await createGateway({ egress: wispEgress("wss://example.com/wisp/") });
 * ```
 *
 * Where the server confirms that a connection is open (an extension of version 2), the guest's SYN is answered when it does, or as the server's failure was;
 * otherwise at once, and what fails is a reset.
 * @throws {TypeError | RangeError} that names what is wrong with which option, or if there is no `WebSocket` in this runtime.
 */
export function wispEgress(url: string | URL, options: WispEgressOptions = {}): WispEgress {
  const given = check.options("options", options);
  const clock = given.clock === undefined ? realClock : check.clock("options.clock", given.clock);
  const integer = (name: "maxStreams" | "maxBuffer" | "maxTotalBuffer", fallback: number) =>
    check.integer(`options.${name}`, given[name] ?? fallback, 1, Number.MAX_SAFE_INTEGER);
  const duration = (name: "openTimeout" | "halfCloseTimeout", fallback: number) =>
    check.duration(`options.${name}`, given[name] ?? fallback, 1);
  const version = given.version ?? 2;
  if (version !== 1 && version !== 2) {
    throw new RangeError(`options.version must be 1 or 2, got ${check.show(version)}`);
  }
  const name = check.string("options.name", given.name ?? "wisp");
  const onstate = check.callback("options.onstate", given.onstate);
  const patience = duration("halfCloseTimeout", HALF_CLOSE_TIMEOUT);
  const client = new WispClient({
    opener: linkOpener(url, given.webSocket, clock),
    version,
    credentials: credentialsOf(given.password, given.key),
    clock,
    backoff: backoffOf("options.reconnect", given.reconnect ?? true),
    maxStreams: integer("maxStreams", MOST_STREAMS),
    maxBuffer: integer("maxBuffer", BUFFER),
    maxTotalBuffer: integer("maxTotalBuffer", TOTAL_BUFFER),
    openTimeout: duration("openTimeout", OPEN_TIMEOUT),
    changed: () => onstate?.(egress),
  });
  let datagramsDropped = 0;
  let hasToldFailure = false;
  /** A connection that never will be is an error of the gateway, once. */
  const tellFailure = () => {
    if (client.state !== "failed" || hasToldFailure) return;
    hasToldFailure = true;
    throw new Error(`${name}: ${client.error?.message ?? "there is no server"}`, {
      cause: client.error,
    });
  };
  const egress: WispEgress = {
    name,
    get state() {
      return client.state;
    },
    get version() {
      return client.version;
    },
    get motd() {
      return client.motd;
    },
    get error() {
      return client.error;
    },
    tcp(flow) {
      new TcpRelay(flow, client, clock, patience);
      tellFailure();
    },
    udp(flow) {
      new UdpRelay(flow, client, () => {
        datagramsDropped += 1;
      });
      tellFailure();
    },
    counters: () => ({ ...client.counters(), datagramsDropped }),
    close: () => client.shutdown(),
  };
  client.start();
  return egress;
}
