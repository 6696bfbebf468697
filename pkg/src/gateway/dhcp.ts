/** The DHCP server of a gateway: core's, on UDP port 67. */

import type { EngineCore } from "../engine_core.js";
import type { Nic, Stack, UdpSocket } from "../types.js";
import type { DhcpService, GatewayBindings, LeaseState } from "./bindings.js";
import type { GatewaySettings } from "./options.js";

const SERVER_PORT = 67;

/** An address and who has, had or may have it. */
export interface Lease {
  address: string;
  /** All zero if nobody ever had the address. */
  mac: string;
  /** What the client calls itself, or what a static lease says; may be empty. */
  hostname: string;
  state: LeaseState;
  /** Milliseconds since 1970; null for a lease without end. */
  expires: number | null;
  /** A static lease. */
  reserved: boolean;
}

/** What happened to a lease. */
export interface LeaseChange {
  kind: "granted" | "released" | "declined";
  lease: Lease;
}

/** What the server tells the gateway. */
export interface DhcpHooks {
  changed(change: LeaseChange): void;
  failed(error: unknown): void;
}

/** See the module's comment. */
export class DhcpServer {
  readonly #engine: EngineCore;
  readonly #service: DhcpService;
  readonly #socket: UdpSocket;
  readonly #nic: Nic;
  readonly #address: string;
  readonly #hooks: DhcpHooks;
  #closed = false;

  /** @throws {RangeError} if the settings cannot be. */
  constructor(
    stack: Stack,
    nic: Nic,
    settings: GatewaySettings & { dhcp: NonNullable<GatewaySettings["dhcp"]> },
    bindings: GatewayBindings,
    hooks: DhcpHooks,
  ) {
    this.#engine = stack.engine as EngineCore;
    this.#nic = nic;
    this.#address = settings.address;
    this.#hooks = hooks;
    const { dhcp } = settings;
    this.#service = this.#engine.call(
      () =>
        new bindings.DhcpService({
          server: settings.address,
          prefixLength: settings.prefixLength,
          first: dhcp.first,
          last: dhcp.last,
          domain: settings.domain,
          mtu: settings.mtu,
          leaseTime: dhcp.leaseTime,
        }),
    );
    for (const { mac, address, hostname } of dhcp.leases) {
      this.#engine.call((_, now) => this.#service.reserve(now, mac, address, hostname ?? ""));
    }
    this.#socket = stack.bindUdp({ port: SERVER_PORT });
    this.#socket.onready = () => this.#receive();
  }

  /** All addresses that the server remembers. */
  leases(): Lease[] {
    if (this.#closed) return [];
    return this.#engine
      .call((_, now) => this.#service.leases(now))
      .map(({ expires, ...lease }) => ({
        ...lease,
        expires: expires === undefined ? null : this.#engine.wallTime(expires),
      }));
  }

  counters(): Record<string, number> {
    return this.#closed ? {} : this.#engine.call(() => this.#service.counters());
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    void this.#socket.close();
    if (this.#engine.over === null) this.#service.free();
  }

  #receive(): void {
    for (;;) {
      const datagram = this.#closed ? null : this.#socket.tryReceive();
      if (datagram === null) return;
      try {
        const answer = this.#engine.call((_, now) => this.#service.handle(now, datagram.data));
        if (answer !== undefined) {
          this.#socket.send(answer.message, {
            remoteAddress: answer.address,
            remotePort: answer.port,
            localAddress: this.#address,
            nic: this.#nic,
            ...(answer.mac === undefined ? {} : { mac: answer.mac }),
          });
        }
      } catch (error) {
        this.#hooks.failed(error);
      }
      this.#report();
    }
  }

  #report(): void {
    if (this.#engine.over !== null) return;
    for (;;) {
      const event = this.#closed ? undefined : this.#engine.call(() => this.#service.poll_event());
      if (event === undefined) return;
      const [kind, address] = event;
      const lease = this.leases().find((candidate) => candidate.address === address);
      if (lease !== undefined) this.#hooks.changed({ kind: kind as LeaseChange["kind"], lease });
    }
  }
}
