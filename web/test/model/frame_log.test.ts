import assert from "node:assert/strict";
import { test } from "node:test";
import type { CapturedFrame } from "ethertab";
import { get } from "svelte/store";
import { FrameLog } from "../../src/model/frame_log.js";
import { follow } from "../../src/model/watch.js";
import { frame, frames } from "./frames.js";

const numbers = (log: FrameLog) => get(log.view).frames.map(({ index }) => index);

test("a log keeps the last frames and counts all that passed", () => {
  const log = new FrameLog(3);
  log.push(frames(0, 2));
  log.push(frames(2, 5));
  assert.deepEqual(numbers(log), [2, 3, 4]);
  assert.equal(get(log.view).passed, 5);
  assert.equal(get(log.view).start, 1_000_000);
});

test("frames that were never listed count as passed", () => {
  const log = new FrameLog();
  log.push(frames(0, 2));
  log.push(frames(100, 102));
  assert.deepEqual(numbers(log), [0, 1, 100, 101]);
  assert.equal(get(log.view).passed, 102);
});

test("a filter wants all its words, in any case, and none after an exclamation mark", () => {
  const log = new FrameLog();
  log.push([
    frame(0, { summary: "10.0.0.1:1 > 10.0.0.2:80 TCP SYN" }),
    frame(1, { summary: "10.0.0.2:80 > 10.0.0.1:1 TCP SYN|ACK" }),
    frame(2, { summary: "ARP who has 10.0.0.2", direction: "in" }),
  ]);
  const listed = (filter: string) => {
    log.filter.set(filter);
    return numbers(log);
  };
  assert.deepEqual(listed("tcp syn"), [0, 1]);
  assert.deepEqual(listed("tcp !ack"), [0]);
  assert.deepEqual(listed("!arp"), [0, 1]);
  assert.deepEqual(listed("in arp"), [2]);
  assert.deepEqual(listed(" ! "), [0, 1, 2]);
});

test("a paused view stands still while frames are kept", () => {
  const log = new FrameLog(4);
  const seen: number[][] = [];
  const unsubscribe = log.view.subscribe((view) => seen.push(view.frames.map((f) => f.index)));
  log.push(frames(0, 2));
  log.paused.set(true);
  log.push(frames(2, 8));
  assert.deepEqual(seen.at(-1), [0, 1]);
  log.paused.set(false);
  assert.deepEqual(seen.at(-1), [4, 5, 6, 7]);
  unsubscribe();
});

test("a cleared log begins to count anew, paused or not", () => {
  const log = new FrameLog();
  log.push(frames(0, 5));
  log.paused.set(true);
  log.clear();
  assert.deepEqual(get(log.view), { frames: [], passed: 0, start: 0 });
  log.push(frames(5, 7));
  assert.equal(get(log.view).passed, 2);
  assert.equal(get(log.view).start, 1_000_005);
});

/** A capture that holds the last frames that it was given, as a real one does. */
class FakeCapture {
  readonly #kept: CapturedFrame[] = [];
  #seen = 0;
  #ended = false;
  #wake: () => void = () => {};

  give(count: number, keep: number): void {
    this.#kept.push(...frames(this.#seen, this.#seen + count));
    this.#kept.splice(0, Math.max(0, this.#kept.length - keep));
    this.#seen += count;
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  get length(): number {
    return this.#kept.length;
  }

  get dropped(): number {
    return this.#seen - this.#kept.length;
  }

  get frames(): AsyncIterable<CapturedFrame> {
    return { [Symbol.asyncIterator]: () => this.#iterate() };
  }

  async *#iterate(): AsyncGenerator<CapturedFrame> {
    for (let next = 0; ; ) {
      const found = this.#kept.find(({ index }) => index >= next);
      if (found !== undefined) {
        next = found.index + 1;
        yield found;
      } else if (this.#ended) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}

test("following takes what comes, at most the log's limit at a time, and ends with the capture", async () => {
  const source = new FakeCapture();
  const log = new FrameLog(10);
  const sizes: number[] = [];
  const push = log.push.bind(log);
  log.push = (batch) => {
    sizes.push(batch.length);
    push(batch);
  };
  source.give(25, 25);
  source.end();
  await follow(source, log, 0);
  assert.deepEqual(sizes, [10, 10, 5]);
  assert.deepEqual(numbers(log), [15, 16, 17, 18, 19, 20, 21, 22, 23, 24]);
});

test("frames that the capture pushed out before they were looked at are skipped", async () => {
  const source = new FakeCapture();
  const log = new FrameLog(10);
  source.give(1000, 4);
  source.end();
  await follow(source, log, 0);
  assert.deepEqual(numbers(log), [996, 997, 998, 999]);
  assert.equal(get(log.view).passed, 1000);
});
