/**
 * Entry point `ethertab/gateway`: a gateway with DHCP, DNS, served origins and `fetch` into the network.
 *
 * @module ethertab/gateway
 */

export type { Lease, LeaseChange, LeaseState } from "./dhcp.js";
export type { Lease6, Lease6Change, Lease6State } from "./dhcp6.js";
export type { DnsQuestion } from "./dns.js";
export {
  type FetchCounters,
  type FetchEgress,
  fetchEgress,
} from "./egress/fetch/fetch_egress.js";
export type { FetchEgressOptions } from "./egress/fetch/options.js";
export type {
  TcpHandler,
  TcpServiceContext,
  UdpHandler,
} from "./egress/local_services.js";
export { type NoEgressOptions, noEgress } from "./egress/no_egress.js";
export type { EgressOptions } from "./egress/options.js";
export type { ServedAddress } from "./egress/own_services.js";
export type {
  Bandwidth,
  BandwidthOptions,
  Egress,
  EgressDatagrams,
  EgressFlow,
  EgressFlowEnds,
  EgressRule,
  EgressUdpFlow,
  FlowChange,
  FlowLimits,
  FlowRecord,
} from "./egress/types.js";
export { type WispEgress, type WispEgressOptions, wispEgress } from "./egress/wisp.js";
export type { WispCounters, WispState } from "./egress/wisp_client.js";
export type { WispPassword } from "./egress/wisp_extensions.js";
export type { WebSocketConstructor } from "./egress/wisp_link.js";
export type { GatewayEvents, GatewayFailure, GatewayListener } from "./events.js";
export type { Forward, ForwardOptions } from "./forward.js";
export {
  createGateway,
  Gateway,
  type GatewayCounters,
  type Served,
} from "./gateway.js";
export type { AttachOptions, Guest, SavedGuest } from "./guests.js";
export type { HttpLimits } from "./http/limits.js";
export type { SecureOptions, SecureRequestInit } from "./http/opening.js";
export type { Handler, RequestContext } from "./http/routes.js";
export type { ExchangeRecord } from "./http/server.js";
export type { SavedAuthority } from "./https.js";
export type {
  DnsAnswer,
  DnsResolver,
  GatewayDhcpOptions,
  GatewayDnsOptions,
  GatewayOptions,
  GatewayState,
  StaticLease,
} from "./options.js";
export type { GatewayDhcp6Options } from "./options6.js";
