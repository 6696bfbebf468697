/**
 * Watching a port: one capture for the list, small, so that a fast transfer costs the page no more than a slow one, and
 * one for the file.
 */

import { type Capture, type CapturedFrame, capture, type Pluggable } from "ethertab";
import { FrameLog } from "./frame_log.js";

/** Memory for frames that wait to be listed; what it pushes out is in the file all the same. */
const LIST_MEMORY = 2 * 1024 * 1024;
/** Between two updates of the list, in milliseconds. */
const LIST_INTERVAL = 100;

/** What passes a port. */
export class Watch {
  readonly log = new FrameLog();
  readonly #list: Capture;
  readonly #file: Capture;

  constructor(target: Pluggable) {
    this.#list = capture(target, { memory: LIST_MEMORY });
    this.#file = capture(target);
    void follow(this.#list, this.log, LIST_INTERVAL);
  }

  /** The file that Wireshark and tshark open, with all frames or the last 64 MiB of them. */
  async pcapng(): Promise<Blob> {
    return new Blob([await this.#file.pcapng()], { type: "application/x-pcapng" });
  }

  close(): void {
    this.#list.close();
    this.#file.close();
  }
}

/** The part of a capture that following needs. */
export type Followed = Pick<Capture, "frames" | "length" | "dropped">;

/**
 * Puts a capture's frames into a log, in batches of at most the log's limit, one per interval. Resolves when the capture
 * is closed.
 */
export async function follow(source: Followed, log: FrameLog, interval: number): Promise<void> {
  const frames = source.frames[Symbol.asyncIterator]();
  for (;;) {
    const first = await frames.next();
    if (first.done) return;
    // The first frame ends the wait; those that come in the next moment are taken with it.
    await new Promise((resolve) => setTimeout(resolve, interval));
    const batch: CapturedFrame[] = [first.value];
    while (
      batch.length < log.limit &&
      (batch.at(-1)?.index ?? 0) + 1 < source.length + source.dropped
    ) {
      const next = await frames.next();
      if (next.done) break;
      batch.push(next.value);
    }
    log.push(batch);
  }
}
