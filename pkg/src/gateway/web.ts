/** The web side of a gateway: served origins on its listeners, and `fetch` into the network. */

import { addressLiteral } from "../arguments.js";
import { SocketError } from "../errors.js";
import type { Clock, Listener, Stack } from "../types.js";
import { fetchOver } from "./http/client.js";
import type { HeadParser } from "./http/head.js";
import type { HttpLimits } from "./http/limits.js";
import { type Route, Routes } from "./http/routes.js";
import { type ExchangeRecord, type ServerContext, serveConnection } from "./http/server.js";

/** What the web side needs of the gateway. */
export interface WebHooks {
  /** The addresses of a name in the network. */
  lookup(hostname: string): string[];
  exchanged(record: ExchangeRecord): void;
  failed(error: unknown, url?: string): void;
}

/** A port with served origins. */
interface OpenPort {
  listener: Listener;
  /** Connections being served. */
  connections: number;
  /** Lets the accept loop go on when one of too many connections has ended. */
  roomCame: (() => void) | undefined;
}

/** See the module's comment. */
export class Web {
  readonly #stack: Stack;
  readonly #clock: Clock;
  readonly #parser: HeadParser;
  readonly #limits: HttpLimits;
  readonly #hooks: WebHooks;
  readonly #routes = new Routes();
  readonly #ports = new Map<number, OpenPort>();
  readonly #counters = {
    connections: 0,
    requests: 0,
    errors: 0,
    bytesReceived: 0,
    bytesSent: 0,
    fetches: 0,
  };

  constructor(stack: Stack, clock: Clock, parser: HeadParser, limits: HttpLimits, hooks: WebHooks) {
    this.#stack = stack;
    this.#clock = clock;
    this.#parser = parser;
    this.#limits = limits;
    this.#hooks = hooks;
  }

  get routes(): Routes {
    return this.#routes;
  }

  /** @throws {TypeError} if the origin is served already; {@link SocketError} if its port is taken. */
  add(route: Route): void {
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
    const port = this.#ports.get(route.port);
    this.#ports.delete(route.port);
    void port?.listener.close();
  }

  async fetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    this.#counters.fetches += 1;
    return fetchOver(
      {
        parser: this.#parser,
        clock: this.#clock,
        stallTimeout: this.#limits.stallTimeout,
        connect: async (hostname, port, signal) => {
          const target = { hostname: this.#resolve(hostname), port };
          const socket = this.#stack.connect(target, {
            signal,
            allowHalfOpen: true,
            noDelay: true,
          });
          await socket.opened;
          return socket;
        },
      },
      input,
      init,
    );
  }

  counters(): Record<string, number> {
    return { ...this.#counters };
  }

  close(): void {
    for (const { listener } of this.#ports.values()) void listener.close();
    this.#ports.clear();
  }

  #resolve(hostname: string): string {
    const address = addressLiteral(hostname) ?? this.#hooks.lookup(hostname)[0];
    if (address === undefined) {
      throw new SocketError("ENOTFOUND", `no host in the network is called ${hostname}`);
    }
    return address;
  }

  #open(port: number): void {
    const listener = this.#stack.listen({ port, allowHalfOpen: true, noDelay: true });
    const open: OpenPort = { listener, connections: 0, roomCame: undefined };
    this.#ports.set(port, open);
    listener.listening.catch((error: unknown) => this.#hooks.failed(error));
    this.#accept(port, open).catch((error: unknown) => {
      if (this.#ports.get(port) === open) this.#hooks.failed(error);
    });
  }

  async #accept(port: number, open: OpenPort): Promise<void> {
    const context: ServerContext = {
      parser: this.#parser,
      clock: this.#clock,
      limits: this.#limits,
      routes: this.#routes,
      exchanged: (record) => this.#exchanged(record),
      failed: (error, url) => {
        this.#counters.errors += 1;
        this.#hooks.failed(error, url);
      },
    };
    for await (const socket of open.listener) {
      open.connections += 1;
      this.#counters.connections += 1;
      void serveConnection(socket, port, context).finally(() => {
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
