/** The way out that is none. */

import * as check from "../../arguments.js";
import type { Egress, EgressFlow, EgressUdpFlow } from "./types.js";

/** How {@link noEgress} answers. */
export interface NoEgressOptions {
  /**
   * `"unreachable"`: an ICMP message, "network unreachable" to programs, at once. `"refuse"`: a reset, "connection refused". `"drop"`: nothing, so that guests
   * wait for their own time limits. By default `"unreachable"`.
   */
  answer?: "unreachable" | "refuse" | "drop";
}

const made = new WeakSet<Egress>();

/** Whether an egress is one that {@link noEgress} has made. */
export function leadsNowhere(egress: Egress): boolean {
  return made.has(egress);
}

/**
 * An egress that leads nowhere: a gateway without others has this one, and rules end certain flows with it. Names that only it could carry do not exist.
 * @throws {TypeError | RangeError} that names the option.
 */
export function noEgress(options?: NoEgressOptions): Egress {
  const { answer = "unreachable" } = check.options("options", options);
  check.oneOf("options.answer", ["unreachable", "refuse", "drop"], answer);
  const end = (flow: EgressFlow | EgressUdpFlow): void => {
    if (answer === "refuse") flow.refuse();
    else if (answer === "drop") flow.drop();
    else flow.unreachable("network");
  };
  const egress: Egress = { name: "none", tcp: end, udp: end, resolve: () => null };
  made.add(egress);
  return egress;
}
