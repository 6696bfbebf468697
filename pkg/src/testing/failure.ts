/** What is told of a failure: the seed that makes it come again, and a capture. */

import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as check from "../arguments.js";
import type { WorldImpl } from "./world.js";

/** Where captures go if nothing else is said. */
const FOLDER = "ethertab-failures";

/** When this process began: what is older is of another run. */
const { timeOrigin: BEGAN } = performance;

/** How a run comes again. */
export function seedText(seed: bigint): string {
  return `world of seed ${seed}: run again with ETHERTAB_SEED=${seed}`;
}

/** Adds a line to an error's message, once. */
export function tell(error: Error, text: string): void {
  const { message, stack } = error;
  if (message.includes(text)) return;
  error.message = `${message}\n(${text})`;
  // That was made of the message as it was, and it is what most runners print.
  if (stack?.includes(message)) error.stack = stack.replace(message, () => error.message);
}

/** Whether it is an assertion that has failed: Node's and Chai's have this name, those of Jest a result. */
function isAssertion(error: Error): boolean {
  return error.name.startsWith("AssertionError") || "matcherResult" in error;
}

/** See the module's comment. A world has one at most: the first failure counts. */
export class FailureReport {
  readonly #world: WorldImpl;
  readonly #folder: string | null;
  #text: string | null = null;
  /** The capture of a world that was closed. */
  #kept: Uint8Array | null = null;

  /** `folder` is where the capture is written; null for nowhere. */
  constructor(world: WorldImpl, folder: string | null | undefined) {
    this.#world = world;
    this.#folder =
      folder === null
        ? null
        : check.string("options.failures", folder ?? process.env["ETHERTAB_FAILURES"] ?? FOLDER);
  }

  /** The line for people; the capture is written when it is first asked for. */
  get text(): string {
    this.#text ??= this.#write();
    return this.#text;
  }

  /** The world is about to be closed, and whether the test fails is not known yet. */
  keep(): void {
    if (this.#folder === null || this.#text !== null || !this.#world.capture.isOn) return;
    try {
      this.#kept = this.#world.capture.pcapng();
    } catch {
      // `#write` tells why, if anybody asks.
    }
  }

  #write(): string {
    const { seed } = this.#world;
    const told = seedText(seed);
    if (this.#folder === null || !this.#world.capture.isOn) return told;
    try {
      const capture = this.#kept ?? this.#world.capture.pcapng();
      mkdirSync(this.#folder, { recursive: true });
      const file = writeAs(join(this.#folder, `seed-${seed}`), ".pcapng", capture);
      return `${told}; what was sent is in ${file}`;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return `${told}; its capture could not be written: ${reason}`;
    }
  }

  /** With the name of the test that has failed, where it is known. */
  print(name?: string): void {
    console.error(name === undefined ? this.text : `${name}: ${this.text}`);
  }

  /**
   * Something has failed that may be the test: an assertion's message says how it comes again, and where the capture is. Other errors are no more than that for those who
   * expect them, and say so in their stack only.
   */
  add(error: unknown): void {
    if (!(error instanceof Error)) return;
    if (isAssertion(error)) tell(error, this.text);
    else {
      const told = seedText(this.#world.seed);
      if (!error.stack?.includes(told)) error.stack += `\n    (${told})`;
    }
  }

  /** Prints it for errors that end the program or its test, and may have told of it already. */
  printFor(errors: readonly unknown[], name?: string): void {
    const shown = errors
      .map((error) => (error instanceof Error ? `${error.message}${error.stack}` : ""))
      .join("");
    if (!shown.includes(this.text)) this.print(name);
  }
}

/** Writes a file under a name of its own: several tests of a run may fail in worlds of the same seed. What an earlier run has left is replaced. Returns the name. */
function writeAs(name: string, extension: string, bytes: Uint8Array): string {
  for (let number = 1; ; number += 1) {
    const file = `${name}${number === 1 ? "" : `-${number}`}${extension}`;
    const known = statSync(file, { throwIfNoEntry: false });
    if (known !== undefined && known.mtimeMs >= BEGAN) continue;
    try {
      writeFileSync(file, bytes, { flag: known === undefined ? "wx" : "w" });
      return file;
    } catch (error) {
      // Another process of this run was faster.
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }
}
