//! The limit of challenge ACKs (RFC 5961 §7): whoever guesses at sequence numbers gets few answers, and two peers that disagree
//! do not answer each other's answers for ever.

use crate::time::{Duration, Instant};

/// When a connection last sent an ACK in answer to an empty segment that it could not accept. The limit is each connection's own:
/// one for all would tell an attacker about the others (CVE-2016-5696).
#[derive(Clone, Debug)]
pub(crate) struct ChallengeLimit {
    last: Instant,
}

impl ChallengeLimit {
    pub(crate) const fn new() -> Self {
        ChallengeLimit { last: Instant::FAR_FUTURE }
    }

    /// Whether one more may be sent, which is then counted.
    pub(crate) fn allows(&mut self, now: Instant, interval: Duration) -> bool {
        let allowed = self.last > now || now.since(self.last) >= interval;
        if allowed {
            self.last = now;
        }
        allowed
    }
}
