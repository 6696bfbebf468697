/** The DNS server of a gateway: core's, on UDP and TCP port 53. */

import { inBackground } from "../background.js";
import { SocketError } from "../errors.js";
import type { Services } from "../services.js";
import type { StackImpl } from "../stack.js";
import type { Clock, Datagram, Listener, Socket, UdpSocket } from "../types.js";
import type { NameAnswer } from "./egress/outside.js";
import type { EgressDatagrams } from "./egress/types.js";
import { Connection } from "./http/connection.js";
import type { DnsResolver, GatewaySettings } from "./options.js";

const PORT = 53;
/** How long a TCP connection may wait for its next question (RFC 7766 §6.2.3), in milliseconds. */
const IDLE_TIMEOUT = 10_000;

/** A question about a name that is not the gateway's, and what it was answered. */
export interface DnsQuestion {
  /** What was asked for. */
  name: string;
  /** `"A"`, `"AAAA"`, `"PTR"`, ... */
  type: string;
  /** Who asked. */
  remoteAddress: string;
  /** Null: no such name, or what the upstream server says. */
  answer: readonly string[] | null;
}

/** What the module's server wants done: a message sent, or a question answered. */
type Action =
  | { message: Uint8Array<ArrayBuffer>; question?: undefined }
  | { message?: undefined; question: number; name: string; type: string };

/** What the server tells the gateway. */
export interface DnsHooks {
  /** What the outside has of a name that nobody here knows; null for no such name. */
  outside(name: string, type: string, guest: string): Promise<NameAnswer | null>;
  asked(question: DnsQuestion): void;
  failed(error: unknown): void;
}

/** Who asks. */
interface Client {
  address: string;
  port: number;
  stream: boolean;
}

/** See the module's comment. */
export class DnsServer {
  readonly #services: Services;
  readonly #clock: Clock;
  readonly #socket: UdpSocket;
  readonly #listener: Listener;
  readonly #stack: StackImpl;
  readonly #resolve: DnsResolver | null;
  /** Whether there is a server to ask. */
  readonly #hasUpstream: boolean;
  /** Names in it are no other server's. */
  readonly #domain: string;
  readonly #ttl: number;
  readonly #hooks: DnsHooks;
  #closed = false;

  constructor(
    stack: StackImpl,
    clock: Clock,
    services: Services,
    settings: GatewaySettings["dns"],
    domain: string,
    hooks: DnsHooks,
  ) {
    this.#services = services;
    this.#stack = stack;
    this.#hasUpstream = settings.upstream.length > 0;
    this.#domain = domain.toLowerCase();
    this.#clock = clock;
    this.#resolve = settings.resolve;
    this.#ttl = settings.ttl;
    this.#hooks = hooks;
    services.call((wasm) => wasm.create_dns(settings.ttl));
    this.#socket = inBackground(stack.bindUdp({ port: PORT }));
    this.#socket.onready = () => this.#receive();
    this.#listener = inBackground(stack.listen({ port: PORT, allowHalfOpen: true, noDelay: true }));
    this.#listener.listening.catch((error: unknown) => hooks.failed(error));
    void this.#accept();
  }

  /** Adds an address of a name. */
  add(name: string, address: string): void {
    if (!this.#closed) this.#services.call((wasm) => wasm.add_name(name, address));
  }

  /** Forgets a name with all its addresses. */
  remove(name: string): void {
    if (!this.#closed) this.#services.call((wasm) => wasm.remove_name(name));
  }

  /** The addresses of one of the gateway's own names. */
  addresses(name: string): string[] {
    if (this.#closed) return [];
    return this.#services
      .rows<{ address: string }>((wasm) => wasm.addresses_of(name))
      .map(({ address }) => address);
  }

  counters(): Record<string, number> {
    if (this.#closed) return {};
    return this.#services.row<Record<string, number>>((wasm) => wasm.dns_counters()) ?? {};
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    void this.#socket.close();
    void this.#listener.close();
  }

  #receive(): void {
    for (;;) {
      const datagram = this.#closed ? null : this.#socket.tryReceive();
      if (datagram === null) return;
      const client = { address: datagram.remoteAddress, port: datagram.remotePort, stream: false };
      this.#answer(datagram.data, client).then(
        (message) => this.#reply(datagram, message),
        (error: unknown) => this.#hooks.failed(error),
      );
    }
  }

  /** Answers a guest that asks another server than this one. */
  answerDatagrams(flow: EgressDatagrams): void {
    const { address, port } = flow.remote ?? flow.address;
    flow.onready = () => {
      for (;;) {
        const datagram = this.#closed ? null : flow.tryReceive();
        if (datagram === null) return;
        this.#answer(datagram.data, { address, port, stream: false }).then(
          (message) => {
            if (message !== undefined && !this.#closed) flow.send(message);
          },
          (error: unknown) => this.#hooks.failed(error),
        );
      }
    };
    flow.onready(flow);
  }

  /** The same on a connection. */
  answerConnection(socket: Socket): void {
    void this.#serve(socket);
  }

  #reply(datagram: Datagram, message: Uint8Array<ArrayBuffer> | undefined): void {
    if (message === undefined || this.#closed) return;
    const { remoteAddress, remotePort, localAddress, nic } = datagram;
    try {
      const way = nic === null ? {} : { nic };
      this.#socket.send(message, { remoteAddress, remotePort, localAddress, ...way });
    } catch (error) {
      this.#hooks.failed(error);
    }
  }

  async #accept(): Promise<void> {
    try {
      for await (const socket of this.#listener) void this.#serve(socket);
    } catch (error) {
      if (!this.#closed) this.#hooks.failed(error);
    }
  }

  /** One TCP connection: messages with their length before them (RFC 1035 §4.2.2), answered in order. */
  async #serve(socket: Socket): Promise<void> {
    const connection = new Connection(socket, this.#clock, IDLE_TIMEOUT);
    const { address, port } = socket.remote;
    try {
      for (;;) {
        const prefix = await readExactly(connection, 2);
        if (prefix === undefined) break;
        const [high = 0, low = 0] = prefix;
        const message = await readExactly(connection, high * 256 + low);
        if (message === undefined) break;
        const answer = await this.#answer(message, { address, port, stream: true });
        if (answer === undefined) break;
        const framed = new Uint8Array(2 + answer.length);
        framed.set([answer.length >> 8, answer.length & 0xff]);
        framed.set(answer, 2);
        await connection.write(framed);
      }
    } catch {
      // A client that goes away or stalls is no failure of the server.
      connection.abort(new Error("the DNS client did not go on"));
    }
    connection.close();
  }

  async #answer(
    message: Uint8Array,
    { address, port, stream }: Client,
  ): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const action = this.#services.row<Action>((wasm, now) =>
      wasm.handle_dns(now, address, port, message, stream),
    );
    if (action === null) return undefined;
    if (action.question === undefined) return action.message;
    const { question, name, type } = action;
    let answer: readonly string[] | null = null;
    let failure = "";
    let ttl = this.#ttl;
    try {
      answer = (await this.#resolve?.(name, type)) ?? null;
      if (answer === null && this.#isOfOthers(name)) {
        if (this.#hasUpstream) {
          const reply = await this.#relay(question, name, type);
          this.#hooks.asked({ name, type, remoteAddress: address, answer });
          return reply;
        }
        const found = await this.#hooks.outside(name, type, address);
        answer = found?.answer ?? null;
        ttl = found?.ttl ?? ttl;
      }
      if (answer === null) failure = "nxdomain";
    } catch (error) {
      failure = "servfail";
      // What a socket failed with is the way things are outside.
      if (!(error instanceof SocketError)) this.#hooks.failed(error);
    }
    if (this.#closed) return undefined;
    const reply = this.#give(question, answer ?? [], failure, ttl);
    this.#hooks.asked({ name, type, remoteAddress: address, answer });
    return reply;
  }

  /** Whether others are asked about a name. */
  #isOfOthers(name: string): boolean {
    const own = name.toLowerCase();
    return own !== this.#domain && !own.endsWith(`.${this.#domain}`);
  }

  /** What the upstream server says; that it cannot be asked, or does not answer, is a failure of this one (RFC 1035 §4.1.1). */
  async #relay(
    question: number,
    name: string,
    type: string,
  ): Promise<Uint8Array<ArrayBuffer> | undefined> {
    let message: Uint8Array | null = null;
    try {
      message = await this.#stack.askNameServer(name, type);
    } catch (error) {
      if (!(error instanceof SocketError)) throw error;
    }
    if (this.#closed) return undefined;
    if (message === null) return this.#give(question, [], "servfail");
    const answer = message;
    const reply = this.#services.call((wasm) => wasm.relay_dns(question, answer));
    return (reply as Uint8Array<ArrayBuffer> | undefined) ?? this.#give(question, [], "servfail");
  }

  #give(
    question: number,
    answer: readonly string[],
    failure: string,
    ttl = this.#ttl,
  ): Uint8Array<ArrayBuffer> | undefined {
    const give = (answers: string, outcome: string) =>
      this.#services.call((wasm) => wasm.answer_dns(question, answers, outcome, ttl)) as
        | Uint8Array<ArrayBuffer>
        | undefined;
    try {
      return give(answer.map((line) => `${line}\n`).join(""), failure);
    } catch (error) {
      // The resolver gave what is no address, or no name.
      this.#hooks.failed(error);
      return give("", "servfail");
    }
  }
}

/** So many bytes; undefined if the stream ends before. */
async function readExactly(connection: Connection, count: number): Promise<Uint8Array | undefined> {
  while (connection.buffered.length < count) {
    if (!(await connection.fill())) return undefined;
  }
  const bytes = connection.buffered.slice(0, count);
  connection.consume(count);
  return bytes;
}
