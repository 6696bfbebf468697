/** Making worlds, and what is told of one in which a test has failed. */

import * as check from "../arguments.js";
import { FailureReport } from "./failure.js";
import { seedOf } from "./random.js";
import { watchJest, watchTest } from "./runner.js";
import type { TestContext, World, WorldOptions } from "./types.js";
import { WorldImpl, type WorldSettings } from "./world.js";

/** The date at which worlds begin. */
const START = Date.UTC(2026, 0, 1);
const DEFAULT_CAPTURE = 16 * 1024 * 1024;
const LONGEST_FRAME = 65_535 + 18;

/** Makes a world: an engine of its own, in virtual time. */
export async function createWorld(options: WorldOptions = {}): Promise<World> {
  const world = await worldOf(options, chosenSeed() ?? seedOf("options.seed", options.seed));
  // With a test, its end tells of the failure.
  if (options.test === undefined) {
    world.report = new FailureReport(world, options.failures);
    reportJest(world, world.report);
  }
  return world;
}

/** The seed that `ETHERTAB_SEED` names, or null. */
export function chosenSeed(): bigint | null {
  const text = process.env["ETHERTAB_SEED"];
  if (text === undefined || text === "") return null;
  if (!/^\d+$/.test(text)) {
    throw new RangeError(`ETHERTAB_SEED must be a number, got ${JSON.stringify(text)}`);
  }
  return seedOf("ETHERTAB_SEED", BigInt(text));
}

/** Makes a world of a seed that is chosen. */
export async function worldOf(options: WorldOptions, seed: bigint): Promise<WorldImpl> {
  const given = check.options("options", options);
  const settings: WorldSettings = {
    seed,
    start: startOf(given.start),
    fakeTimers: check.boolean("options.fakeTimers", given.fakeTimers, false),
    capture: captureOf(given.capture),
  };
  const { memory, wasm, servicesWasm } = given;
  const world = await WorldImpl.create(settings, {
    ...(memory !== undefined && { memory }),
    ...(wasm !== undefined && { wasm }),
    ...(servicesWasm !== undefined && { servicesWasm }),
  });
  try {
    const report = new FailureReport(world, given.failures);
    if (given.test !== undefined) reportTest(given.test, world, report);
    return world;
  } catch (error) {
    world.onclose = null;
    world.close();
    throw error;
  }
}

function startOf(start: number | Date | undefined): number {
  const milliseconds = start === undefined ? START : Number(start);
  if (!Number.isSafeInteger(milliseconds) || milliseconds < 0) {
    throw new RangeError(
      `options.start must be a date from 1970 on, in whole milliseconds, got ${check.show(start)}`,
    );
  }
  return milliseconds;
}

function captureOf(capture: WorldOptions["capture"]): WorldSettings["capture"] {
  if (capture === false) return null;
  const { memory = DEFAULT_CAPTURE, snapLength = LONGEST_FRAME } = check.options(
    "options.capture",
    capture,
  );
  return {
    memory: check.integer("options.capture.memory", memory, LONGEST_FRAME, 2 ** 30),
    snapLength: check.integer("options.capture.snapLength", snapLength, 1, LONGEST_FRAME),
  };
}

/** Reports the failure of a test, and closes its world at the end. */
function reportTest(test: TestContext, world: WorldImpl, report: FailureReport): void {
  // The test may close it itself before it is known to have failed.
  world.onclose = () => report.keep();
  watchTest(test, {
    onFailed: (name) => report.print(name),
    onOver: () => world.close(),
  });
}

/** In Jest: reports the failure of a test whose errors have not told of the world. */
function reportJest(world: WorldImpl, report: FailureReport): void {
  const stop = watchJest({
    onFailed: (name, errors) => report.printFor(errors, name),
    onOver: () => !world.isClosed,
  });
  if (stop !== null) world.onclose = () => report.keep();
}
