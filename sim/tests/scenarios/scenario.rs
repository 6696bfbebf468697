//! What a seed stands for.

use crate::dice::Dice;
use crate::hosts;
use crate::talks::{self, Talk};
use crate::weather::{self, Change};
use ethertab_sim::world::HostOptions;
use ethertab_sim::{Impairment, MiddleboxConfig};
use std::fmt;

/// One scenario, as plain data.
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) hosts: Vec<HostOptions>,
    pub(crate) switches: usize,
    /// What is joined to what. The first link is where the weather is.
    pub(crate) links: Vec<Link>,
    /// Stands in the middle of the first link, after the weather as seen from its first end.
    pub(crate) middlebox: Option<MiddleboxConfig>,
    pub(crate) talks: Vec<Talk>,
    pub(crate) changes: Vec<Change>,
    /// Whether the weather may be so bad that connections time out.
    pub(crate) may_time_out: bool,
}

/// A cable, or two with a middlebox between them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) ends: [Node; 2],
    /// What happens to frames from each end.
    pub(crate) impairments: [Impairment; 2],
}

/// What a cable is plugged into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Host(usize),
    Switch(usize),
}

impl Scenario {
    pub(crate) fn new(seed: u64) -> Scenario {
        // Each part draws from a stream of its own, so that a change of one leaves the others of a seed as they were.
        let mut dice = Dice::new(seed, 0);
        let switches = dice.one_of(&[0, 0, 1, 1, 1, 2, 3]);
        let hosts = if switches == 0 { 2 } else { dice.within(2..=6) as usize };
        let ends = links(&mut dice, hosts, switches);
        let mut weather = weather::Weather::new(&mut Dice::new(seed, 1), ends.len());
        let links = ends.iter().zip(&weather.links).map(|(&ends, &impairments)| Link { ends, impairments }).collect();
        let middlebox = weather::middlebox(&mut Dice::new(seed, 2), &mut weather);
        Scenario {
            seed,
            hosts: hosts::options(&mut Dice::new(seed, 3), hosts),
            switches,
            links,
            middlebox,
            talks: talks::talks(&mut Dice::new(seed, 4), hosts),
            changes: weather.changes,
            may_time_out: weather.may_time_out,
        }
    }
}

/// A line for each part.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weather = if self.may_time_out { "bad" } else { "fair" };
        writeln!(f, "seed {}: {} switches, {weather} weather", self.seed, self.switches)?;
        for (number, host) in self.hosts.iter().enumerate() {
            writeln!(f, "host {number}: MTU {}, {:?}", host.mtu, host.tcp)?;
        }
        for link in &self.links {
            writeln!(
                f,
                "link {:?} to {:?}: {:?}, {:?}",
                link.ends[0], link.ends[1], link.impairments[0], link.impairments[1]
            )?;
        }
        if let Some(middlebox) = &self.middlebox {
            writeln!(f, "{middlebox:?}")?;
        }
        for change in &self.changes {
            writeln!(f, "{change:?}")?;
        }
        for (number, talk) in self.talks.iter().enumerate() {
            writeln!(f, "connection {number}: {talk:?}")?;
        }
        Ok(())
    }
}

/// Switches in a line, and hosts at any of them. The first link is the first host's, or one between switches.
fn links(dice: &mut Dice, hosts: usize, switches: usize) -> Vec<[Node; 2]> {
    if switches == 0 {
        return vec![[Node::Host(0), Node::Host(1)]];
    }
    let at_hosts = (0..hosts).map(|host| [Node::Host(host), Node::Switch(dice.index(switches))]);
    let mut links: Vec<_> = at_hosts.collect();
    links.extend((1..switches).map(|switch| [Node::Switch(switch - 1), Node::Switch(switch)]));
    if switches > 1 && dice.percent(50) {
        let last = links.len() - 1;
        links.swap(0, last);
    }
    links
}
