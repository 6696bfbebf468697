//! Packets that leave in fragments because the path does not take them whole (RFC 791 §3.2, RFC 8200 §4.5).
//!
//! A packet waits in one piece, wherever it waits, and each fragment is made when it can leave: so a datagram is queued as a whole or
//! not at all, and what a router reports meanwhile counts for the fragments that are left.

use core::mem;
use core::net::IpAddr;

use super::Stack;
use super::resolution::Resolution;
use super::transmit::packet_destination;
use super::udp::SEND_HEADER;
use crate::address::words;
use crate::checksum;
use crate::counters::DropReason;
use crate::event::InterfaceId;
use crate::pool::Pool;
use crate::random::{Generator, Use};
use crate::record_queue::RecordQueue;
use crate::storage::Storage;
use crate::wire::{ipv4, ipv6, protocol};

/// Counters of IPv4 identifications, which destinations share by chance.
const COUNTERS: usize = 64;

/// Packets of up to so many bytes are not compared with the path's MTU.
const LEAST: usize = 68;

/// Identifications that nobody else can guess.
#[derive(Clone, Debug)]
pub(super) struct Identifications {
    random: Generator,
    counters: [u16; COUNTERS],
}

impl Identifications {
    pub(super) fn new(seed: [u64; 2]) -> Self {
        Identifications { random: Generator::new(seed, Use::Fragments), counters: [0; COUNTERS] }
    }

    /// RFC 6864 §4.3: what may be fragmented has an identification that is unique "within the maximum datagram lifetime for a given
    /// source address/destination address/protocol tuple", as far as 16 bits allow: each tuple counts from its own start, by RFC
    /// 7739 §5.4's double hash, so that a count says nothing about what was sent to others.
    pub(super) fn next_v4(&mut self, source: IpAddr, destination: IpAddr, protocol: u8) -> u16 {
        let ([_, from], [_, to]) = (words(source), words(destination));
        let tuple = self.random.prf(&[from, to, u64::from(protocol)]);
        let counter = &mut self.counters[(tuple >> 32) as usize % COUNTERS];
        *counter = counter.wrapping_add(1);
        counter.wrapping_add(tuple as u16)
    }

    /// RFC 6437 §3: the same for all packets of a flow, and for others another, as far as 20 bits allow.
    pub(super) fn flow_label(&self, source: IpAddr, destination: IpAddr, protocol: u8, ports: u32) -> u32 {
        let ([a, b], [c, d]) = (words(source), words(destination));
        let label = self.random.prf(&[a, b, c, d, u64::from(protocol) << 32 | u64::from(ports)]) as u32 & 0xf_ffff;
        // 0 stands for none.
        label.max(1)
    }

    /// RFC 7739 §5.2: simply random, as in Linux.
    fn next_v6(&mut self) -> u32 {
        self.random.next_u32()
    }
}

/// Whose queue a packet is in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner {
    /// Packets of an interface's that no socket owns.
    Interface(InterfaceId),
    Udp(u32),
    /// Packets that have waited for a neighbour.
    Neighbor(u32),
}

impl Owner {
    /// What precedes a packet in its record.
    fn skip(self) -> usize {
        if matches!(self, Owner::Udp(_)) { SEND_HEADER } else { 0 }
    }
}

impl Stack<'_> {
    fn queue(&mut self, owner: Owner) -> Option<&mut RecordQueue> {
        match owner {
            Owner::Interface(interface) => Some(&mut self.interfaces.get_mut(u32::from(interface.0))?.control),
            Owner::Udp(index) => Some(&mut self.udp_sockets.get_mut(index)?.send),
            Owner::Neighbor(index) => Some(&mut self.neighbors.get_mut(index)?.pending),
        }
    }

    fn pop_packet(&mut self, pool: &mut Pool<'_>, owner: Owner) {
        match owner {
            Owner::Interface(interface) => {
                if let Some(found) = self.interfaces.get_mut(u32::from(interface.0)) {
                    found.drop_control(pool, &mut self.account);
                }
            }
            Owner::Udp(index) => {
                if let Some(socket) = self.udp_sockets.get_mut(index) {
                    socket.send.pop(pool, &mut self.account);
                }
            }
            Owner::Neighbor(index) => {
                if let Some(neighbor) = self.neighbors.get_mut(index) {
                    neighbor.pending.pop(pool, &mut self.account);
                }
            }
        }
    }

    /// Takes the first packet of a queue, or the next fragment of it, into `out`, which has room for the interface's MTU; returns its length.
    /// None if there is none, or nothing of it can leave now.
    pub(super) fn take_packet(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        owner: Owner,
        out: &mut [u8],
    ) -> Option<usize> {
        // What does not leave the host is never cut: the buffer has room for the longest datagram.
        let is_looped = self.loopback == Some(interface);
        let link_mtu = if is_looped { out.len() } else { usize::from(self.mtu(interface)) };
        let queue = self.queue(owner)?;
        let len = queue.front_len()?.checked_sub(owner.skip())?;
        let copied = queue.peek(pool, owner.skip(), &mut out[..link_mtu]);
        // What every path takes (RFC 8200 §5), and most of IPv4's.
        let mtu = match packet_destination(&out[..copied]) {
            // What has waited for a neighbour may be another host's, and is as long as it may be, or much longer.
            _ if len <= LEAST || is_looped || matches!(owner, Owner::Neighbor(_)) && len <= link_mtu => link_mtu,
            Some(destination) => match owner {
                Owner::Udp(index) if self.udp_probes(index) => link_mtu,
                _ => usize::from(self.path_mtu(interface, destination)),
            },
            None => link_mtu,
        };
        if len <= mtu {
            self.pop_packet(pool, owner);
            return Some(len);
        }
        self.take_fragment(pool, interface, owner, (len, mtu), out)
    }

    /// The next fragment of a packet of `len` bytes that is too long for the path.
    #[cold]
    #[inline(never)] // Packets that fit do without its registers.
    fn take_fragment(
        &mut self,
        pool: &mut Pool<'_>,
        interface: InterfaceId,
        owner: Owner,
        (len, mtu): (usize, usize),
        out: &mut [u8],
    ) -> Option<usize> {
        let skip = owner.skip();
        let is_ipv4 = out[0] >> 4 == 4;
        let (header_len, extra, cannot) = match is_ipv4 {
            // RFC 1191 §6: nothing is sent that would make routers report again what they have reported. Options, some of which
            // only the first fragment has, are in no packet of ours.
            true => (ipv4::HEADER_LEN, 0, out[6] & 0x40 != 0 || out[0] != 0x45),
            // Extension headers that routers read would have to stay before the fragment header: nobody sends such.
            false => {
                let stays = matches!(out[6], protocol::HOP_BY_HOP | protocol::ROUTING);
                (ipv6::HEADER_LEN, ipv6::FRAGMENT_HEADER_LEN, stays)
            }
        };
        if cannot {
            self.pop_packet(pool, owner);
            self.counters.drop(DropReason::PacketTooBig);
            return None;
        }
        let (mut sent, mut identification) = self.queue(owner)?.progress;
        if sent == 0 {
            if self.packet_waits(pool, interface, owner, out) {
                return None;
            }
            identification = self.identifications.next_v6();
        }
        let total = len - header_len;
        let room = (mtu - header_len - extra) & !7;
        let part = room.min(total - usize::from(sent));
        let is_last = usize::from(sent) + part == total;
        let queue = self.queue(owner)?;
        let at = header_len + extra;
        queue.peek(pool, skip + header_len + usize::from(sent), &mut out[at..at + part]);
        let offset = sent;
        sent += part as u16;
        queue.progress = (sent, identification);
        self.counters.fragments_sent += 1;
        if is_last {
            self.pop_packet(pool, owner);
        }
        if is_ipv4 {
            fragment_header_v4(&mut out[..header_len], part, offset, !is_last);
        } else {
            let header = ipv6::FragmentHeader { next_header: out[6], offset, more_fragments: !is_last, identification };
            header.emit(&mut out[ipv6::HEADER_LEN..]);
            out[6] = protocol::FRAGMENT;
            out[4..6].copy_from_slice(&((extra + part) as u16).to_be_bytes());
        }
        Some(at + part)
    }

    /// Whether a long packet, whose beginning is in `out`, waits for its next hop's station from now on: as a whole, since of many
    /// fragments the neighbour's queue would keep the last ones.
    fn packet_waits(&mut self, pool: &mut Pool<'_>, interface: InterfaceId, owner: Owner, out: &[u8]) -> bool {
        // What has waited waits no more, and a station that is given needs no answer.
        let is_addressed = match owner {
            Owner::Interface(_) => false,
            Owner::Udp(index) => self.udp_sends_to_station(pool, index),
            Owner::Neighbor(_) => true,
        };
        let hop = packet_destination(out).filter(|_| !is_addressed).and_then(|to| self.next_hop_on(interface, to));
        let Some(hop) = hop else { return false };
        let Resolution::Pending(entry) = self.resolve(pool, interface, hop.address) else { return false };
        let mut scratch = mem::replace(&mut self.scratch, Storage::borrowed(&mut []));
        let len = self.queue(owner).and_then(|queue| queue.front_len()).unwrap_or(0) - owner.skip();
        let fits = len <= scratch.capacity();
        if fits {
            scratch.grow_to(len, 0);
            if let Some(queue) = self.queue(owner) {
                queue.peek(pool, owner.skip(), &mut scratch[..len]);
            }
            self.pop_packet(pool, owner);
            self.wait_for_neighbor(pool, entry, &[&scratch[..len]]);
        }
        scratch.truncate(0);
        self.scratch = scratch;
        fits
    }
}

/// Makes of a datagram's header that of a fragment with `len` bytes at `offset` of its payload.
fn fragment_header_v4(header: &mut [u8], len: usize, offset: u16, more_fragments: bool) {
    header[2..4].copy_from_slice(&((ipv4::HEADER_LEN + len) as u16).to_be_bytes());
    let place = (offset / 8) | (u16::from(more_fragments) << 13);
    header[6..8].copy_from_slice(&place.to_be_bytes());
    header[10..12].fill(0);
    let sum = checksum::sum(header).finish();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifications_count_for_each_destination_and_do_not_repeat_soon() {
        let mut identifications = Identifications::new([1, 2]);
        let hosts: [IpAddr; 3] = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into(), [10, 0, 0, 3].into()];
        let first = identifications.next_v4(hosts[0], hosts[1], 17);
        let start_of_another = identifications.next_v4(hosts[0], hosts[2], 17);
        assert_ne!(start_of_another.wrapping_sub(first), 1);
        for count in 1..u16::MAX {
            assert_eq!(identifications.next_v4(hosts[0], hosts[1], 17), first.wrapping_add(count));
        }
    }
}
