/**
 * An instance of the WebAssembly module for what works on bytes alone: DHCP, DNS and the parser of HTTP heads for a gateway,
 * and what captures are read with.
 */

import type { EngineCore } from "./engine_core.js";
import { EngineError, SocketError } from "./errors.js";
import type { HeadParser } from "./gateway/http/head.js";
import { LazyModule } from "./module.js";
import { RowReader, type Rows } from "./rows.js";
import { type Bindings, createBindings } from "./wasm/services_bindings.js";

/** The package's own file. */
export const servicesModule = new LazyModule(
  "services_bg.wasm",
  () => new URL("./wasm/services_bg.wasm", import.meta.url),
);

/** What is let go at the end, since its memory is large. */
interface Instance {
  readonly wasm: Bindings;
  readonly reader: RowReader;
}

/** See the module's comment. */
export class Services {
  /** The parser's functions, called so that a trap in one ends these services. */
  readonly parser: HeadParser = {
    parse_request_head: (bytes) => this.call((wasm) => wasm.parse_request_head(bytes)),
    parse_response_head: (bytes) => this.call((wasm) => wasm.parse_response_head(bytes)),
    parse_chunk_size: (bytes) => this.call((wasm) => wasm.parse_chunk_size(bytes)),
  };
  /** Called once when the module has trapped, before the call that caused it throws. */
  ontrap: ((error: EngineError) => void) | null = null;
  readonly #engine: EngineCore;
  #state: Instance | Error;

  private constructor(engine: EngineCore, instance: Instance) {
    this.#engine = engine;
    this.#state = instance;
  }

  /** @throws {EngineError} if the module cannot be loaded. */
  static async load(engine: EngineCore): Promise<Services> {
    const wasm = createBindings();
    const { memory } = await (engine.services ?? servicesModule).instantiate(wasm);
    return new Services(engine, { wasm, reader: new RowReader(memory) });
  }

  /** Why they are over: a trap, or {@link close}. Null while they run. */
  get over(): Error | null {
    return this.#state instanceof Error ? this.#state : null;
  }

  /** One call into the module, with the engine's time. */
  call<T>(operation: (wasm: Bindings, now: number) => T): T {
    const { wasm } = this.#running();
    try {
      return operation(wasm, this.#engine.now());
    } catch (error) {
      throw error instanceof WebAssembly.RuntimeError ? this.#trap(error) : error;
    }
  }

  /** A call that tells rows of fields, as objects; see {@link call}. */
  rows<T>(operation: (wasm: Bindings, now: number) => Rows): T[] {
    const { reader } = this.#running();
    return reader.objects<T>(this.call(operation));
  }

  /** A call that tells one row or none. */
  row<T>(operation: (wasm: Bindings, now: number) => Rows | undefined): T | null {
    const { reader } = this.#running();
    const rows = this.call(operation);
    return rows === undefined ? null : (reader.objects<T>(rows)[0] ?? null);
  }

  close(): void {
    if (this.over === null) this.#state = new SocketError("ABORT_ERR", "the gateway was closed");
  }

  #running(): Instance {
    if (this.#state instanceof Error) throw this.#state;
    if (this.#engine.over !== null) throw this.#engine.over;
    return this.#state;
  }

  #trap(cause: Error): EngineError {
    const error = new EngineError(`the services' module trapped: ${cause.message}`, { cause });
    this.#state = error;
    this.ontrap?.(error);
    return error;
  }
}
