//! A scenario as a world.

use crate::scenario::{Node, Scenario};
use ethertab::time::Instant;
use ethertab_sim::apps::{ConversationId, ServerId};
use ethertab_sim::world::WorldError;
use ethertab_sim::{CableId, CaptureId, HostId, Impairment, Side, Socket, World};

/// Blocks of the pool.
const POOL_BLOCKS: usize = 4_096;

/// The world of a scenario.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) hosts: Vec<HostId>,
    pub(crate) capture: CaptureId,
    /// The cable with the weather.
    cable: CableId,
    /// The ends of each talk.
    pub(crate) ends: Vec<Ends>,
}

/// The two applications of a talk.
pub(crate) struct Ends {
    server: ServerId,
    pub(crate) client: Option<ConversationId>,
}

impl Ends {
    /// The server's end, once it has accepted.
    pub(crate) fn accepted(&self, world: &World) -> Option<ConversationId> {
        world.accepted(self.server).first().copied()
    }
}

/// The port that the server of a talk listens on.
fn port(talk: usize) -> u16 {
    1_000 + talk as u16
}

impl Scene {
    pub(crate) fn new(scenario: &Scenario) -> Result<Scene, WorldError> {
        let mut world = World::with_pool(scenario.seed, POOL_BLOCKS);
        let mut hosts = Vec::new();
        for (number, options) in scenario.hosts.iter().enumerate() {
            let addresses = [format!("10.0.0.{}/24", number + 1), format!("fd00::{}/64", number + 1)];
            let addresses = addresses.each_ref().map(String::as_str);
            hosts.push(world.host_with(&format!("host {number}"), &addresses, options.clone())?);
        }
        let switches: Vec<_> = (0..scenario.switches).map(|number| world.switch(&format!("switch {number}"))).collect();
        let socket = |node| match node {
            Node::Host(number) => Socket::from(hosts[number]),
            Node::Switch(number) => Socket::from(switches[number]),
        };
        let mut first = None;
        for (number, link) in scenario.links.iter().enumerate() {
            let [a, mut b] = link.ends.map(socket);
            if number == 0
                && let Some(config) = &scenario.middlebox
            {
                let [near, far] = world.middlebox("middlebox", config.clone());
                world.cable(far, b, Impairment::PERFECT)?;
                b = near.into();
            }
            let cable = world.cable(a, b, Impairment::PERFECT)?;
            first = first.or(Some(cable));
            impair(&mut world, cable, &link.impairments)?;
        }
        let capture = world.capture(&hosts)?;
        let mut ends = Vec::new();
        for (number, talk) in scenario.talks.iter().enumerate() {
            ends.push(Ends { server: world.serve(hosts[talk.to], port(number), talk.server)?, client: None });
        }
        let cable = first.expect("a scenario has a link");
        Ok(Scene { world, hosts, capture, cable, ends })
    }

    /// What happens at a time of its own, in order.
    pub(crate) fn agenda(scenario: &Scenario) -> Vec<(Instant, Item)> {
        let mut agenda = Vec::new();
        for (number, talk) in scenario.talks.iter().enumerate() {
            agenda.push((talk.begins, Item::Connect(number)));
            agenda.extend(talk.abort.map(|(at, client)| (at, Item::Abort(number, client))));
        }
        agenda.extend(scenario.changes.iter().enumerate().map(|(number, change)| (change.at, Item::Change(number))));
        agenda.sort_by_key(|(at, _)| *at);
        agenda
    }

    pub(crate) fn act(&mut self, scenario: &Scenario, item: Item) -> Result<(), WorldError> {
        match item {
            Item::Connect(number) => {
                let talk = &scenario.talks[number];
                let (host, port) = (talk.to + 1, port(number));
                let remote = if talk.ipv6 { format!("[fd00::{host}]:{port}") } else { format!("10.0.0.{host}:{port}") };
                self.ends[number].client = Some(self.world.connect(self.hosts[talk.from], &remote, talk.client)?);
            }
            Item::Abort(number, client) => {
                let ends = &self.ends[number];
                if let Some(end) = if client { ends.client } else { ends.accepted(&self.world) } {
                    self.world.abort(end);
                }
            }
            Item::Change(number) => impair(&mut self.world, self.cable, &scenario.changes[number].impairments)?,
        }
        Ok(())
    }
}

/// Something that happens at a time of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item {
    /// This talk begins.
    Connect(usize),
    /// An end of this talk resets it: the client's, or the server's.
    Abort(usize, bool),
    /// This change of the weather.
    Change(usize),
}

fn impair(world: &mut World, cable: CableId, impairments: &[Impairment; 2]) -> Result<(), WorldError> {
    for (side, impairment) in [Side::A, Side::B].into_iter().zip(impairments) {
        world.network_mut().impair_from(cable, side, *impairment)?;
    }
    Ok(())
}
