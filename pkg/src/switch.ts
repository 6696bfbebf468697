/** Switches. */

import * as check from "./arguments.js";
import { engineFor } from "./engine.js";
import type { Dependent, EngineCore } from "./engine_core.js";
import { SWITCH_COUNTERS } from "./names.js";
import { join } from "./plug.js";
import { countersOf, freePortOf, noCounters, PortBase, portOf } from "./ports/port_base.js";
import { fieldsOf } from "./records.js";
import { SourceGuard } from "./source_guard.js";
import type {
  Pluggable,
  Port,
  PortCounters,
  Switch,
  SwitchOptions,
  SwitchPlugOptions,
} from "./types.js";

const switchCounters = fieldsOf(SWITCH_COUNTERS);

/** Makes a learning switch, in the realm's engine unless `options.engine` names another. */
export async function createSwitch(options: SwitchOptions = {}): Promise<Switch> {
  const { name, engine } = check.options("options", options);
  const label = name === undefined ? "switch" : check.string("options.name", name);
  const core = await engineFor(engine);
  return new SwitchImpl(
    core,
    core.call((wasm) => wasm.add_switch(label)),
    label,
  );
}

/** The switch that a port is plugged into. */
const switches = new WeakMap<PortBase, SwitchImpl>();

/** The switch that something is plugged into; null if it is plugged into none. */
export function switchOf(pluggable: Pluggable): SwitchImpl | null {
  return switches.get(portOf("port", pluggable)) ?? null;
}

/** Told of the ports that a switch gets. */
export type PortWatcher = (port: number) => void;

/** See {@link Switch}. */
export class SwitchImpl implements Switch, Dependent {
  readonly name: string;
  readonly engine: EngineCore;
  readonly #id: number;
  /** What is plugged in, and the switch's port that it is plugged into. */
  readonly #plugged = new Map<PortBase, SwitchPort>();
  readonly #free: SwitchPort[] = [];
  readonly #all: SwitchPort[] = [];
  readonly #watchers = new Set<PortWatcher>();
  readonly #guard: SourceGuard;
  #isClosed = false;

  constructor(engine: EngineCore, id: number, name: string) {
    this.engine = engine;
    this.name = name;
    this.#id = id;
    this.#guard = new SourceGuard(() => engine.clock.now());
    engine.addDependent(this);
  }

  get ports(): readonly Port[] {
    return [...this.#plugged.keys()];
  }

  plug(port: Pluggable, options?: SwitchPlugOptions): void {
    this.#assertOpen();
    const far = freePortOf("port", port);
    const { isolated } = check.options("options", options);
    if (isolated !== undefined) check.boolean("options.isolated", isolated, false);
    const own = this.#free.pop() ?? this.#addPort();
    own.wanted = far.isolator === null ? isolated : false;
    this.#plugged.set(far, own);
    own.onUnplugged = () => {
      this.#plugged.delete(far);
      switches.delete(far);
      this.#trust(far);
      far.onaddresses = null;
      this.#free.push(own);
      this.#isolate();
    };
    // Before frames pass.
    this.#isolate();
    try {
      join(own, far, {});
    } catch (error) {
      own.onUnplugged();
      throw error;
    }
    switches.set(far, this);
  }

  /** Tells the engine which ports are isolated, where that has changed, and has their frames looked at. */
  #isolate(): void {
    if (this.engine.over !== null) return;
    const isolators = [...this.#plugged.keys()].flatMap(({ isolator }) => isolator ?? []);
    const trusted: PortBase[] = [];
    for (const [far, port] of this.#plugged) {
      port.isolated = port.wanted ?? isolators.length > 0;
      if (!port.isolated) trusted.push(far);
      else if (far.guard === null) far.guard = this.#guard.source();
    }
    // After those that are isolated no more have given up what they had.
    for (const far of trusted) this.#trust(far);
    this.#guard.trust(trusted, isolators);
  }

  #trust(far: PortBase): void {
    if (far.guard !== null) this.#guard.release(far.guard);
    far.guard = null;
    far.onaddresses = () => this.#guard.changed();
  }

  #addPort(): SwitchPort {
    const id = this.engine.call((wasm) => wasm.add_switch_port(this.#id));
    const port = new SwitchPort(this.engine, id, `${this.name}:${this.#all.length}`);
    this.#all.push(port);
    for (const watcher of this.#watchers) watcher(id);
    return port;
  }

  unplug(port: Pluggable): void {
    const far = portOf("port", port);
    if (this.#plugged.has(far)) far.joint?.unplug();
  }

  /** Tells of all ports, those there are and those to come, until the returned function is called. */
  watchPorts(watcher: PortWatcher): () => void {
    this.#assertOpen();
    this.#watchers.add(watcher);
    for (const port of this.#all) watcher(port.id);
    return () => this.#watchers.delete(watcher);
  }

  /** Who has which address at the isolated ports. */
  get guard(): SourceGuard {
    return this.#guard;
  }

  counters(): Record<string, number> {
    this.#assertOpen();
    const counted =
      this.engine.record<Record<string, number>>(switchCounters, (wasm) =>
        wasm.switch_counters(this.#id),
      ) ?? {};
    const { spoofed, rogue } = this.#guard.counters;
    return { ...counted, spoofed: (counted["spoofed"] ?? 0) + spoofed, rogue };
  }

  #assertOpen(): void {
    if (this.engine.over !== null) throw this.engine.over;
    if (this.#isClosed) throw new TypeError(`the switch ${this.name} is closed`);
  }

  close(): void {
    if (this.#isClosed) return;
    for (const port of [...this.#plugged.keys()]) port.joint?.unplug();
    this.#isClosed = true;
    this.#watchers.clear();
    this.engine.removeDependent(this);
    if (this.engine.over === null) this.engine.call((wasm) => wasm.remove_switch(this.#id));
  }

  onEngineOver(): void {
    this.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** A port of a switch; what is plugged into it learns of the switch's end by its joint. */
class SwitchPort extends PortBase {
  readonly id: number;
  onUnplugged: () => void = () => {};
  /** What the caller wants; undefined: as the others do. */
  wanted: boolean | undefined;
  #isolated = false;
  readonly #engine: EngineCore;

  constructor(engine: EngineCore, id: number, name: string) {
    super(name);
    this.#engine = engine;
    this.id = id;
  }

  get engine(): EngineCore {
    return this.#engine;
  }

  get isolated(): boolean {
    return this.#isolated;
  }

  set isolated(isolated: boolean) {
    if (isolated === this.#isolated) return;
    this.#isolated = isolated;
    this.#engine.call((wasm) => wasm.isolate(this.id, isolated));
  }

  protected count(): PortCounters {
    if (this.#engine.over !== null) return noCounters();
    return countersOf(this.#engine, this.id);
  }

  attach(): number {
    return this.id;
  }

  detach(): void {}

  override unplugged(): void {
    this.onUnplugged();
  }

  protected dispose(): void {}
}
