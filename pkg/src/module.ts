/** Loading the package's WebAssembly modules. */

import { show } from "./arguments.js";
import { EngineError } from "./errors.js";
import type { CompiledModule } from "./platform.js";
import type { WasmSource } from "./types.js";

/** What helps where the file is missing. */
const HINT =
  '; if a bundler has left the file behind, say where it is (`init({ wasm })`), or import "ethertab/inline"';

/** What wasm-bindgen makes for a module, before it has an instance. */
interface Bindings<E> {
  initSync(from: { module: CompiledModule }): E;
}

/** A WebAssembly module that is loaded and compiled when it is first needed, once for all its instances. */
export class LazyModule {
  /** For messages. */
  readonly #file: string;
  #source: () => WasmSource;
  #compiled: Promise<CompiledModule> | undefined;
  /** For messages: where it was last loaded from. */
  #from = "";

  constructor(file: string, source: () => WasmSource) {
    this.#file = file;
    this.#source = source;
  }

  /** Takes the module from elsewhere when it is next loaded. */
  carry(source: () => WasmSource): void {
    this.#source = source;
  }

  /**
   * Gives bindings an instance of the module and returns what that exports.
   * @throws {EngineError} that names the file. The next call tries to load it again.
   */
  async instantiate<E>(bindings: Bindings<E>): Promise<E> {
    this.#compiled ??= this.#load();
    const compiled = this.#compiled;
    try {
      return bindings.initSync({ module: await compiled });
    } catch (error) {
      if (this.#compiled === compiled) this.#compiled = undefined;
      const reason = error instanceof Error ? error.message : String(error);
      throw new EngineError(
        `the WebAssembly module ${this.#file} could not be loaded${this.#from}: ${reason}`,
        { cause: error },
      );
    }
  }

  async #load(): Promise<CompiledModule> {
    const source = this.#source();
    this.#from = typeof source === "string" || source instanceof URL ? ` from ${source}` : "";
    return compile(source);
  }
}

async function compile(source: WasmSource): Promise<CompiledModule> {
  const given = await source;
  if (given instanceof WebAssembly.Module) return given;
  if (given instanceof ArrayBuffer || ArrayBuffer.isView(given)) return WebAssembly.compile(given);
  if (typeof Response !== "undefined" && given instanceof Response) return compileResponse(given);
  if (typeof given === "string" || given instanceof URL) return compileUrl(given);
  throw new TypeError(
    `it must be given as a URL, a Response, bytes or a WebAssembly.Module, got ${show(given)}`,
  );
}

async function compileUrl(source: string | URL): Promise<CompiledModule> {
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

async function compileResponse(response: Response): Promise<CompiledModule> {
  if (!response.ok) {
    throw new Error(`${response.url} answered ${response.status} ${response.statusText}${HINT}`);
  }
  const type = response.headers.get("content-type")?.trim().toLowerCase();
  // Development servers send their page for what they do not have.
  if (type?.startsWith("text/html")) throw new Error(`${response.url} is HTML${HINT}`);
  // Streaming compilation insists on the media type, without parameters, which many servers don't send.
  if (type === "application/wasm") {
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
