//! Connections that somebody outside asks for and nobody behind the translation has asked for (RFC 5382 §4.3).
//!
//! Two hosts behind translators may open a connection to each other at the same time. An answer to the SYN that comes before the own side's has
//! left would end that, so such a SYN is kept for a while before it is reported, and forgotten when the own side's follows.

use super::Stack;
use super::accept_any::FlowProtocol;
use super::flow::Flow;
use super::ip_input::Packet;
use super::nat_table::Socket4;
use super::tcp_input::{flow_of, has_valid_checksum};
use crate::counters::DropReason;
use crate::pool::Pool;
use crate::time::Duration;
use crate::wire::TcpHeader;

/// RFC 5382 REQ-4: "A NAT MUST NOT respond to an unsolicited inbound SYN packet for at least 6 seconds after the packet is received."
const SILENCE: Duration = Duration::from_secs(6);
/// SYNs of one source that may wait.
const PER_SOURCE: u16 = 16;

impl Stack<'_> {
    /// Keeps a SYN from outside that is for nobody. What does not fit is dropped without a word (REQ-4a).
    #[cold]
    pub(super) fn nat_unsolicited(&mut self, packet: &Packet<'_>) {
        let Ok((header, ..)) = TcpHeader::parse(packet.payload) else {
            self.counters.drop(DropReason::TcpMalformed);
            return;
        };
        let flow = flow_of(packet, &header);
        let hash = self.flow_hash(&flow);
        if !has_valid_checksum(packet) {
            self.counters.drop(DropReason::TcpChecksum);
        } else if self.pending_flows.find(FlowProtocol::Tcp, hash, &flow).is_some()
            || self.hold_flow(packet, FlowProtocol::Tcp, (flow, hash), (PER_SOURCE, SILENCE), true).is_some()
        {
            self.counters.drop(DropReason::NatFiltered);
        }
    }

    /// The own side's SYN has left from a port outside. REQ-4: "If during this interval the NAT receives and translates an outbound SYN for the
    /// connection the NAT MUST silently drop the original unsolicited inbound SYN packet."
    #[cold]
    pub(super) fn nat_solicited(&mut self, pool: &mut Pool<'_>, outside: Socket4, remote: Socket4) {
        let flow = Flow {
            local: outside.0.into(),
            remote: remote.0.into(),
            local_port: outside.1,
            remote_port: remote.1,
            link: None,
        };
        if let Some(index) = self.pending_flows.find(FlowProtocol::Tcp, self.flow_hash(&flow), &flow) {
            self.forget_pending(pool, index);
        }
    }
}
