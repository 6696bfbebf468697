/** What a stack is told as a router: routes, forwarding, translation. */

import * as check from "./arguments.js";
import type { EngineCore } from "./engine_core.js";
import { ipNumbers, optionalIp, prefixNumbers } from "./ip.js";
import { FORWARDING, NAT, NAT_FLOWS, PORT_FORWARDS, ROUTES } from "./names.js";
import { fieldsOf } from "./records.js";
import { count, type Kind, SettingsTable } from "./settings.js";
import type {
  ForwardingOptions,
  ForwardingSettings,
  NatFlow,
  NatOptions,
  PortForward,
  RouteInfo,
  RouteOptions,
} from "./types.js";

/** What the module takes for no address and no interface. */
const NO_ADDRESS = "";
const NO_INTERFACE = -1;
const LARGEST = 2 ** 32 - 1;

const WAIT: Kind = { is: "time", min: 1_000 };
const forwardingTable = new SettingsTable(FORWARDING, {}, "forwarding");
const natTable = new SettingsTable(
  NAT,
  {
    flowsPerHost: count(1, LARGEST),
    udpTimeout: WAIT,
    icmpTimeout: WAIT,
    tcpTimeout: WAIT,
    tcpTransitoryTimeout: WAIT,
  },
  "translation",
);

const routeFields = fieldsOf(ROUTES);
const flowFields = fieldsOf(NAT_FLOWS);
const forwardFields = fieldsOf(PORT_FORWARDS);

/** What is needed of the stack. */
export interface Owner {
  readonly engine: EngineCore;
  /** The stack's number. */
  readonly host: number;
  interfaceOf(nic: unknown): number;
  nameOf(id: number): string;
}

/** A route as the module tells it. */
interface RawRoute extends Omit<RouteInfo, "nic"> {
  interface: number;
}

export function routesOf({ engine, host, nameOf }: Owner): RouteInfo[] {
  const raw = engine.records<RawRoute>(routeFields, (wasm) => wasm.routes(host));
  return raw.map(({ interface: id, expires, ...route }) => ({
    ...route,
    nic: nameOf(id),
    expires: expires === null ? null : engine.wallTime(expires),
  }));
}

/** The numbers and texts that name a way. */
function wayOf(owner: Owner, route: Partial<RouteOptions>): [string, string, number] {
  const via = route.via === undefined ? NO_ADDRESS : check.address("route.via", route.via);
  const destination = prefixOf(check.string("route.to", route.to), via);
  const nic = route.nic === undefined ? NO_INTERFACE : owner.interfaceOf(route.nic);
  return [destination, via, nic];
}

export function addRoute(owner: Owner, route: RouteOptions): void {
  const given = check.options("route", route);
  const [to, via, nic] = wayOf(owner, given);
  const metric = check.integer("route.metric", given.metric ?? 0, 0, LARGEST);
  if (via === NO_ADDRESS && nic === NO_INTERFACE) {
    throw new TypeError(`the route to ${to} needs the next hop, via, or an interface, nic`);
  }
  owner.engine.call((wasm) => {
    owner.engine.give(prefixNumbers(to), optionalIp(via));
    return wasm.add_route(owner.host, nic, metric);
  });
  owner.engine.wake();
}

export function removeRoute(owner: Owner, route: string | RouteOptions): void {
  const [to, via, nic] = wayOf(owner, typeof route === "string" ? { to: route } : route);
  owner.engine.call((wasm) => {
    owner.engine.give(prefixNumbers(to), optionalIp(via));
    return wasm.remove_route(owner.host, nic);
  });
  owner.engine.wake();
}

/** A destination as a prefix; `"default"` is everything of the next hop's family. */
function prefixOf(destination: string, via: string): string {
  if (destination !== "default") return destination;
  return via.includes(":") ? "::/0" : "0.0.0.0/0";
}

/** The module's numbers for what an interface is to do; `true` is all. */
export function forwardingValues(
  argument: string,
  value: boolean | ForwardingOptions,
): Float64Array<ArrayBuffer> {
  const all = (on: boolean) => ({ ipv4: on, ipv6: on, redirects: on });
  const options = typeof value === "boolean" ? all(value) : value;
  const values = forwardingTable.values(argument, options);
  return values.length === 0 ? forwardingTable.none() : values;
}

export function forwardingSettings(
  engine: EngineCore,
  host: number,
  nic: number,
  values = forwardingTable.none(),
): ForwardingSettings {
  const numbers = engine.exchange(values, (wasm, _, count) =>
    wasm.forwarding_settings(host, nic, count),
  );
  engine.wake();
  return forwardingTable.told(numbers) as unknown as ForwardingSettings;
}

export function setNat(owner: Owner, options: NatOptions | null): void {
  const { outside, ...rest } = options === null ? {} : check.options("options", options);
  const nic = options === null ? NO_INTERFACE : owner.interfaceOf(outside);
  const values = natTable.values("options", rest);
  owner.engine.call((wasm) => wasm.set_nat(owner.host, nic, owner.engine.give(values)));
}

export function natFlowsOf({ engine, host }: Owner): NatFlow[] {
  return engine.records<NatFlow>(flowFields, (wasm) => wasm.nat_flows(host));
}

/** The endpoint inside and whether the protocol is UDP. */
function checkedForward(forward: Partial<PortForward>): { udp: boolean; port: number } {
  const protocol = check.oneOf("forward.protocol", ["tcp", "udp"], forward.protocol);
  return { udp: protocol === "udp", port: check.port("forward.port", forward.port) };
}

export function forwardPort({ engine, host }: Owner, forward: PortForward): void {
  const given = check.options("forward", forward);
  const { udp, port } = checkedForward(given);
  const [address, inside] = check.endpoint("forward.to", given.to);
  engine.call((wasm) => {
    engine.give(ipNumbers(address));
    return wasm.forward_port(host, udp, port, inside);
  }, `forward port ${port}`);
}

export function unforwardPort({ engine, host }: Owner, forward: Omit<PortForward, "to">): void {
  const { udp, port } = checkedForward(check.options("forward", forward));
  engine.call((wasm) => wasm.forward_port(host, udp, port, 0));
}

export function portForwardsOf({ engine, host }: Owner): PortForward[] {
  const raw = engine.records<Omit<PortForward, "to"> & { address: string; insidePort: number }>(
    forwardFields,
    (wasm) => wasm.port_forwards(host),
  );
  return raw.map(({ protocol, port, address, insidePort }) => ({
    protocol,
    port,
    to: check.hostPort(address, insidePort),
  }));
}
