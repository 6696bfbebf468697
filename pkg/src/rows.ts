/** What the services' module tells that is more than one number; see `rows.rs` in `wasm`. */

import { EngineError } from "./errors.js";
import type { ModuleMemory } from "./platform.js";

/** An array from the module: address and length of the fields' names, then the fields of each row. */
export type Rows = readonly unknown[];

/** Makes objects of a module's rows. */
export class RowReader {
  readonly #memory: ModuleMemory;
  /** By their address, at which they stay. */
  readonly #names = new Map<number, readonly string[]>();

  constructor(memory: ModuleMemory) {
    this.#memory = memory;
  }

  /** An object for each row; fields that are absent are null. */
  objects<T>(rows: Rows): T[] {
    const [address, length] = rows as [number, number];
    const names = this.#namesAt(address, length);
    const objects: T[] = [];
    let at = 2;
    while (at < rows.length) {
      const object: Record<string, unknown> = {};
      for (const name of names) object[name] = rows[at++] ?? null;
      objects.push(object as T);
    }
    if (at !== rows.length) throw new EngineError(`the module gave a part of a row: ${names}`);
    return objects;
  }

  #namesAt(address: number, length: number): readonly string[] {
    let names = this.#names.get(address);
    if (names === undefined) {
      const text = new Uint8Array(this.#memory.buffer, address, length);
      names = new TextDecoder().decode(text).split(" ");
      this.#names.set(address, names);
    }
    return names;
  }
}
