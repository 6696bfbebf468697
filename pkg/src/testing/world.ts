/** Worlds: hosts, switches and cables under one virtual clock and one seed. */

import * as check from "../arguments.js";
import { createEngine } from "../engine.js";
import type { EngineCore } from "../engine_core.js";
import { SocketError } from "../errors.js";
import { Services } from "../services.js";
import { SwitchImpl } from "../switch.js";
import type { DurationLike } from "../types.js";
import { CaptureOfWorld } from "./capture.js";
import { type FailureReport, seedText, tell } from "./failure.js";
import { FakeTimers } from "./fake_timers.js";
import { FaultsOfWorld } from "./faults.js";
import { HostImpl } from "./host.js";
import { NameServer } from "./name_server.js";
import { type Random, randomFor } from "./random.js";
import { Scheduler, WorldStuckError } from "./scheduler.js";
import { canonical, NetworkPlan, Segment } from "./topology.js";
import type {
  Fault,
  Host,
  HostLike,
  HostOptions,
  NodeLike,
  RunOptions,
  World,
  WorldCableOptions,
  WorldClock,
  WorldSwitch,
  WorldSwitchOptions,
} from "./types.js";
import { waitsOf } from "./waits.js";
import { type Gate, type Plugged, Wire } from "./wire.js";
import { ProgramClock } from "./world_clock.js";

/** How long `run` and `until` go on at most, in milliseconds of virtual time, if not said otherwise. */
const LIMIT = 24 * 60 * 60 * 1_000;
const MICROSECONDS = 1_000;
/**
 * Bytes that a world's hosts and its capture have before the memory has to grow: more than those of a small test. JavaScript's collector takes each growth for
 * garbage of the whole memory's size, and begins to collect.
 */
const ROOM = 8 * 1024 * 1024;

/** Worlds that are open. */
const open = new Set<WorldImpl>();

const onIdle = (): void => {
  for (const world of open) world.tellIdle();
};

const onUncaught = (error: unknown): void => {
  for (const world of open) world.report?.printFor([error]);
};

/** One listener for all of them: Node warns of many. */
function remember(world: WorldImpl): void {
  if (open.size === 0) {
    process.on("beforeExit", onIdle);
    process.on("uncaughtExceptionMonitor", onUncaught);
  }
  open.add(world);
}

function forget(world: WorldImpl): void {
  open.delete(world);
  if (open.size > 0) return;
  process.off("beforeExit", onIdle);
  process.off("uncaughtExceptionMonitor", onUncaught);
}

/** What a world is made with, checked. */
export interface WorldSettings {
  readonly seed: bigint;
  readonly start: number;
  readonly fakeTimers: boolean;
  readonly capture: { memory: number; snapLength: number } | null;
}

/** A switch, and what is on its link. */
class SwitchOfWorld implements WorldSwitch, Plugged {
  readonly name: string;
  readonly #switch: SwitchImpl;
  segment: Segment;

  constructor(engine: EngineCore, name: string, segment: Segment) {
    this.name = name;
    this.segment = segment;
    this.#switch = new SwitchImpl(
      engine,
      engine.call((wasm) => wasm.add_switch(name)),
      name,
    );
  }

  port(): SwitchImpl {
    return this.#switch;
  }
}

/** See {@link World}. */
export class WorldImpl implements World {
  readonly seed: bigint;
  readonly clock: WorldClock;
  readonly capture: CaptureOfWorld;
  readonly faults: FaultsOfWorld;
  readonly engine: EngineCore;
  readonly services: Services;
  readonly names: NameServer;
  readonly gates = new Set<Gate>();
  readonly #scheduler: Scheduler;
  readonly #programClock: ProgramClock;
  readonly #start: number;
  readonly #random: Random;
  readonly #plan = new NetworkPlan();
  readonly #hosts = new Map<string, HostImpl>();
  readonly #switches = new Map<string, SwitchOfWorld>();
  readonly #wires: Wire[] = [];
  readonly #names = new Map<string, readonly string[]>();
  /** Which host has which IP or MAC address; made again when that has changed. */
  #owners: Map<string, HostImpl> | null = null;
  #timers: FakeTimers | null = null;
  #over: Error | null = null;
  /** Tells of failures of a world that belongs to no test. */
  report: FailureReport | null = null;
  /** Whether errors of {@link run} and its like tell of it, and not who runs the world. */
  tells = true;
  /** Called when the world is about to be closed. */
  onclose: (() => void) | null = null;

  private constructor(
    settings: WorldSettings,
    scheduler: Scheduler,
    engine: EngineCore,
    services: Services,
  ) {
    this.seed = settings.seed;
    this.#start = settings.start;
    this.#scheduler = scheduler;
    this.engine = engine;
    this.services = services;
    this.#random = randomFor(settings.seed, "program");
    this.#programClock = new ProgramClock(scheduler, settings.start, "world.clock");
    this.clock = this.#programClock;
    this.faults = new FaultsOfWorld(this);
    this.capture = new CaptureOfWorld(engine, services, settings.start, settings.capture);
    this.capture.owners = (address) => this.owner(address)?.name ?? null;
    this.capture.onfailure = (error) => this.#tell(error);
    this.names = new NameServer(services, {
      lookup: (name) => this.#lookup(name),
      reverse: (name) => this.#reverse(name),
      judge: (name, host) => this.faults.judge(name, host),
      later: (callback, delay) => void this.#programClock.setTimeout(callback, delay),
    });
  }

  static async create(
    settings: WorldSettings,
    modules: Parameters<typeof createEngine>[0],
  ): Promise<WorldImpl> {
    let world: WorldImpl | null = null;
    const scheduler = new Scheduler({
      news: () => world?.engine.news ?? 0,
      waits: () => world?.waits() ?? [],
      isDeadline: (callback) => callback === world?.engine.onDeadline,
    });
    const clock = scheduler.engineClock(settings.start);
    const seed = randomFor(settings.seed, "engine").next();
    const engine = (await createEngine({ ...modules, clock, seed })) as EngineCore;
    const random = randomFor(settings.seed, "tls");
    engine.random = (bytes) => random.fill(bytes);
    engine.reserve(ROOM);
    try {
      const services = await Services.load(engine);
      world = new WorldImpl(settings, scheduler, engine, services);
      if (settings.fakeTimers) {
        world.#timers = await FakeTimers.install(settings.start, () => scheduler.called());
        scheduler.others = world.#timers;
      }
      remember(world);
      return world;
    } catch (error) {
      engine.close();
      throw error;
    }
  }

  // What the world is made of.

  get hosts(): readonly Host[] {
    return [...this.#hosts.values()];
  }

  host(name: string, options?: HostOptions): Host {
    return this.#host(name, false, options);
  }

  router(name: string, options?: HostOptions): Host {
    return this.#host(name, true, options);
  }

  #host(name: string, isRouter: boolean, options: HostOptions | undefined): HostImpl {
    const known = this.#hosts.get(check.string("name", name));
    if (known !== undefined && options === undefined && (!isRouter || known.isRouter)) return known;
    this.#assertFree(name);
    const given = check.options("options", options);
    check.callback("options.boot", given.boot);
    const clock = new ProgramClock(this.#scheduler, this.#start, `host ${name}: clock`);
    const random = randomFor(this.seed, `host ${name}`);
    const host = new HostImpl(this, name, isRouter, given, clock, random);
    this.#hosts.set(name, host);
    if (host.hasProgram) host.clock.setTimeout(() => host.boot());
    return host;
  }

  switch(name: string, options?: WorldSwitchOptions): WorldSwitch {
    const known = this.#switches.get(check.string("name", name));
    if (known !== undefined && options === undefined) return known;
    this.#assertFree(name);
    const { network, network6 } = check.options("options", options);
    const segment = new Segment(this.#plan.next(network, network6));
    const made = new SwitchOfWorld(this.engine, name, segment);
    this.#switches.set(name, made);
    return made;
  }

  #assertFree(name: string): void {
    this.#assertOpen();
    if (name === "") throw new RangeError("name must not be empty");
    if (this.#hosts.has(name) || this.#switches.has(name)) {
      throw new RangeError(`name: the world has a ${JSON.stringify(name)} already`);
    }
  }

  cable(a: NodeLike, b: NodeLike, options?: WorldCableOptions): Wire {
    this.#assertOpen();
    const { addresses, ...weather } = check.options("options", options);
    const own = check.options("options.addresses", addresses);
    const first = this.#node("a", a);
    const second = this.#node("b", b);
    if (first === second) throw new RangeError(`b: ${second.name} is at both ends of the cable`);
    const segment = this.#segmentOf(first, second);
    const plugged = [first, second].map((node) =>
      node instanceof HostImpl ? node.addPlace(segment, own[node.name]) : node,
    );
    const [endA, endB] = plugged as [Plugged, Plugged];
    const named = `${first.name}-${second.name}`;
    const wire = new Wire(
      {
        engine: this.engine,
        now: () => this.#scheduler.now / MICROSECONDS,
        called: () => this.#scheduler.called(),
        failed: (error) => this.#scheduler.fail(error),
        gates: this.gates,
      },
      endA,
      endB,
      named,
      randomFor(this.seed, `cable ${this.#wires.length}`),
    );
    wire.set(weather);
    wire.plug();
    this.#wires.push(wire);
    this.#topologyChanged();
    return wire;
  }

  #node(argument: string, node: NodeLike): HostImpl | SwitchOfWorld {
    if (node instanceof SwitchOfWorld && this.#switches.get(node.name) === node) return node;
    if (typeof node === "string") {
      const known = this.#hosts.get(node) ?? this.#switches.get(node);
      if (known !== undefined) return known;
    }
    return this.hostOf(argument, node as HostLike);
  }

  /** The segment that a cable between two nodes is on. */
  #segmentOf(a: HostImpl | SwitchOfWorld, b: HostImpl | SwitchOfWorld): Segment {
    if (a instanceof SwitchOfWorld && b instanceof SwitchOfWorld) return this.#join(a, b);
    if (a instanceof SwitchOfWorld) return a.segment;
    if (b instanceof SwitchOfWorld) return b.segment;
    return new Segment(this.#plan.next());
  }

  /** Two switches are on one link from now on: those at the second get addresses of the first one's networks as well. */
  #join(a: SwitchOfWorld, b: SwitchOfWorld): Segment {
    const { segment: left } = b;
    if (a.segment === left) return left;
    for (const other of this.#switches.values()) {
      if (other.segment === left) other.segment = a.segment;
    }
    for (const member of left.members) {
      const host = member.host as HostImpl;
      for (const address of a.segment.assign()) host.addAddress(member, address);
      host.moveTo(member, a.segment);
      a.segment.members.push(member);
    }
    return a.segment;
  }

  #topologyChanged(): void {
    this.#owners = null;
    for (const host of this.#hosts.values()) host.updateRoutes();
    this.#scheduler.called();
  }

  /** A host has a new interface. */
  interfaceAdded(nic: Parameters<CaptureOfWorld["watch"]>[0], host: string): void {
    this.capture.watch(nic, host);
  }

  /** A host has a new stack. */
  restarted(host: HostImpl): void {
    for (const wire of this.#wires) wire.joinEnds();
    this.#scheduler.called();
    if (host.hasProgram) host.clock.setTimeout(() => host.boot());
  }

  hostOf(argument: string, value: HostLike): HostImpl {
    const host = typeof value === "string" ? this.#hosts.get(value) : value;
    if (host instanceof HostImpl && this.#hosts.get(host.name) === host) return host;
    const hosts = [...this.#hosts.keys()].join(", ") || "none yet";
    throw new RangeError(
      `${argument} must be a host of this world (${hosts}), got ${check.show(value)}`,
    );
  }

  find(name: string): HostImpl | null {
    return this.#hosts.get(name) ?? null;
  }

  owner(address: string): HostImpl | null {
    if (this.#owners === null) {
      this.#owners = new Map();
      for (const host of this.#hosts.values()) {
        for (const known of host.addresses) this.#owners.set(canonical(known), host);
        for (const mac of host.macs) this.#owners.set(mac, host);
      }
    }
    return this.#owners.get(address) ?? null;
  }

  // Names.

  name(name: string, addresses: readonly string[]): void {
    const checked = check
      .strings("addresses", addresses)
      .map((address, index) => check.address(`addresses[${index}]`, address));
    this.#names.set(check.string("name", name).toLowerCase(), checked);
  }

  serveNames(host: HostLike): void {
    const server = this.hostOf("host", host);
    for (const address of server.addresses) this.names.serve(server.stack, server, address);
  }

  #lookup(name: string): readonly string[] | null {
    const wanted = name.toLowerCase().replace(/\.$/, "");
    const given = this.#names.get(wanted);
    if (given !== undefined) return given;
    for (const host of this.#hosts.values()) {
      if (host.name.toLowerCase() === wanted) return host.addresses;
    }
    return null;
  }

  #reverse(name: string): string | null {
    const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa\.?$/i.exec(name);
    if (match === null) return null;
    return this.owner([match[4], match[3], match[2], match[1]].join("."))?.name ?? null;
  }

  // Time.

  random(): number {
    return this.#random.number();
  }

  async run<T>(work: Promise<T> | (() => Promise<T> | T), options?: RunOptions): Promise<T> {
    const limit = limitOf(options);
    this.#assertOpen();
    let isSettled = false;
    const settled = (): void => {
      isSettled = true;
    };
    return this.#watched(async () => {
      const promise = Promise.resolve(typeof work === "function" ? work() : work);
      promise.then(settled, settled);
      const reached = this.#scheduler.reach({ what: "run", isReached: () => isSettled, limit });
      // Whichever is first: a world that is stuck says so, although the promise is still pending.
      await reached;
      return promise;
    });
  }

  async until(condition: () => unknown, options?: RunOptions): Promise<void> {
    if (check.callback("condition", condition) === null) {
      throw new TypeError("condition must be a function, got nothing");
    }
    const limit = limitOf(options);
    this.#assertOpen();
    const isReached = (): boolean => {
      const result = condition();
      if (result instanceof Promise) {
        throw new TypeError("condition must answer at once, and has returned a promise");
      }
      return Boolean(result);
    };
    return this.#watched(() => this.#scheduler.reach({ what: "until", isReached, limit }));
  }

  async step(duration: DurationLike): Promise<void> {
    const stopAfter = check.duration("duration", duration);
    this.#assertOpen();
    return this.#watched(() =>
      this.#scheduler.reach({ what: "step", isReached: () => false, stopAfter }),
    );
  }

  /** A world in which nothing happens any more, or whose test fails, says which one it is. */
  async #watched<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof WorldStuckError) tell(error, seedText(this.seed));
      else this.#tell(error);
      throw error;
    }
  }

  #tell(error: unknown): void {
    if (this.tells) this.report?.add(error);
  }

  /** Begins what goes on by itself, and stops at a time: what has begun goes on when the world is let go on. */
  async runTo(time: number, work: () => unknown): Promise<void> {
    const begun = (async () => work())();
    begun.catch(() => {});
    await this.step(time);
    this.#scheduler.freeze();
  }

  hold<T>(promise: Promise<T>, label = "a promise"): Promise<T> {
    this.#assertOpen();
    this.#scheduler.hold(Promise.resolve(promise), check.string("label", label));
    return promise;
  }

  waits(): string[] {
    return [...waitsOf(this.#hosts.values()), ...this.#scheduler.waits()];
  }

  // What goes wrong.

  partition(...groups: readonly (readonly HostLike[])[]): Fault {
    return this.faults.partition(groups);
  }

  heal(): void {
    this.faults.healPartitions();
  }

  kill(host: HostLike): void {
    this.hostOf("host", host).kill();
    this.#scheduler.called();
  }

  restart(host: HostLike): void {
    this.hostOf("host", host).restart();
  }

  // The end.

  /** The process is about to end while somebody waits: as a rule because time was not let go on. */
  tellIdle(): void {
    const waits = this.waits();
    if (waits.length === 0) return;
    const text = this.#scheduler.isHeld
      ? "time stands still for what is held (world.hold), which never settles, and so these wait for ever:"
      : "time stands still outside of world.run, world.until and world.step, and so these wait for ever:";
    const lines = waits.map((line) => `  ${line}`);
    console.error([text, ...lines, `(${seedText(this.seed)})`].join("\n"));
  }

  #assertOpen(): void {
    if (this.#over !== null) throw this.#over;
  }

  /** Whether it is over. */
  get isClosed(): boolean {
    return this.#over !== null;
  }

  close(): void {
    if (this.#over !== null) return;
    this.onclose?.();
    this.#over = new SocketError("ABORT_ERR", "the world was closed");
    this.#timers?.uninstall();
    forget(this);
    for (const host of this.#hosts.values()) host.kill();
    this.#programClock.stop();
    this.#scheduler.close(this.#over);
    this.services.close();
    this.engine.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

function limitOf(options: RunOptions | undefined): number {
  return check.duration("options.limit", check.options("options", options).limit ?? LIMIT);
}
