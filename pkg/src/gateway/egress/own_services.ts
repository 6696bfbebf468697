/**
 * Services of the gateway's at any address and name: on its own interface where the address is in the network, else by flows. Names get an address that
 * stands for them, so that each has all ports.
 */

import * as check from "../../arguments.js";
import { SocketError } from "../../errors.js";
import type { ListenerImpl } from "../../listener.js";
import type { NicImpl } from "../../nic.js";
import type { Datagram, Listener, Nic, Socket, Stack, UdpSocket } from "../../types.js";
import type { TcpGuestFlow, UdpGuestFlow } from "./flow.js";
import {
  type LocalService,
  LocalServices,
  serviceAddress,
  type TcpHandler,
  type UdpHandler,
} from "./local_services.js";
import type { Meaning, NameTable } from "./names.js";
import type { OwnFlow } from "./outside.js";
import type { EgressDatagrams } from "./types.js";

const DNS_PORT = 53;
const NTP_PORT = 123;

/** What is served. */
export interface ServedAddress {
  /** Such as `"10.0.2.100:22"` or `"db.test:5432"`. */
  readonly address: string;
  /** Serves it no more; connections go on. */
  close(): void;
  /** As `close`, for `using`. */
  [Symbol.dispose](): void;
}

/** What the services need of the gateway. */
export interface OwnServicesHooks {
  /** The addresses of a name in the gateway's table. */
  addresses(name: string): string[];
  /** Adds a name to the table, or takes it out. */
  addName(name: string, address: string): void;
  removeName(name: string): void;
  /** Whether an address is in the network. */
  isInside(address: string): boolean;
  /** Serves a connection to an origin by its port; null if nothing is served there. */
  web(hostname: string, port: number): ((socket: Socket) => void) | null;
  /** Answers a question to a name server, by datagram or on a connection. */
  dnsDatagrams(flow: EgressDatagrams): void;
  dnsConnection(socket: Socket): void;
  /** Answers a question about the time. */
  time(question: Uint8Array): Uint8Array | undefined;
  /** Whether flows are taken, so that services can be at addresses outside the network. */
  takesFlows(): boolean;
  failed(error: unknown): void;
}

/** See the module's comment. */
export class OwnServices {
  readonly #stack: Stack;
  readonly #nic: Nic;
  readonly #names: NameTable;
  readonly #hooks: OwnServicesHooks;
  readonly #services = new LocalServices();
  /** How many services hold an address of the interface, or a name, that is there for them. */
  readonly #held = new Map<string, { count: number; readonly end: () => void }>();

  constructor(stack: Stack, nic: Nic, names: NameTable, hooks: OwnServicesHooks) {
    this.#stack = stack;
    this.#nic = nic;
    this.#names = names;
    this.#hooks = hooks;
  }

  /** @throws {TypeError | RangeError} that says what is wrong; {@link SocketError} (EADDRINUSE, EMFILE). */
  serveTcp(
    address: string | { hostname: string; port: number },
    handler: TcpHandler,
    options?: { allowHalfOpen?: boolean },
  ): ServedAddress {
    const given = check.options("options", options);
    const allowHalfOpen = check.boolean("options.allowHalfOpen", given.allowHalfOpen, false);
    const taken = functionOf("handler", handler);
    return this.#serve(
      address,
      (hostname) => ({ protocol: "tcp", hostname, allowHalfOpen, handler: taken }),
      (hostname, port) => {
        const listener = this.#stack.listen({ hostname, port, allowHalfOpen, noDelay: true });
        const { over } = listener as ListenerImpl;
        if (over !== null) throw over;
        void this.#accept(listener, hostname, taken);
        return listener;
      },
    );
  }

  /** As {@link serveTcp}, for datagrams. */
  serveUdp(
    address: string | { hostname: string; port: number },
    handler: UdpHandler,
  ): ServedAddress {
    const taken = functionOf("handler", handler);
    return this.#serve(
      address,
      (hostname) => ({ protocol: "udp", hostname, handler: taken }),
      (hostname, port) => {
        const socket = this.#stack.bindUdp({ hostname, port });
        socket.onready = () => this.#receiveAll(socket, taken);
        return socket;
      },
    );
  }

  /** What the gateway itself does with a flow; null if nothing. */
  take(
    protocol: "tcp" | "udp",
    address: string,
    port: number,
    meaning: Meaning | null,
    carriesDatagrams: boolean,
  ): { name: string; take: OwnFlow } | null {
    const service = this.#services.find(protocol, address, port);
    if (service !== null) return { name: "served", take: (flow) => this.#offer(service, flow) };
    if (protocol === "tcp" && meaning !== null && meaning.address === null) {
      const web = this.#hooks.web(meaning.hostname, port);
      if (web !== null) return { name: "served", take: accepting(web) };
    }
    if (carriesDatagrams || meaning === null) return null;
    if (port === DNS_PORT) return { name: "dns", take: (flow) => this.#answerNames(flow) };
    if (port === NTP_PORT && protocol === "udp") {
      return { name: "ntp", take: (flow) => this.#tellTime(flow as UdpGuestFlow) };
    }
    return null;
  }

  #serve(
    address: string | { hostname: string; port: number },
    serviceOf: (hostname: string) => LocalService,
    open: (hostname: string, port: number) => Listener | UdpSocket,
  ): ServedAddress {
    const { hostname, port, isLiteral } = serviceAddress("address", address);
    const [known] = isLiteral ? [hostname] : this.#hooks.addresses(hostname);
    const place = known ?? this.#names.standIn(hostname, null);
    if (place === null) throw new SocketError("ENOBUFS", `no address is left for ${hostname}`);
    const isNamed = known === undefined || this.#names.nameOf(place) !== null;
    let stop: () => void;
    if (this.#hooks.isInside(place)) {
      const release = this.#hold(place, () => this.#addAddress(place));
      try {
        const opened = open(place, port);
        stop = () => {
          void opened.close();
          release();
        };
      } catch (error) {
        release();
        throw error;
      }
    } else {
      if (!this.#hooks.takesFlows()) {
        throw new TypeError(
          `${check.hostPort(hostname, port)} is outside the network, from where a gateway with egress: false takes nothing`,
        );
      }
      const service = serviceOf(hostname);
      this.#services.add(place, port, service);
      const release = isNamed ? this.#hold(hostname, () => this.#addName(hostname, place)) : null;
      stop = () => {
        this.#services.remove(place, port, service);
        release?.();
      };
    }
    let served = true;
    const close = (): void => {
      if (served) stop();
      served = false;
    };
    return { address: check.hostPort(hostname, port), close, [Symbol.dispose]: close };
  }

  /** Has something while anybody holds it; `begin` returns how it ends. */
  #hold(key: string, begin: () => () => void): () => void {
    const held = this.#held.get(key) ?? { count: 0, end: begin() };
    held.count += 1;
    this.#held.set(key, held);
    return () => {
      held.count -= 1;
      if (held.count > 0) return;
      this.#held.delete(key);
      held.end();
    };
  }

  /** Gives the interface an address for services, unless it has it. */
  #addAddress(address: string): () => void {
    if (this.#nic.addresses.some((prefix) => prefix.split("/")[0] === address)) return () => {};
    const prefix = `${address}/${address.includes(":") ? 128 : 32}`;
    this.#nic.addAddress(prefix);
    return () => {
      if (!(this.#nic as NicImpl).isClosed) this.#nic.removeAddress(prefix);
    };
  }

  #addName(name: string, address: string): () => void {
    this.#hooks.addName(name, address);
    return () => {
      this.#hooks.removeName(name);
      this.#names.forget(name);
    };
  }

  async #accept(listener: Listener, hostname: string, handler: TcpHandler): Promise<void> {
    for await (const socket of listener) this.#handle(socket, hostname, handler);
  }

  #handle(socket: Socket, hostname: string, handler: TcpHandler): void {
    const { remote } = socket;
    const local = socket.local ?? { address: hostname, port: 0 };
    const failed = (error: unknown): void => {
      socket.abort(error);
      this.#hooks.failed(error);
    };
    socket.closed.catch(() => {});
    socket.opened.catch(() => {});
    try {
      Promise.resolve(handler(socket, { hostname, local, remote })).catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  async #offer(service: LocalService, flow: TcpGuestFlow | UdpGuestFlow): Promise<void> {
    if (service.protocol === "tcp" && flow.protocol === "tcp") {
      const socket = await flow.accept({ allowHalfOpen: service.allowHalfOpen });
      this.#handle(socket, service.hostname, service.handler);
    } else if (service.protocol === "udp" && flow.protocol === "udp") {
      this.#answerAll(flow.accept(), (datagram, reply) =>
        this.#given(service.handler, datagram, reply),
      );
    }
  }

  async #answerNames(flow: TcpGuestFlow | UdpGuestFlow): Promise<void> {
    if (flow.protocol === "udp") this.#hooks.dnsDatagrams(flow.accept());
    else this.#hooks.dnsConnection(await flow.accept({ allowHalfOpen: true }));
  }

  #tellTime(flow: UdpGuestFlow): void {
    this.#answerAll(flow.accept(), ({ data }, reply) => {
      const answer = this.#hooks.time(data);
      if (answer !== undefined) reply(answer);
    });
  }

  #answerAll(
    socket: EgressDatagrams,
    answer: (datagram: Datagram, reply: (data: Uint8Array) => void) => void,
  ): void {
    socket.onready = () => {
      for (let next = socket.tryReceive(); next !== null; next = socket.tryReceive()) {
        answer(next, (data) => socket.send(data));
      }
    };
    socket.onready(socket);
  }

  #receiveAll(socket: UdpSocket, handler: UdpHandler): void {
    for (let next = socket.tryReceive(); next !== null; next = socket.tryReceive()) {
      const { remoteAddress, remotePort, localAddress } = next;
      this.#given(handler, next, (data) =>
        socket.send(data as Uint8Array<ArrayBuffer>, { remoteAddress, remotePort, localAddress }),
      );
    }
  }

  #given(handler: UdpHandler, datagram: Datagram, reply: (data: Uint8Array) => void): void {
    const failed = (error: unknown): void => this.#hooks.failed(error);
    try {
      Promise.resolve(handler(datagram, reply)).catch(failed);
    } catch (error) {
      failed(error);
    }
  }
}

/** Accepts a connection for somebody who looks after it. */
function accepting(serve: (socket: Socket) => void): OwnFlow {
  return async (flow) => {
    if (flow.protocol === "tcp") serve(await flow.accept({ allowHalfOpen: true }));
  };
}

function functionOf<T>(argument: string, value: T | null | undefined): T {
  const given = check.callback(argument, value);
  if (given === null)
    throw new TypeError(`${argument} must be a function, got ${check.show(value)}`);
  return given;
}
