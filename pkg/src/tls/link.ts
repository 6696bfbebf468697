/** A connection in the module for TLS, and the transport that its records go over. */

import type { Rows } from "../rows.js";
import { SocketImpl } from "../socket.js";
import type { Clock } from "../types.js";
import type { Bindings } from "../wasm/tls_bindings.js";
import { Farewell } from "./farewell.js";
import type { Dependent, Tls } from "./module.js";
import type { Transport } from "./transport.js";

/** What `tryRead` returns where it would wait. */
const WOULD_BLOCK = -1;

/** What is read from the transport in one go. */
const INTAKE = 32 * 1024;

/** What the transport may know if it is a socket. */
export type Below = Transport &
  Partial<Pick<SocketImpl, "info" | "setTcpOptions" | "tcpSettings" | "runInBackground">>;

/** Who is told what becomes of a link. */
export interface Owner {
  /** The transport has something to read, or room. */
  pump(): void;
  /** The transport is over, by this error or in good order. */
  transportOver(error: Error | null): void;
  onModuleOver(error: Error): void;
}

/** The links whose owners nobody holds any more. */
const registry = new FinalizationRegistry<Link>((link) => new Farewell(link, true));

/** See the module's comment. It is held by the transport; its owner is held by it, or rests: is known, and may be collected. */
export class Link implements Dependent {
  readonly transport: Below;
  /** For what has to be done after the owner. */
  readonly clock: Clock;
  #held: Owner | null;
  #known: WeakRef<Owner>;
  #tls: Tls | null = null;
  #id = 0;
  #isOver = false;
  #isReleased = false;
  #endsWhenFlushed = false;
  /**
   * What the transport reads into. The module's memory is only for the stack's own sockets, which copy at once: others may keep what they are given, may be
   * TLS of the same instance, and are not to see the secrets that are around it.
   */
  #intake: Uint8Array<ArrayBuffer> | null = null;
  /** Records that the transport has not taken. */
  #unsent: Uint8Array = new Uint8Array(0);

  constructor(transport: Below, clock: Clock, owner: Owner) {
    this.transport = transport;
    this.clock = clock;
    this.#held = owner;
    this.#known = new WeakRef(owner);
    transport.onready = () => this.#owner?.pump();
    transport.closed.then(
      () => {
        // There may be more to read than the owner wanted to have.
        this.#owner?.pump();
        this.#isOver = true;
        this.#owner?.transportOver(null);
      },
      (error: Error) => {
        this.#isOver = true;
        this.#owner?.transportOver(error);
      },
    );
  }

  get #owner(): Owner | undefined {
    return this.#held ?? this.#known.deref();
  }

  // Who holds the owner.

  get isResting(): boolean {
    return this.#held === null;
  }

  /** The owner may be collected from now on: then the connection ends in good order. */
  rest(): void {
    const owner = this.#held;
    if (owner === null) return;
    this.#held = null;
    registry.register(owner, this, this);
  }

  /** Something waits on the owner, or it is another one. */
  hold(owner: Owner): void {
    registry.unregister(this);
    if (this.#known.deref() !== owner) this.#known = new WeakRef(owner);
    this.#held = owner;
  }

  // The module.

  /** The connection has this number in the module. */
  begin(tls: Tls, id: number): void {
    this.#tls = tls;
    this.#id = id;
    tls.addDependent(this);
  }

  /** The module; null while there is no connection in it, and after its trap. */
  get tls(): Tls | null {
    return this.#tls?.over === null ? this.#tls : null;
  }

  call<T>(operation: (wasm: Bindings, id: number) => T): T {
    if (this.#tls === null) throw new TypeError("there is no TLS connection yet");
    return this.#tls.call((wasm) => operation(wasm, this.#id));
  }

  /** A call that tells rows of fields, as objects. */
  rows<T>(operation: (wasm: Bindings, id: number) => Rows): T[] {
    return this.#tls?.rows<T>((wasm) => operation(wasm, this.#id)) ?? [];
  }

  onModuleOver(error: Error): void {
    const owner = this.#owner;
    if (owner === undefined) this.transport.abort(error);
    else owner.onModuleOver(error);
  }

  // The transport.

  /** Whether the transport is over. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether there are records that the transport has not taken. */
  get hasUnsent(): boolean {
    return this.#unsent.byteLength > 0;
  }

  /** Whether the transport's stream is to end behind what it has not taken. */
  get isEnding(): boolean {
    return this.#endsWhenFlushed;
  }

  /** Brings what has come to the module. Returns what `tryRead` of the transport does. */
  takeIn(): number {
    const { tls, transport } = this;
    if (tls === null) return WOULD_BLOCK;
    if (transport instanceof SocketImpl) return transport.tryRead(tls.bytes(INTAKE));
    this.#intake ??= new Uint8Array(INTAKE);
    const count = transport.tryRead(this.#intake);
    if (count > 0) tls.bytes(count).set(this.#intake.subarray(0, count));
    return count;
  }

  /** Gives records to the transport, as long as it takes them. */
  flush(): void {
    const { tls, transport } = this;
    if (tls === null || this.#isOver) return;
    for (;;) {
      if (this.#unsent.byteLength > 0) {
        const taken = transport.tryWrite(this.#unsent);
        this.#unsent = this.#unsent.subarray(taken);
        if (this.#unsent.byteLength > 0) return;
      }
      const count = tls.call((wasm) => wasm.output(this.#id, tls.scratchSize));
      if (count === 0) break;
      const scratch = tls.bytes(count);
      const records = transport instanceof SocketImpl ? scratch : scratch.slice();
      const taken = transport.tryWrite(records);
      if (taken < count) this.#unsent = records.slice(taken);
    }
    if (this.#endsWhenFlushed) {
      this.#endsWhenFlushed = false;
      transport.shutdown();
    }
  }

  /** Tells the peer that nothing follows, and then ends the transport's stream. */
  finish(): void {
    this.call((wasm, id) => wasm.finish(id));
    this.endWhenFlushed();
  }

  /** Ends the transport's stream behind what is to be sent. */
  endWhenFlushed(): void {
    this.#endsWhenFlushed = true;
    this.flush();
  }

  /** Lets go of the transport and of what is in the module. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    registry.unregister(this);
    this.transport.onready = null;
    this.transport.close().catch(() => {});
    const { tls } = this;
    this.#tls?.removeDependent(this);
    this.#tls = null;
    tls?.call((wasm) => wasm.free_connection(this.#id));
  }
}
