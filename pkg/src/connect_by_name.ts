/**
 * Connections to hosts by name: the addresses are tried as core's state machine for Happy Eyeballs (RFC 8305) says, and the
 * connection that is open first is the one.
 */

import { deferred, type EngineCore, type Sink } from "./engine_core.js";
import { SocketError } from "./errors.js";
import type { Resolver } from "./resolver.js";
import type { Services } from "./services.js";
import { closeReason, Signal } from "./socket.js";
import { DueTimer } from "./timer.js";
import { aborted } from "./waiters.js";

/** What a connection by name needs. */
export interface NamedConnection {
  engine: EngineCore;
  services: Services;
  resolver: Resolver;
  host: string;
  signal: AbortSignal;
  /** Begins to connect to an address: the connection's number, or why there is none. */
  begin: (address: string) => number | Error;
  /** Puts addresses into the order in which they are to be tried (RFC 6724 §6). */
  sorted: (addresses: readonly string[]) => string[];
}

/** The number of a connection that is open. */
export async function connectByName(wanted: NamedConnection): Promise<number> {
  const { services, signal } = wanted;
  if (signal.aborted) throw aborted(signal);
  const race = new Race(wanted);
  try {
    return await race.winner;
  } finally {
    race.end();
    if (services.over === null) services.call((wasm) => wasm.end_connecting(race.number));
  }
}

/** The attempts of one connection. */
class Race {
  readonly number: number;
  readonly winner: Promise<number>;
  readonly #wanted: NamedConnection;
  readonly #settle = deferred<number>();
  readonly #timer: DueTimer;
  readonly #attempts = new Set<number>();
  readonly #onAbort: () => void;
  #won: number | null = null;
  #lastError: Error | null = null;

  constructor(wanted: NamedConnection) {
    const { engine, services, resolver, host, signal } = wanted;
    this.#wanted = wanted;
    this.winner = this.#settle.promise;
    this.number = services.call((wasm, now) => wasm.begin_connecting(now));
    this.#timer = new DueTimer(engine, () => this.#run());
    this.#onAbort = () => this.#settle.reject(aborted(signal));
    signal.addEventListener("abort", this.#onAbort, { once: true });
    const known = (addresses: readonly string[], families: readonly number[]): void => {
      for (const family of families) {
        const own = addresses.filter((address) => address.includes(":") === (family === 6));
        const text = wanted.sorted(own).join(" ");
        services.call((wasm, now) => wasm.addresses_known(now, this.number, family, text));
      }
      this.#run();
    };
    resolver
      .resolve(host, 0, signal, ({ known: family, addresses }) => known(addresses, [family]))
      .then((addresses) => known(addresses, [6, 4]))
      .catch((error) => this.#settle.reject(error));
  }

  /** Ends the attempts that have not won. */
  end(): void {
    this.#timer.clear();
    this.#wanted.signal.removeEventListener("abort", this.#onAbort);
    for (const id of [...this.#attempts]) this.#drop(id);
  }

  #run(): void {
    const { engine, services, host, signal } = this.#wanted;
    while (
      this.#won === null &&
      !signal.aborted &&
      engine.over === null &&
      services.over === null
    ) {
      const next = services.row<{ address: string | null; due: number | null; exhausted: number }>(
        (wasm, now) => wasm.next_attempt(now, this.number),
      );
      if (next === null) return;
      if (next.exhausted === 1) {
        this.#settle.reject(
          this.#lastError ?? new SocketError("ENOTFOUND", `${host} has no address`),
        );
        return;
      }
      if (next.address === null) {
        this.#timer.set(next.due ?? Number.POSITIVE_INFINITY, true);
        return;
      }
      const id = this.#wanted.begin(next.address);
      if (id instanceof Error) this.#failed(id);
      else this.#watch(id);
    }
  }

  #watch(id: number): void {
    const { engine } = this.#wanted;
    this.#attempts.add(id);
    const sink: Sink = {
      onSignals: (signals) => {
        if (signals & Signal.connected) {
          this.#won = id;
          this.#attempts.delete(id);
          engine.removeSink(id);
          this.#settle.resolve(id);
        } else if (signals & Signal.closed) {
          const why = closeReason(engine, id)?.why;
          this.#drop(id);
          const text = `connect to ${this.#wanted.host}: ${why?.text}`;
          this.#failed(new SocketError(why?.code ?? "ECONNREFUSED", text));
          this.#run();
        }
      },
      onEngineOver: (error) => this.#settle.reject(error),
    };
    engine.addSink(id, sink);
  }

  #failed(error: Error): void {
    this.#lastError = error;
    this.#wanted.services.call((wasm, now) => wasm.attempt_failed(now, this.number));
  }

  #drop(id: number): void {
    const { engine } = this.#wanted;
    if (!this.#attempts.delete(id) || engine.over !== null) return;
    engine.removeSink(id);
    engine.call((wasm, now) => wasm.close(now, id, true));
    engine.wake();
  }
}
