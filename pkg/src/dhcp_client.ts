/** DHCP for a stack's interfaces: core's clients on one UDP socket, and what they find out in the stack's addresses and routes. */

import * as check from "./arguments.js";
import { inBackground } from "./background.js";
import type { EngineCore } from "./engine_core.js";
import type { NicImpl } from "./nic.js";
import type { Services } from "./services.js";
import { DueTimer } from "./timer.js";
import type { DhcpLease, Stack, UdpSocket } from "./types.js";

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

interface Client {
  nic: NicImpl;
  number: number;
  configured: Configured | null;
}

/** See the module's comment. */
export class DhcpClients {
  readonly #engine: EngineCore;
  readonly #stack: Stack;
  readonly #services: Services;
  readonly #socket: UdpSocket;
  readonly #timer: DueTimer;
  readonly #clients = new Map<NicImpl, Client>();
  readonly #changed: () => void;

  /** @throws {SocketError} if port 68 is taken. */
  constructor(stack: Stack, services: Services, changed: () => void) {
    this.#engine = stack.engine as EngineCore;
    this.#stack = stack;
    this.#services = services;
    this.#changed = changed;
    this.#timer = new DueTimer(this.#engine, () => this.#run());
    this.#socket = inBackground(stack.bindUdp({ port: CLIENT_PORT }));
    this.#socket.onready = () => this.#receive();
  }

  /** Begins to look for an address for an interface. */
  add(nic: NicImpl, seed: readonly [number, number]): void {
    const mac = check.macNumber(check.mac("mac", nic.mac));
    const number = this.#services.call((wasm, now) =>
      wasm.create_dhcp_client(now, mac, ...seed, this.#stack.hostname),
    );
    this.#clients.set(nic, { nic, number, configured: null });
    this.#run();
  }

  /** Gives the lease of an interface back, which is about to go, and forgets the interface (RFC 2131 §4.4.6). */
  remove(nic: NicImpl): void {
    const client = this.#clients.get(nic);
    if (client === undefined) return;
    this.#clients.delete(nic);
    if (this.#engine.over !== null || this.#services.over !== null) return;
    this.#services.call((wasm, now) => wasm.release_dhcp_client(now, client.number));
    this.#send(client);
  }

  /** The leases that there are, in the order of the interfaces. */
  leases(): DhcpLease[] {
    return [...this.#clients.keys()].flatMap(({ lease }) => lease ?? []);
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
      this.#services.call((wasm, now) => wasm.step_dhcp_client(now, client.number, datagram.data));
    }
    this.#run();
  }

  /** Does what is due, sends, and changes the stack. */
  #run(): void {
    if (this.#engine.over !== null || this.#services.over !== null) return;
    let due = Number.POSITIVE_INFINITY;
    const clients = [...this.#clients.values()];
    for (const client of clients) {
      const { number } = client;
      this.#services.call((wasm, now) => wasm.step_dhcp_client(now, number, new Uint8Array(0)));
      this.#tell(client);
      this.#send(client);
      due = Math.min(
        due,
        this.#services.call((wasm) => wasm.dhcp_client_due(number)),
      );
    }
    this.#timer.set(
      due,
      clients.some(({ nic }) => nic.isConfiguring),
    );
  }

  #send({ nic, number }: Client): void {
    for (;;) {
      const sent = this.#services.row<{
        message: Uint8Array<ArrayBuffer>;
        source: string;
        address: string;
        port: number;
      }>((wasm, now) => wasm.transmit_dhcp_client(now, number));
      if (sent === null) return;
      const { message, source, address, port } = sent;
      try {
        this.#socket.send(message, {
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

  #tell(client: Client): void {
    for (;;) {
      const event = this.#services.row<{ kind: string }>((wasm) =>
        wasm.poll_dhcp_client(client.number),
      );
      if (event === null) return;
      const lease = this.#services.row<RawLease>((wasm) => wasm.dhcp_client_lease(client.number));
      this.#configure(client, lease);
      this.#changed();
    }
  }

  #configure(client: Client, lease: RawLease | null): void {
    const { nic } = client;
    const wanted = lease === null ? null : configurationOf(lease);
    if (JSON.stringify(wanted) !== JSON.stringify(client.configured)) {
      for (const { to } of client.configured?.routes ?? []) {
        attempt(() => this.#stack.removeRoute(to));
      }
      if (client.configured !== null) {
        const { prefix } = client.configured;
        attempt(() => nic.removeAddress(prefix));
      }
      if (wanted !== null) {
        attempt(() => nic.addLeased(wanted.prefix));
        for (const route of wanted.routes) attempt(() => this.#stack.addRoute(route));
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
      expires: expires === null ? null : this.#engine.wallTime(expires),
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
