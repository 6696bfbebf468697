/** Settings: checked on their way into the module, where they are numbers in a known order, and told on the way out. */

import * as check from "./arguments.js";
import { type Field, fieldsOf, shownAt } from "./records.js";

const MICROSECONDS = 1_000;
const BITS = 8;

/** How a setting that is neither a word nor yes or no crosses, and what crosses for null, if that is possible. */
export type Kind =
  | { readonly is: "count"; readonly min: number; readonly max: number; readonly none?: number }
  | { readonly is: "time"; readonly min: number; readonly none?: number }
  | { readonly is: "rate"; readonly none: number };

/** A whole number. */
export const count = (min: number, max: number): Kind => ({ is: "count", min, max });
/** A span of time, which may be none at all. */
export const TIME: Kind = { is: "time", min: 0 };

/** Where none is given. */
export const NO_SETTINGS = new Float64Array(0);

/** The settings of one thing. */
export class SettingsTable {
  readonly fields: readonly Field[];
  readonly #byName: ReadonlyMap<string, Field>;
  readonly #kinds: Readonly<Record<string, Kind>>;
  readonly #of: string;

  /** The names as in `names.ts`, and whose settings they are, for messages. */
  constructor(names: string, kinds: Readonly<Record<string, Kind>>, of: string) {
    this.fields = fieldsOf(names);
    this.#byName = new Map(this.fields.map((field) => [field.name, field]));
    this.#kinds = kinds;
    this.#of = of;
  }

  /** The number of one setting. */
  numberOf(argument: string, name: string, value: unknown): number {
    const field = this.#byName.get(name);
    if (field === undefined) throw new TypeError(`${argument} is no setting of ${this.#of}`);
    if (field.kind === "?") return Number(check.boolean(argument, value, false));
    if (field.kind === "=") return field.words.indexOf(check.oneOf(argument, field.words, value));
    const kind = this.#kinds[name] ?? TIME;
    if (value === null && kind.none !== undefined) return kind.none;
    switch (kind.is) {
      case "count":
        return check.integer(argument, value, kind.min, kind.max);
      case "rate":
        return Math.min(Math.ceil(check.rate(argument, value as number) / BITS), 2 ** 32 - 1);
      default:
        return check.duration(argument, value as number, kind.min) * MICROSECONDS;
    }
  }

  /** The numbers of the settings that are given, NaN for the others; empty if none is. */
  values(argument: string, options: object | undefined): Float64Array<ArrayBuffer> {
    const numbers = new Map<string, number>();
    for (const [name, value] of Object.entries(check.options(argument, options))) {
      if (value !== undefined) numbers.set(name, this.numberOf(`${argument}.${name}`, name, value));
    }
    return this.inOrder(numbers);
  }

  /** Numbers by name in their order, NaN for those that are not there; empty if none is. */
  inOrder(numbers: ReadonlyMap<string, number>): Float64Array<ArrayBuffer> {
    if (numbers.size === 0) return NO_SETTINGS;
    return Float64Array.from(this.fields, ({ name }) => numbers.get(name) ?? Number.NaN);
  }

  /** No setting given, to be told all. */
  none(): Float64Array<ArrayBuffer> {
    return new Float64Array(this.fields.length).fill(Number.NaN);
  }

  /** All settings by the numbers that the module tells. */
  told(numbers: ArrayLike<number>): Record<string, unknown> {
    const entries = this.fields.map((field, at) => [field.name, this.#toldAt(field, numbers, at)]);
    return Object.fromEntries(entries);
  }

  #toldAt(field: Field, numbers: ArrayLike<number>, at: number): unknown {
    const value = shownAt(field, numbers, at);
    const kind = this.#kinds[field.name];
    if (kind === undefined || typeof value !== "number") return value;
    if (value === kind.none) return null;
    if (kind.is === "rate") return value * BITS;
    return kind.is === "time" ? value / MICROSECONDS : value;
  }
}
