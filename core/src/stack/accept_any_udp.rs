//! UDP flows to any address, and ICMP errors about flows to any address; [`accept_any`](super::accept_any) has the rest.
//!
//! The datagrams of a flow wait with it. Accepting makes a socket of it that has the flow's addresses, is connected to the peer, and has
//! received them.

use super::Stack;
use super::accept_any::{AnyAddress, FlowError, FlowProtocol};
use super::flow::{Flow, link_of};
use super::icmp::quoted;
use super::ip_input::Packet;
use super::nodes::Node;
use super::udp::{UdpSocket, encode_received};
use crate::counters::DropReason;
use crate::event::UdpHandle;
use crate::pool::Pool;
use crate::record_queue::RecordQueue;
use crate::wire::{Ipv4Header, ipv6, protocol};

impl Stack<'_> {
    /// Makes a socket of a pending flow.
    pub(super) fn accept_datagrams(&mut self, pool: &mut Pool<'_>, index: u32) -> Result<UdpHandle, FlowError> {
        let pending = self.pending_flows.flows.get_mut(index).ok_or(FlowError::NotFound)?;
        if self.udp_sockets.is_full() {
            return Err(FlowError::TooManySockets);
        }
        let hash = pending.flow_hash;
        let socket = UdpSocket::of_flow(&pending.flow, core::mem::replace(&mut pending.datagrams, RecordQueue::new(0)));
        self.forget_pending(pool, index);
        let key = self.udp_sockets.insert(socket).map_err(|_| FlowError::TooManySockets)?;
        self.pending_flows.index.insert(hash, self.pending_flows.limit + key.index);
        self.notify(Node::Udp(key.index));
        Ok(UdpHandle(key))
    }

    /// Takes the socket of an accepted flow out of the table of flows. False if it is none.
    pub(super) fn forget_udp_flow(&mut self, index: u32) -> bool {
        let Some(flow) = self.udp_sockets.get(index).and_then(|socket| socket.flow) else { return false };
        let hash = self.flow_hash(&flow);
        self.pending_flows.index.remove(hash, self.pending_flows.limit + index);
        true
    }

    /// The socket of an accepted flow.
    pub(super) fn find_udp_flow(&self, hash: u32, flow: &Flow) -> Option<u32> {
        let index = |number: u32| number.checked_sub(self.pending_flows.limit);
        let is_it = |socket: &UdpSocket| socket.flow.as_ref() == Some(flow);
        let matches = |number| index(number).and_then(|index| self.udp_sockets.get(index)).is_some_and(is_it);
        self.pending_flows.index.find(hash, matches).and_then(index)
    }

    /// A datagram for an address that is nobody's here.
    pub(super) fn any_address_datagram(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>, any: &AnyAddress) {
        let Some((header, data)) = self.udp_checked(packet) else { return };
        let flow = Flow {
            local: packet.destination,
            remote: packet.source,
            local_port: header.destination_port,
            remote_port: header.source_port,
            link: link_of(packet.source, packet.interface),
        };
        let hash = self.flow_hash(&flow);
        if let Some(socket) = self.find_udp_flow(hash, &flow) {
            return self.udp_deliver(pool, packet, &header, data, socket);
        }
        let known = self.pending_flows.find(FlowProtocol::Udp, hash, &flow);
        let asked = known.or_else(|| self.ask_about_flow(packet, FlowProtocol::Udp, (flow, hash), any));
        let Some(pending) = asked else { return };
        let Some(interface) = self.interfaces.key(u32::from(packet.interface.0)) else { return };
        let Some(found) = self.pending_flows.flows.get_mut(pending) else { return };
        let record = [&encode_received(packet, interface, &header)[..], data];
        if !found.datagrams.push(pool, &mut self.account, 0, &record) {
            self.counters.drop(DropReason::UdpQueueFull);
            // A flow of which nothing could be kept begins with its next datagram.
            if known.is_none() {
                self.forget_pending(pool, pending);
            }
        }
    }

    /// A fragment for an address that is nobody's here: the datagram comes when it is complete. True if it is UDP's.
    #[cold]
    pub(super) fn any_address_fragment(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>) -> bool {
        if let Ok((header, _)) = Ipv4Header::parse(packet.whole) {
            let is_udp = header.protocol == protocol::UDP;
            if is_udp {
                self.fragment_v4(pool, packet, header);
            }
            return is_udp;
        }
        match ipv6::skip_extension_headers(protocol::FRAGMENT, packet.payload) {
            Ok(upper) if upper.protocol == protocol::FRAGMENT && upper.payload.first() == Some(&protocol::UDP) => {
                self.fragment_v6(pool, packet, &upper);
                true
            }
            _ => false,
        }
    }

    /// An ICMP message to an address that is nobody's here: true if it is an error about a flow that was accepted.
    #[cold]
    pub(super) fn any_address_error(&mut self, pool: &mut Pool<'_>, packet: &Packet<'_>) -> bool {
        let is_ipv4 = packet.destination.is_ipv4();
        let Some(about) = quoted(packet.payload, is_ipv4) else { return false };
        let Some(flow) = about.flow(packet.interface).filter(|flow| flow.local == packet.destination) else {
            return false;
        };
        let hash = self.flow_hash(&flow);
        let is_known = match about.protocol {
            protocol::TCP => self.find_flow(hash, &flow).is_some(),
            protocol::UDP => self.find_udp_flow(hash, &flow).is_some(),
            _ => false,
        };
        match (is_known, is_ipv4) {
            (true, true) => self.icmpv4_input(pool, packet),
            (true, false) => self.icmpv6_input(pool, packet),
            _ => {}
        }
        is_known
    }
}
