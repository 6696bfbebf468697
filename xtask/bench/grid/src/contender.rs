//! The stacks and controllers that are compared.

use crate::host::{Host, Place};
use crate::ours::Ours;
use crate::theirs::Theirs;
use ethertab::Algorithm;
use smoltcp::socket::tcp::CongestionControl;
use std::fmt;

/// A stack with a congestion controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Ours(Algorithm),
    Theirs(CongestionControl),
}

/// Names that Linux's `TCP_CONGESTION` uses, in the order of tables.
const OURS: [&str; 3] = ["reno", "cubic", "bbr"];

impl Contender {
    /// All of them, ours first.
    pub(crate) fn all() -> Vec<Contender> {
        let theirs = [CongestionControl::Reno, CongestionControl::Cubic].map(Contender::Theirs);
        Contender::ours().into_iter().chain(theirs).collect()
    }

    /// Our stack with each of its controllers.
    pub(crate) fn ours() -> Vec<Contender> {
        let mut algorithms: Vec<Algorithm> = OURS.into_iter().filter_map(Algorithm::from_name).collect();
        algorithms.dedup();
        algorithms.into_iter().map(Contender::Ours).collect()
    }

    /// Whether it is a stack that we compare ours with.
    pub(crate) fn is_theirs(self) -> bool {
        matches!(self, Contender::Theirs(_))
    }

    /// The controller's name.
    pub(crate) fn controller(self) -> &'static str {
        match self {
            Contender::Ours(algorithm) => algorithm.name(),
            Contender::Theirs(CongestionControl::Reno) => "reno",
            Contender::Theirs(CongestionControl::Cubic) => "cubic",
            Contender::Theirs(_) => "none",
        }
    }

    /// A host with `buffer` bytes of send and of receive buffer.
    pub(crate) fn host(self, place: Place, buffer: u32, seed: u64) -> anyhow::Result<Box<dyn Host>> {
        Ok(match self {
            Contender::Ours(algorithm) => Box::new(Ours::new(place, algorithm, buffer, seed)?),
            Contender::Theirs(algorithm) => Box::new(Theirs::new(place, algorithm, buffer as usize, seed)?),
        })
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.is_theirs() { "smoltcp" } else { "ethertab" }, self.controller())
    }
}
