//! The limit of challenge ACKs (RFC 5961 §7): whoever guesses at sequence numbers gets few answers.

use crate::time::{Duration, Instant};

/// Challenge ACKs of one connection within a second.
const PER_SECOND: u8 = 10;

/// How many challenge ACKs a connection has sent in the second that began at `since`.
#[derive(Clone, Debug)]
pub(crate) struct ChallengeLimit {
    since: Instant,
    sent: u8,
}

impl ChallengeLimit {
    pub(crate) fn new(now: Instant) -> Self {
        ChallengeLimit { since: now, sent: 0 }
    }

    /// Whether one more may be sent, which is then counted.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        if now.since(self.since) >= Duration::from_secs(1) {
            *self = ChallengeLimit::new(now);
        }
        let allowed = self.sent < PER_SECOND;
        self.sent += u8::from(allowed);
        allowed
    }
}
