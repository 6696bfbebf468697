/** A guest's serial console: what goes to the terminal, and whether its shell waits for a command. */

import { type Readable, writable } from "svelte/store";

/** What the shell does. */
export type ShellState = "starting" | "idle" | "busy";

/** The prompt of the guest that this project builds. */
const OWN_PROMPT = "guest# ";
/** Any shell's; `%` is not among the signs, since progress bars have it. */
const PROMPT = /[#$] $/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: terminals are controlled by them.
const ESCAPE_SEQUENCE = /\x1b\[[0-9;?]*[A-Za-z]/g;
const SHA256 = /\b[0-9a-f]{64}\b/g;
/** How much of the end of the output is looked at. */
const TAIL = 512;
/** A prompt is one when nothing follows it for this long, in milliseconds. */
const QUIET = 40;
/** Ctrl-U: forgets a line that was begun. */
const KILL_LINE = "\x15";

/** See the module's comment. */
export class GuestConsole {
  readonly shell: Readable<ShellState>;
  /** SHA-256 sums that the guest has printed, the last one first. */
  readonly sums: Readable<readonly string[]>;
  /** Takes what the guest prints. Set by the terminal, which gets all that was printed before. */
  #sink: ((bytes: Uint8Array) => void) | null = null;
  #unseen: Uint8Array[] = [];
  readonly #send: (bytes: Uint8Array) => void;
  readonly #shell = writable<ShellState>("starting");
  readonly #sums = writable<readonly string[]>([]);
  readonly #decoder = new TextDecoder();
  readonly #encoder = new TextEncoder();
  #tail = "";
  #pending: number[] = [];
  #flushTimer: ReturnType<typeof setTimeout> | null = null;
  #quietTimer: ReturnType<typeof setTimeout> | undefined;
  #greeted = false;
  #size = { columns: 80, rows: 24 };

  /** @param send  hands bytes to the guest's serial port */
  constructor(send: (bytes: Uint8Array) => void) {
    this.#send = send;
    this.shell = this.#shell;
    this.sums = this.#sums;
  }

  /** Where output goes from now on. */
  attach(sink: (bytes: Uint8Array) => void, columns: number, rows: number): void {
    this.#sink = sink;
    this.#size = { columns, rows };
    for (const bytes of this.#unseen.splice(0)) sink(bytes);
    this.#lookForPrompt();
  }

  /** A byte from the guest. Bytes are collected for a moment: the guest prints one at a time. */
  output(byte: number): void {
    this.#pending.push(byte);
    this.#flushTimer ??= setTimeout(() => this.#flush(), 0);
  }

  /** What was typed. */
  input(text: string): void {
    if (text.includes("\r") || text.includes("\n")) this.#shell.set("busy");
    this.#send(this.#encoder.encode(text));
  }

  /** Types a command, in place of what may stand in the line. */
  run(command: string): void {
    this.input(`${KILL_LINE}${command}\n`);
  }

  /** Wakes a restored shell, which has printed its prompt before it was saved. */
  wake(): void {
    this.#send(this.#encoder.encode("\n"));
  }

  /** Forgets timers; nothing is told after this. */
  close(): void {
    clearTimeout(this.#flushTimer ?? undefined);
    clearTimeout(this.#quietTimer);
    this.#sink = null;
  }

  #flush(): void {
    this.#flushTimer = null;
    const bytes = Uint8Array.from(this.#pending);
    this.#pending = [];
    if (this.#sink === null) this.#unseen.push(bytes);
    else this.#sink(bytes);
    this.#tail = (this.#tail + this.#decoder.decode(bytes, { stream: true })).slice(-TAIL);
    this.#noteSums();
    clearTimeout(this.#quietTimer);
    this.#quietTimer = setTimeout(() => this.#lookForPrompt(), QUIET);
  }

  #lookForPrompt(): void {
    const text = this.#tail.replace(ESCAPE_SEQUENCE, "");
    // The size of the terminal is part of the greeting.
    if (this.#sink === null || !PROMPT.test(text)) return;
    if (!this.#greeted && text.endsWith(OWN_PROMPT)) {
      // The guest is made for programs: it does not echo until told so.
      this.#greeted = true;
      this.#tail = "";
      const { columns, rows } = this.#size;
      this.#send(
        this.#encoder.encode(`stty -F /dev/ttyS0 echo cols ${columns} rows ${rows}; clear\n`),
      );
      return;
    }
    this.#shell.set("idle");
  }

  #noteSums(): void {
    const found = this.#tail.match(SHA256);
    if (found === null) return;
    this.#tail = this.#tail.slice(this.#tail.lastIndexOf(found.at(-1) ?? "") + 64);
    this.#sums.update((sums) => [...found.reverse(), ...sums].slice(0, 8));
  }
}
