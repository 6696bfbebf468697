/** Records of numbers from the module, as objects; `names.ts` has the names and says how they are written. */

import { hostPort, macText } from "./arguments.js";
import { EngineError, type SocketErrorCode } from "./errors.js";
import { ipText } from "./ip.js";
import { WORDS } from "./names.js";

/** How many numbers a field takes that takes more than one. */
const WIDTHS: Readonly<Record<string, number>> = { "@": 4, "/": 5, $: 2, "%": 2, "!": 10 };
const MAC_BYTES = 6;

/** The engine's memory, for what stands there. */
export type BytesAt = (address: number, length: number) => Uint8Array;

/** A code for programs with a sentence for people. */
export interface Why {
  readonly code: SocketErrorCode;
  readonly text: string;
}

/** A number's name, what it is put into, and what it stands for. */
export interface Field {
  readonly name: string;
  /** The object that has the field; null for the record's own. */
  readonly group: string | null;
  /** The words for its values, or for its bits. */
  readonly words: readonly string[];
  /** What stands behind the name, as `names.ts` says it; nothing for a number. */
  readonly kind: string;
  /** How many numbers it takes. */
  readonly width: number;
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
        /^(?:(\w+)\.)?(\w+)([?=&@#/$%!]?)(\w*)$/.exec(text) ?? [];
      const width = WIDTHS[kind] ?? 1;
      return { name, group: group ?? null, words: words.get(list) ?? [], kind, width };
    });
}

/** Numbers in the order of fields, NaN for those that are not given. */
export function valuesOf(
  fields: readonly Field[],
  given: Readonly<Record<string, number>>,
): Float64Array<ArrayBuffer> {
  for (const name of Object.keys(given)) {
    if (!fields.some((field) => field.name === name)) {
      throw new EngineError(`the module has no option ${name}`);
    }
  }
  return Float64Array.from(fields, ({ name }) => given[name] ?? Number.NaN);
}

/** An object of the numbers from `at` on. */
export function recordOf(
  fields: readonly Field[],
  numbers: ArrayLike<number>,
  at = 0,
  bytesAt: BytesAt = noBytes,
): Record<string, unknown> {
  const record: Record<string, unknown> = {};
  let place = at;
  for (const field of fields) {
    let object = record;
    if (field.group !== null) {
      record[field.group] ??= {};
      object = record[field.group] as Record<string, unknown>;
    }
    object[field.name] = shownAt(field, numbers, place, bytesAt);
    place += field.width;
  }
  return record;
}

/** An object of each record in `numbers`. */
export function recordsOf<T>(
  fields: readonly Field[],
  numbers: ArrayLike<number>,
  bytesAt: BytesAt = noBytes,
): T[] {
  const width = fields.reduce((sum, field) => sum + field.width, 0);
  if (numbers.length % width !== 0) {
    throw new EngineError(`the module gave ${numbers.length} numbers for records of ${width}`);
  }
  return Array.from(
    { length: numbers.length / width },
    (_, index) => recordOf(fields, numbers, index * width, bytesAt) as T,
  );
}

/** What a field shows for the number at a place. */
export function shownAt(
  { kind, words }: Field,
  numbers: ArrayLike<number>,
  at: number,
  bytesAt: BytesAt = noBytes,
): unknown {
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
      return ipText(numbers, at);
    case "/":
      return `${ipText(numbers, at)}/${numbers[at + 4]}`;
    case "#":
      return macOf(number);
    case "$":
      return textAt(numbers, at, bytesAt);
    case "%":
      return domainOf(bytesAt(number, numbers[at + 1] ?? 0));
    case "!":
      return whyAt(numbers, at, bytesAt);
    default:
      return number;
  }
}

function noBytes(): Uint8Array {
  throw new EngineError("the record has texts");
}

const decoder = new TextDecoder();

/** A text of which the address and the length are told. */
function textAt(numbers: ArrayLike<number>, at: number, bytesAt: BytesAt): string {
  return decoder.decode(bytesAt(numbers[at] ?? 0, numbers[at + 1] ?? 0));
}

/** A number of 48 bits as a MAC address. */
function macOf(number: number): string {
  const octet = (place: number): number => Math.floor(number / 256 ** place) % 256;
  return macText(Array.from({ length: MAC_BYTES }, (_, place) => octet(MAC_BYTES - 1 - place)));
}

/** A domain name (RFC 1035 §3.1: each label behind its length) with dots; what is not printable is left out. */
function domainOf(name: Uint8Array): string {
  const labels: string[] = [];
  for (let at = 0; at < name.length; at += 1 + (name[at] ?? 0)) {
    const label = name.subarray(at + 1, at + 1 + (name[at] ?? 0));
    labels.push(String.fromCharCode(...label.filter((byte) => byte > 0x20 && byte < 0x7f)));
  }
  return labels.filter((label) => label !== "").join(".");
}

/** Where a code, a sentence and the value that it is about stand among ten numbers. */
const SENTENCE = 2;
const ABOUT = 4;
const VALUE = 5;

function whyAt(numbers: ArrayLike<number>, at: number, bytesAt: BytesAt): Why {
  const value = valueAt(numbers[at + ABOUT] ?? 0, numbers, at + VALUE, bytesAt);
  return {
    code: textAt(numbers, at, bytesAt) as Why["code"],
    text: textAt(numbers, at + SENTENCE, bytesAt).replace("{}", () => value),
  };
}

/** The value that a sentence is about: kinds as `numbers.rs` in `wasm` has them. */
function valueAt(kind: number, numbers: ArrayLike<number>, at: number, bytesAt: BytesAt): string {
  const number = numbers[at] ?? 0;
  switch (kind) {
    case 1:
      return String(number);
    case 2:
      return ipText(numbers, at);
    case 3:
      return hostPort(ipText(numbers, at), numbers[at + 4] ?? 0);
    case 4:
      return `${ipText(numbers, at)}/${numbers[at + 4]}`;
    case 5:
      return macOf(number);
    case 6:
      return textAt(numbers, at, bytesAt);
    default:
      return "";
  }
}
