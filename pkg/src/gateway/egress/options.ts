/** What a gateway is told of its ways out, checked and completed. */

import * as check from "../../arguments.js";
import { BandwidthTable } from "./bandwidth.js";
import { Rules } from "./rules.js";
import type { BandwidthOptions, Egress, EgressRule, FlowLimits } from "./types.js";

/** Options of a gateway that are about its ways out. */
export interface EgressOptions {
  /**
   * Where guests' connections to addresses outside the network go: one egress for all, or rules, of which the first that fits counts; what none fits leads
   * nowhere. By default `noEgress()`. False leaves packets for others to the gateway's stack (`gateway.stack.setNat`, forwarding, `acceptAny` of your own).
   */
  egress?: Egress | readonly EgressRule[] | false;
  /** What guests may send and receive through the egresses. By default not limited. */
  bandwidth?: BandwidthOptions;
  /** How many flows there may be. */
  flows?: FlowLimits;
}

/** {@link EgressOptions} with everything decided; times are milliseconds. */
export interface EgressSettings {
  /** Null where flows are not taken. */
  rules: Rules | null;
  bandwidth: BandwidthTable;
  flows: { perGuest: number; total: number; udp: number; udpTimeout: number };
}

const PER_GUEST = 512;
const TOTAL = 2_048;
const UDP = 256;
const UDP_TIMEOUT = 60_000;
const MOST_FLOWS = 100_000;
const MOST_UDP = 10_000;

/**
 * Checks and completes options.
 * @throws {TypeError | RangeError} that names the option and shows its value.
 */
export function egressSettings(given: EgressOptions): EgressSettings {
  const limits = check.options<FlowLimits>("options.flows", given.flows);
  const count = (name: "perGuest" | "total" | "udp", fallback: number, most: number): number =>
    check.integer(`options.flows.${name}`, limits[name] ?? fallback, 1, most);
  return {
    rules: given.egress === false ? null : new Rules(given.egress),
    bandwidth: new BandwidthTable("options.bandwidth", given.bandwidth),
    flows: {
      perGuest: count("perGuest", PER_GUEST, MOST_FLOWS),
      total: count("total", TOTAL, MOST_FLOWS),
      udp: count("udp", UDP, MOST_UDP),
      udpTimeout: check.duration("options.flows.udpTimeout", limits.udpTimeout ?? UDP_TIMEOUT, 100),
    },
  };
}
