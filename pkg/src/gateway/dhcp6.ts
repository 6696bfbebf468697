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

/** See the module's comment. */
export class Dhcp6Server {
  readonly #engine: EngineCore;
  readonly #services: Services;
  readonly #socket: UdpSocket;
  readonly #nic: Nic;
  readonly #failed: (error: unknown) => void;
  #closed = false;

  constructor(
    stack: Stack,
    nic: Nic,
    services: Services,
    { prefix, address, domain, dhcp }: GatewaySettings6 & { domain: string },
    seed: readonly [number, number],
    failed: (error: unknown) => void,
  ) {
    this.#engine = stack.engine as EngineCore;
    this.#services = services;
    this.#nic = nic;
    this.#failed = failed;
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
        this.#failed(error);
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
  }
}
