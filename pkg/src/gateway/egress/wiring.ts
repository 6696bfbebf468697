/** How a gateway's ways out, and its services at any address, are joined to the rest of it. */

import { parseIp } from "../../ip.js";
import type { Services } from "../../services.js";
import type { Clock, Nic, Stack } from "../../types.js";
import type { DnsServer } from "../dns.js";
import type { Https } from "../https.js";
import type { Names } from "../names.js";
import { timeAnswer } from "../ntp.js";
import type { GatewaySettings } from "../options.js";
import type { Web } from "../web.js";
import { Outside } from "./outside.js";
import { OwnServices } from "./own_services.js";
import { PrefixSet } from "./prefixes.js";
import type { FlowChange } from "./types.js";

/** The gateway that they are joined to. What is a function comes to be later. */
export interface Surroundings {
  readonly stack: Stack;
  readonly nic: Nic;
  readonly clock: Clock;
  readonly services: Services;
  readonly settings: GatewaySettings;
  readonly https: Https | null;
  readonly names: Names;
  /** What stands for the guest that has an address, where that is known without asking the neighbours. */
  cardOf(address: string): string | null;
  dns(): DnsServer;
  web(): Web;
  changed(change: FlowChange): void;
  failed(error: unknown): void;
}

/** See the module's comment. */
export function joinOutside(around: Surroundings): { outside: Outside; own: OwnServices } {
  const { stack, nic, clock, services, settings, failed } = around;
  const { network, six } = settings;
  const inside = new PrefixSet(six === null ? [network] : [network, six.prefix]);
  const outside: Outside = new Outside(
    stack,
    nic,
    clock,
    services.parser,
    around.https?.secured ?? null,
    settings.outside,
    inside,
    {
      changed: (change) => around.changed(change),
      failed,
      own: (...flow) => own.take(...flow),
      cardOf: (address) => around.cardOf(address),
    },
  );
  const own = new OwnServices(stack, nic, outside.names, {
    addresses: (name) => around.dns().addresses(name),
    addName: (name, address) => around.names.addService(name, address),
    removeName: (name) => around.names.removeService(name),
    isInside: (address) => {
      const numbers = parseIp(address);
      return numbers !== null && inside.has(numbers);
    },
    web: (hostname, port) => around.web().taking(hostname, port),
    dnsDatagrams: (flow) => around.dns().answerDatagrams(flow),
    dnsConnection: (socket) => around.dns().answerConnection(socket),
    time: (question) => timeAnswer(services, question),
    takesFlows: () => outside.takesFlows,
    failed,
  });
  return { outside, own };
}
