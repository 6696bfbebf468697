/** What DHCP's clients of both families share: one UDP socket for all interfaces of a stack, and one timer for what is due. */

import { inBackground } from "./background.js";
import type { EngineCore } from "./engine_core.js";
import type { NicImpl } from "./nic.js";
import type { Services } from "./services.js";
import { DueTimer } from "./timer.js";
import type { Stack, UdpSocket } from "./types.js";

/** One interface's client; `number` is what the services' module calls it. */
export interface LeaseClient {
  nic: NicImpl;
  number: number;
}

/** See the module's comment. */
export abstract class LeaseClients<Client extends LeaseClient> {
  protected readonly engine: EngineCore;
  protected readonly stack: Stack;
  protected readonly services: Services;
  protected readonly socket: UdpSocket;
  protected readonly clients = new Map<NicImpl, Client>();
  /** To be called when leases have changed. */
  protected readonly changed: () => void;
  readonly #timer: DueTimer;

  /** @throws {SocketError} if the port is taken. */
  constructor(stack: Stack, services: Services, port: number, changed: () => void) {
    this.engine = stack.engine as EngineCore;
    this.stack = stack;
    this.services = services;
    this.changed = changed;
    this.#timer = new DueTimer(this.engine, () => this.run());
    this.socket = inBackground(stack.bindUdp({ port }));
    this.socket.onready = () => this.#receive();
  }

  /** Gives a message to a client, or without one the time. */
  protected abstract step(number: number, message: Uint8Array): void;
  /** When a client wants the time next, in microseconds of the engine. */
  protected abstract due(number: number): number;
  /** Has a client give its lease back. */
  protected abstract release(number: number): void;
  /** Does in the stack what a client has found out. */
  protected abstract tell(client: Client): void;
  /** Sends what a client has to send. */
  protected abstract send(client: Client): void;

  /** Gives the lease of an interface back, which is about to go, and forgets the interface (RFC 2131 §4.4.6, RFC 9915 §18.2.7). */
  remove(nic: NicImpl): void {
    const client = this.clients.get(nic);
    if (client === undefined) return;
    this.clients.delete(nic);
    if (this.isOver) return;
    this.release(client.number);
    this.send(client);
  }

  close(): void {
    this.#timer.clear();
    this.clients.clear();
  }

  protected get isOver(): boolean {
    return this.engine.over !== null || this.services.over !== null;
  }

  /** Does what is due, sends, and changes the stack. */
  protected run(): void {
    if (this.isOver) return;
    let due = Number.POSITIVE_INFINITY;
    const clients = [...this.clients.values()];
    for (const client of clients) {
      this.step(client.number, new Uint8Array(0));
      this.tell(client);
      this.send(client);
      due = Math.min(due, this.due(client.number));
    }
    this.#timer.set(
      due,
      clients.some(({ nic }) => nic.isConfiguring),
    );
  }

  #receive(): void {
    for (;;) {
      const datagram = this.socket.tryReceive();
      if (datagram === null) break;
      const client = [...this.clients.values()].find(({ nic }) => nic === datagram.nic);
      if (client === undefined || datagram.data.byteLength === 0) continue;
      this.step(client.number, datagram.data);
    }
    this.run();
  }
}
