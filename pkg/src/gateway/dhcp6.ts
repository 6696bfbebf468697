/** The DHCPv6 server of a gateway: core's, on UDP port 547. */

import * as check from "../arguments.js";
import { inBackground } from "../background.js";
import type { EngineCore } from "../engine_core.js";
import type { Services } from "../services.js";
import type { Datagram, Nic, Stack, UdpSocket } from "../types.js";
import type { GatewaySettings6 } from "./options6.js";

const SERVER_PORT = 547;
const CLIENT_PORT = 546;
/** RFC 9915 §7.1: where clients send everything. */
const SERVERS = "ff02::1:2";

/** What has become of an IPv6 lease: `ended` are those that were given back or ran out. */
export type Lease6State = "bound" | "ended" | "declined";

/** An IPv6 address that was leased by DHCPv6. */
export interface Lease6 {
  /** The IPv6 address. */
  address: string;
  /** The client's DUID, in hexadecimal digits. */
  client: string;
  /** The number of the client's association: it may have several. */
  iaid: number;
  /** What has become of it. */
  state: Lease6State;
  /** Milliseconds since 1970; null for a lease without end. */
  expires: number | null;
}

/** What happened to a lease of IPv6. */
export interface Lease6Change {
  /** What the server or the client has done. */
  kind: "granted" | "released" | "declined";
  /** As it is after that. */
  lease: Lease6;
}

/** What the server tells the gateway. */
export interface Dhcp6Hooks {
  changed(change: Lease6Change): void;
  /** A lease was granted to the client with this link-local address, or extended. */
  held(lease: Lease6, client: string): void;
  failed(error: unknown): void;
}

/** The type of an answer that grants or takes back (RFC 9915 §7.3). */
const REPLY = 7;

/** See the module's comment. */
export class Dhcp6Server {
  readonly #engine: EngineCore;
  readonly #services: Services;
  readonly #socket: UdpSocket;
  readonly #nic: Nic;
  readonly #hooks: Dhcp6Hooks;
  /** The leases after the last answer, by their addresses. */
  #known: ReadonlyMap<string, Lease6>;
  #closed = false;

  constructor(
    stack: Stack,
    nic: Nic,
    services: Services,
    { prefix, address, domain, dhcp }: GatewaySettings6 & { domain: string },
    seed: readonly [number, number],
    hooks: Dhcp6Hooks,
  ) {
    this.#engine = stack.engine as EngineCore;
    this.#services = services;
    this.#nic = nic;
    this.#hooks = hooks;
    const mac = check.macNumber(check.mac("mac", nic.mac));
    const { range, preferred, valid } = dhcp;
    const [first, last] = range ?? ["", ""];
    services.call((wasm) =>
      wasm.create_dhcpv6(mac, ...seed, prefix, first, last, address, domain, preferred, valid),
    );
    for (const { address: leased, client, iaid, expires } of dhcp.restore) {
      const remaining =
        expires === null ? Number.POSITIVE_INFINITY : (expires - this.#engine.date()) * 1_000;
      services.call((wasm, now) => wasm.restore_dhcpv6(now, leased, client, iaid, remaining));
    }
    this.#known = this.#byAddress();
    nic.joinGroup(SERVERS);
    this.#socket = inBackground(stack.bindUdp({ port: SERVER_PORT }));
    this.#socket.onready = () => this.#receive();
  }

  /** All addresses that the server remembers. */
  leases(): Lease6[] {
    if (this.#closed) return [];
    return this.#services
      .rows<Lease6>((wasm, now) => wasm.leases_dhcpv6(now))
      .map(({ expires, ...lease }) => ({
        ...lease,
        expires: expires === null ? null : this.#engine.wallTime(expires),
      }));
  }

  counters(): Record<string, number> {
    if (this.#closed) return {};
    return this.#services.row<Record<string, number>>((wasm) => wasm.dhcpv6_counters()) ?? {};
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    void this.#socket.close();
  }

  #receive(): void {
    for (;;) {
      const datagram = this.#closed ? null : this.#socket.tryReceive();
      if (datagram === null) return;
      try {
        this.#answer(datagram);
      } catch (error) {
        this.#hooks.failed(error);
      }
    }
  }

  #answer({ data, localAddress, remoteAddress, nic }: Datagram): void {
    if (nic !== this.#nic || !localAddress.includes(":")) return;
    const answer = this.#services.call((wasm, now) => wasm.handle_dhcpv6(now, localAddress, data));
    if (answer === undefined) return;
    this.#socket.send(answer as Uint8Array<ArrayBuffer>, {
      remoteAddress,
      remotePort: CLIENT_PORT,
      nic: this.#nic,
    });
    if (answer[0] === REPLY) this.#report(remoteAddress);
  }

  #byAddress(): Map<string, Lease6> {
    return new Map(this.leases().map((lease) => [lease.address, lease]));
  }

  /** Tells what has changed by an answer to a client. */
  #report(client: string): void {
    const before = this.#known;
    this.#known = this.#byAddress();
    for (const lease of this.#known.values()) {
      const { address, state, expires } = lease;
      const old = before.get(address);
      const isSame = old?.client === lease.client && old.iaid === lease.iaid;
      if (state === "bound") {
        const isNew = !isSame || old.state !== "bound";
        if (isNew || old.expires !== expires) this.#hooks.held(lease, client);
        if (isNew) this.#hooks.changed({ kind: "granted", lease });
      } else if (
        old?.state === "bound" &&
        (old.expires ?? Number.POSITIVE_INFINITY) > this.#engine.date()
      ) {
        this.#hooks.changed({ kind: state === "declined" ? "declined" : "released", lease });
      }
    }
  }
}
