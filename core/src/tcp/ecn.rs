//! Explicit congestion notification (RFC 3168): routers mark packets instead of dropping them, the receiver echoes the marks, and the
//! sender slows down as after a loss, without one.

use crate::tcp::Segment;
use crate::tcp::accecn::{self, AccEcn};
use crate::tcp::manner::Manner;
use crate::wire::{Ecn, TcpFlags};

/// How a host speaks of ECN in the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EcnMode {
    /// Not at all.
    #[default]
    Off,
    /// As RFC 3168 has it: one mark is echoed until the sender says that it has slowed down.
    Classic,
    /// Accurate ECN where the peer has it (RFC 9768): every mark is counted. Else as [`Classic`](Self::Classic).
    Accurate,
}

impl EcnMode {
    /// What our SYN asks for with its flags (RFC 3168 §6.1.1).
    pub(crate) fn syn_flags(self) -> TcpFlags {
        match self {
            EcnMode::Off => TcpFlags::NONE,
            EcnMode::Classic => TcpFlags::ECE | TcpFlags::CWR,
            EcnMode::Accurate => TcpFlags::ECE | TcpFlags::CWR | TcpFlags::AE,
        }
    }

    /// What a SYN asks for, as far as `accepted` goes.
    pub(crate) fn of_syn(flags: TcpFlags, field: Ecn, accepted: EcnMode) -> EcnMode {
        if accepted == EcnMode::Accurate && accecn::is_requested(flags) {
            return EcnMode::Accurate;
        }
        // RFC 3168 §6.1.1: a SYN is never ECN-capable. One that is has passed something that sets bits at will.
        let asks = flags.contains(TcpFlags::ECE | TcpFlags::CWR);
        let is_granted = asks && accepted != EcnMode::Off && (field == Ecn::NotEct || flags.contains(TcpFlags::AE));
        if is_granted { EcnMode::Classic } else { EcnMode::Off }
    }

    /// What was agreed with a peer of whom a SYN cookie tells that it wants ECN: its first ACK has the flags of Accurate ECN or none
    /// (RFC 9768 §5.1).
    pub(crate) fn of_cookie(flags: TcpFlags, accepted: EcnMode) -> EcnMode {
        match accepted {
            EcnMode::Accurate if !flags.intersects(TcpFlags::CWR | TcpFlags::AE) => EcnMode::Classic,
            accepted => accepted,
        }
    }

    /// The flags of the SYN and ACK that grants it, to a SYN that came with `field`.
    pub(crate) fn syn_ack_flags(self, field: Ecn) -> TcpFlags {
        match self {
            EcnMode::Off => TcpFlags::NONE,
            EcnMode::Classic => TcpFlags::ECE,
            EcnMode::Accurate => accecn::reflected(field),
        }
    }
}

/// What a connection knows of ECN, as sender and as receiver.
#[derive(Clone, Debug)]
pub(crate) struct EcnState {
    /// What was agreed; in SYN-SENT what our SYN asks for.
    pub(crate) mode: EcnMode,
    /// A mark has come: every ACK echoes it until the peer answers with CWR (RFC 3168 §6.1.3).
    echo: bool,
    /// Our window was reduced: the next new data says so (RFC 3168 §6.1.2).
    cwr_due: bool,
    /// The peer has sent ECN-capable packets.
    pub(crate) seen: bool,
    pub(crate) accurate: AccEcn,
    /// The last segment had a newer timestamp than those before.
    pub(crate) is_newer: bool,
}

/// What a data segment's ECN field and flags ask the receiver to do about acknowledgments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EcnVerdict {
    /// The sender may have a small window: it gets the acknowledgment at once.
    pub(crate) now: bool,
    /// The next few, too.
    pub(crate) quick: bool,
}

impl EcnState {
    pub(crate) const NEW: EcnState = EcnState {
        mode: EcnMode::Off,
        echo: false,
        cwr_due: false,
        seen: false,
        accurate: AccEcn::NEW,
        is_newer: false,
    };

    /// A server's, who grants `mode` to a SYN that came with `field`.
    pub(crate) fn accepted(mode: EcnMode, field: Ecn, mangled: bool) -> Self {
        EcnState { mode, accurate: AccEcn::accepted(field, mangled), ..EcnState::NEW }
    }

    /// The peer's SYN and ACK has come (RFC 3168 §6.1.1, RFC 9768 table 2).
    pub(crate) fn syn_ack_arrives(&mut self, segment: &Segment<'_>) {
        let flags = segment.flags & (TcpFlags::AE | TcpFlags::CWR | TcpFlags::ECE);
        // With AE it is what nonces were once told with, and for Accurate ECN an agreement like others (RFC 9768 §3.1.3).
        let tells_nonce = self.mode == EcnMode::Accurate && flags.contains(TcpFlags::AE);
        let is_classic = flags.contains(TcpFlags::ECE) && !flags.contains(TcpFlags::CWR) && !tells_nonce;
        self.mode = match self.mode {
            EcnMode::Classic | EcnMode::Accurate if is_classic => EcnMode::Classic,
            // All three flags together come from a middlebox or a host that sends back what it does not know.
            EcnMode::Accurate if !flags.is_empty() && flags != EcnMode::Accurate.syn_flags() => {
                self.accurate.syn_ack_arrives(flags, segment.ecn, segment.options);
                EcnMode::Accurate
            }
            _ => EcnMode::Off,
        };
    }

    /// The peer's SYN crosses ours (RFC 9293 §3.5): what both ask for is agreed.
    pub(crate) fn syn_arrives(&mut self, segment: &Segment<'_>) {
        let mode = EcnMode::of_syn(segment.flags, segment.ecn, self.mode);
        *self = EcnState::accepted(mode, segment.ecn, false);
    }

    /// A segment with payload in the window has arrived.
    #[inline]
    pub(crate) fn data_arrives(&mut self, field: Ecn, flags: TcpFlags) -> EcnVerdict {
        if self.mode == EcnMode::Classic { self.marked_data_arrives(field, flags) } else { EcnVerdict::default() }
    }

    fn marked_data_arrives(&mut self, field: Ecn, flags: TcpFlags) -> EcnVerdict {
        let mut verdict = EcnVerdict::default();
        if flags.contains(TcpFlags::CWR) {
            self.echo = false;
            verdict.now = true;
        }
        match field {
            // Probably sent again (RFC 3168 §6.1.5), by a sender who has lost something.
            Ecn::NotEct => verdict.quick = self.seen,
            Ecn::Ce => {
                verdict.quick = !self.echo;
                self.echo = true;
            }
            Ecn::Ect0 | Ecn::Ect1 => {}
        }
        self.seen |= field != Ecn::NotEct;
        verdict
    }

    /// Whether an acknowledgment with these flags tells of a mark.
    #[inline]
    pub(crate) fn is_echo(&self, flags: TcpFlags) -> bool {
        self.mode == EcnMode::Classic && flags.contains(TcpFlags::ECE) && !flags.contains(TcpFlags::SYN)
    }

    /// The congestion window was reduced, for whatever reason (RFC 3168 §6.1.2).
    pub(crate) fn reduced(&mut self) {
        self.cwr_due = self.mode == EcnMode::Classic;
    }

    /// The reduction was undone.
    pub(crate) fn restored(&mut self) {
        self.cwr_due = false;
    }

    /// The flags and the ECN field of a segment that goes out now; `is_new_data` if it has payload that was not sent before
    /// (RFC 3168 §6.1.4 and §6.1.5: ACKs and what is sent again are not ECN-capable).
    #[inline]
    pub(crate) fn sending(&mut self, is_new_data: bool, is_bare_ack: bool, manner: Manner) -> (TcpFlags, Ecn) {
        let mut flags = TcpFlags::NONE;
        match self.mode {
            EcnMode::Off => return (flags, Ecn::NotEct),
            // RFC 9768 §3.2.2 and RFC 9768 §2.5: every segment, ACKs too.
            EcnMode::Accurate => {
                let (flags, ecn) = self.accurate.sending(is_bare_ack);
                return match manner.ways().ecn_by_data {
                    false => (flags, ecn),
                    true => (flags, if is_new_data { Ecn::Ect0 } else { Ecn::NotEct }),
                };
            }
            EcnMode::Classic => {}
        }
        if self.echo {
            flags |= TcpFlags::ECE;
        }
        let may_tell = is_new_data || (!is_bare_ack && manner.ways().ecn_by_data);
        if may_tell && core::mem::take(&mut self.cwr_due) {
            flags |= TcpFlags::CWR;
        }
        (flags, if is_new_data { Ecn::Ect0 } else { Ecn::NotEct })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classic() -> EcnState {
        EcnState { mode: EcnMode::Classic, ..EcnState::NEW }
    }

    #[test]
    fn a_mark_is_echoed_until_the_sender_has_slowed_down() {
        let mut ecn = classic();
        assert_eq!(ecn.data_arrives(Ecn::Ect0, TcpFlags::ACK), EcnVerdict::default());
        assert_eq!(ecn.sending(false, false, Manner::Linux), (TcpFlags::NONE, Ecn::NotEct));
        assert!(ecn.data_arrives(Ecn::Ce, TcpFlags::ACK).quick);
        assert_eq!(ecn.sending(false, false, Manner::Linux), (TcpFlags::ECE, Ecn::NotEct));
        assert_eq!(ecn.data_arrives(Ecn::Ect0, TcpFlags::ACK), EcnVerdict::default());
        assert_eq!(ecn.sending(true, false, Manner::Linux), (TcpFlags::ECE, Ecn::Ect0), "still");
        assert!(ecn.data_arrives(Ecn::Ect0, TcpFlags::ACK | TcpFlags::CWR).now);
        assert_eq!(ecn.sending(false, false, Manner::Linux).0, TcpFlags::NONE);
        ecn.data_arrives(Ecn::Ce, TcpFlags::ACK | TcpFlags::CWR);
        assert_eq!(
            ecn.sending(false, false, Manner::Linux).0,
            TcpFlags::ECE,
            "a new mark on the segment that answers the old one"
        );
    }

    #[test]
    fn cwr_is_on_the_first_new_data_after_a_reduction() {
        let mut ecn = classic();
        ecn.reduced();
        assert_eq!(
            ecn.sending(false, false, Manner::Linux),
            (TcpFlags::NONE, Ecn::NotEct),
            "what is sent again does not say so"
        );
        assert_eq!(ecn.sending(true, false, Manner::Linux), (TcpFlags::CWR, Ecn::Ect0));
        assert_eq!(ecn.sending(true, false, Manner::Linux), (TcpFlags::NONE, Ecn::Ect0));
    }

    #[test]
    fn what_was_not_agreed_has_no_effect() {
        let mut ecn = EcnState::NEW;
        ecn.reduced();
        ecn.data_arrives(Ecn::Ce, TcpFlags::ACK);
        assert_eq!(ecn.sending(true, false, Manner::Linux), (TcpFlags::NONE, Ecn::NotEct));
        assert!(!ecn.is_echo(TcpFlags::ACK | TcpFlags::ECE));
    }

    #[test]
    fn a_syn_that_is_ecn_capable_itself_asks_for_nothing() {
        let flags = TcpFlags::SYN | TcpFlags::ECE | TcpFlags::CWR;
        assert_eq!(EcnMode::of_syn(flags, Ecn::NotEct, EcnMode::Classic), EcnMode::Classic);
        assert_eq!(EcnMode::of_syn(flags, Ecn::Ect0, EcnMode::Classic), EcnMode::Off);
        assert_eq!(EcnMode::of_syn(TcpFlags::SYN | TcpFlags::ECE, Ecn::NotEct, EcnMode::Classic), EcnMode::Off);
        assert_eq!(EcnMode::of_syn(flags, Ecn::NotEct, EcnMode::Off), EcnMode::Off);
    }
}
