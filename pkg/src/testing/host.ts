/** Hosts of a world: a stack with interfaces, and the faces by which programs use it. */

import type * as http from "node:http";
import type * as https from "node:https";
import * as check from "../arguments.js";
import type { EngineCore } from "../engine_core.js";
import { SocketError } from "../errors.js";
import { fetchOver } from "../gateway/http/client.js";
import { httpLimits } from "../gateway/http/limits.js";
import { openOver, type SecureRequestInit, secureBy } from "../gateway/http/opening.js";
import { ConnectionPool } from "../gateway/http/pool.js";
import { type Handler, requestUrl } from "../gateway/http/routes.js";
import { type ServerContext, serveConnection } from "../gateway/http/server.js";
import type { NicImpl } from "../nic.js";
import { createDgram, type Dgram } from "../node/dgram.js";
import { createDns, type Dns } from "../node/dns.js";
import { createHttpAgent, createHttpsAgent } from "../node/http_agent.js";
import { createNet, type Net } from "../node/net.js";
import type { Services } from "../services.js";
import { type StackImpl, stackIn } from "../stack.js";
import type {
  ConnectOptions,
  ConnectTarget,
  Listener,
  ListenOptions,
  PingOptions,
  PingReply,
  Socket,
  UdpOptions,
  UdpSocket,
} from "../types.js";
import { type NameServer, SERVER_ADDRESS } from "./name_server.js";
import type { Random } from "./random.js";
import { bare, type Member, type Node, type Segment, waysFrom } from "./topology.js";
import type { Host, HostOptions } from "./types.js";
import type { Plugged } from "./wire.js";
import type { ProgramClock } from "./world_clock.js";

/** What a host needs of its world. */
export interface HostWorld {
  readonly engine: EngineCore;
  readonly services: Services;
  readonly names: NameServer;
  /** A stack of this host has a new interface. */
  interfaceAdded(nic: NicImpl, host: string): void;
  /** The cables that are in this host can be plugged in again. */
  restarted(host: HostImpl): void;
}

/** An interface of a host, which each of its stacks has. */
class Place implements Plugged {
  readonly name: string;
  readonly member: Member;
  segment: Segment;
  readonly mac: string;
  nic: NicImpl | null = null;

  constructor(name: string, member: Member, segment: Segment, mac: string) {
    this.name = name;
    this.member = member;
    this.segment = segment;
    this.mac = mac;
  }

  port(): NicImpl | null {
    return this.nic;
  }
}

/** What is made of one stack. */
interface Faces {
  readonly stack: StackImpl;
  readonly killed: AbortController;
  pool?: ConnectionPool;
  net?: Net;
  dgram?: Dgram;
  dns?: Dns;
  agent?: http.Agent;
  httpsAgent?: https.Agent;
}

/** See {@link Host}. */
export class HostImpl implements Host, Node {
  readonly name: string;
  readonly isRouter: boolean;
  readonly clock: ProgramClock;
  readonly #world: HostWorld;
  readonly #options: HostOptions;
  readonly #random: Random;
  readonly #places: Place[] = [];
  /** Routes that were made of the topology. */
  #ways = new Map<string, string>();
  #faces: Faces;

  constructor(
    world: HostWorld,
    name: string,
    isRouter: boolean,
    options: HostOptions,
    clock: ProgramClock,
    random: Random,
  ) {
    this.name = name;
    this.isRouter = isRouter;
    this.clock = clock;
    this.#world = world;
    this.#options = options;
    this.#random = random;
    this.#faces = this.#start();
  }

  #start(): Faces {
    const { tcp, limits, dns = { servers: [SERVER_ADDRESS] } } = this.#options;
    const stack = stackIn(this.#world.engine, {
      hostname: this.name,
      seed: this.#random.next(),
      dns,
      ...(tcp && { tcp }),
      ...(limits && { limits }),
    });
    stack.date = () => this.clock.date();
    stack.addInterface({ medium: "loopback", name: `${this.name}:lo` });
    this.#world.names.serve(stack, this, SERVER_ADDRESS);
    return { stack, killed: new AbortController() };
  }

  // What it is plugged into.

  get members(): readonly { member: Member; segment: Segment }[] {
    return this.#places;
  }

  /** A new interface on a segment, with addresses of its own or assigned ones. */
  addPlace(segment: Segment, addresses: readonly string[] | undefined): Plugged {
    const isFirst = this.#places.length === 0;
    const own = addresses ?? (isFirst ? this.#options.addresses : undefined);
    const member = { host: this, addresses: [...(own ?? segment.assign())] };
    const mac = macOf(this.#random.next());
    const place = new Place(this.name, member, segment, mac);
    this.#addNic(place, isFirst ? this.name : `${this.name}:${this.#places.length}`);
    segment.members.push(member);
    this.#places.push(place);
    return place;
  }

  #addNic(place: Place, name: string): void {
    const { mtu } = this.#options;
    const nic = this.#faces.stack.addInterface({
      name,
      mac: place.mac,
      addresses: place.member.addresses,
      forwarding: this.isRouter,
      ...(mtu !== undefined && { mtu }),
    }) as NicImpl;
    place.nic = nic;
    this.#world.interfaceAdded(nic, this.name);
  }

  /** Its interface on a segment gets another address. */
  addAddress(member: Member, address: string): void {
    member.addresses.push(address);
    this.#places.find((place) => place.member === member)?.nic?.addAddress(address);
  }

  /** The link of one of its interfaces belongs to another segment now. */
  moveTo(member: Member, segment: Segment): void {
    const place = this.#places.find((place) => place.member === member);
    if (place !== undefined) place.segment = segment;
  }

  get macs(): string[] {
    return this.#places.map(({ mac }) => mac);
  }

  /** Adds the routes that the topology asks for, and removes those that it no more does. */
  updateRoutes(): void {
    if (!this.isAlive) return;
    const { stack } = this.#faces;
    const ways = new Map(waysFrom(this).map(({ to, via }) => [to, via]));
    for (const [to, via] of this.#ways) {
      if (ways.get(to) !== via) stack.removeRoute({ to, via });
    }
    for (const [to, via] of ways) {
      if (this.#ways.get(to) !== via) stack.addRoute({ to, via });
    }
    this.#ways = ways;
  }

  // Life and death.

  get isAlive(): boolean {
    return this.#faces.stack.over === null;
  }

  get signal(): AbortSignal {
    return this.#faces.killed.signal;
  }

  /** Calls the host's program. */
  boot(): void {
    if (this.isAlive) this.#options.boot?.(this);
  }

  /** Whether there is a program to call. */
  get hasProgram(): boolean {
    return this.#options.boot !== undefined;
  }

  kill(): void {
    if (!this.isAlive) return;
    const { stack, killed } = this.#faces;
    this.clock.stop();
    stack.vanish(new SocketError("ABORT_ERR", `the host ${this.name} was killed`));
    for (const place of this.#places) place.nic = null;
    this.#ways.clear();
    killed.abort(new SocketError("ABORT_ERR", `the host ${this.name} was killed`));
  }

  restart(): void {
    this.kill();
    this.#faces = this.#start();
    this.#places.forEach((place, index) => {
      this.#addNic(place, index === 0 ? this.name : `${this.name}:${index}`);
    });
    this.updateRoutes();
    this.#world.restarted(this);
  }

  // Its faces.

  get stack(): StackImpl {
    return this.#faces.stack;
  }

  get addresses(): readonly string[] {
    return this.#places.flatMap(({ member }) => member.addresses.map(bare));
  }

  get address(): string {
    return this.addresses.find((address) => !address.includes(":")) ?? "";
  }

  get address6(): string {
    return this.addresses.find((address) => address.includes(":")) ?? "";
  }

  get net(): Net {
    this.#faces.net ??= createNet(this.stack);
    return this.#faces.net;
  }

  get dgram(): Dgram {
    this.#faces.dgram ??= createDgram(this.stack);
    return this.#faces.dgram;
  }

  get dns(): Dns {
    this.#faces.dns ??= createDns(this.stack);
    return this.#faces.dns;
  }

  get agent(): http.Agent {
    this.#faces.agent ??= createHttpAgent(this.stack);
    return this.#faces.agent;
  }

  get httpsAgent(): https.Agent {
    this.#faces.httpsAgent ??= createHttpsAgent(this.stack);
    return this.#faces.httpsAgent;
  }

  fetch(input: string | URL | Request, init?: SecureRequestInit): Promise<Response> {
    const { parser } = this.#world.services;
    if (this.stack.over !== null) return Promise.reject(this.stack.over);
    this.#faces.pool ??= this.#newPool(this.stack);
    const secure = (hostname: string) => secureBy("init.tls", init?.tls, hostname);
    return fetchOver({ parser, pool: this.#faces.pool, secure }, input, init);
  }

  #newPool(stack: StackImpl): ConnectionPool {
    return new ConnectionPool({
      clock: this.#world.engine.clock,
      stallTimeout: Number.POSITIVE_INFINITY,
      // The program is kept running by whoever lets time go on.
      hold: () => {},
      connect: async (target, signal) => {
        await stack.goneOn();
        return openOver(stack, target, signal);
      },
    });
  }

  serve(port: number, handler: Handler | http.Server): { close(): void } {
    const number = check.port("port", port, 0);
    if (typeof handler === "function") return this.#serveHandler(number, handler);
    if (typeof handler?.emit !== "function") {
      throw new TypeError(
        `handler must be a function or a server of node:http, got ${check.show(handler)}`,
      );
    }
    const server = this.net.createServer((socket) => handler.emit("connection", socket));
    server.listen(number);
    // Node takes the date from where no fake timers reach, and then no two runs have the same bytes.
    const date = (_: http.IncomingMessage, response: http.ServerResponse): void => {
      if (!response.sendDate) return;
      response.setHeader("Date", new Date(this.clock.date()).toUTCString());
    };
    handler.prependListener("request", date);
    return {
      close: () => {
        server.close();
        handler.off("request", date);
      },
    };
  }

  #serveHandler(port: number, handler: Handler): { close(): void } {
    const { engine, services } = this.#world;
    const listener = this.stack.listen({ port, allowHalfOpen: true, noDelay: true });
    const closing = new AbortController();
    const context: ServerContext = {
      parser: services.parser,
      clock: engine.clock,
      limits: httpLimits(),
      // Whatever name it was asked by.
      resolve: (head) => {
        return { url: requestUrl(head, "http:", `${this.name}:${port}`), answer: handler };
      },
      closing: closing.signal,
      exchanged: () => {},
      failed: (error, url) => {
        console.error(`${this.name}: the handler of ${url} failed:`, error);
      },
    };
    const accept = async (): Promise<void> => {
      for await (const socket of listener) void serveConnection(socket, port, context);
    };
    // That the port is taken is an error here, as with a listener whose error nobody handles.
    if (listener.address === null) {
      throw new SocketError("EADDRINUSE", `${this.name}: port ${port} is taken`);
    }
    void accept();
    return {
      close: () => {
        closing.abort();
        void listener.close();
      },
    };
  }

  connect(address: ConnectTarget | string, options?: ConnectOptions): Socket {
    return this.stack.connect(address, options);
  }

  listen(options: ListenOptions): Listener {
    return this.stack.listen(options);
  }

  bindUdp(options?: UdpOptions): UdpSocket {
    return this.stack.bindUdp(options);
  }

  ping(hostname: string, options?: PingOptions): Promise<PingReply> {
    return this.stack.ping(hostname, options);
  }

  resolve(hostname: string): Promise<string[]> {
    return this.stack.resolve(hostname);
  }
}

/** A unicast address, locally administered (IEEE 802 §8.2.1). */
function macOf(bits: bigint): string {
  const octets = Array.from({ length: 6 }, (_, index) =>
    Number((bits >> BigInt(8 * index)) & 255n),
  );
  octets[0] = ((octets[0] ?? 0) & 0xfc) | 0x02;
  return octets.map((octet) => octet.toString(16).padStart(2, "0")).join(":");
}
