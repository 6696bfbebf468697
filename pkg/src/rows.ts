/** What the WebAssembly module tells and is told that is more than one number; see `rows.rs` and `options.rs` in `wasm`. */

import { EngineError } from "./errors.js";

/** An array from the module: the names of the fields, separated by spaces, then the fields of each row. */
export type Rows = readonly unknown[];

/** The names in a text of the module, which gives the same few texts again and again. */
const lists = new Map<string, readonly string[]>();

function namesIn(text: string): readonly string[] {
  let names = lists.get(text);
  if (names === undefined) {
    names = text.split(" ");
    lists.set(text, names);
  }
  return names;
}

/** An object for each row; fields that are absent are null. */
export function objectsOf<T>(rows: Rows): T[] {
  const names = namesIn(rows[0] as string);
  if ((rows.length - 1) % names.length !== 0) {
    throw new EngineError(`the module gave ${rows.length - 1} fields in rows of ${names.length}`);
  }
  const objects: T[] = [];
  for (let at = 1; at < rows.length; ) {
    const object: Record<string, unknown> = {};
    for (const name of names) {
      object[name] = rows[at] ?? null;
      at += 1;
    }
    objects.push(object as T);
  }
  return objects;
}

/** The only row as an object, null if there is none. */
export function objectOf<T>(rows: Rows | undefined): T | null {
  return rows === undefined ? null : (objectsOf<T>(rows)[0] ?? null);
}

/** The numbers of options in the order of the module's names, NaN for those that are not given. */
export function valuesOf(
  names: string,
  given: Readonly<Record<string, number>>,
): Float64Array<ArrayBuffer> {
  const known = namesIn(names);
  for (const name of Object.keys(given)) {
    if (!known.includes(name)) throw new EngineError(`the module has no option ${name}`);
  }
  return Float64Array.from(known, (name) => given[name] ?? Number.NaN);
}
