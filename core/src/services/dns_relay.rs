//! Answers of another server, given on: what makes a DNS server a forwarder (RFC 5625 §4).
//!
//! A question that waits is asked upstream with [`Resolver::relay`](super::Resolver::relay), and the message that comes back goes to
//! [`DnsServer::relay`]. It is passed on as it is, so that types of which this stack knows nothing get through, but for what
//! belongs to one hop: the ID, the OPT record, and how much the client takes.

use core::net::SocketAddr;

use super::dns_server::{DnsServer, QueryId};
use crate::wire::dns::{EDNS_DO, HEADER_LEN, Header, OPT_LEN, Question, Record, RecordType};

/// Bits of the third and fourth octet of the header (RFC 1035 §4.1.1, RFC 4035 §3.2.2).
const RD: u8 = 0x01;
const TC: u8 = 0x02;
const RA: u8 = 0x80;
const CD: u8 = 0x10;

impl DnsServer<'_> {
    /// Answers a question that waits with the message of another server: writes it into `out` and says where to send how many octets of
    /// it. What the client cannot take is cut down to the question with TC set. `None` if the question is no longer there, `out` is too
    /// short, or the message is no answer to it.
    pub fn relay(&mut self, id: QueryId, message: &[u8], out: &mut [u8]) -> Option<(SocketAddr, usize)> {
        let question = self.pending_question(id)?;
        let header = Header::read(message).ok()?;
        let (asked, end_of_question) = Question::read(message, HEADER_LEN).ok()?;
        if asked != *question || !header.response || header.counts[0] != 1 {
            return None;
        }
        let (end, has_opt) = without_opt(message, &header, end_of_question)?;
        let (query, from) = self.take_pending(id)?;
        let limit = self.limit_for(&query, out.len());
        let opt = if query.edns.is_some() { OPT_LEN } else { 0 };
        let fits = end + opt <= limit;
        let end = if fits { end } else { end_of_question };
        if end + opt > out.len() {
            return None;
        }
        out[..end].copy_from_slice(&message[..end]);
        out[..2].copy_from_slice(&query.header.id.to_be_bytes());
        out[2] = out[2] & !RD | u8::from(query.header.recursion_desired);
        out[3] = out[3] & !CD | RA | if query.header.checking_disabled { CD } else { 0 };
        let mut additional = header.counts[3] - u16::from(has_opt);
        if !fits {
            out[2] |= TC;
            out[6..10].fill(0);
            additional = 0;
        }
        if let Some(edns) = query.edns {
            // The root, OPT, the longest message, no extended code, version 0, DO as it came (RFC 3225 §3).
            let [size_high, size_low] = self.udp_size().to_be_bytes();
            let [flags_high, flags_low] = (edns.flags & EDNS_DO).to_be_bytes();
            let record = [0, 0, RecordType::OPT.0 as u8, size_high, size_low, 0, 0, flags_high, flags_low, 0, 0];
            out[end..end + OPT_LEN].copy_from_slice(&record);
            additional += 1;
        }
        out[10..12].copy_from_slice(&additional.to_be_bytes());
        self.count_relayed(!fits);
        Some((from, end + opt))
    }
}

/// Where a message ends without its OPT record, and whether it has one. `None` if it cannot be read, or has records after it, which
/// would have to move: no server sends such.
fn without_opt(message: &[u8], header: &Header, mut at: usize) -> Option<(usize, bool)> {
    let records: u32 = header.counts[1..].iter().map(|count| u32::from(*count)).sum();
    for number in 1..=records {
        let (record, next) = Record::read(message, at).ok()?;
        if record.record_type == RecordType::OPT {
            return (number == records).then_some((at, true));
        }
        at = next;
    }
    Some((at, false))
}
