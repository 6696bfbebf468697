//! ARP for IPv4 over Ethernet (RFC 826).

use super::{MacAddr, WireError, array_at, u16_at};
use core::net::Ipv4Addr;

/// Length of a packet in bytes.
pub const LEN: usize = 28;

mod field {
    use core::ops::Range;
    pub(super) const HARDWARE_TYPE: Range<usize> = 0..2;
    pub(super) const PROTOCOL_TYPE: Range<usize> = 2..4;
    pub(super) const HARDWARE_LEN: usize = 4;
    pub(super) const PROTOCOL_LEN: usize = 5;
    pub(super) const OPERATION: Range<usize> = 6..8;
    pub(super) const SENDER_MAC: Range<usize> = 8..14;
    pub(super) const SENDER_IP: Range<usize> = 14..18;
    pub(super) const TARGET_MAC: Range<usize> = 18..24;
    pub(super) const TARGET_IP: Range<usize> = 24..28;
}

const HARDWARE_ETHERNET: u16 = 1;

/// What an ARP packet does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpOperation {
    /// Asks who has the target address.
    Request,
    /// Answers a request, or announces the sender.
    Reply,
}

/// An ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpPacket {
    /// Request or reply.
    pub operation: ArpOperation,
    /// The sender's Ethernet address.
    pub sender_mac: MacAddr,
    /// The sender's IPv4 address; unspecified in a probe (RFC 5227 §1.1).
    pub sender_ip: Ipv4Addr,
    /// The target's Ethernet address; without meaning in a request.
    pub target_mac: MacAddr,
    /// The target's IPv4 address; the sender's own in an announcement.
    pub target_ip: Ipv4Addr,
}

impl ArpPacket {
    /// Reads a packet; bytes after it are padding.
    ///
    /// # Errors
    /// [`WireError::Truncated`] below 28 bytes, [`WireError::BadLength`] for address lengths other than 6 and 4,
    /// [`WireError::BadFormat`] for other hardware, protocols or operations.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let packet = bytes.first_chunk::<LEN>().ok_or(WireError::Truncated)?;
        if u16_at(packet, field::HARDWARE_TYPE) != HARDWARE_ETHERNET
            || u16_at(packet, field::PROTOCOL_TYPE) != super::ethernet::ethertype::IPV4
        {
            return Err(WireError::BadFormat);
        }
        if packet[field::HARDWARE_LEN] != 6 || packet[field::PROTOCOL_LEN] != 4 {
            return Err(WireError::BadLength);
        }
        Ok(Self {
            operation: match u16_at(packet, field::OPERATION) {
                1 => ArpOperation::Request,
                2 => ArpOperation::Reply,
                _ => return Err(WireError::BadFormat),
            },
            sender_mac: MacAddr(array_at(packet, field::SENDER_MAC)),
            sender_ip: Ipv4Addr::from(array_at::<4, _>(packet, field::SENDER_IP)),
            target_mac: MacAddr(array_at(packet, field::TARGET_MAC)),
            target_ip: Ipv4Addr::from(array_at::<4, _>(packet, field::TARGET_IP)),
        })
    }

    /// Writes the packet to the start of `out`, at least [`LEN`] bytes.
    pub fn emit(&self, out: &mut [u8]) {
        debug_assert!(out.len() >= LEN);
        let out = &mut out[..LEN];
        let operation: u16 = match self.operation {
            ArpOperation::Request => 1,
            ArpOperation::Reply => 2,
        };
        out[field::HARDWARE_TYPE].copy_from_slice(&HARDWARE_ETHERNET.to_be_bytes());
        out[field::PROTOCOL_TYPE].copy_from_slice(&super::ethernet::ethertype::IPV4.to_be_bytes());
        out[field::HARDWARE_LEN] = 6;
        out[field::PROTOCOL_LEN] = 4;
        out[field::OPERATION].copy_from_slice(&operation.to_be_bytes());
        out[field::SENDER_MAC].copy_from_slice(&self.sender_mac.0);
        out[field::SENDER_IP].copy_from_slice(&self.sender_ip.octets());
        out[field::TARGET_MAC].copy_from_slice(&self.target_mac.0);
        out[field::TARGET_IP].copy_from_slice(&self.target_ip.octets());
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn recorded_packets_parse_and_are_emitted_the_same() {
        let reply = ArpPacket {
            operation: ArpOperation::Reply,
            sender_mac: MacAddr([2, 0, 0, 0, 0, 0x0b]),
            sender_ip: Ipv4Addr::new(10, 0, 2, 15),
            target_mac: MacAddr([2, 0, 0, 0, 0, 0x0a]),
            target_ip: Ipv4Addr::new(10, 0, 2, 2),
        };
        assert_eq!(ArpPacket::parse(&samples::ARP_REPLY[14..]), Ok(reply));
        let request = ArpPacket {
            operation: ArpOperation::Request,
            sender_mac: reply.target_mac,
            sender_ip: reply.target_ip,
            target_mac: MacAddr::default(),
            target_ip: reply.sender_ip,
        };
        assert_eq!(ArpPacket::parse(&samples::ARP_REQUEST[14..]), Ok(request));
        for (packet, sample) in [(request, samples::ARP_REQUEST), (reply, samples::ARP_REPLY)] {
            let mut out = [0xee; LEN];
            packet.emit(&mut out);
            assert_eq!(out, sample[14..]);
        }
    }

    #[test]
    fn other_hardware_protocols_lengths_and_operations_are_refused() {
        let changed = |at: usize, value: u8| {
            let mut packet = samples::ARP_REQUEST;
            packet[14 + at] = value;
            ArpPacket::parse(&packet[14..])
        };
        assert_eq!(changed(1, 6), Err(WireError::BadFormat));
        assert_eq!(changed(2, 0x86), Err(WireError::BadFormat));
        assert_eq!(changed(4, 8), Err(WireError::BadLength));
        assert_eq!(changed(5, 16), Err(WireError::BadLength));
        assert_eq!(changed(7, 3), Err(WireError::BadFormat));
        assert_eq!(ArpPacket::parse(&samples::ARP_REQUEST[14..41]), Err(WireError::Truncated));
    }
}
