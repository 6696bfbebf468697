//! Counters: what was moved, and why each frame that was not used was dropped.

/// Why a frame, a packet or a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum DropReason {
    /// Shorter than an Ethernet header, or from a group address (IEEE 802.3 §3.2.3).
    FrameMalformed,
    /// Addressed to another station.
    FrameNotForUs,
    /// Received from, or waiting for, an interface that was removed or never was.
    NoInterface,
    /// Neither ARP nor IPv4 nor IPv6.
    EtherTypeUnknown,
    /// A tagged frame of a VLAN that the interface does not have.
    VlanUnknown,
    /// Not an ARP request or reply for IPv4 over Ethernet.
    ArpMalformed,
    /// An ARP packet that claims an address outside the interface's networks, or one of ours.
    ArpSpoofed,
    /// Bad version, header length or total length.
    IpMalformed,
    /// Bad IPv4 header checksum.
    IpChecksum,
    /// IPv4 options that cannot be read, or a source route (RFC 7126 §4.3).
    IpOptions,
    /// A fragment with lengths that cannot be, or a datagram made of such (RFC 791 §3.2, RFC 8200 §4.5, RFC 7112 §5, RFC 3168 §5.3).
    IpFragmentMalformed,
    /// Fragments that contradict each other, the whole datagram (RFC 5722 §3).
    IpFragmentOverlap,
    /// A fragment that came before.
    IpFragmentDuplicate,
    /// A datagram that did not become complete in time (RFC 1122 §3.3.2).
    IpReassemblyTimeout,
    /// A fragment or an incomplete datagram for which there was no room, or which had to make room.
    IpReassemblyFull,
    /// A source or destination that must not come from the wire (RFC 1122 §3.2.1.3, RFC 4291 §2.5).
    IpMartian,
    /// Addressed to an address that is not ours.
    IpNotForUs,
    /// An IPv6 extension header that is malformed or must not be skipped (RFC 8200 §4.2).
    IpExtension,
    /// A transport protocol that the stack does not have.
    ProtocolUnknown,
    /// Too short for its type.
    IcmpMalformed,
    /// Bad ICMP or ICMPv6 checksum.
    IcmpChecksum,
    /// A type that needs no answer, or about a packet that was not sent.
    IcmpIgnored,
    /// A message about multicast groups that is cut short, damaged, or from where none may come (RFC 3376 §9, RFC 3810 §6.2).
    GroupMessageInvalid,
    /// Neighbour discovery that fails the checks of RFC 4861 §6.1 and §7.1.
    NeighborDiscoveryInvalid,
    /// Bad UDP length.
    UdpMalformed,
    /// Bad UDP checksum, or none over IPv6 (RFC 8200 §8.1).
    UdpChecksum,
    /// No socket is bound to the destination.
    UdpNoSocket,
    /// To a group that no socket on the port listens to, or not to this source (RFC 3376 §3).
    UdpSourceFiltered,
    /// The socket's receive queue is full.
    UdpQueueFull,
    /// A raw socket's receive queue, or the pool, is full.
    RawQueueFull,
    /// Bad data offset.
    TcpMalformed,
    /// Bad TCP checksum.
    TcpChecksum,
    /// Neither a connection nor a listener.
    TcpNoSocket,
    /// A segment to or from an address that is not unicast, or a SYN to oneself (RFC 9293 §3.9.2.3).
    TcpNotUnicast,
    /// Outside the receive window (RFC 9293 §3.10.7.4, first check).
    TcpNotAcceptable,
    /// An old duplicate by its timestamp (RFC 7323 §5), or a SYN and ACK that echoes what was not sent.
    TcpOldTimestamp,
    /// An acknowledgment of something not sent, or too old (RFC 5961 §5).
    TcpBadAck,
    /// A reset or SYN in the window that needs confirmation (RFC 5961 §3 and §4).
    TcpChallenged,
    /// Flags that mean nothing in the connection's state.
    TcpBadFlags,
    /// The table of half-open connections is full.
    TcpSynQueueFull,
    /// The listener's accept queue, or the connection table, is full.
    TcpAcceptQueueFull,
    /// More out-of-order ranges than a connection keeps.
    TcpReassemblyFull,
    /// No pool block for data in the window.
    TcpNoMemory,
    /// Data for a connection whose owner has closed it (RFC 2525 §2.17).
    TcpDataAfterClose,
    /// No route to the destination.
    NoRoute,
    /// The next hop did not answer.
    NeighborUnreachable,
    /// Too many packets wait for the next hop's address.
    NeighborQueueFull,
    /// All neighbour entries are busy.
    NeighborTableFull,
    /// Too many packets that no socket owns wait to be sent.
    ControlQueueFull,
    /// An ICMP error that was not sent, to keep their rate down (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)).
    IcmpRateLimited,
    /// A packet of ours that is too large for the path and may not be fragmented.
    PacketTooBig,
    /// A packet for another host, whose hop limit is used up (RFC 1812 §5.3.1, RFC 8200 §3).
    HopLimitExceeded,
    /// A packet for another host, from or to an address that is never forwarded: link-local, a group, reserved.
    ForwardScope,
    /// A packet for another host, whose source is not reached the way it came (RFC 3704).
    ReversePath,
    /// A packet for another host that leads to an interface which does not forward.
    ForwardProhibited,
    /// Too many forwarded packets wait to be sent.
    ForwardQueueFull,
    /// A packet from outside that no inside host has asked for (RFC 4787 §5).
    NatFiltered,
    /// No room for another flow, in all or of this inside host, or no port for it (RFC 4787 §4.2).
    NatTableFull,
    /// A packet of an inside host whose protocol has no ports that could be translated.
    NatUntranslatable,
    /// A segment of a flow about which an application has not decided yet.
    FlowPending,
    /// Too many flows wait for a decision, in all or from this source.
    FlowTableFull,
}

impl DropReason {
    /// All reasons, with stable names.
    pub const ALL: [(DropReason, &'static str); 61] = [
        (DropReason::FrameMalformed, "frame_malformed"),
        (DropReason::FrameNotForUs, "frame_not_for_us"),
        (DropReason::NoInterface, "no_interface"),
        (DropReason::EtherTypeUnknown, "ether_type_unknown"),
        (DropReason::VlanUnknown, "vlan_unknown"),
        (DropReason::ArpMalformed, "arp_malformed"),
        (DropReason::ArpSpoofed, "arp_spoofed"),
        (DropReason::IpMalformed, "ip_malformed"),
        (DropReason::IpChecksum, "ip_checksum"),
        (DropReason::IpOptions, "ip_options"),
        (DropReason::IpFragmentMalformed, "ip_fragment_malformed"),
        (DropReason::IpFragmentOverlap, "ip_fragment_overlap"),
        (DropReason::IpFragmentDuplicate, "ip_fragment_duplicate"),
        (DropReason::IpReassemblyTimeout, "ip_reassembly_timeout"),
        (DropReason::IpReassemblyFull, "ip_reassembly_full"),
        (DropReason::IpMartian, "ip_martian"),
        (DropReason::IpNotForUs, "ip_not_for_us"),
        (DropReason::IpExtension, "ip_extension"),
        (DropReason::ProtocolUnknown, "protocol_unknown"),
        (DropReason::IcmpMalformed, "icmp_malformed"),
        (DropReason::IcmpChecksum, "icmp_checksum"),
        (DropReason::IcmpIgnored, "icmp_ignored"),
        (DropReason::GroupMessageInvalid, "group_message_invalid"),
        (DropReason::NeighborDiscoveryInvalid, "neighbor_discovery_invalid"),
        (DropReason::UdpMalformed, "udp_malformed"),
        (DropReason::UdpChecksum, "udp_checksum"),
        (DropReason::UdpNoSocket, "udp_no_socket"),
        (DropReason::UdpSourceFiltered, "udp_source_filtered"),
        (DropReason::UdpQueueFull, "udp_queue_full"),
        (DropReason::RawQueueFull, "raw_queue_full"),
        (DropReason::TcpMalformed, "tcp_malformed"),
        (DropReason::TcpChecksum, "tcp_checksum"),
        (DropReason::TcpNoSocket, "tcp_no_socket"),
        (DropReason::TcpNotUnicast, "tcp_not_unicast"),
        (DropReason::TcpNotAcceptable, "tcp_not_acceptable"),
        (DropReason::TcpOldTimestamp, "tcp_old_timestamp"),
        (DropReason::TcpBadAck, "tcp_bad_ack"),
        (DropReason::TcpChallenged, "tcp_challenged"),
        (DropReason::TcpBadFlags, "tcp_bad_flags"),
        (DropReason::TcpSynQueueFull, "tcp_syn_queue_full"),
        (DropReason::TcpAcceptQueueFull, "tcp_accept_queue_full"),
        (DropReason::TcpReassemblyFull, "tcp_reassembly_full"),
        (DropReason::TcpNoMemory, "tcp_no_memory"),
        (DropReason::TcpDataAfterClose, "tcp_data_after_close"),
        (DropReason::NoRoute, "no_route"),
        (DropReason::NeighborUnreachable, "neighbor_unreachable"),
        (DropReason::NeighborQueueFull, "neighbor_queue_full"),
        (DropReason::NeighborTableFull, "neighbor_table_full"),
        (DropReason::ControlQueueFull, "control_queue_full"),
        (DropReason::IcmpRateLimited, "icmp_rate_limited"),
        (DropReason::PacketTooBig, "packet_too_big"),
        (DropReason::HopLimitExceeded, "hop_limit_exceeded"),
        (DropReason::ForwardScope, "forward_scope"),
        (DropReason::ReversePath, "reverse_path"),
        (DropReason::ForwardProhibited, "forward_prohibited"),
        (DropReason::ForwardQueueFull, "forward_queue_full"),
        (DropReason::NatFiltered, "nat_filtered"),
        (DropReason::NatTableFull, "nat_table_full"),
        (DropReason::NatUntranslatable, "nat_untranslatable"),
        (DropReason::FlowPending, "flow_pending"),
        (DropReason::FlowTableFull, "flow_table_full"),
    ];
}

/// Names of the counters that are no drops.
const TOTALS: [&str; 20] = [
    "frames_received",
    "frames_sent",
    "bytes_received",
    "bytes_sent",
    "packets_looped",
    "fragments_received",
    "fragments_sent",
    "datagrams_reassembled",
    "forwarded",
    "nat_evicted",
    "tcp_predicted",
    "tcp_retransmits",
    "tcp_timeouts",
    "tcp_loss_probes",
    "tcp_loss_probe_recoveries",
    "tcp_resets_sent",
    "tcp_challenge_acks",
    "time_wait_evicted",
    "address_conflicts",
    "redirects_received",
];

/// What a stack has counted since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Frames given to `receive`.
    pub frames_received: u64,
    /// Frames returned by `transmit`.
    pub frames_sent: u64,
    /// Bytes of those received.
    pub bytes_received: u64,
    /// Bytes of those sent.
    pub bytes_sent: u64,
    /// Packets from this host to itself.
    pub packets_looped: u64,
    /// Fragments received, of datagrams for us.
    pub fragments_received: u64,
    /// Fragments sent.
    pub fragments_sent: u64,
    /// Datagrams that were put together from fragments.
    pub datagrams_reassembled: u64,
    /// Packets for others that were queued to be sent on, also those that wait for their next hop's address.
    pub forwarded: u64,
    /// Flows whose addresses were translated, and that made room for others.
    pub nat_evicted: u64,
    /// TCP segments that took the header prediction's branch.
    pub tcp_predicted: u64,
    /// TCP segments sent again.
    pub tcp_retransmits: u64,
    /// Retransmission timeouts.
    pub tcp_timeouts: u64,
    /// Tail loss probes sent (RFC 8985 §7.3).
    pub tcp_loss_probes: u64,
    /// Losses that such a probe has repaired (RFC 8985 §7.4.2).
    pub tcp_loss_probe_recoveries: u64,
    /// Resets sent.
    pub tcp_resets_sent: u64,
    /// Challenge ACKs sent (RFC 5961 §7).
    pub tcp_challenge_acks: u64,
    /// SYN cookies sent (RFC 4987 §3.6).
    pub tcp_cookies_sent: u64,
    /// Connections that began with the acknowledgment of a SYN cookie.
    pub tcp_cookies_accepted: u64,
    /// Acknowledgments that might have held a SYN cookie and held none that is valid.
    pub tcp_cookies_invalid: u64,
    /// Addresses of ours that another station has or claims (RFC 4862 §5.4.5, RFC 5227 §2.4).
    pub address_conflicts: u64,
    /// Redirects that were believed (RFC 1122 §3.2.2.2, RFC 4861 §8.3).
    pub redirects_received: u64,
    /// Connections in TIME-WAIT removed early because the table was full.
    pub time_wait_evicted: u64,
    drops: DropCounters,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct DropCounters([u64; DropReason::ALL.len()]);

impl Default for DropCounters {
    fn default() -> Self {
        DropCounters([0; DropReason::ALL.len()])
    }
}

impl Counters {
    /// How often something was dropped for this reason.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops.0[reason as usize]
    }

    /// All counters with stable names: the totals, then the drops.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let drops = DropReason::ALL.iter().map(|&(_, name)| name);
        TOTALS.into_iter().chain(drops).zip(self.values())
    }

    /// The numbers of [`iter`](Self::iter) without their names.
    pub fn values(&self) -> impl Iterator<Item = u64> {
        let totals = [
            self.frames_received,
            self.frames_sent,
            self.bytes_received,
            self.bytes_sent,
            self.packets_looped,
            self.fragments_received,
            self.fragments_sent,
            self.datagrams_reassembled,
            self.forwarded,
            self.nat_evicted,
            self.tcp_predicted,
            self.tcp_retransmits,
            self.tcp_timeouts,
            self.tcp_loss_probes,
            self.tcp_loss_probe_recoveries,
            self.tcp_resets_sent,
            self.tcp_challenge_acks,
            self.time_wait_evicted,
            self.address_conflicts,
            self.redirects_received,
        ];
        totals.into_iter().chain(self.drops.0)
    }

    /// The drop counters with their names.
    pub fn drops_by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        DropReason::ALL.iter().map(|&(reason, name)| (name, self.drops(reason)))
    }

    #[cold]
    pub(crate) fn drop(&mut self, reason: DropReason) {
        self.drops.0[reason as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_listed_at_its_own_place() {
        for (index, (reason, _)) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }
}
