/** Entry point `ethertab/gateway`: a gateway with DHCP, DNS, served origins and `fetch` into the network. */

export type { Lease, LeaseChange, LeaseState } from "./dhcp.js";
export type { Lease6, Lease6State } from "./dhcp6.js";
export type { DnsQuestion } from "./dns.js";
export type { GatewayEvents, GatewayFailure } from "./events.js";
export {
  createGateway,
  Gateway,
  type GatewayCounters,
  type Served,
} from "./gateway.js";
export type { HttpLimits } from "./http/limits.js";
export type { Handler, RequestContext } from "./http/routes.js";
export type { ExchangeRecord } from "./http/server.js";
export type {
  DnsAnswer,
  DnsResolver,
  GatewayDhcpOptions,
  GatewayDnsOptions,
  GatewayOptions,
  StaticLease,
} from "./options.js";
export type { GatewayDhcp6Options } from "./options6.js";
