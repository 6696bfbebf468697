/** The frames that the page lists: the last ones, filtered, and held still on request. */

import type { CapturedFrame } from "ethertab";
import { derived, type Readable, type Writable, writable } from "svelte/store";

/** What the list shows. */
export interface FrameView {
  /** Listed frames that the filter lets through, the oldest first. */
  frames: readonly CapturedFrame[];
  /** Frames that passed since the log was begun or cleared, listed or not. */
  passed: number;
  /** Time of the first of them, in milliseconds since 1970. */
  start: number;
}

interface Kept {
  frames: readonly CapturedFrame[];
  passed: number;
  start: number;
}

const EMPTY: Kept = { frames: [], passed: 0, start: 0 };

/** The last frames of a capture, up to a limit. */
export class FrameLog {
  readonly limit: number;
  /** Words that a line must contain; a word after `!` must be absent. */
  readonly filter: Writable<string> = writable("");
  /** While set the view stays as it was; frames are kept all the same. */
  readonly paused: Writable<boolean> = writable(false);
  readonly view: Readable<FrameView>;
  readonly #kept = writable<Kept>(EMPTY);
  #lastIndex = -1;

  constructor(limit = 1000) {
    this.limit = limit;
    let shown = EMPTY;
    this.view = derived([this.#kept, this.filter, this.paused], ([kept, filter, paused]) => {
      if (!paused) shown = kept;
      const matches = frameFilter(filter);
      return { ...shown, frames: shown.frames.filter(matches) };
    });
  }

  /** Adds frames in their order. Their numbers tell how many passed in between without being listed. */
  push(frames: readonly CapturedFrame[]): void {
    const last = frames.at(-1);
    const first = frames[0];
    if (last === undefined || first === undefined) return;
    const passed = last.index - this.#lastIndex;
    this.#lastIndex = last.index;
    this.#kept.update((kept) => ({
      frames: [...kept.frames, ...frames].slice(-this.limit),
      passed: kept.passed + passed,
      start: kept.passed === 0 ? first.time : kept.start,
    }));
  }

  /** Forgets what is listed, and goes on. */
  clear(): void {
    this.paused.set(false);
    this.#kept.set(EMPTY);
  }
}

/** The test that a filter's text means: all words occur, in any case; words after `!` do not. */
export function frameFilter(text: string): (frame: CapturedFrame) => boolean {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = words.filter((word) => !word.startsWith("!"));
  const unwanted = words.filter((word) => word.startsWith("!") && word.length > 1);
  if (wanted.length + unwanted.length === 0) return () => true;
  return (frame) => {
    const line = `${frame.direction} ${frame.port} ${frame.summary}`.toLowerCase();
    return (
      wanted.every((word) => line.includes(word)) &&
      !unwanted.some((word) => line.includes(word.slice(1)))
    );
  };
}
