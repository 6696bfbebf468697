//! Loss recovery without SACK: fast retransmit, NewReno (RFC 5681 §3.2, RFC 6582) and go-back-N after a timeout.
//!
//! What is lost and not yet sent again is one range; what has left the network unacknowledged is estimated from
//! duplicate acknowledgments. The scoreboard of RFC 2018 and RACK (RFC 8985) will answer the same three questions
//! ([`in_flight`](Recovery::in_flight), [`next_lost`](Recovery::next_lost), [`state`](Recovery::state)) precisely.

use crate::tcp::seq::Seq;

/// Duplicate acknowledgments that mean loss (RFC 5681 §3.2).
pub(crate) const DUPLICATE_THRESHOLD: u32 = 3;

/// The state of loss recovery, as in Linux's `ca_state`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CongestionState {
    /// Nothing suspicious.
    #[default]
    Open,
    /// Duplicate acknowledgments, fewer than mean loss.
    Disorder,
    /// Fast recovery.
    Recovery,
    /// After a retransmission timeout.
    Loss,
}

#[derive(Clone, Debug)]
pub(crate) struct Recovery {
    state: CongestionState,
    /// Recovery ends when this is acknowledged; until then no new fast retransmit begins (RFC 6582 §3.2).
    recover: Seq,
    /// Duplicate acknowledgments since SND.UNA moved last.
    duplicates: u32,
    /// Bytes believed to have arrived beyond a gap.
    arrived: u32,
    /// `lost..lost_end` is lost and not yet sent again.
    lost: Seq,
    lost_end: Seq,
    /// The next retransmission goes out whatever the congestion window says (RFC 5681 §3.2 step 3).
    regardless_of_cwnd: bool,
    partial_acks: u32,
}

/// What a duplicate acknowledgment led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDuplicate {
    /// Something may have left the network.
    Counted,
    /// The threshold was reached: a segment is lost.
    Loss,
}

/// What a new acknowledgment means for recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnAdvance {
    /// Not in fast recovery: the window may grow.
    Normal,
    /// In fast recovery, and more is missing; the number of such acknowledgments so far.
    Partial(u32),
    /// Fast recovery is over.
    Recovered,
}

impl Recovery {
    pub(crate) fn new(iss: Seq) -> Self {
        Recovery {
            state: CongestionState::Open,
            recover: iss,
            duplicates: 0,
            arrived: 0,
            lost: iss,
            lost_end: iss,
            regardless_of_cwnd: false,
            partial_acks: 0,
        }
    }

    pub(crate) fn state(&self) -> CongestionState {
        self.state
    }

    /// Bytes in the network (RFC 6675 §4 "pipe", estimated): outstanding, not lost, not arrived.
    #[inline]
    pub(crate) fn in_flight(&self, una: Seq, nxt: Seq) -> u32 {
        (nxt - una).saturating_sub(self.lost_bytes()).saturating_sub(self.arrived)
    }

    #[inline]
    pub(crate) fn lost_bytes(&self) -> u32 {
        self.lost_end.since(self.lost)
    }

    /// The range to send again next, and whether the congestion window does not matter.
    #[inline]
    pub(crate) fn next_lost(&self) -> Option<(Seq, Seq, bool)> {
        (self.lost < self.lost_end).then_some((self.lost, self.lost_end, self.regardless_of_cwnd))
    }

    /// The lost range was sent again up to `end`.
    pub(crate) fn retransmitted(&mut self, end: Seq) {
        self.lost = end;
        self.regardless_of_cwnd = false;
    }

    /// RFC 5681 §2: an acknowledgment that repeats the last one while `una..nxt` is outstanding.
    pub(crate) fn duplicate(&mut self, una: Seq, nxt: Seq, mss: u32) -> OnDuplicate {
        self.duplicates = self.duplicates.saturating_add(1);
        // At least one segment is missing, or the acknowledgment would not be a duplicate.
        let most = (nxt - una).saturating_sub(mss).saturating_sub(self.lost_bytes());
        match self.state {
            CongestionState::Open | CongestionState::Disorder => {
                self.state = CongestionState::Disorder;
                self.arrived = (self.arrived + mss).min(most);
                // RFC 6582 §3.2 step 1, with the heuristic of §4.1 left to the timestamps to come.
                if self.duplicates >= DUPLICATE_THRESHOLD && una > self.recover {
                    self.state = CongestionState::Recovery;
                    self.recover = nxt;
                    self.partial_acks = 0;
                    self.lose(una, una + mss, nxt);
                    return OnDuplicate::Loss;
                }
            }
            CongestionState::Recovery => self.arrived = (self.arrived + mss).min(most),
            // After a timeout duplicates come from what was sent again needlessly.
            CongestionState::Loss => {}
        }
        OnDuplicate::Counted
    }

    /// `una` has moved on by `acked` bytes.
    #[inline]
    pub(crate) fn advanced(&mut self, una: Seq, nxt: Seq, acked: u32, mss: u32) -> OnAdvance {
        self.duplicates = 0;
        if self.state == CongestionState::Open {
            // Keeps the comparison with `recover` within half the sequence space.
            self.recover = una - 1;
            return OnAdvance::Normal;
        }
        self.advanced_after_loss(una, nxt, acked, mss)
    }

    fn advanced_after_loss(&mut self, una: Seq, nxt: Seq, acked: u32, mss: u32) -> OnAdvance {
        self.lost = self.lost.max(una);
        match self.state {
            CongestionState::Open | CongestionState::Disorder => {
                self.arrived = 0;
                self.state = CongestionState::Open;
                OnAdvance::Normal
            }
            CongestionState::Loss => {
                if una >= self.recover {
                    self.state = CongestionState::Open;
                    self.lost_end = self.lost;
                }
                OnAdvance::Normal
            }
            CongestionState::Recovery if una >= self.recover => {
                self.state = CongestionState::Open;
                self.arrived = 0;
                self.lost_end = self.lost;
                OnAdvance::Recovered
            }
            CongestionState::Recovery => {
                // RFC 6582 §3.2 step 3, partial acknowledgment: of the bytes acknowledged one segment was the
                // retransmission, the rest had arrived before. The next hole begins at `una`.
                self.arrived = self.arrived.saturating_sub(acked.saturating_sub(mss));
                self.arrived = self.arrived.min((nxt - una).saturating_sub(mss));
                self.partial_acks += 1;
                self.lose(una, una + mss, nxt);
                OnAdvance::Partial(self.partial_acks)
            }
        }
    }

    /// The retransmission timer expired: everything outstanding counts as lost (RFC 5681 §3.1).
    pub(crate) fn timeout(&mut self, una: Seq, nxt: Seq) {
        self.state = CongestionState::Loss;
        self.recover = nxt;
        self.arrived = 0;
        self.duplicates = 0;
        self.lose(una, nxt, nxt);
    }

    /// What is outstanding was dropped for its size, not for congestion: it is sent again without a change of window.
    pub(crate) fn resend_all(&mut self, una: Seq, nxt: Seq) {
        self.state = CongestionState::Loss;
        self.recover = nxt;
        self.arrived = 0;
        self.lose(una, nxt, nxt);
    }

    fn lose(&mut self, from: Seq, to: Seq, nxt: Seq) {
        self.lost = from;
        self.lost_end = to.min(nxt);
        self.regardless_of_cwnd = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_000;

    #[test]
    fn the_third_duplicate_loses_one_segment_and_a_partial_ack_the_next() {
        let mut recovery = Recovery::new(Seq(0));
        let (una, nxt) = (Seq(1_000), Seq(11_000));
        assert_eq!(recovery.duplicate(una, nxt, MSS), OnDuplicate::Counted);
        assert_eq!(recovery.duplicate(una, nxt, MSS), OnDuplicate::Counted);
        assert_eq!(recovery.in_flight(una, nxt), 8_000, "two segments have left the network");
        assert_eq!(recovery.duplicate(una, nxt, MSS), OnDuplicate::Loss);
        assert_eq!(recovery.next_lost(), Some((Seq(1_000), Seq(2_000), true)));
        assert_eq!(recovery.in_flight(una, nxt), 6_000);
        recovery.retransmitted(Seq(2_000));
        assert_eq!(recovery.in_flight(una, nxt), 7_000);
        let una = Seq(4_000);
        assert_eq!(recovery.advanced(una, nxt, 3_000, MSS), OnAdvance::Partial(1));
        assert_eq!(recovery.next_lost(), Some((Seq(4_000), Seq(5_000), true)));
        recovery.retransmitted(Seq(5_000));
        assert_eq!(recovery.advanced(Seq(11_000), nxt, 7_000, MSS), OnAdvance::Recovered);
        assert_eq!((recovery.state(), recovery.in_flight(nxt, nxt)), (CongestionState::Open, 0));
    }

    #[test]
    fn duplicates_after_a_timeout_start_no_second_recovery() {
        let mut recovery = Recovery::new(Seq(0));
        let nxt = Seq(11_000);
        recovery.timeout(Seq(1_000), nxt);
        recovery.retransmitted(Seq(3_000));
        recovery.advanced(Seq(2_000), nxt, 1_000, MSS);
        for _ in 0..5 {
            assert_eq!(recovery.duplicate(Seq(2_000), nxt, MSS), OnDuplicate::Counted);
        }
        assert_eq!(recovery.state(), CongestionState::Loss);
        assert_eq!(recovery.advanced(nxt, nxt, 9_000, MSS), OnAdvance::Normal);
        assert_eq!(recovery.state(), CongestionState::Open);
    }
}
