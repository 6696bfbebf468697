/** DHCPv6 for a stack's interfaces (RFC 9915): core's clients on one UDP socket, and the addresses that they are granted. */

import * as check from "./arguments.js";
import { type LeaseClient, LeaseClients } from "./lease_clients.js";
import type { NicImpl } from "./nic.js";
import type { Services } from "./services.js";
import type { Dhcp6Lease, Stack } from "./types.js";

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

interface Client extends LeaseClient {
  /** Whether it asks for an address. */
  isStateful: boolean;
  /** The address that the interface was given. */
  address: string | null;
}

/** See the module's comment. */
export class Dhcp6Clients extends LeaseClients<Client> {
  /** @throws {SocketError} if port 546 is taken. */
  constructor(stack: Stack, services: Services, changed: () => void) {
    super(stack, services, CLIENT_PORT, changed);
  }

  /** Begins to look for an address, or for parameters only; the latter goes on as the former if that is asked for later. */
  add(nic: NicImpl, isStateful: boolean, seed: readonly [number, number]): void {
    const known = this.clients.get(nic);
    if (known !== undefined && (known.isStateful || !isStateful)) return;
    const mac = check.macNumber(check.mac("mac", nic.mac));
    const number = this.services.call((wasm, now) =>
      wasm.create_dhcpv6_client(now, mac, ...seed, isStateful),
    );
    this.clients.set(nic, { nic, number, isStateful, address: null });
    this.run();
  }

  /** The addresses of an interface have changed: another host may have the one that was granted (RFC 9915 §18.2.8). */
  addressesChanged(nic: NicImpl): void {
    const client = this.clients.get(nic);
    if (client === undefined || client.address === null || this.services.over !== null) return;
    const own = `${client.address}/128`;
    const state = nic.addressInfo().find(({ prefix }) => prefix === own)?.state;
    if (state !== "duplicate") return;
    this.services.call((wasm, now) => wasm.decline_dhcpv6_client(now, client.number));
    this.run();
  }

  protected step(number: number, message: Uint8Array): void {
    this.services.call((wasm, now) => wasm.step_dhcpv6_client(now, number, message));
  }

  protected due(number: number): number {
    return this.services.call((wasm) => wasm.dhcpv6_client_due(number));
  }

  protected release(number: number): void {
    this.services.call((wasm, now) => wasm.release_dhcpv6_client(now, number));
  }

  protected send({ nic, number }: Client): void {
    for (;;) {
      const message = this.services.call((wasm, now) => wasm.transmit_dhcpv6_client(now, number));
      if (message === undefined) return;
      try {
        this.socket.send(message as Uint8Array<ArrayBuffer>, {
          remoteAddress: SERVERS,
          remotePort: SERVER_PORT,
          nic,
        });
      } catch {
        // What the stack cannot send, since it has no link-local address yet, is lost like other messages, and comes again.
      }
    }
  }

  protected tell(client: Client): void {
    const { nic, number } = client;
    if (!this.services.call((wasm) => wasm.dhcpv6_client_has_news(number))) return;
    const lease = this.services.row<RawLease>((wasm) => wasm.dhcpv6_client_lease(number));
    if (lease === null) return;
    const { address, preferredUntil, validUntil } = lease;
    if (client.address !== null && client.address !== address) nic.removeAddress(client.address);
    if (address !== null) {
      if (client.address !== address) nic.addLeased(`${address}/128`);
      nic.setLifetimes(address, preferredUntil, validUntil);
    }
    client.address = address;
    nic.leased6(this.#published(lease));
    this.changed();
  }

  #published(lease: RawLease): Dhcp6Lease {
    const { address, preferredUntil, validUntil, dnsServers, search } = lease;
    const wall = (time: number | null) => (time === null ? null : this.engine.wallTime(time));
    return {
      address,
      preferredUntil: wall(preferredUntil),
      expires: wall(validUntil),
      dnsServers: dnsServers === "" ? [] : dnsServers.split(" "),
      search: search === "" ? [] : search.split(" "),
    };
  }
}
