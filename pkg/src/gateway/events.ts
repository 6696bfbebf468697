/** Events of a gateway. */

import type { LeaseChange } from "./dhcp.js";
import type { Lease6Change } from "./dhcp6.js";
import type { DnsQuestion } from "./dns.js";
import type { FlowChange } from "./egress/types.js";
import type { ExchangeRecord } from "./http/server.js";

/** What went wrong in a handler, a resolver or a service of the gateway. */
export interface GatewayFailure {
  /** What was thrown, or rejected with. */
  error: unknown;
  /** The request's URL, where a handler failed. */
  url: string | null;
}

/** Events of a gateway and what their `detail` is. */
export interface GatewayEvents {
  /** An address was granted, given back or declined. */
  lease: LeaseChange;
  /** The same of an IPv6 address. */
  lease6: Lease6Change;
  /** A request was answered, or its connection failed (status 0). */
  request: ExchangeRecord;
  /** Somebody asked for a name that is not the gateway's own. */
  dns: DnsQuestion;
  /** A guest's flow to the outside was opened, refused or closed. */
  flow: FlowChange;
  /** Goes to the console unless a listener calls `preventDefault`. */
  error: GatewayFailure;
}

/** A listener for one of them. */
export type GatewayListener<Name extends keyof GatewayEvents> =
  | ((event: CustomEvent<GatewayEvents[Name]>) => void)
  | null;

/** An `EventTarget` that knows the types of its events. */
export interface GatewayEventTarget extends EventTarget {
  addEventListener<Name extends keyof GatewayEvents>(
    name: Name,
    listener: GatewayListener<Name>,
    options?: Parameters<EventTarget["addEventListener"]>[2],
  ): void;
  addEventListener(...parameters: Parameters<EventTarget["addEventListener"]>): void;
  removeEventListener<Name extends keyof GatewayEvents>(
    name: Name,
    listener: GatewayListener<Name>,
    options?: Parameters<EventTarget["removeEventListener"]>[2],
  ): void;
  removeEventListener(...parameters: Parameters<EventTarget["removeEventListener"]>): void;
}

export const GatewayEventTarget = EventTarget as new () => GatewayEventTarget;
