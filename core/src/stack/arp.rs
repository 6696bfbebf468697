//! ARP (RFC 826): requests and answers in and out.

use core::net::{IpAddr, Ipv4Addr};

use super::Stack;
use super::addresses::AddressState;
use super::interface::ControlKind;
use super::neighbor::{Neighbor, NeighborState};
use crate::address::is_unicast;
use crate::counters::DropReason;
use crate::event::InterfaceId;
use crate::pool::Pool;
use crate::wire::ethernet::ethertype;
use crate::wire::{ArpOperation, ArpPacket, EthernetHeader, MacAddr, arp, ethernet};

impl Stack<'_> {
    /// RFC 826 "Packet Reception", with the checks that keep strangers from changing the table.
    pub(super) fn arp_input(&mut self, pool: &mut Pool<'_>, interface: InterfaceId, bytes: &[u8]) {
        let Ok(packet) = ArpPacket::parse(bytes) else {
            self.counters.drop(DropReason::ArpMalformed);
            return;
        };
        let sender = IpAddr::V4(packet.sender_ip);
        let is_probe = packet.sender_ip.is_unspecified();
        let is_ours = self.is_own(interface, IpAddr::V4(packet.target_ip));
        let is_conflict = self.is_local(sender);
        let claimed = if is_probe { IpAddr::V4(packet.target_ip) } else { sender };
        if let Some(place) = self.place_of(interface, claimed)
            && packet.sender_mac != self.mac(interface)
        {
            // RFC 5227 §2.1.1: an answer, or a probe of somebody who asks for the same address.
            if self.addresses[place].state == AddressState::Tentative {
                return self.address_is_duplicate(place);
            } else if is_conflict {
                self.defend_address(pool, place);
            }
        }
        if !packet.sender_mac.is_unicast()
            || is_conflict
            || (!is_probe && (!is_unicast(sender) || !self.is_on_link(interface, sender)))
        {
            self.counters.drop(DropReason::ArpSpoofed);
            return;
        }
        if !is_probe {
            let known = self.neighbors.find(&self.hash_secret, interface, sender);
            // An answer to a request of ours confirms; anything else only tells.
            let asked = known.and_then(|entry| self.neighbors.get(entry)).is_some_and(Neighbor::is_asked);
            let answers_us = packet.operation == ArpOperation::Reply && is_ours && asked;
            let state = if answers_us { NeighborState::Reachable } else { NeighborState::Stale };
            self.learn(pool, interface, sender, packet.sender_mac, known, state, is_ours);
        }
        if packet.operation == ArpOperation::Request && is_ours {
            let reply = ArpPacket {
                operation: ArpOperation::Reply,
                sender_mac: self.mac(interface),
                sender_ip: packet.target_ip,
                target_mac: packet.sender_mac,
                target_ip: packet.sender_ip,
            };
            self.send_arp(pool, interface, packet.sender_mac, &reply);
        }
    }

    /// Asks for an address; with itself as the sender, it is an announcement, and with none a probe (RFC 5227 §1.1).
    pub(super) fn ask_arp(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        sender_ip: Ipv4Addr,
        target_ip: Ipv4Addr,
        to: MacAddr,
    ) {
        let packet = ArpPacket {
            operation: ArpOperation::Request,
            sender_mac: self.mac(interface),
            sender_ip,
            target_mac: MacAddr([0; 6]),
            target_ip,
        };
        self.send_arp(pool, interface, to, &packet);
    }

    fn send_arp(&mut self, pool: &mut Pool<'_>, interface: InterfaceId, to: MacAddr, packet: &ArpPacket) {
        let mut frame = [0; ethernet::HEADER_LEN + arp::LEN];
        let header = EthernetHeader { destination: to, source: self.mac(interface), ethertype: ethertype::ARP };
        header.emit(&mut frame);
        packet.emit(&mut frame[ethernet::HEADER_LEN..]);
        self.queue_control(pool, interface, ControlKind::Neighbor, &[&frame]);
    }
}
