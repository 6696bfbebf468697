/** DHCP for a stack's interfaces: core's clients on one UDP socket, and what they find out in the stack's addresses and routes. */

import * as check from "./arguments.js";
import { type LeaseClient, LeaseClients } from "./lease_clients.js";
import type { NicImpl } from "./nic.js";
import type { Services } from "./services.js";
import type { DhcpLease, Stack } from "./types.js";

const CLIENT_PORT = 68;

/** A lease as the module tells it. */
interface RawLease {
  address: string;
  prefixLength: number;
  server: string;
  routes: string;
  dnsServers: string;
  ntpServers: string;
  domain: string;
  expires: number | null;
}

/** What an interface was given because of a lease. */
interface Configured {
  prefix: string;
  routes: readonly { to: string; via: string }[];
}

interface Client extends LeaseClient {
  configured: Configured | null;
}

/** See the module's comment. */
export class DhcpClients extends LeaseClients<Client> {
  /** @throws {SocketError} if port 68 is taken. */
  constructor(stack: Stack, services: Services, changed: () => void) {
    super(stack, services, CLIENT_PORT, changed);
  }

  /** Begins to look for an address for an interface. */
  add(nic: NicImpl, seed: readonly [number, number]): void {
    const mac = check.macNumber(check.mac("mac", nic.mac));
    const number = this.services.call((wasm, now) =>
      wasm.create_dhcp_client(now, mac, ...seed, this.stack.hostname),
    );
    this.clients.set(nic, { nic, number, configured: null });
    this.run();
  }

  /** The leases that there are, in the order of the interfaces. */
  leases(): DhcpLease[] {
    return [...this.clients.keys()].flatMap(({ lease }) => lease ?? []);
  }

  protected step(number: number, message: Uint8Array): void {
    this.services.call((wasm, now) => wasm.step_dhcp_client(now, number, message));
  }

  protected due(number: number): number {
    return this.services.call((wasm) => wasm.dhcp_client_due(number));
  }

  protected release(number: number): void {
    this.services.call((wasm, now) => wasm.release_dhcp_client(now, number));
  }

  protected send({ nic, number }: Client): void {
    for (;;) {
      const sent = this.services.row<{
        message: Uint8Array<ArrayBuffer>;
        source: string;
        address: string;
        port: number;
      }>((wasm, now) => wasm.transmit_dhcp_client(now, number));
      if (sent === null) return;
      const { message, source, address, port } = sent;
      try {
        this.socket.send(message, {
          remoteAddress: address,
          remotePort: port,
          localAddress: source,
          nic,
        });
      } catch {
        // What the stack cannot send is lost like other messages, and comes again.
      }
    }
  }

  protected tell(client: Client): void {
    for (;;) {
      const event = this.services.row<{ kind: string }>((wasm) =>
        wasm.poll_dhcp_client(client.number),
      );
      if (event === null) return;
      const lease = this.services.row<RawLease>((wasm) => wasm.dhcp_client_lease(client.number));
      this.#configure(client, lease);
      this.changed();
    }
  }

  #configure(client: Client, lease: RawLease | null): void {
    const { nic } = client;
    const wanted = lease === null ? null : configurationOf(lease);
    if (JSON.stringify(wanted) !== JSON.stringify(client.configured)) {
      for (const { to } of client.configured?.routes ?? []) {
        attempt(() => this.stack.removeRoute(to));
      }
      if (client.configured !== null) {
        const { prefix } = client.configured;
        attempt(() => nic.removeAddress(prefix));
      }
      if (wanted !== null) {
        attempt(() => nic.addLeased(wanted.prefix));
        for (const route of wanted.routes) attempt(() => this.stack.addRoute(route));
      }
      client.configured = wanted;
    }
    nic.leased(lease === null ? null : this.#published(lease));
  }

  #published(lease: RawLease): DhcpLease {
    const { address, prefixLength, server, domain, expires } = lease;
    return {
      address: `${address}/${prefixLength}`,
      server,
      routes: configurationOf(lease).routes,
      dnsServers: words(lease.dnsServers),
      ntpServers: words(lease.ntpServers),
      domain,
      expires: expires === null ? null : this.engine.wallTime(expires),
    };
  }
}

function words(text: string): string[] {
  return text === "" ? [] : text.split(" ");
}

function configurationOf({ address, prefixLength, routes }: RawLease): Configured {
  return {
    prefix: `${address}/${prefixLength}`,
    routes: words(routes).map((route) => {
      const [to = "", via = ""] = route.split(",");
      return { to, via };
    }),
  };
}

/** What the stack refuses, such as a router outside the subnet, is left out. */
function attempt(change: () => void): void {
  try {
    change();
  } catch {
    // See above.
  }
}
