/** Starting engines, and the one that all of a realm shares. */

import * as check from "./arguments.js";
import { realClock } from "./clock.js";
import { EngineCore } from "./engine_core.js";
import { EngineError } from "./errors.js";
import { LazyModule } from "./module.js";
import type { Engine, EngineOptions } from "./types.js";
import { createBindings } from "./wasm/ethertab_bindings.js";

const DEFAULT_POOL_BYTES = 128 * 1024 * 1024;
/** Rust allocates less than half of a 32-bit address space at once. */
const LARGEST_POOL_BYTES = 2 ** 31 - 64 * 1024;

const FILE = "ethertab_bg.wasm";
/** The package's own file. */
export const engineModule = new LazyModule(
  FILE,
  () => new URL("./wasm/ethertab_bg.wasm", import.meta.url),
);

let shared: Promise<EngineCore> | undefined;

/**
 * Makes the engine that this realm shares, with options that the first `create...` call could not give. Needed only when
 * the module cannot be found where the package expects it. Rejects if the shared engine exists already.
 */
export async function init(options: EngineOptions = {}): Promise<Engine> {
  check.options("options", options);
  while (shared !== undefined) {
    const running = shared;
    if ((await settled(running)).over === null) {
      throw new EngineError(
        "init: the engine of this realm is running already; call init before anything else",
      );
    }
    // Unless somebody has started the next one meanwhile, it is to be this one.
    if (shared === running) shared = undefined;
  }
  shared = start(options);
  return settled(shared);
}

/** Makes an engine of its own: a separate WebAssembly instance with memory and time of its own. */
export async function createEngine(options: EngineOptions = {}): Promise<Engine> {
  check.options("options", options);
  return start(options);
}

/** The engine that was given, or the one that the realm shares. */
export async function engineFor(given: Engine | undefined): Promise<EngineCore> {
  if (given !== undefined) {
    if (!(given instanceof EngineCore)) {
      throw new TypeError(`engine must come from createEngine or init, got ${check.show(given)}`);
    }
    if (given.over !== null) throw given.over;
    return given;
  }
  for (;;) {
    shared ??= start({});
    const starting = shared;
    const engine = await settled(starting);
    if (engine.over === null) return engine;
    // It trapped or was closed: the first to see that makes the next one.
    if (shared === starting) shared = undefined;
  }
}

/** The engine, or its failure to start, which must not be the answer to every later call. */
async function settled(starting: Promise<EngineCore>): Promise<EngineCore> {
  try {
    return await starting;
  } catch (error) {
    if (shared === starting) shared = undefined;
    throw error;
  }
}

async function start(options: EngineOptions): Promise<EngineCore> {
  const { wasm, servicesWasm, tlsWasm } = options;
  // Whether they have failed is looked at when they are needed, and until then nobody has failed to look.
  for (const source of [servicesWasm, tlsWasm]) {
    if (source instanceof Promise) source.catch(() => {});
  }
  const poolBytes =
    options.memory === undefined
      ? DEFAULT_POOL_BYTES
      : check.integer("options.memory", options.memory, 64 * 1024, LARGEST_POOL_BYTES);
  const seed = check.seed("options.seed", options.seed);
  const clock =
    options.clock === undefined ? realClock : check.clock("options.clock", options.clock);
  const bindings = createBindings();
  const module = wasm === undefined ? engineModule : new LazyModule(FILE, () => wasm);
  const services =
    servicesWasm === undefined ? null : new LazyModule("services_bg.wasm", () => servicesWasm);
  const tls = tlsWasm === undefined ? null : new LazyModule("tls_bg.wasm", () => tlsWasm);
  const exports = await module.instantiate(bindings);
  try {
    return new EngineCore(bindings, exports, { services, tls }, clock, poolBytes, seed);
  } catch (error) {
    if (!(error instanceof WebAssembly.RuntimeError)) throw error;
    throw new EngineError(`no engine with ${poolBytes} bytes of payload memory could be made`, {
      cause: error,
    });
  }
}
