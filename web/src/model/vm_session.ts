/** A guest's life as the page shows it: no image, starting, running, failed. */

import { type Readable, writable } from "svelte/store";
import { errorText } from "./format.js";
import {
  type Card,
  cardsOf,
  type DroppedFile,
  type GuestImage,
  imageOfFiles,
} from "./guest_image.js";
import type { Machine, StartOptions, StartProgress, V86Library } from "./machine.js";

/** What the machine's panel shows. */
export type SessionState =
  | { kind: "empty" }
  | { kind: "starting"; progress: StartProgress }
  | { kind: "running"; machine: Machine; card: Card }
  | { kind: "failed"; message: string };

/** What starts and stops guests. */
export interface Starter {
  start(options: StartOptions): Promise<Machine>;
  stop(): Promise<void>;
}

/** See the module's comment. */
export class VmSession {
  readonly state: Readable<SessionState>;
  readonly image: Readable<GuestImage | null>;
  readonly #state = writable<SessionState>({ kind: "empty" });
  readonly #image = writable<GuestImage | null>(null);
  readonly #starter: Starter;
  readonly #library: () => Promise<V86Library>;
  readonly #served: GuestImage | null;
  #running: AbortController | null = null;
  #current: GuestImage | null;

  /** @param served  what the page's server has, if anything */
  constructor(starter: Starter, library: () => Promise<V86Library>, served: GuestImage | null) {
    this.#starter = starter;
    this.#library = library;
    this.#served = served;
    this.#current = served;
    this.#image.set(served);
    this.state = this.#state;
    this.image = this.#image;
  }

  /** Starts the guest anew, with this card if the image has it. Failures become the state. */
  async start(wanted: Card): Promise<void> {
    const image = this.#current;
    if (image === null) return;
    const cards = cardsOf(image);
    const card = cards.includes(wanted) ? wanted : cards[0];
    if (card === undefined) return;
    this.#running?.abort(new Error("Another start took its place."));
    const running = new AbortController();
    this.#running = running;
    const show = (state: SessionState) => {
      if (this.#running === running) this.#state.set(state);
    };
    show({ kind: "starting", progress: { text: "Starting …", part: null } });
    try {
      const machine = await this.#starter.start({
        image,
        card,
        library: this.#library,
        progress: (progress) => show({ kind: "starting", progress }),
        signal: running.signal,
      });
      show({ kind: "running", machine, card });
    } catch (error) {
      show({ kind: "failed", message: errorText(error) });
    }
  }

  /** Takes files that were dropped, and starts a guest from them. */
  async useFiles(files: readonly DroppedFile[], card: Card): Promise<void> {
    try {
      this.#current = await imageOfFiles(files, card, this.#served);
    } catch (error) {
      this.#running?.abort(error);
      this.#running = null;
      await this.#starter.stop();
      this.#state.set({ kind: "failed", message: errorText(error) });
      return;
    }
    this.#image.set(this.#current);
    await this.start(card);
  }
}
