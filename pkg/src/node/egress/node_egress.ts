/** The way out by sockets of this computer. */

import net from "node:net";
import * as check from "../../arguments.js";
import { monotonic, realClock } from "../../clock.js";
import { SocketError } from "../../errors.js";
import { isStandIn } from "../../gateway/egress/names.js";
import { plainName } from "../../gateway/egress/prefixes.js";
import type { Egress, EgressFlow, EgressUdpFlow } from "../../gateway/egress/types.js";
import type { DurationLike } from "../../types.js";
import { connectFirst, interleaved, type Outcome } from "./attempts.js";
import { carryDatagrams } from "./datagrams.js";
import { HostLookup } from "./lookup.js";
import { type HostPattern, Policy } from "./policy.js";
import { codeOf, UNREACHABLE } from "./reasons.js";
import { relay, reset } from "./relay.js";

/** How {@link nodeEgress} works. */
export interface NodeEgressOptions {
  /**
   * What guests may reach, by name, address, network and port; by default all of the public Internet. Addresses that are private, loopback, link-local, shared, multicast, reserved, or
   * this computer's own are reached only if an entry has them as an address or network: `allow: ["*", { host: "127.0.0.1", port: 5432 }]`.
   */
  allow?: readonly (string | HostPattern)[];
  /** What they may not reach, even if it is allowed. */
  deny?: readonly (string | HostPattern)[];
  /**
   * Names with their addresses, such as `{ "db.test": "127.0.0.1" }`. They are not looked up, and `allow` can have these names where it would need the
   * address: `allow: ["*", { host: "db.test", port: 5432 }]`. Globs do not count for that.
   */
  hosts?: Readonly<Record<string, string | readonly string[]>>;
  /** Name servers, as `dns.setServers` takes them. By default names are looked up as programs of this computer do it. */
  dns?: readonly string[];
  /** How long a connection may take to open, at most 29 s: then the guest gets no answer, as from a host that is not there. By default 25 s. */
  connectTimeout?: DurationLike;
  /** How long a connection may be idle before it is reset. By default two hours and four minutes (RFC 5382 REQ-5). */
  idleTimeout?: DurationLike;
}

/** What {@link nodeEgress} counts. */
export interface NodeEgressCounters {
  /** Connections that were opened. */
  connections: number;
  /** By the peer. */
  refused: number;
  /** As this computer, or a router, has said. */
  unreachable: number;
  /** Within `connectTimeout`. */
  timedOut: number;
  /** By the lists, or since the address is not public. */
  denied: number;
  /** Flows of datagrams that went out. */
  udpFlows: number;
  /** Datagrams for which there was no room. */
  datagramsDropped: number;
}

/** An egress by sockets of this computer. */
export interface NodeEgress extends Egress {
  counters(): NodeEgressCounters & Record<string, number>;
  close(): void;
}

const CONNECT_TIMEOUT = 25_000;
/** The gateway waits no longer for a decision. */
const LONGEST_CONNECT = 29_000;
const IDLE_TIMEOUT = (2 * 60 + 4) * 60_000;
/** How long a UDP port that was refused is known to be, in milliseconds: the guest's next datagram is then refused, and the one after tried again. */
const REFUSED_FOR = 2_000;
const MOST_REFUSED = 1_024;

/**
 * An egress by real sockets: guests' connections and datagrams leave by this computer, and end as they end outside. Names are looked up here; the address that is
 * dialled is the one that was checked.
 *
 * ```js
 * const gateway = await createGateway({ egress: nodeEgress({ deny: [{ port: 25 }] }) });
 * ```
 * @throws {TypeError | RangeError} that names what is wrong with which option.
 */
export function nodeEgress(options?: NodeEgressOptions): NodeEgress {
  const given = check.options("options", options);
  const hosts = hostsOf("options.hosts", given.hosts);
  const policy = new Policy(hosts, given.allow, given.deny);
  const lookup = new HostLookup(hosts, given.dns);
  const connectTimeout = check.duration(
    "options.connectTimeout",
    given.connectTimeout ?? CONNECT_TIMEOUT,
    1,
  );
  if (connectTimeout > LONGEST_CONNECT) {
    throw new RangeError(
      `options.connectTimeout must be at most 29 s, got ${check.show(given.connectTimeout)}`,
    );
  }
  const idleTimeout = check.duration("options.idleTimeout", given.idleTimeout ?? IDLE_TIMEOUT, 1);
  return new NodeEgressImpl(policy, lookup, connectTimeout, idleTimeout);
}

function hostsOf(
  argument: string,
  given: NodeEgressOptions["hosts"],
): ReadonlyMap<string, readonly string[]> {
  const hosts = new Map<string, readonly string[]>();
  for (const [name, value] of Object.entries(check.options(argument, given))) {
    const key = `${argument}[${JSON.stringify(name)}]`;
    const list = typeof value === "string" ? [value] : check.strings(key, value);
    hosts.set(
      plainName(key, name),
      list.map((address) => check.address(key, address)),
    );
  }
  return hosts;
}

class NodeEgressImpl implements NodeEgress {
  readonly name = "node";
  readonly #policy: Policy;
  readonly #lookup: HostLookup;
  readonly #connectTimeout: number;
  readonly #idleTimeout: number;
  readonly #sockets = new Set<net.Socket>();
  readonly #datagrams = new Set<() => void>();
  /** UDP ports that were refused, and until when that is known. */
  readonly #refusedPorts = new Map<string, number>();
  readonly #counters: NodeEgressCounters = {
    connections: 0,
    refused: 0,
    unreachable: 0,
    timedOut: 0,
    denied: 0,
    udpFlows: 0,
    datagramsDropped: 0,
  };

  constructor(policy: Policy, lookup: HostLookup, connectTimeout: number, idleTimeout: number) {
    this.#policy = policy;
    this.#lookup = lookup;
    this.#connectTimeout = connectTimeout;
    this.#idleTimeout = idleTimeout;
  }

  async tcp(flow: EgressFlow): Promise<void> {
    const addresses = await this.#addressesOf(flow, "tcp");
    if (addresses === null) return;
    const outcome = await connectFirst<net.Socket>({
      addresses,
      clock: realClock,
      timeout: this.#connectTimeout,
      signal: flow.signal,
      begin: (address, done) => this.#dial(address, flow.local.port, done),
    });
    if ("open" in outcome) await this.#open(flow, outcome.open);
    else if (!flow.signal.aborted) this.#fail(flow, outcome.code);
  }

  async udp(flow: EgressUdpFlow): Promise<void> {
    const addresses = await this.#addressesOf(flow, "udp");
    if (addresses === null || flow.signal.aborted) return;
    const { port } = flow.local;
    const refused = addresses.filter((address) => this.#wasRefused(check.hostPort(address, port)));
    if (refused.length > 0) return flow.refuse();
    this.#counters.udpFlows += 1;
    const close = carryDatagrams(flow, interleaved(addresses), {
      dropped: () => {
        this.#counters.datagramsDropped += 1;
      },
      refused: (address) => {
        this.#counters.refused += 1;
        this.#rememberRefused(check.hostPort(address, port));
      },
      unreachable: () => {
        this.#counters.unreachable += 1;
      },
    });
    this.#datagrams.add(close);
    flow.signal.addEventListener("abort", () => this.#datagrams.delete(close), { once: true });
  }

  async resolve(name: string, type: string): Promise<readonly string[] | null> {
    if (type !== "A" && type !== "AAAA") return this.#lookup.records(name, type);
    const addresses = await this.#lookup.addresses(name);
    return addresses?.filter((address) => address.includes(":") === (type === "AAAA")) ?? null;
  }

  counters(): NodeEgressCounters & Record<string, number> {
    return { ...this.#counters };
  }

  close(): void {
    this.#lookup.close();
    for (const socket of this.#sockets) reset(socket);
    for (const close of this.#datagrams) close();
    this.#datagrams.clear();
  }

  /** The addresses to dial; null if there are none, and the guest was told. */
  async #addressesOf(
    flow: EgressFlow | EgressUdpFlow,
    protocol: "tcp" | "udp",
  ): Promise<string[] | null> {
    const { hostname, local } = flow;
    let addresses: string[] | null = [local.address];
    if (isStandIn(local.address)) {
      try {
        addresses = await this.#lookup.addresses(hostname);
      } catch (error) {
        if (!(error instanceof SocketError)) throw error;
        addresses = null;
      }
    }
    if (flow.signal.aborted) return null;
    if (addresses === null || addresses.length === 0) {
      this.#counters.unreachable += 1;
      flow.unreachable("host");
      return null;
    }
    const wanted = { protocol, hostname, port: local.port };
    const permitted = addresses.filter((address) => this.#policy.permits(wanted, address));
    if (permitted.length > 0) return permitted;
    this.#counters.denied += 1;
    flow.unreachable("prohibited");
    return null;
  }

  #dial(host: string, port: number, done: (outcome: Outcome<net.Socket>) => void): () => void {
    const socket = net.connect({ host, port, allowHalfOpen: true, noDelay: true });
    // Nothing may be lost before somebody listens to it.
    socket.pause();
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    const leave = (): void => {
      socket.removeAllListeners("connect").removeAllListeners("error");
      socket.on("error", () => {});
    };
    socket.once("connect", () => {
      leave();
      done({ open: socket });
    });
    socket.once("error", (error) => {
      leave();
      done({ code: codeOf(error) });
    });
    return () => {
      leave();
      socket.destroy();
    };
  }

  async #open(flow: EgressFlow, host: net.Socket): Promise<void> {
    try {
      const guest = await flow.accept({ allowHalfOpen: true });
      this.#counters.connections += 1;
      host.setTimeout(this.#idleTimeout);
      if (host.destroyed) guest.abort();
      else relay(guest, host);
    } catch (error) {
      reset(host);
      throw error;
    }
  }

  /** Tells the guest what the system has said. */
  #fail(flow: EgressFlow, code: string): void {
    const reason = UNREACHABLE[code];
    if (reason !== undefined) {
      this.#counters.unreachable += 1;
      flow.unreachable(reason);
    } else if (code === "ETIMEDOUT") {
      this.#counters.timedOut += 1;
      flow.drop();
    } else {
      this.#counters.refused += 1;
      flow.refuse();
    }
  }

  #wasRefused(port: string): boolean {
    const until = this.#refusedPorts.get(port) ?? 0;
    this.#refusedPorts.delete(port);
    return until > monotonic();
  }

  #rememberRefused(port: string): void {
    const [oldest] = this.#refusedPorts.keys();
    if (this.#refusedPorts.size >= MOST_REFUSED && oldest !== undefined) {
      this.#refusedPorts.delete(oldest);
    }
    this.#refusedPorts.set(port, monotonic() + REFUSED_FOR);
  }
}
