/** Running a scenario with one seed or many, and going back to a moment of a run by running it again. */

import * as check from "../arguments.js";
import type { DurationLike } from "../types.js";
import { chosenSeed, worldOf } from "./create.js";
import { FailureReport, seedText } from "./failure.js";
import { seedOf } from "./random.js";
import { watchJest, watchTest } from "./runner.js";
import type { RunOptions, TestContext, World, WorldOptions } from "./types.js";
import type { WorldImpl } from "./world.js";

const MOST_SEEDS = 1_000_000;

/** A test in a world. */
export type Scenario<T = unknown> = (world: World) => Promise<T> | T;

/** How a scenario is run. */
export interface SimulateOptions extends WorldOptions, RunOptions {
  /** How many worlds it is run in, of seeds from `seed` on, one after the other. By default 1. */
  seeds?: number;
}

/** An error of a scenario, with the seed of its world. */
export class SimulationError extends Error {
  /** The seed of the world that it failed in. */
  readonly seed: bigint;

  constructor(seed: bigint, text: string, cause: unknown) {
    const told = cause instanceof Error ? cause.message : String(cause);
    // A world that is stuck has said of which seed it is.
    const reason = told.replace(`\n(${seedText(seed)})`, "");
    super(`${reason}\n(${text})`, { cause });
    this.name = "SimulationError";
    this.seed = seed;
    // Where the scenario has failed is more use than where that was noticed.
    if (cause instanceof Error && cause.stack !== undefined) {
      const at = cause.stack.indexOf("\n    at ");
      if (at >= 0) this.stack = `${this.name}: ${this.message}${cause.stack.slice(at)}`;
    }
  }
}

/**
 * Runs a scenario in a new world of each seed, within {@link World.run}, until one fails: that rejects with a {@link SimulationError}, whose message
 * tells the seed, and where the capture was written. `ETHERTAB_SEED` runs that seed alone.
 *
 * @returns what the scenario returned, of each seed.
 */
export async function simulate<T>(options: SimulateOptions, scenario: Scenario<T>): Promise<T[]> {
  const { seeds = 1, seed = 1, test, ...rest } = check.options("options", options);
  if (check.callback("scenario", scenario) === null) {
    throw new TypeError("scenario must be a function, got nothing");
  }
  const count = check.integer("options.seeds", seeds, 1, MOST_SEEDS);
  const chosen = chosenSeed();
  const first = chosen ?? seedOf("options.seed", seed);
  const results: T[] = [];
  const simulation = new Simulation(rest, test);
  try {
    for (let number = 0n; number < (chosen === null ? BigInt(count) : 1n); number += 1n) {
      results.push(await simulation.once(BigInt.asUintN(64, first + number), scenario));
    }
    return results;
  } finally {
    simulation.end();
  }
}

/** The worlds of one call. Its test may be over before it, as when its time is up: then no error has told of the world. */
class Simulation {
  readonly #options: SimulateOptions;
  /** What ends being told of the test. */
  readonly #unwatch: (() => void) | null = null;
  #world: WorldImpl | null = null;
  #report: FailureReport | null = null;
  #isTestOver = false;

  constructor(options: SimulateOptions, test: TestContext | undefined) {
    this.#options = options;
    if (test !== undefined) {
      watchTest(test, {
        onFailed: (name) => this.#report?.print(name),
        onOver: () => this.#stop(),
      });
      return;
    }
    let isTold = false;
    this.#unwatch = watchJest({
      onFailed: (name, errors) => {
        this.#report?.printFor(errors, name);
        isTold = true;
      },
      onOver: () => !isTold,
    });
  }

  async once<T>(seed: bigint, scenario: Scenario<T>): Promise<T> {
    const { limit, ...rest } = this.#options;
    const world = await worldOf(rest, seed);
    // An error that nobody catches may end the test before the scenario has ended.
    const report = new FailureReport(world, rest.failures);
    world.report = report;
    world.tells = false;
    this.#world = world;
    this.#report = report;
    if (this.#isTestOver) this.#stop();
    try {
      return await world.run(() => scenario(world), limit === undefined ? {} : { limit });
    } catch (error) {
      throw new SimulationError(seed, report.text, error);
    } finally {
      // The test may be known to have failed after its end only.
      if (!this.#isTestOver) this.#report = null;
      world.close();
    }
  }

  /** The test is over, and its worlds with it. */
  #stop(): void {
    this.#isTestOver = true;
    this.#report?.keep();
    this.#world?.close();
  }

  end(): void {
    this.#unwatch?.();
  }
}

/**
 * Goes back to a moment of a run: runs the scenario again with the same seed, and stops there. The world is as it was then, to look at, and goes
 * on by its `run`, `until` and `step`.
 */
export async function rewind(
  options: SimulateOptions,
  scenario: Scenario,
  to: DurationLike,
): Promise<World> {
  const { seeds: _, seed = 1, ...rest } = check.options("options", options);
  const time = check.duration("to", to);
  const world: WorldImpl = await worldOf(rest, chosenSeed() ?? seedOf("options.seed", seed));
  await world.runTo(time, () => scenario(world));
  return world;
}
