/** The web side of a gateway: served origins on its listeners, and `fetch` into the network. */

import * as check from "../arguments.js";
import { SocketError } from "../errors.js";
import { SocketImpl } from "../socket.js";
import type { ClientContext } from "../tls/context.js";
import { TlsSocketImpl } from "../tls/socket.js";
import type { Clock, Listener, Socket, Stack, TlsOptions } from "../types.js";
import { fetchOver } from "./http/client.js";
import type { HeadParser } from "./http/head.js";
import type { HttpLimits } from "./http/limits.js";
import { openOver, type SecureOptions, type SecureRequestInit, secureBy } from "./http/opening.js";
import { ConnectionPool } from "./http/pool.js";
import { type Route, Routes, resolvingBy } from "./http/routes.js";
import { type ExchangeRecord, type ServerContext, serveConnection } from "./http/server.js";
import type { Target } from "./http/target.js";
import type { Https } from "./https.js";
import { GatewayWebSocket } from "./web_socket/web_socket.js";

/** What the web side needs of the gateway. */
export interface WebHooks {
  /** The addresses of a name in the network. */
  lookup(hostname: string): string[];
  exchanged(record: ExchangeRecord): void;
  failed(error: unknown, url?: string): void;
}

const HTTP_PORT = 80;

/** A port with served origins. */
interface OpenPort {
  listener: Listener;
  /** Connections being served. */
  connections: number;
  /** Aborts when the port is served no more. */
  closing: AbortController;
  /** Lets the accept loop go on when one of too many connections has ended. */
  roomCame: (() => void) | undefined;
}

/** See the module's comment. */
export class Web {
  readonly #stack: Stack;
  readonly #clock: Clock;
  readonly #parser: HeadParser;
  readonly #limits: HttpLimits;
  readonly #https: Https | null;
  readonly #hooks: WebHooks;
  readonly #routes = new Routes();
  readonly #ports = new Map<number, OpenPort>();
  readonly #pool: ConnectionPool;
  readonly #closing = new AbortController();
  readonly #counters = {
    connections: 0,
    requests: 0,
    errors: 0,
    bytesReceived: 0,
    bytesSent: 0,
    fetches: 0,
  };

  constructor(
    stack: Stack,
    clock: Clock,
    parser: HeadParser,
    limits: HttpLimits,
    https: Https | null,
    hooks: WebHooks,
  ) {
    this.#stack = stack;
    this.#clock = clock;
    this.#parser = parser;
    this.#limits = limits;
    this.#https = https;
    this.#hooks = hooks;
    this.#pool = new ConnectionPool({
      clock,
      stallTimeout: limits.stallTimeout,
      connect: (target, signal) => this.open(target, signal),
      hold: (socket, hold) => {
        const isOwn = socket instanceof SocketImpl || socket instanceof TlsSocketImpl;
        if (isOwn) socket.runInBackground(!hold);
      },
    });
    // There guests find the authority's certificate.
    if (https !== null) this.#open(HTTP_PORT);
  }

  get routes(): Routes {
    return this.#routes;
  }

  /** @throws {TypeError} if the origin is served already, or cannot be; {@link SocketError} if its port is taken. */
  add(route: Route): void {
    if (route.scheme === "https:" && this.#https === null) {
      throw new TypeError(`serve: ${route.origin} needs the option authority of createGateway`);
    }
    if (route.scheme === "https:" && this.#https !== null && route.port === HTTP_PORT) {
      throw new TypeError(`serve: ${route.origin}: port ${HTTP_PORT} is for http`);
    }
    this.#routes.add(route);
    if (this.#ports.has(route.port)) return;
    try {
      this.#open(route.port);
    } catch (error) {
      this.#routes.remove(route);
      throw error;
    }
  }

  /** Requests that are being answered are finished. */
  remove(route: Route): void {
    this.#routes.remove(route);
    if (this.#routes.list(route.port).length > 0) return;
    if (route.port === HTTP_PORT && this.#https !== null) return;
    const port = this.#ports.get(route.port);
    this.#ports.delete(route.port);
    port?.closing.abort();
    void port?.listener.close();
  }

  /** Serves a connection to an address that stands for a served name; null if nothing is served there. */
  taking(hostname: string, port: number): ((socket: Socket) => void) | null {
    if (this.#routes.find(hostname, port) === undefined) return null;
    return (socket) => {
      this.#counters.connections += 1;
      const spoken = this.#spoken(socket, port, hostname);
      void serveConnection(spoken, port, this.#context(this.#closing.signal));
    };
  }

  async fetch(input: string | URL | Request, init?: SecureRequestInit): Promise<Response> {
    this.#counters.fetches += 1;
    const secure = (hostname: string) => this.#secure("init.tls", hostname, init?.tls);
    return fetchOver({ parser: this.#parser, pool: this.#pool, secure }, input, init);
  }

  webSocket(
    url: string | URL,
    protocols: string | string[] | undefined,
    options: SecureOptions | undefined,
  ): WebSocket {
    const { tls } = check.options("options", options);
    return new GatewayWebSocket(
      {
        clock: this.#clock,
        parser: this.#parser,
        connect: (target, signal) => this.open(target, signal),
        secure: (hostname) => this.#secure("options.tls", hostname, tls),
      },
      url,
      protocols,
    );
  }

  /** How TLS is spoken with a host. @throws {TypeError | RangeError} that names what is wrong. */
  #secure(argument: string, hostname: string, given: TlsOptions | undefined): ClientContext {
    const options = check.options(argument, given);
    const ca = options.ca ?? this.#https?.authority.cert;
    return secureBy(argument, ca === undefined ? options : { ...options, ca }, hostname);
  }

  /** An open connection to a host of the network; see {@link openOver}. */
  async open(target: Target, signal: AbortSignal | null): Promise<Socket> {
    const hostname = this.resolve(target.hostname);
    this.#reachItself(hostname);
    return openOver(this.#stack, { ...target, hostname }, signal);
  }

  /** What the gateway serves itself is reached over a loopback interface, made when it is first needed. */
  #reachItself(address: string): void {
    const prefixes = this.#stack.interfaces.flatMap(({ addresses }) => addresses);
    const has = (begin: string): boolean => prefixes.some((prefix) => prefix.startsWith(begin));
    if (has(`${address}/`) && !has("127.")) this.#stack.addInterface({ medium: "loopback" });
  }

  /** A connection as HTTP is spoken on it. */
  #spoken(socket: Socket, port: number, hostname?: string): Socket {
    const isSecure = this.#https !== null && this.#routes.scheme(port) === "https:";
    return isSecure ? this.#https.secured(socket, hostname) : socket;
  }

  counters(): Record<string, number> {
    return { ...this.#counters };
  }

  close(): void {
    this.#closing.abort();
    this.#pool.close();
    for (const { listener } of this.#ports.values()) void listener.close();
    this.#ports.clear();
  }

  /** An address of a host of the network. @throws {SocketError} ENOTFOUND. */
  resolve(hostname: string): string {
    const address = check.addressLiteral(hostname) ?? this.#hooks.lookup(hostname)[0];
    if (address === undefined) {
      throw new SocketError("ENOTFOUND", `no host in the network is called ${hostname}`);
    }
    return address;
  }

  #open(port: number): void {
    const listener = this.#stack.listen({ port, allowHalfOpen: true, noDelay: true });
    const closing = new AbortController();
    const open: OpenPort = { listener, connections: 0, closing, roomCame: undefined };
    this.#ports.set(port, open);
    listener.listening.catch((error: unknown) => this.#hooks.failed(error));
    this.#accept(port, open).catch((error: unknown) => {
      if (this.#ports.get(port) === open) this.#hooks.failed(error);
    });
  }

  #context(closing: AbortSignal): ServerContext {
    return {
      parser: this.#parser,
      clock: this.#clock,
      limits: this.#limits,
      resolve: resolvingBy(this.#routes, (url) => this.#https?.answer(url) ?? null),
      closing,
      exchanged: (record) => this.#exchanged(record),
      failed: (error, url) => {
        this.#counters.errors += 1;
        this.#hooks.failed(error, url);
      },
    };
  }

  async #accept(port: number, open: OpenPort): Promise<void> {
    const context = this.#context(open.closing.signal);
    for await (const socket of open.listener) {
      open.connections += 1;
      this.#counters.connections += 1;
      void serveConnection(this.#spoken(socket, port), port, context).finally(() => {
        open.connections -= 1;
        open.roomCame?.();
      });
      while (open.connections >= this.#limits.maxConnections) {
        await new Promise<void>((resolve) => {
          open.roomCame = resolve;
        });
      }
      open.roomCame = undefined;
    }
  }

  #exchanged(record: ExchangeRecord): void {
    this.#counters.requests += 1;
    this.#counters.bytesReceived += record.bytesReceived;
    this.#counters.bytesSent += record.bytesSent;
    this.#hooks.exchanged(record);
  }
}
