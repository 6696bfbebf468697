/**
 * The instance of the WebAssembly module for TLS. One serves all connections of a realm, unless engines have the module from different places;
 * it is loaded by the first that speaks TLS.
 */

import type { EngineCore } from "../engine_core.js";
import { EngineError, SocketError, type SocketErrorCode } from "../errors.js";
import { LazyModule } from "../module.js";
import type { ModuleMemory } from "../platform.js";
import { RowReader, type Rows } from "../rows.js";
import { type Bindings, createBindings } from "../wasm/tls_bindings.js";

/** The package's own file. */
export const tlsModule = new LazyModule(
  "tls_bg.wasm",
  () => new URL("../wasm/tls_bg.wasm", import.meta.url),
);

/** Configurations that are kept for those who come with the same, and with them their sessions, which can be resumed. */
const KEPT_CONFIGS = 64;

/** By the module, or by the engine that has randomness of its own. */
const instances = new WeakMap<object, Promise<Tls>>();

/** Something in the module that has to know when that traps. */
export interface Dependent {
  onModuleOver(error: Error): void;
}

/** What makes a configuration in the module, and by what it is known. */
export interface Configuring {
  readonly key: string;
  make(wasm: Bindings): number;
}

/** See the module's comment. */
export class Tls {
  /** Where the bytes of one call are, and how many there can be. */
  readonly scratch: number;
  readonly scratchSize: number;
  readonly #wasm: Bindings;
  readonly #memory: ModuleMemory;
  readonly #reader: RowReader;
  readonly #dependents = new Set<Dependent>();
  /** By what they are made of, the one that was used last at the end. */
  readonly #configs = new Map<string, number>();
  readonly #engines = new WeakMap<EngineCore, number>();
  #engineCount = 0;
  #view: Uint8Array<ArrayBuffer>;
  #over: Error | null = null;

  private constructor(wasm: Bindings, memory: ModuleMemory) {
    this.#wasm = wasm;
    this.#memory = memory;
    this.#reader = new RowReader(memory);
    this.#view = new Uint8Array(memory.buffer as ArrayBuffer);
    this.scratch = wasm.scratch_address();
    this.scratchSize = wasm.scratch_size();
  }

  /** @throws {EngineError} if the module cannot be loaded. */
  static async load(engine: EngineCore | null): Promise<Tls> {
    const module = engine?.tls ?? tlsModule;
    const random = engine?.random ?? null;
    const owner = engine === null || random === null ? module : engine;
    for (;;) {
      let loading = instances.get(owner);
      if (loading === undefined) {
        loading = Tls.#instantiate(module, random);
        instances.set(owner, loading);
      }
      try {
        const tls = await (engine?.clock.hold?.(loading) ?? loading);
        if (tls.#over === null) return tls;
      } catch (error) {
        if (instances.get(owner) === loading) instances.delete(owner);
        throw error;
      }
      // It has trapped: the first to see that makes the next one.
      if (instances.get(owner) === loading) instances.delete(owner);
    }
  }

  static async #instantiate(module: LazyModule, random: EngineCore["random"]): Promise<Tls> {
    const own = random === null ? undefined : { crypto: { getRandomValues: random } };
    const wasm = createBindings(own);
    const { memory } = await module.instantiate(wasm);
    return new Tls(wasm, memory);
  }

  /** Why it is over: a trap. Null while it runs. */
  get over(): Error | null {
    return this.#over;
  }

  /** A part of the module's memory from the scratch buffer's start on. Good until the next call. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    if (this.#view.buffer !== this.#memory.buffer) {
      this.#view = new Uint8Array(this.#memory.buffer as ArrayBuffer);
    }
    return this.#view.subarray(this.scratch, this.scratch + length);
  }

  /** One call into the module. A trap ends all that is in it. What it throws is a SocketError, or a TypeError where a value is wrong. */
  call<T>(operation: (wasm: Bindings) => T): T {
    if (this.#over !== null) throw this.#over;
    try {
      return operation(this.#wasm);
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) throw this.#trap(error);
      throw translated(error);
    }
  }

  /** A call that tells rows of fields, as objects; see {@link call}. */
  rows<T>(operation: (wasm: Bindings) => Rows): T[] {
    return this.#reader.objects<T>(this.call(operation));
  }

  /**
   * The number of a configuration, which is made unless there is one that was made of the same, for the same engine: what happens in one world must not
   * depend on the sessions of another.
   */
  config(configuring: Configuring, engine: EngineCore | null): number {
    const key = `${engine === null ? 0 : this.#numberOf(engine)} ${configuring.key}`;
    const kept = this.#configs.get(key);
    if (kept !== undefined) {
      this.#configs.delete(key);
      this.#configs.set(key, kept);
      return kept;
    }
    const made = this.call((wasm) => configuring.make(wasm));
    this.#configs.set(key, made);
    for (const [oldest, config] of this.#configs) {
      if (this.#configs.size <= KEPT_CONFIGS) break;
      this.#configs.delete(oldest);
      this.call((wasm) => wasm.free_config(config));
    }
    return made;
  }

  #numberOf(engine: EngineCore): number {
    const number = this.#engines.get(engine) ?? ++this.#engineCount;
    this.#engines.set(engine, number);
    return number;
  }

  addDependent(dependent: Dependent): void {
    this.#dependents.add(dependent);
  }

  removeDependent(dependent: Dependent): void {
    this.#dependents.delete(dependent);
  }

  #trap(cause: Error): EngineError {
    const error = new EngineError(`the TLS module trapped: ${cause.message}`, { cause });
    this.#over = error;
    for (const dependent of this.#dependents) dependent.onModuleOver(error);
    this.#dependents.clear();
    return error;
  }
}

/** What the module throws, by its code. */
function translated(error: unknown): unknown {
  if (!(error instanceof Error) || !("code" in error)) return error;
  const { code, message } = error as { code: SocketErrorCode | "ERR_INVALID_ARG_VALUE" } & Error;
  return code === "ERR_INVALID_ARG_VALUE" ? new TypeError(message) : new SocketError(code, message);
}
