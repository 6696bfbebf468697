//! IP, ICMP, neighbours and UDP at one host, whose neighbour the test plays. Names begin with the adversity's number in the
//! project's list (N1, N3, ...).

mod addresses;
mod any_address;
mod anycast;
mod autoconfiguration;
mod forward;
mod fragments;
mod group_querier;
mod host;
mod icmp;
mod link_local;
mod multicast;
mod multicast_sources;
mod nat;
mod neighbor_states;
mod neighbors;
mod raw;
mod redirects;
mod router_advertiser;
mod routes;
mod scope;
mod udp;
mod udp_errors;
