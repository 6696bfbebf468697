//! What a cable does to frames: the knobs, and the check that their values make sense.

use crate::random::Chance;
use ethertab::time::Duration;
use ethertab::{About, ErrorText};
use std::fmt;

/// How one direction of a cable treats frames. The default is a perfect cable: no delay, no loss, any rate, any length.
///
/// ```
/// use ethertab::time::Duration;
/// use ethertab_sim::Impairment;
///
/// let dsl = Impairment { latency: Duration::from_millis(20), rate: Some(16_000_000), loss: 0.001, ..Impairment::PERFECT };
/// assert!(dsl.check().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impairment {
    /// Time from the last bit leaving to the last bit arriving.
    pub latency: Duration,
    /// The latency of each frame varies uniformly by up to this much either way, without frames overtaking each other.
    pub jitter: Duration,
    /// Probability (0.0 to 1.0) that a frame is lost, each on its own.
    pub loss: f64,
    /// Loss that comes in bursts, besides `loss`.
    pub burst_loss: Option<BurstLoss>,
    /// Probability that a frame arrives twice, the second right behind the first.
    pub duplicate: f64,
    /// Probability that one bit of a frame flips without the frame check sequence noticing.
    pub corrupt: f64,
    /// Probability that a frame is held back for `reorder_by`, so that those behind overtake it.
    pub reorder: f64,
    /// How much longer a frame that is held back takes.
    pub reorder_by: Duration,
    /// Bits per second, counting the frame's bytes (no preamble, gap or check sequence); `None` for infinitely fast.
    pub rate: Option<u64>,
    /// How much may wait for a line with a rate, the frame that is being sent included. What comes on top is dropped.
    pub queue: Queue,
    /// Frames with more than this many bytes behind the Ethernet header (and one VLAN tag) are dropped.
    pub mtu: Option<u16>,
}

/// The bound of the queue in front of a line that has a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// This many frames, at least 1.
    Frames(u32),
    /// This many bytes. A frame always fits in an empty queue.
    Bytes(u32),
}

/// The Gilbert-Elliott model of bursty loss: the line is good or bad, and changes its state between frames.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BurstLoss {
    /// Probability, for each frame, that a good line turns bad.
    pub start: f64,
    /// Probability, for each frame, that a bad line turns good: bursts last 1 / `stop` frames on average.
    pub stop: f64,
    /// Probability that a frame is lost while the line is bad.
    pub loss: f64,
}

impl Impairment {
    /// No impairment at all.
    pub const PERFECT: Impairment = Impairment {
        latency: Duration::ZERO,
        jitter: Duration::ZERO,
        loss: 0.0,
        burst_loss: None,
        duplicate: 0.0,
        corrupt: 0.0,
        reorder: 0.0,
        reorder_by: Duration::from_millis(1),
        rate: None,
        queue: Queue::Frames(1_000),
        mtu: None,
    };

    /// A perfect cable but for its latency.
    pub const fn latency(latency: Duration) -> Impairment {
        Impairment { latency, ..Impairment::PERFECT }
    }

    /// Whether frames pass unharmed and without delay.
    pub fn is_perfect(&self) -> bool {
        self.latency == Duration::ZERO
            && self.jitter == Duration::ZERO
            && self.loss == 0.0
            && self.burst_loss.is_none()
            && self.duplicate == 0.0
            && self.corrupt == 0.0
            && self.reorder == 0.0
            && self.rate.is_none()
            && self.mtu.is_none()
    }

    /// # Errors
    /// Names the first field whose value makes no sense.
    pub fn check(&self) -> Result<(), ImpairmentError> {
        let burst = self.burst_loss.unwrap_or(BurstLoss { start: 0.0, stop: 0.0, loss: 0.0 });
        let probabilities = [
            ("loss", self.loss),
            ("burst_loss.start", burst.start),
            ("burst_loss.stop", burst.stop),
            ("burst_loss.loss", burst.loss),
            ("duplicate", self.duplicate),
            ("corrupt", self.corrupt),
            ("reorder", self.reorder),
        ];
        for (field, value) in probabilities {
            if !(0.0..=1.0).contains(&value) {
                return Err(ImpairmentError::Probability { field, value });
            }
        }
        if self.rate == Some(0) {
            return Err(ImpairmentError::ZeroRate);
        }
        if matches!(self.queue, Queue::Frames(0) | Queue::Bytes(0)) {
            return Err(ImpairmentError::ZeroQueue);
        }
        Ok(())
    }
}

impl Default for Impairment {
    fn default() -> Self {
        Impairment::PERFECT
    }
}

/// Why an [`Impairment`] makes no sense.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ImpairmentError {
    /// A probability is not a number from 0.0 to 1.0.
    Probability {
        /// The field's name.
        field: &'static str,
        /// Its value.
        value: f64,
    },
    /// A rate of 0 bit/s: unplug the cable instead.
    ZeroRate,
    /// A queue that holds nothing lets nothing through.
    ZeroQueue,
}

impl ImpairmentError {
    /// What it says.
    pub fn text(&self) -> ErrorText {
        match *self {
            Self::Probability { field, .. } => {
                ErrorText::about("{} must be a probability from 0 to 1", About::Word(field))
            }
            Self::ZeroRate => ErrorText::plain("the rate must be at least 1 bit/s"),
            Self::ZeroQueue => ErrorText::plain("the queue must hold at least one frame or byte"),
        }
    }
}

impl fmt::Display for ImpairmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().fmt(f)
    }
}

impl std::error::Error for ImpairmentError {}

/// The probabilities of an impairment, ready to draw against.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chances {
    pub(crate) loss: Chance,
    pub(crate) burst_start: Chance,
    pub(crate) burst_stop: Chance,
    pub(crate) burst_loss: Chance,
    pub(crate) duplicate: Chance,
    pub(crate) corrupt: Chance,
    pub(crate) reorder: Chance,
}

impl Chances {
    pub(crate) fn new(impairment: &Impairment) -> Self {
        let burst = impairment.burst_loss.unwrap_or(BurstLoss { start: 0.0, stop: 0.0, loss: 0.0 });
        Chances {
            loss: Chance::new(impairment.loss),
            burst_start: Chance::new(burst.start),
            burst_stop: Chance::new(burst.stop),
            burst_loss: Chance::new(burst.loss),
            duplicate: Chance::new(impairment.duplicate),
            corrupt: Chance::new(impairment.corrupt),
            reorder: Chance::new(impairment.reorder),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_named() {
        let wrong = |impairment: Impairment| impairment.check().unwrap_err().to_string();
        assert_eq!(wrong(Impairment { loss: 1.5, ..Impairment::PERFECT }), "loss must be a probability from 0 to 1");
        assert!(wrong(Impairment { corrupt: f64::NAN, ..Impairment::PERFECT }).contains("corrupt"));
        let burst = BurstLoss { start: 0.1, stop: -0.5, loss: 1.0 };
        assert!(wrong(Impairment { burst_loss: Some(burst), ..Impairment::PERFECT }).contains("burst_loss.stop"));
        assert!(wrong(Impairment { rate: Some(0), ..Impairment::PERFECT }).contains("rate"));
        assert!(wrong(Impairment { queue: Queue::Bytes(0), ..Impairment::PERFECT }).contains("queue"));
        assert_eq!(Impairment::PERFECT.check(), Ok(()));
    }
}
