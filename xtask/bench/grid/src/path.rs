//! A bottleneck that some flows share, in virtual time: all senders at one end of a cable of `ethertab-sim`, all receivers at
//! the other. A flow may have a way of its own before it, which makes its round trip longer.

use crate::contender::Contender;
use crate::host::{FRAME_BYTES, Host, Place, Role};
use ethertab::FrameMeta;
use ethertab::time::{Duration, Instant};
use ethertab_sim::{Cable, Impairment, Side};

/// After a turn that leaves a timeout due at once (smoltcp waits so for a neighbour's answer), time moves on by this much.
const TICK: Duration = Duration::from_micros(100);

/// One connection, over which data flows as long as the experiment lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) contender: Contender,
    /// Bytes of send and of receive buffer.
    pub(crate) buffer: u32,
    pub(crate) starts: Instant,
    /// Latency of its own way, each way.
    pub(crate) access: Duration,
}

struct Node {
    host: Box<dyn Host>,
    /// The flow's own way, for frames to and from the sender: side A is the sender's.
    access: Option<Cable>,
    side: Side,
    due: Option<Instant>,
    has_work: bool,
}

/// See the [module](self).
pub(crate) struct Path {
    bottleneck: Cable,
    rate: u64,
    /// Flow `n` has nodes `2n` (the sender) and `2n + 1`.
    nodes: Vec<Node>,
    now: Instant,
    /// Frames of data that are still to be dropped, whatever the cable does.
    pub(crate) drop_next: u32,
    /// How long each frame of data had to wait for the line, in microseconds, while that is wanted.
    pub(crate) delays: Option<Vec<u32>>,
    /// When the line has sent what was put into its queue, in microseconds.
    free_at: u64,
    scratch: Vec<u8>,
}

impl Path {
    /// A path with this impairment both ways, which must have a rate.
    pub(crate) fn new(seed: u64, impairment: Impairment, flows: &[Flow]) -> anyhow::Result<Path> {
        let mut bottleneck = Cable::new(seed, 0);
        for side in [Side::A, Side::B] {
            bottleneck.impair(side, impairment)?;
        }
        let mut nodes = Vec::new();
        for (flow, number) in flows.iter().zip(1u8..) {
            for (side, role) in [(Side::A, Role::Sender(flow.starts)), (Side::B, Role::Receiver)] {
                let host = flow.contender.host(Place { role, flow: number }, flow.buffer, seed)?;
                let access = match side {
                    Side::A if flow.access > Duration::ZERO => {
                        let mut cable = Cable::new(seed, u64::from(number));
                        for side in [Side::A, Side::B] {
                            cable.impair(side, Impairment::latency(flow.access))?;
                        }
                        Some(cable)
                    }
                    _ => None,
                };
                nodes.push(Node { host, access, side, due: None, has_work: true });
            }
        }
        let rate = impairment.rate.unwrap_or(u64::MAX);
        let scratch = vec![0; FRAME_BYTES];
        Ok(Path { bottleneck, rate, nodes, now: Instant::ZERO, drop_next: 0, delays: None, free_at: 0, scratch })
    }

    /// The time.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Bytes that the receiver of a flow has read.
    pub(crate) fn received(&self, flow: usize) -> u64 {
        self.nodes[2 * flow + 1].host.received()
    }

    /// Lets time pass until `deadline`.
    pub(crate) fn run_until(&mut self, deadline: Instant) {
        loop {
            self.deliver();
            for index in 0..self.nodes.len() {
                if self.nodes[index].has_work {
                    self.work(index);
                }
            }
            let Some(next) = self.next_event().filter(|next| *next <= deadline) else { break };
            self.now = self.now.max(next);
            for node in self.nodes.iter_mut() {
                node.has_work |= node.due.is_some_and(|due| due <= next);
            }
        }
        self.now = deadline;
    }

    fn next_event(&self) -> Option<Instant> {
        let lanes = [Side::A, Side::B].map(|side| self.bottleneck.lane(side).next_arrival());
        let nodes = self.nodes.iter().map(|node| node.due);
        let access = self.nodes.iter().filter_map(|node| node.access.as_ref());
        let access = access.flat_map(|cable| [Side::A, Side::B].map(|side| cable.lane(side).next_arrival()));
        lanes.into_iter().chain(nodes).chain(access).flatten().min()
    }

    /// Takes what has arrived anywhere to where it goes next.
    fn deliver(&mut self) {
        let now = self.now;
        for index in (0..self.nodes.len()).step_by(2) {
            while let Some(cable) = &mut self.nodes[index].access
                && let Some((frame, _)) = cable.lane(Side::A).arrived(now)
            {
                let len = frame.len();
                self.scratch[..len].copy_from_slice(frame);
                cable.lane_mut(Side::A).pop();
                self.cross(Side::A, len);
            }
            while let Node { access: Some(cable), host, has_work, .. } = &mut self.nodes[index]
                && let Some((frame, _)) = cable.lane(Side::B).arrived(now)
            {
                host.receive(now, frame);
                *has_work = true;
                cable.lane_mut(Side::B).pop();
            }
        }
        for side in [Side::A, Side::B] {
            while let Some((frame, meta)) = self.bottleneck.lane(side).arrived(now) {
                // Bytes 4 and 5 of the address are the side and the flow; a question after an address is for all.
                let is_for_all = frame[0] & 1 == 1;
                let flow = usize::from(frame[5]);
                for (index, node) in self.nodes.iter_mut().enumerate().filter(|(_, node)| node.side != side) {
                    if is_for_all || flow == index / 2 + 1 {
                        match &mut node.access {
                            Some(cable) => {
                                cable.lane_mut(Side::B).send(now, frame, meta);
                            }
                            None => {
                                node.host.receive(now, frame);
                                node.has_work = true;
                            }
                        }
                    }
                }
                self.bottleneck.lane_mut(side).pop();
            }
        }
    }

    /// A host's turn.
    fn work(&mut self, index: usize) {
        let now = self.now;
        let node = &mut self.nodes[index];
        node.has_work = false;
        node.host.turn(now);
        let side = node.side;
        while let Some(len) = self.nodes[index].host.transmit(now, &mut self.scratch) {
            match &mut self.nodes[index].access {
                Some(cable) => {
                    cable.lane_mut(Side::A).send(now, &self.scratch[..len], FrameMeta::received(len));
                }
                None => self.cross(side, len),
            }
        }
        let node = &mut self.nodes[index];
        node.due = node.host.next_timeout(now).map(|due| if due <= now { now + TICK } else { due });
    }

    /// Sends the frame in `scratch` over the bottleneck.
    fn cross(&mut self, side: Side, len: usize) {
        let is_data = side == Side::A && len > 128;
        if is_data && self.drop_next > 0 {
            self.drop_next -= 1;
            return;
        }
        let lane = self.bottleneck.lane_mut(side);
        let dropped = lane.counters().queue_dropped;
        lane.send(self.now, &self.scratch[..len], FrameMeta::received(len));
        let is_queued = lane.counters().queue_dropped == dropped;
        if side == Side::A && is_queued {
            let now = self.now.as_micros();
            let begins = self.free_at.max(now);
            self.free_at = begins + len as u64 * 8_000_000 / self.rate;
            if let Some(delays) = &mut self.delays {
                delays.push((begins - now) as u32);
            }
        }
    }
}
