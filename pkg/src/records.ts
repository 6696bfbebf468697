/** Records of numbers from the module, as objects; `names.ts` has the names and says how they are written. */

import { EngineError } from "./errors.js";
import { WORDS } from "./names.js";

const ADDRESS_NUMBERS = 4;

/** A number's name, what it is put into, and what it stands for. */
export interface Field {
  readonly name: string;
  /** The object that has the field; null for the record's own. */
  readonly group: string | null;
  /** The words for its values, or for its bits. */
  readonly words: readonly string[];
  /** What stands behind the name: `?`, `=`, `&`, `@`, or nothing for a number. */
  readonly kind: string;
}

const words = new Map<string, readonly string[]>();
for (const line of WORDS.trim().split("\n")) {
  const [name = "", ...list] = line.trim().split(" ");
  words.set(name, list);
}

/** The fields in a list of names. */
export function fieldsOf(names: string): Field[] {
  return names
    .trim()
    .split(/\s+/)
    .map((text) => {
      const [, group, name = "", kind = "", list = ""] =
        /^(?:(\w+)\.)?(\w+)([?=&@]?)(\w*)$/.exec(text) ?? [];
      return { name, group: group ?? null, words: words.get(list) ?? [], kind };
    });
}

/** An object of the numbers from `at` on. */
export function recordOf(
  fields: readonly Field[],
  numbers: ArrayLike<number>,
  at = 0,
): Record<string, unknown> {
  const record: Record<string, unknown> = {};
  let place = at;
  for (const field of fields) {
    let object = record;
    if (field.group !== null) {
      record[field.group] ??= {};
      object = record[field.group] as Record<string, unknown>;
    }
    object[field.name] = shownAt(field, numbers, place);
    place += widthOf(field);
  }
  return record;
}

/** An object of each record in `numbers`. */
export function recordsOf<T>(fields: readonly Field[], numbers: ArrayLike<number>): T[] {
  const width = fields.reduce((sum, field) => sum + widthOf(field), 0);
  if (numbers.length % width !== 0) {
    throw new EngineError(`the module gave ${numbers.length} numbers for records of ${width}`);
  }
  return Array.from(
    { length: numbers.length / width },
    (_, index) => recordOf(fields, numbers, index * width) as T,
  );
}

function widthOf({ kind }: Field): number {
  return kind === "@" ? ADDRESS_NUMBERS : 1;
}

/** What a field shows for the number at a place. */
export function shownAt({ kind, words }: Field, numbers: ArrayLike<number>, at: number): unknown {
  const number = numbers[at] ?? Number.NaN;
  if (Number.isNaN(number)) return null;
  switch (kind) {
    case "?":
      return number !== 0;
    case "=":
      return words[number] ?? "unknown";
    case "&":
      return words.filter((_, bit) => number & (1 << bit));
    case "@":
      return addressText(numbers, at);
    default:
      return number;
  }
}

/** An address of four numbers, the highest first, where IPv4 is mapped (RFC 4291 §2.5.5.2). */
function addressText(numbers: ArrayLike<number>, at: number): string {
  const groups: number[] = [];
  for (let place = at; place < at + ADDRESS_NUMBERS; place += 1) {
    const number = numbers[place] ?? 0;
    groups.push(number >>> 16, number & 0xffff);
  }
  const [high = 0, low = 0] = groups.slice(6);
  if (groups.slice(0, 6).join() === "0,0,0,0,0,65535") {
    return [high >>> 8, high & 0xff, low >>> 8, low & 0xff].join(".");
  }
  return shortened(groups.map((group) => group.toString(16)).join(":"));
}

/** RFC 5952 §4.2: the longest run of zeros, the first of several, is left out, unless it is a single one. */
function shortened(address: string): string {
  const runs = address.match(/\b0(?::0)+\b/g) ?? [];
  const longest = runs.reduce((best, run) => (run.length > best.length ? run : best), "");
  if (longest === "") return address;
  const [before = "", after = ""] = splitAt(address, longest);
  return `${before.replace(/:$/, "")}::${after.replace(/^:/, "")}`;
}

function splitAt(text: string, part: string): [string, string] {
  const at = text.search(new RegExp(`\\b${part}\\b`));
  return [text.slice(0, at), text.slice(at + part.length)];
}
