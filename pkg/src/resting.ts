/**
 * What becomes of sockets that nobody holds any more.
 *
 * A socket on which something waits (a connection attempt, a read, a write, `closed`, `onready`) is held by its engine. One on which nothing waits is
 * let go of soon: a {@link RestingSocket} takes its place there, which holds it weakly. When the garbage collector then takes it, its
 * connection is closed: what was written is sent, then FIN. It is the net for what was forgotten; programs close their sockets.
 */

import type { EngineCore, Sink } from "./engine_core.js";
import type { Member, Members } from "./members.js";

/** Sockets are looked at together, so that one that is used all the time costs nothing more: milliseconds. */
const SOON = 500;
/** The platform's, whatever a test puts in its place later. */
const { setTimeout: later } = globalThis;

/** Something on which perhaps nothing waits any more. */
export interface Idle {
  /** Its place among those that are looked at soon; -1 while it is none of them. */
  listedAt: number;
  /** Rests, if nothing waits on it. */
  restIfIdle(): void;
}

/** A socket that may rest. */
export interface Restable extends Sink, Member, Idle {
  abort(reason: unknown): void;
  /** What waits on it, in words. */
  waits(): string[];
  /** Ends without telling those who wait. */
  vanish(error: Error): void;
}

const listed: Idle[] = [];
let isDue = false;

/** Looks at the socket soon: something that waited on it has come. */
export function restSoon(socket: Idle): void {
  socket.listedAt = listed.push(socket) - 1;
  if (isDue) return;
  isDue = true;
  const timer: unknown = later(look, SOON);
  (timer as { unref?: () => void }).unref?.();
}

/** It has ended: sockets that come and go are not kept here until they are looked at. */
export function restNever(socket: Idle): void {
  const at = socket.listedAt;
  if (at < 0) return;
  socket.listedAt = -1;
  const last = listed.pop() as Idle;
  if (last === socket) return;
  listed[at] = last;
  last.listedAt = at;
}

function look(): void {
  isDue = false;
  for (let socket = listed.pop(); socket !== undefined; socket = listed.pop()) {
    socket.listedAt = -1;
    socket.restIfIdle();
  }
}

const registry = new FinalizationRegistry<RestingSocket>((resting) => resting.abandoned());

/** What a socket that rests leaves in its place. */
export class RestingSocket implements Sink, Member {
  place = -1;
  readonly #engine: EngineCore;
  readonly #id: number;
  readonly #socket: WeakRef<Restable>;
  readonly #members: Members<Restable | RestingSocket>;

  /** Takes the socket's place at its engine and among the members. */
  constructor(
    engine: EngineCore,
    id: number,
    socket: Restable,
    members: Members<Restable | RestingSocket>,
  ) {
    this.#engine = engine;
    this.#id = id;
    this.#socket = new WeakRef(socket);
    this.#members = members;
    registry.register(socket, this, this);
    members.delete(socket);
    members.add(this);
    engine.replaceSink(id, this);
  }

  onSignals(signals: number): void {
    this.#socket.deref()?.onSignals(signals);
  }

  onEngineOver(error: Error): void {
    this.#socket.deref()?.onEngineOver(error);
  }

  abort(reason: unknown): void {
    const socket = this.#socket.deref();
    if (socket === undefined) this.#close(true);
    else socket.abort(reason);
  }

  waits(): string[] {
    return [];
  }

  vanish(error: Error): void {
    const socket = this.#socket.deref();
    this.end();
    if (socket === undefined) this.#engine.removeSink(this.#id);
    else socket.vanish(error);
  }

  /** The socket is used again, or has ended. */
  end(): void {
    registry.unregister(this);
    this.#members.delete(this);
  }

  /** The socket is gone. */
  abandoned(): void {
    this.#close(false);
  }

  #close(reset: boolean): void {
    this.end();
    const engine = this.#engine;
    const id = this.#id;
    if (engine.over === null) {
      engine.removeSink(id);
      engine.call((wasm, now) => wasm.close(now, id, reset));
      engine.wake();
    }
  }
}
