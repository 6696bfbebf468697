/** Router advertisements: their options are made in the services' module, and the engine sends them. */

import * as check from "./arguments.js";
import type { EngineCore } from "./engine_core.js";
import { ADVERTISEMENT } from "./names.js";
import type { Services } from "./services.js";
import { count, SettingsTable, TIME } from "./settings.js";
import type { AdvertisedPrefix, AdvertisedRoute, AdvertiseOptions, DurationLike } from "./types.js";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
/** RFC 9096 §3.4: what hosts believe of a home router that may begin anew with another prefix. */
const PREFERRED = 45 * MINUTE;
const VALID = 90 * MINUTE;
const INTERVAL = 10 * MINUTE;
/** RFC 4861 §6.2.1. */
const SHORTEST_INTERVAL = 4 * SECOND;
const LONGEST_INTERVAL = 30 * MINUTE;
const LONGEST_LIFETIME = 9_000;
const LEAST_MTU = 1_280;

const table = new SettingsTable(
  ADVERTISEMENT,
  { hopLimit: count(1, 255), routerLifetime: count(0, LONGEST_LIFETIME), interval: TIME },
  "router advertisements",
);

/** The interface that advertises, and what it has. */
export interface Link {
  host: number;
  id: number;
  mtu: number;
  /** With their prefix lengths. */
  addresses: readonly string[];
}

/** What the two modules take. */
export interface Advertisement {
  values: Float64Array<ArrayBuffer>;
  prefixes: string;
  routes: string;
  mtu: number;
  dnsServers: string;
  search: string;
  /** Seconds. */
  lifetime: number;
}

/**
 * Checks and completes options.
 * @throws {TypeError | RangeError} that names the option and shows its value.
 */
export function advertisementOf(
  argument: string,
  options: AdvertiseOptions,
  { mtu, addresses }: Link,
): Advertisement {
  const given = check.options(argument, options);
  const name = (option: string) => `${argument}.${option}`;
  const interval = check.duration(name("interval"), given.interval ?? INTERVAL, SHORTEST_INTERVAL);
  if (interval > LONGEST_INTERVAL) {
    throw new RangeError(
      `${name("interval")} must be 30 minutes at most, got ${check.show(given.interval)}`,
    );
  }
  const usual = Math.ceil((3 * interval) / SECOND);
  const routerLifetime =
    given.routerLifetime === undefined
      ? usual
      : seconds(name("routerLifetime"), given.routerLifetime);
  const { hopLimit = 64, preference = "medium", managed = false, otherConfig = false } = given;
  const own = addresses.filter((address) => address.includes(":") && !address.startsWith("fe80:"));
  const prefixes: readonly (string | AdvertisedPrefix)[] = given.prefixes ?? own;
  const texts = (option: "dnsServers" | "searchDomains") =>
    check
      .array(name(option), given[option])
      .map((text, index) => word(`${name(option)}[${index}]`, text))
      .join(" ");
  return {
    values: table.values(argument, {
      hopLimit,
      managed,
      otherConfig,
      preference,
      routerLifetime,
      interval,
    }),
    prefixes: check
      .array(name("prefixes"), prefixes)
      .map((prefix, index) => prefixText(`${name("prefixes")}[${index}]`, prefix))
      .join(" "),
    routes: check
      .array(name("routes"), given.routes)
      .map((route, index) => routeText(`${name("routes")}[${index}]`, route, usual))
      .join(" "),
    mtu: given.mtu === null ? 0 : check.integer(name("mtu"), given.mtu ?? mtu, LEAST_MTU, 65_535),
    dnsServers: texts("dnsServers"),
    search: texts("searchDomains"),
    lifetime: usual,
  };
}

/** Begins to advertise, or says something else than before. */
export function advertise(
  engine: EngineCore,
  services: Services,
  { host, id }: Link,
  { values, prefixes, routes, mtu, dnsServers, search, lifetime }: Advertisement,
): void {
  const options = services.call((wasm) =>
    wasm.router_options(prefixes, routes, mtu, dnsServers, search, lifetime),
  );
  engine.call((wasm, now) => {
    engine.bytes.set(options, engine.scratch);
    return wasm.advertise(now, host, id, engine.give(values), options.length);
  });
  engine.wake();
}

/** Tells hosts that this is no router any more, and says no more. */
export function stopAdvertising(engine: EngineCore, { host, id }: Link): void {
  engine.call((wasm, now) => wasm.advertise(now, host, id, 0, 0));
  engine.wake();
}

/** A time of at most 2^32 - 2 s, or infinite. */
function seconds(argument: string, value: DurationLike): number {
  if (value === Number.POSITIVE_INFINITY) return value;
  return Math.floor(check.duration(argument, value) / SECOND);
}

/** A text that is one of several with blanks between. */
function word(argument: string, value: unknown): string {
  const text = check.string(argument, value);
  if (!/^[^\s,]+$/.test(text)) {
    throw new RangeError(`${argument} must have no blanks or commas, got ${check.show(value)}`);
  }
  return text;
}

function prefixText(argument: string, value: string | AdvertisedPrefix): string {
  const given: Partial<AdvertisedPrefix> =
    typeof value === "string" ? { prefix: value } : check.options(argument, value);
  const prefix = word(typeof value === "string" ? argument : `${argument}.prefix`, given.prefix);
  const valid = seconds(`${argument}.valid`, given.valid ?? VALID);
  const preferred = seconds(
    `${argument}.preferred`,
    given.preferred ?? Math.min(PREFERRED, valid * SECOND),
  );
  // RFC 4861 §4.6.2.
  if (preferred > valid) {
    throw new RangeError(`${argument}.preferred must not be longer than it is valid`);
  }
  const onLink = check.boolean(`${argument}.onLink`, given.onLink, true);
  const autonomous = check.boolean(
    `${argument}.autonomous`,
    given.autonomous,
    prefix.endsWith("/64"),
  );
  return [prefix, valid, preferred, `${onLink ? "L" : ""}${autonomous ? "A" : ""}`].join(",");
}

function routeText(argument: string, value: AdvertisedRoute, usual: number): string {
  const given = check.options(argument, value);
  const { lifetime, preference = "medium" } = given;
  check.oneOf(`${argument}.preference`, ["low", "medium", "high"], preference);
  const time = lifetime === undefined ? usual : seconds(`${argument}.lifetime`, lifetime);
  return [word(`${argument}.to`, given.to), time, preference].join(",");
}
