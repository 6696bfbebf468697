/** Loading the WebAssembly module, and the engine that all of a realm shares. */

import * as check from "./arguments.js";
import { realClock } from "./clock.js";
import { EngineCore } from "./engine_core.js";
import { EngineError } from "./errors.js";
import type { Engine, EngineOptions, WasmSource } from "./types.js";
import { createBindings } from "./wasm/bindings.js";

const DEFAULT_POOL_BYTES = 128 * 1024 * 1024;
/** Rust allocates less than half of a 32-bit address space at once. */
const LARGEST_POOL_BYTES = 2 ** 31 - 64 * 1024;

/** Compiled once, however many engines are made from it. */
let ownModule: Promise<WebAssembly.Module> | undefined;
let shared: Promise<EngineCore> | undefined;

/**
 * Makes the engine that this realm shares, with options that the first `create...` call could not give. Needed only when
 * the module cannot be found where the package expects it. Rejects if the shared engine exists already.
 */
export async function init(options: EngineOptions = {}): Promise<Engine> {
  check.options("options", options);
  const running = shared === undefined ? null : await settled(shared);
  if (running !== null && running.over === null) {
    throw new EngineError(
      "init: the engine of this realm is running already; call init before anything else",
    );
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
  const poolBytes =
    options.memory === undefined
      ? DEFAULT_POOL_BYTES
      : check.integer("options.memory", options.memory, 64 * 1024, LARGEST_POOL_BYTES);
  const seed = check.seed("options.seed", options.seed);
  const clock =
    options.clock === undefined ? realClock : check.clock("options.clock", options.clock);
  const bindings = createBindings();
  let module: WebAssembly.Module;
  try {
    module = await (options.wasm === undefined ? compileOwn() : compile(options.wasm));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new EngineError(`the WebAssembly module could not be loaded: ${reason}`, {
      cause: error,
    });
  }
  const { memory } = bindings.initSync({ module });
  try {
    return new EngineCore(bindings, memory, clock, poolBytes, seed);
  } catch (error) {
    if (!(error instanceof WebAssembly.RuntimeError)) throw error;
    throw new EngineError(`no engine with ${poolBytes} bytes of payload memory could be made`, {
      cause: error,
    });
  }
}

function compileOwn(): Promise<WebAssembly.Module> {
  ownModule ??= compile(new URL("./wasm/ethertab_bg.wasm", import.meta.url)).catch((error) => {
    ownModule = undefined;
    throw error;
  });
  return ownModule;
}

async function compile(source: WasmSource): Promise<WebAssembly.Module> {
  const given = await source;
  if (given instanceof WebAssembly.Module) return given;
  if (given instanceof ArrayBuffer || ArrayBuffer.isView(given)) return WebAssembly.compile(given);
  if (typeof Response !== "undefined" && given instanceof Response) return compileResponse(given);
  if (typeof given === "string" || given instanceof URL) return compileUrl(given);
  throw new TypeError(
    `wasm must be a URL, a Response, bytes or a WebAssembly.Module, got ${check.show(given)}`,
  );
}

async function compileUrl(source: string | URL): Promise<WebAssembly.Module> {
  const node = nodeFiles();
  if (node !== null) {
    const isFile =
      source instanceof URL ? source.protocol === "file:" : !/^(https?|data|blob):/.test(source);
    if (isFile) return WebAssembly.compile(await node.readFile(fileOf(source)));
  }
  return compileResponse(await fetch(source));
}

/** What `readFile` takes: a path, or a file: URL as an object. */
function fileOf(source: string | URL): string | URL {
  return typeof source === "string" && source.startsWith("file:") ? new URL(source) : source;
}

async function compileResponse(response: Response): Promise<WebAssembly.Module> {
  if (!response.ok)
    throw new Error(`${response.url} answered ${response.status} ${response.statusText}`);
  // Streaming compilation insists on the media type, which many servers don't send.
  if (response.headers.get("content-type")?.startsWith("application/wasm")) {
    return WebAssembly.compileStreaming(response);
  }
  return WebAssembly.compile(await response.arrayBuffer());
}

interface NodeFiles {
  readFile(path: string | URL): Promise<Uint8Array<ArrayBuffer>>;
}

/** Node's file system where there is one, found in a way that bundlers don't see as an import. */
function nodeFiles(): NodeFiles | null {
  const { process } = globalThis as {
    process?: { getBuiltinModule?: (name: string) => unknown };
  };
  return (process?.getBuiltinModule?.("node:fs/promises") as NodeFiles | undefined) ?? null;
}
