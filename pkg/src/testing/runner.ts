/** What test runners tell of a test's end: node:test and Vitest by what they hand to the test, Jest by events. */

import type { TestContext } from "./types.js";

/** Gets told how a test ends. */
interface Watcher {
  /** It has failed; the name where it is known. */
  onFailed(name: string | undefined): void;
  /** It is over. That it has failed may be known before, or after. */
  onOver(): void;
}

/** Tells of a test of node:test or of Vitest. */
export function watchTest(test: TestContext, { onFailed, onOver }: Watcher): void {
  if (typeof test.onTestFailed === "function") {
    // Vitest calls at the end first, and then of the failure.
    test.onTestFailed(() => onFailed(test.task?.name));
    test.onTestFinished?.(onOver);
  } else if (typeof test.after === "function") {
    // node:test, whose contexts say whether the test has passed.
    test.after(() => {
      if (test.passed === false) onFailed(test.name);
      onOver();
    });
  } else {
    throw new TypeError(
      "options.test must be what the runner hands to the test: `t` of node:test, or the context of Vitest. Jest hands nothing, and needs none",
    );
  }
}

/** Where jest-circus has whom it tells of its tests: its `addEventHandler` adds to this list, which all its copies share. */
const HANDLERS = Symbol.for("EVENT_HANDLERS");

/** As much as is needed of jest-circus's events. */
interface JestEvent {
  readonly name: string;
  readonly test?: {
    readonly name: string;
    /** What has failed: an error, or an array of one and of where it is from. */
    readonly errors: readonly unknown[];
    readonly concurrent?: boolean;
  };
}

/** Gets told of Jest's tests. */
interface JestWatcher {
  /** The test of this name has failed with these errors. */
  onFailed(name: string, errors: readonly unknown[]): void;
  /** A test is over: false to be told of no other. */
  onOver(): boolean;
}

const watchers = new Set<JestWatcher>();
let isListening = false;

function onJestEvent({ name, test }: JestEvent): void {
  if (name !== "test_done" || test === undefined) return;
  for (const watcher of watchers) {
    // Whose world it is cannot be known where tests run side by side.
    if (test.errors.length > 0 && !test.concurrent) watcher.onFailed(test.name, test.errors.flat());
    if (!watcher.onOver()) watchers.delete(watcher);
  }
}

/** Tells of Jest's tests; returns what ends that. Elsewhere it returns null, and does nothing. */
export function watchJest(watcher: JestWatcher): (() => void) | null {
  const handlers = (globalThis as { [HANDLERS]?: unknown })[HANDLERS];
  if (!Array.isArray(handlers)) return null;
  if (!isListening) handlers.push(onJestEvent);
  isListening = true;
  watchers.add(watcher);
  return () => void watchers.delete(watcher);
}
