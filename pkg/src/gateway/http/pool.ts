/** Connections that are kept for the next request to the same server. */

import type { Clock } from "../../types.js";
import { Connection, type HttpSocket } from "./connection.js";
import { isSameTarget, type Target } from "./target.js";

/** Connections that wait, for one server and for all together; beyond, the one that has waited longest is closed. */
const MOST_OF_ONE = 8;
const MOST = 64;
/** How long one may wait where the server does not say, in milliseconds: shorter than servers usually allow. */
const IDLE_TIME = 4_000;
/** The most that a server may say. */
const LONGEST_IDLE_TIME = 600_000;
/** How much earlier than the server says a connection is given up, so that no request crosses its end. */
const MARGIN = 1_000;

/** What the pool needs of its surroundings. */
export interface PoolContext {
  readonly clock: Clock;
  /** Opens a connection. */
  connect(target: Target, signal: AbortSignal): Promise<HttpSocket>;
  /** Whether a connection that waits keeps the program from its end. */
  hold?(socket: HttpSocket, hold: boolean): void;
  /** How long the server may be silent, in milliseconds. */
  readonly stallTimeout: number;
}

/** A connection, and whether it has carried an exchange before. */
export interface Taken {
  connection: Connection;
  isKept: boolean;
}

interface Idle {
  target: Target;
  connection: Connection;
  timer: unknown;
}

/** See the module's comment. */
export class ConnectionPool {
  readonly #context: PoolContext;
  /** In the order in which they became idle. */
  readonly #idle = new Set<Idle>();
  #isClosed = false;

  constructor(context: PoolContext) {
    this.#context = context;
  }

  /** Connections that wait. */
  get idle(): number {
    return this.#idle.size;
  }

  /** A connection for an exchange: with `mayBeKept`, the one that waits for the shortest time, if any does. */
  async take(target: Target, signal: AbortSignal, mayBeKept: boolean): Promise<Taken> {
    if (mayBeKept) {
      for (const kept of [...this.#idle].reverse()) {
        if (!isSameTarget(kept.target, target)) continue;
        this.#forget(kept);
        this.#context.hold?.(kept.connection.socket, true);
        // What a server sends without a request answers none.
        if (kept.connection.buffered.length === 0)
          return { connection: kept.connection, isKept: true };
        kept.connection.close();
      }
    }
    const { clock, connect, stallTimeout } = this.#context;
    const socket = await connect(target, signal);
    return { connection: new Connection(socket, clock, stallTimeout), isKept: false };
  }

  /**
   * Takes back a connection whose last exchange is complete. `idleTime` is how long the server keeps it, in milliseconds; null where it does not say.
   */
  keep(target: Target, connection: Connection, idleTime: number | null): void {
    const time = idleTime === null ? IDLE_TIME : Math.min(idleTime - MARGIN, LONGEST_IDLE_TIME);
    if (this.#isClosed || time <= 0 || connection.buffered.length > 0) {
      connection.close();
      return;
    }
    const idle: Idle = { target, connection, timer: null };
    idle.timer = this.#context.clock.setTimer(() => this.#end(idle), time);
    this.#idle.add(idle);
    this.#context.hold?.(connection.socket, false);
    connection.watch(() => this.#end(idle));
    const ofOne = [...this.#idle].filter((other) => isSameTarget(other.target, target));
    const [oldest] = ofOne.length > MOST_OF_ONE ? ofOne : [...this.#idle];
    if (oldest !== undefined && (ofOne.length > MOST_OF_ONE || this.#idle.size > MOST)) {
      this.#end(oldest);
    }
  }

  /** Ends the connections that wait; those that come back later are closed. */
  close(): void {
    this.#isClosed = true;
    for (const idle of [...this.#idle]) this.#end(idle);
  }

  #forget(idle: Idle): void {
    this.#idle.delete(idle);
    this.#context.clock.clearTimer(idle.timer);
    idle.connection.watch(undefined);
  }

  #end(idle: Idle): void {
    if (!this.#idle.has(idle)) return;
    this.#forget(idle);
    idle.connection.close();
  }
}
