/** DHCPv6 for a stack's interfaces (RFC 9915): core's clients on one UDP socket, and the addresses that they are granted. */

import * as check from "./arguments.js";
import { inBackground } from "./background.js";
import type { EngineCore } from "./engine_core.js";
import type { NicImpl } from "./nic.js";
import type { Services } from "./services.js";
import { DueTimer } from "./timer.js";
import type { Dhcp6Lease, Stack, UdpSocket } from "./types.js";

const CLIENT_PORT = 546;
const SERVER_PORT = 547;
/** All_DHCP_Relay_Agents_and_Servers. */
const SERVERS = "ff02::1:2";

/** A lease as the module tells it. */
interface RawLease {
  address: string | null;
  preferredUntil: number | null;
  validUntil: number | null;
  dnsServers: string;
  search: string;
}

interface Client {
  nic: NicImpl;
  number: number;
  /** Whether it asks for an address. */
  isStateful: boolean;
  /** The address that the interface was given. */
  address: string | null;
}

/** See the module's comment. */
export class Dhcp6Clients {
  readonly #engine: EngineCore;
  readonly #services: Services;
  readonly #socket: UdpSocket;
  readonly #timer: DueTimer;
  readonly #clients = new Map<NicImpl, Client>();
  readonly #changed: () => void;

  /** @throws {SocketError} if port 546 is taken. */
  constructor(stack: Stack, services: Services, changed: () => void) {
    this.#engine = stack.engine as EngineCore;
    this.#services = services;
    this.#changed = changed;
    this.#timer = new DueTimer(this.#engine, () => this.#run());
    this.#socket = inBackground(stack.bindUdp({ port: CLIENT_PORT }));
    this.#socket.onready = () => this.#receive();
  }

  /** Begins to look for an address, or for parameters only; the latter goes on as the former if that is asked for later. */
  add(nic: NicImpl, isStateful: boolean, seed: readonly [number, number]): void {
    const known = this.#clients.get(nic);
    if (known !== undefined && (known.isStateful || !isStateful)) return;
    const mac = check.macNumber(check.mac("mac", nic.mac));
    const number = this.#services.call((wasm, now) =>
      wasm.create_dhcpv6_client(now, mac, ...seed, isStateful),
    );
    this.#clients.set(nic, { nic, number, isStateful, address: null });
    this.#run();
  }

  /** Gives the lease of an interface back, which is about to go (RFC 9915 §18.2.7), and forgets the interface. */
  remove(nic: NicImpl): void {
    const client = this.#clients.get(nic);
    if (client === undefined) return;
    this.#clients.delete(nic);
    if (this.#engine.over !== null || this.#services.over !== null) return;
    this.#services.call((wasm, now) => wasm.release_dhcpv6_client(now, client.number));
    this.#send(client);
  }

  /** The addresses of an interface have changed: another host may have the one that was granted (RFC 9915 §18.2.8). */
  addressesChanged(nic: NicImpl): void {
    const client = this.#clients.get(nic);
    if (client === undefined || client.address === null || this.#services.over !== null) return;
    const own = `${client.address}/128`;
    const state = nic.addressInfo().find(({ prefix }) => prefix === own)?.state;
    if (state !== "duplicate") return;
    this.#services.call((wasm, now) => wasm.decline_dhcpv6_client(now, client.number));
    this.#run();
  }

  close(): void {
    this.#timer.clear();
    this.#clients.clear();
  }

  #receive(): void {
    for (;;) {
      const datagram = this.#socket.tryReceive();
      if (datagram === null) break;
      const client = [...this.#clients.values()].find(({ nic }) => nic === datagram.nic);
      if (client === undefined || datagram.data.byteLength === 0) continue;
      this.#services.call((wasm, now) =>
        wasm.step_dhcpv6_client(now, client.number, datagram.data),
      );
    }
    this.#run();
  }

  /** Does what is due, sends, and changes the interfaces. */
  #run(): void {
    if (this.#engine.over !== null || this.#services.over !== null) return;
    let due = Number.POSITIVE_INFINITY;
    const clients = [...this.#clients.values()];
    for (const client of clients) {
      const { number } = client;
      this.#services.call((wasm, now) => wasm.step_dhcpv6_client(now, number, new Uint8Array(0)));
      if (this.#services.call((wasm) => wasm.dhcpv6_client_has_news(number))) this.#tell(client);
      this.#send(client);
      due = Math.min(
        due,
        this.#services.call((wasm) => wasm.dhcpv6_client_due(number)),
      );
    }
    this.#timer.set(
      due,
      clients.some(({ nic }) => nic.isConfiguring),
    );
  }

  #send({ nic, number }: Client): void {
    for (;;) {
      const message = this.#services.call((wasm, now) => wasm.transmit_dhcpv6_client(now, number));
      if (message === undefined) return;
      try {
        this.#socket.send(message as Uint8Array<ArrayBuffer>, {
          remoteAddress: SERVERS,
          remotePort: SERVER_PORT,
          nic,
        });
      } catch {
        // What the stack cannot send, since it has no link-local address yet, is lost like other messages, and comes again.
      }
    }
  }

  #tell(client: Client): void {
    const { nic, number } = client;
    const lease = this.#services.row<RawLease>((wasm) => wasm.dhcpv6_client_lease(number));
    if (lease === null) return;
    const { address, preferredUntil, validUntil } = lease;
    if (client.address !== null && client.address !== address) nic.removeAddress(client.address);
    if (address !== null) {
      if (client.address !== address) nic.addLeased(`${address}/128`);
      nic.setLifetimes(address, preferredUntil, validUntil);
    }
    client.address = address;
    nic.leased6(this.#published(lease));
    this.#changed();
  }

  #published(lease: RawLease): Dhcp6Lease {
    const { address, preferredUntil, validUntil, dnsServers, search } = lease;
    const wall = (time: number | null) => (time === null ? null : this.#engine.wallTime(time));
    return {
      address,
      preferredUntil: wall(preferredUntil),
      expires: wall(validUntil),
      dnsServers: dnsServers === "" ? [] : dnsServers.split(" "),
      search: search === "" ? [] : search.split(" "),
    };
  }
}
