//! Interfaces that are not simply an Ethernet port: IP packets without a link header, VLANs on another interface (IEEE 802.1Q), and
//! the loopback interface.
//!
//! Inside, every frame has an Ethernet header, so that what makes packets need not know of media. Where a frame enters or leaves the stack, one
//! branch leads here, and the header is taken off, put on, or tagged.

use core::mem;
use core::net::IpAddr;

use super::ip_input::Cast;
use super::routes::NextHop;
use super::{FrameMeta, Stack};
use crate::address::is_link_local;
use crate::config::Medium;
use crate::counters::DropReason;
use crate::event::InterfaceId;
use crate::pool::Pool;
use crate::storage::Storage;
use crate::wire::{MacAddr, VlanTag, ethernet};

/// Packets that one call passes through the loopback interface.
const LOOPED_PER_CALL: usize = 64;

/// The station of whoever is reached without one.
pub(super) const NO_STATION: MacAddr = MacAddr([0; 6]);

impl Stack<'_> {
    /// An IP packet without a link header.
    #[cold]
    pub(super) fn packet_input(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        medium: Medium,
        packet: &[u8],
        meta: FrameMeta,
    ) {
        match (medium, packet.first().map(|first| first >> 4)) {
            (Medium::Ip, Some(4)) => self.ipv4_input(pool, interface, NO_STATION, Cast::Unicast, packet, meta),
            (Medium::Ip, Some(6)) => self.ipv6_input(pool, interface, NO_STATION, Cast::Unicast, packet, meta),
            (Medium::Ip, _) => self.counters.drop(DropReason::FrameMalformed),
            // Nothing comes in by it from outside.
            _ => self.counters.drop(DropReason::NoInterface),
        }
    }

    /// The interface, EtherType and payload of a tagged frame; counted if there is no such VLAN.
    #[cold]
    pub(super) fn untag<'a>(&mut self, parent: InterfaceId, tagged: &'a [u8]) -> Option<(InterfaceId, u16, &'a [u8])> {
        let Ok((tag, ethertype, payload)) = VlanTag::parse(tagged) else {
            self.counters.drop(DropReason::FrameMalformed);
            return None;
        };
        // IEEE 802.1Q §6.9.1: a frame with the id 0 belongs where untagged ones do.
        let interface = if tag.id == 0 { Some(parent) } else { self.vlan(parent, tag.id) };
        if interface.is_none() {
            self.counters.drop(DropReason::VlanUnknown);
        }
        Some((interface?, ethertype, payload))
    }

    /// The VLAN with this id on `parent`. There are as few interfaces as an `InterfaceId` can tell apart.
    pub(super) fn vlan(&self, parent: InterfaceId, id: u16) -> Option<InterfaceId> {
        let medium = Medium::Vlan { parent, id };
        let mut known = self.interfaces();
        known.find(|(_, config)| config.medium == medium).map(|(interface, _)| interface)
    }

    /// The next frame of an interface that is not plain, in `buf` as it goes out.
    #[cold]
    pub(super) fn next_wrapped_frame(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        buf: &mut [u8],
    ) -> Option<usize> {
        match self.interfaces.get(u32::from(interface.0))?.config.medium {
            Medium::Ethernet => self.next_frame_of_all(pool, interface, buf),
            Medium::Ip => {
                let len = self.next_frame(pool, interface, buf)?;
                buf.copy_within(ethernet::HEADER_LEN..len, 0);
                Some(len - ethernet::HEADER_LEN)
            }
            Medium::Vlan { .. } | Medium::Loopback => None,
        }
    }

    /// The next frame of an interface or one of its VLANs, which take turns.
    fn next_frame_of_all(&mut self, pool: &mut Pool<'_>, parent: InterfaceId, buf: &mut [u8]) -> Option<usize> {
        let count = self.interfaces.capacity().min(256);
        let first = usize::from(self.interfaces.get(u32::from(parent.0))?.vlan_turn);
        for turn in 0..count {
            let interface = InterfaceId(((first + turn) % count) as u8);
            let len = match self.interfaces.get(u32::from(interface.0)).map(|found| found.config.medium) {
                Some(Medium::Ethernet) if interface == parent => self.next_frame(pool, interface, buf),
                Some(Medium::Vlan { parent: of, id }) if of == parent => {
                    self.next_frame(pool, interface, &mut buf[ethernet::TAG_LEN..]).map(|len| {
                        VlanTag { id, priority: 0, drop_eligible: false }.insert(buf);
                        ethernet::TAG_LEN + len
                    })
                }
                _ => None,
            };
            if len.is_some() {
                self.interfaces.get_mut(u32::from(parent.0))?.vlan_turn = interface.0.wrapping_add(1);
                return len;
            }
        }
        None
    }

    /// Whether an interface that is not plain may have a frame to send.
    #[cold]
    pub(super) fn wants_wrapped(&self, interface: InterfaceId) -> bool {
        let Some(found) = self.interfaces.get(u32::from(interface.0)) else { return false };
        match found.config.medium {
            Medium::Ip => found.wants_transmit(),
            Medium::Vlan { .. } | Medium::Loopback => false,
            Medium::Ethernet => self.interfaces.iter().any(|(index, found)| {
                let is_of = matches!(found.config.medium, Medium::Vlan { parent, .. } if parent == interface);
                (is_of || index == u32::from(interface.0)) && found.wants_transmit()
            }),
        }
    }

    /// Whether an interface is the loopback interface; it is known as that only when it has its addresses.
    pub(super) fn is_loopback(&self, interface: InterfaceId) -> bool {
        self.interfaces.get(u32::from(interface.0)).is_some_and(|found| found.config.medium == Medium::Loopback)
    }

    /// Whether packets wait to come back to this host.
    pub(super) fn wants_loop(&self) -> bool {
        let looped = self.loopback.and_then(|interface| self.interfaces.get(u32::from(interface.0)));
        looped.is_some_and(|found| found.wants_transmit())
    }

    /// Lets packets to this host come in that it has sent, some at a time.
    pub(super) fn loop_packets(&mut self, pool: &mut Pool<'_>, interface: InterfaceId) {
        let mut scratch = mem::replace(&mut self.scratch, Storage::borrowed(&mut []));
        scratch.grow_to(scratch.capacity(), 0);
        for _ in 0..LOOPED_PER_CALL {
            let Some(len) = self.next_frame(pool, interface, &mut scratch) else { break };
            self.counters.packets_looped += 1;
            let packet = &scratch[ethernet::HEADER_LEN..len];
            if self.raw.want_frames > 0 {
                self.raw_frame(pool, interface, packet, false);
            }
            self.packet_input(pool, interface, Medium::Ip, packet, FrameMeta::received(packet.len()));
        }
        self.scratch = scratch;
    }

    /// Where packets to an address of ours go, if there is a loopback interface. Link-local addresses are left out: which link is
    /// meant would be lost on the way.
    pub(super) fn loop_to(&self, destination: IpAddr) -> Option<NextHop> {
        let interface = self.loopback?;
        if is_link_local(destination) || !self.is_local(destination) {
            return None;
        }
        // RFC 6724 §5 rule 1, but that there are more loopback addresses than are listed.
        let is_listed = self.addresses.iter().any(|entry| entry.prefix.address == destination);
        let source = if is_listed { destination } else { self.source_on(interface, destination)? };
        Some(NextHop { interface, address: destination, source })
    }

    /// Whether packets to an address would have to stay here, and cannot: "addresses of this form MUST NOT appear outside a
    /// host" (RFC 1122 §3.2.1.3 (g)).
    pub(super) fn cannot_loop_to(&self, address: IpAddr) -> bool {
        (address.is_loopback() || self.is_local(address)) && self.loop_to(address).is_none()
    }
}
