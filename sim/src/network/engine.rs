//! Moving frames: work lists of cables whose frames have arrived and of hosts that have something to do, so that nothing
//! is searched for and what is idle costs nothing.

use super::{Host, HostId, Network, Owner, Port, PortId, Trace};
use crate::cable::{Lane, Side};
use crate::capture::{Capture, Direction};
use crate::ring::Pushed;
use crate::schedule::Wake;
use crate::slots::Slots;
use crate::switch::Forward;
use ethertab::time::Instant;
use ethertab::{Event, FrameMeta, Pool};

/// Frames delivered and sent in one call of [`Network::advance`], about: a few milliseconds of work.
const FRAMES_PER_CALL: usize = 2_048;

/// Those who look at frames as they pass.
struct Observers<'a> {
    captures: &'a mut Slots<Capture>,
    trace: &'a mut Option<Trace>,
    now: Instant,
}

impl Observers<'_> {
    fn see(&mut self, id: PortId, port: &Port, direction: Direction, frame: &[u8]) {
        for (capture, interface) in &port.watchers {
            if let Some(capture) = self.captures.get_mut(capture.0) {
                capture.record(self.now, *interface, direction, frame);
            }
        }
        if let Some(trace) = self.trace {
            trace.add(self.now, id, direction, frame);
        }
    }

    fn are_watching(&self, port: &Port) -> bool {
        !port.watchers.is_empty() || self.trace.is_some()
    }
}

impl Network {
    /// Does what is due at `now`, up to a bound, and returns whether more is left to do at once. A time before the one
    /// it was told last counts as that one.
    pub fn advance(&mut self, now: Instant) -> bool {
        self.now = self.now.max(now);
        self.wake_due();
        let mut budget = FRAMES_PER_CALL;
        while budget > 0 && !self.is_idle() {
            // The contract of the stack: what has arrived is delivered before timers expire and before it sends.
            while budget > 0
                && let Some((cable, side)) = self.ready_lanes.pop_front()
            {
                self.deliver(cable, side, &mut budget);
            }
            for _ in 0..self.ready_hosts.len() {
                if budget == 0 {
                    break;
                }
                if let Some(host) = self.ready_hosts.pop_front() {
                    self.run_host(host, &mut budget);
                }
            }
        }
        !self.is_idle()
    }

    fn is_idle(&self) -> bool {
        self.ready_lanes.is_empty() && self.ready_hosts.is_empty()
    }

    /// When to call [`advance`](Self::advance) next, if nothing else happens before. Never late.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.is_idle() { self.schedule.next() } else { Some(self.now) }
    }

    /// The next event of any host.
    pub fn poll_event(&mut self) -> Option<(HostId, Event)> {
        while let Some(&index) = self.event_hosts.front() {
            if let Some(key) = self.hosts.key_at(index)
                && let Some(host) = self.hosts.get_mut(key)
            {
                if let Some(event) = host.stack.poll_event() {
                    return Some((HostId(key), event));
                }
                host.announced = false;
            }
            self.event_hosts.pop_front();
        }
        None
    }

    /// Sends a frame into the network through an external port. Returns whether it is on its way: false if there is no
    /// such port, no cable in it, or if the cable drops the frame at once.
    pub fn inject(&mut self, port: PortId, now: Instant, frame: &[u8]) -> bool {
        self.now = self.now.max(now);
        let external = self.ports.get(port.0).is_some_and(|node| node.owner == Owner::External);
        external && frame.len() <= super::MAX_FRAME_LEN && self.send(port, frame, FrameMeta::received(frame.len()), 0)
    }

    /// An external port at which frames have arrived: [`drain`](Self::drain) it. A port that is not drained to its end is
    /// not named again until another frame arrives.
    pub fn poll_port(&mut self) -> Option<PortId> {
        while let Some(index) = self.ready_ports.pop_front() {
            if let Some(key) = self.ports.key_at(index)
                && let Some(port) = self.ports.get_mut(key)
            {
                port.announced = false;
                return Some(PortId(key));
            }
        }
        None
    }

    /// Hands the frames that have arrived at an external port to `take`, oldest first. When `take` returns false, that
    /// frame stays, as do those behind it. Returns how many were taken.
    pub fn drain(&mut self, port: PortId, now: Instant, mut take: impl FnMut(&[u8], FrameMeta) -> bool) -> usize {
        self.now = self.now.max(now);
        let Some(node) = self.ports.get_mut(port.0).filter(|node| node.owner == Owner::External) else {
            return 0;
        };
        let Some((cable, end)) = node.plug else {
            return 0;
        };
        let Some(joint) = self.cables.get_mut(cable.0) else {
            return 0;
        };
        let side = end.other();
        let lane = joint.cable.lane_mut(side);
        let mut observers = Observers { captures: &mut self.captures, trace: &mut self.trace, now: self.now };
        let mut taken = 0;
        while let Some((frame, meta)) = lane.arrived(self.now) {
            if !take(frame, meta) {
                break;
            }
            observers.see(port, node, Direction::In, frame);
            node.counters.frames_in += 1;
            node.counters.bytes_in += frame.len() as u64;
            lane.pop();
            taken += 1;
        }
        if lane.arrived(self.now).is_none() {
            self.schedule.set(Wake::Lane(cable.0.index, side), lane.next_arrival());
        }
        self.unblock(cable.0.index, side);
        taken
    }

    /// Copies the next frame that has arrived at an external port into `buf` and returns its length. A frame that does
    /// not fit ([`MAX_FRAME_LEN`](super::MAX_FRAME_LEN) always does) is cut.
    pub fn take(&mut self, port: PortId, now: Instant, buf: &mut [u8]) -> Option<usize> {
        let mut len = None;
        self.drain(port, now, |frame, _| {
            let first = len.is_none();
            if first {
                let fits = frame.len().min(buf.len());
                buf[..fits].copy_from_slice(&frame[..fits]);
                len = Some(fits);
            }
            first
        });
        len
    }

    fn wake_due(&mut self) {
        while let Some(wake) = self.schedule.pop_due(self.now) {
            match wake {
                Wake::Host(index) => {
                    if let Some(key) = self.hosts.key_at(index) {
                        self.wake_host(HostId(key));
                    }
                }
                Wake::Lane(cable, side) => self.queue_lane(cable, side),
            }
        }
    }

    /// Puts a host on the list of those that have something to do and may have events.
    pub(super) fn wake_host(&mut self, id: HostId) {
        let Some(host) = self.hosts.get_mut(id.0) else {
            return;
        };
        if !host.queued {
            host.queued = true;
            self.ready_hosts.push_back(id.0.index);
        }
        if !host.announced {
            host.announced = true;
            self.event_hosts.push_back(id.0.index);
        }
    }

    pub(super) fn wake_owner(&mut self, port: PortId) {
        if let Some(Owner::Host(host, _)) = self.ports.get(port.0).map(|node| node.owner) {
            self.wake_host(host);
        }
    }

    fn queue_lane(&mut self, cable: u32, side: Side) {
        let Some(node) = self.cables.key_at(cable).and_then(|key| self.cables.get_mut(key)) else {
            return;
        };
        if !node.queued[side.index()] {
            node.queued[side.index()] = true;
            self.ready_lanes.push_back((cable, side));
        }
    }

    /// After frames went onto or off a lane: to the ready list if one has arrived, else into the schedule.
    fn lane_changed(&mut self, cable: u32, side: Side) {
        let Some(node) = self.cables.key_at(cable).and_then(|key| self.cables.get(key)) else {
            return;
        };
        match node.cable.lane(side).next_arrival() {
            Some(due) if due <= self.now => self.queue_lane(cable, side),
            due => self.schedule.set(Wake::Lane(cable, side), due),
        }
    }

    /// Lets the host that waits for room on a lane go on.
    fn unblock(&mut self, cable: u32, side: Side) {
        let Some(node) = self.cables.key_at(cable).and_then(|key| self.cables.get_mut(key)) else {
            return;
        };
        if std::mem::take(&mut node.blocked[side.index()]) {
            let port = node.ends[side.index()];
            self.wake_owner(port);
        }
    }

    /// Hands the frames that have arrived over one direction of a cable to whatever is at its end.
    fn deliver(&mut self, cable: u32, side: Side, budget: &mut usize) {
        let Some(node) = self.cables.key_at(cable).and_then(|key| self.cables.get_mut(key)) else {
            return;
        };
        node.queued[side.index()] = false;
        let to = node.ends[side.other().index()];
        match self.ports.get(to.0).map(|port| port.owner) {
            Some(Owner::Host(host, _)) => {
                self.deliver_to_host(cable, side, to, budget);
                self.wake_host(host);
                self.unblock(cable, side);
                self.lane_changed(cable, side);
            }
            Some(Owner::Switch(..)) => {
                self.deliver_to_switch(cable, side, to, budget);
                self.unblock(cable, side);
                self.lane_changed(cable, side);
            }
            Some(Owner::External) => {
                // The frames stay on the cable until the driver takes them.
                if let Some(port) = self.ports.get_mut(to.0)
                    && !port.announced
                {
                    port.announced = true;
                    self.ready_ports.push_back(to.0.index);
                }
            }
            None => {}
        }
    }

    fn deliver_to_host(&mut self, cable: u32, side: Side, to: PortId, budget: &mut usize) {
        let Some(node) = self.cables.key_at(cable).and_then(|key| self.cables.get_mut(key)) else {
            return;
        };
        let Some(port) = self.ports.get_mut(to.0) else {
            return;
        };
        let Owner::Host(host, interface) = port.owner else {
            return;
        };
        let Some(host) = self.hosts.get_mut(host.0) else {
            return;
        };
        let mut observers = Observers { captures: &mut self.captures, trace: &mut self.trace, now: self.now };
        let watched = observers.are_watching(port);
        let lane = node.cable.lane_mut(side);
        while *budget > 0
            && let Some((record, frame)) = lane.next_arrived(self.now)
        {
            if watched {
                observers.see(to, port, Direction::In, frame);
            }
            port.counters.frames_in += 1;
            port.counters.bytes_in += frame.len() as u64;
            host.stack.receive(&mut self.pool, self.now, interface, frame, record.meta);
            lane.pop();
            *budget -= 1;
        }
    }

    fn deliver_to_switch(&mut self, cable: u32, side: Side, to: PortId, budget: &mut usize) {
        // The frame is read from one cable and written to others: it passes through the scratch buffer.
        let mut scratch = std::mem::take(&mut self.scratch);
        while *budget > 0 {
            let Some((len, meta, hops)) = self.take_to_switch(cable, side, to, &mut scratch) else {
                break;
            };
            self.switch_frame(to, &scratch[..len], meta, hops, budget);
        }
        self.scratch = scratch;
    }

    fn take_to_switch(
        &mut self,
        cable: u32,
        side: Side,
        to: PortId,
        scratch: &mut [u8],
    ) -> Option<(usize, FrameMeta, u8)> {
        let node = self.cables.key_at(cable).and_then(|key| self.cables.get_mut(key))?;
        let port = self.ports.get_mut(to.0)?;
        let lane = node.cable.lane_mut(side);
        let (record, frame) = lane.next_arrived(self.now)?;
        let len = frame.len();
        let (meta, hops) = (record.meta, record.hops);
        scratch[..len].copy_from_slice(frame);
        Observers { captures: &mut self.captures, trace: &mut self.trace, now: self.now }.see(
            to,
            port,
            Direction::In,
            frame,
        );
        port.counters.frames_in += 1;
        port.counters.bytes_in += len as u64;
        lane.pop();
        Some((len, meta, hops))
    }

    fn switch_frame(&mut self, from: PortId, frame: &[u8], meta: FrameMeta, hops: u8, budget: &mut usize) {
        let Some(Owner::Switch(switch, number)) = self.ports.get(from.0).map(|port| port.owner) else {
            return;
        };
        let Some(node) = self.switches.get_mut(switch.0) else {
            return;
        };
        *budget = budget.saturating_sub(1);
        match node.switch.forward_after(self.now, number, frame, hops) {
            Forward::Drop => {}
            Forward::To(number) => {
                if let Some(&port) = node.ports.get(usize::from(number)) {
                    self.send(port, frame, meta, hops + 1);
                }
            }
            Forward::Flood => {
                for index in 0..node.ports.len() {
                    let Some((node, &port)) =
                        self.switches.get(switch.0).and_then(|node| Some((node, node.ports.get(index)?)))
                    else {
                        break;
                    };
                    if port != from && node.switch.joins(number, index as u16) {
                        self.send(port, frame, meta, hops + 1);
                        *budget = budget.saturating_sub(1);
                    }
                }
            }
        }
    }

    /// Sends a frame out of a port, onto the cable that is plugged in.
    fn send(&mut self, from: PortId, frame: &[u8], meta: FrameMeta, hops: u8) -> bool {
        let Some(port) = self.ports.get_mut(from.0) else {
            return false;
        };
        Observers { captures: &mut self.captures, trace: &mut self.trace, now: self.now }.see(
            from,
            port,
            Direction::Out,
            frame,
        );
        port.counters.frames_out += 1;
        port.counters.bytes_out += frame.len() as u64;
        let Some((cable, side)) = port.plug else {
            port.counters.unplugged += 1;
            return false;
        };
        let Some(node) = self.cables.get_mut(cable.0) else {
            return false;
        };
        let on_its_way = node.cable.lane_mut(side).send_after(self.now, frame, meta, hops);
        self.lane_changed(cable.0.index, side);
        on_its_way
    }

    /// Lets a host send what it still has, up to the usual bound.
    pub(super) fn say_farewell(&mut self, host: HostId) {
        let mut budget = FRAMES_PER_CALL;
        self.run_host(host.0.index, &mut budget);
    }

    /// Lets a host's timers expire and sends what it has to send, as far as its cables take it.
    fn run_host(&mut self, index: u32, budget: &mut usize) {
        let Some(key) = self.hosts.key_at(index) else {
            return;
        };
        let Some(host) = self.hosts.get_mut(key) else {
            return;
        };
        host.queued = false;
        *budget -= 1;
        if host.stack.next_timeout().is_some_and(|due| due <= self.now) {
            host.stack.handle_timeout(&mut self.pool, self.now);
        }
        let ports = host.ports.len();
        let mut unfinished = false;
        for number in 0..ports {
            unfinished |= self.transmit(HostId(key), number, budget);
        }
        if unfinished {
            self.wake_host(HostId(key));
        } else {
            // A turn on one interface may have given another, whose turn was before, something to send.
            self.wake_host_if_due(HostId(key));
        }
    }

    /// Wakes a host now if there is something to do for it, and else when there will be.
    #[inline(never)]
    pub(super) fn wake_host_if_due(&mut self, id: HostId) {
        let Some(host) = self.hosts.get(id.0) else {
            return;
        };
        let sends =
            host.ports.iter().any(|&(interface, port)| host.stack.wants_transmit(interface) && !self.is_blocked(port));
        let timeout = host.stack.next_timeout();
        if sends || timeout.is_some_and(|due| due <= self.now) {
            self.wake_host(id);
        } else {
            self.schedule.set(Wake::Host(id.0.index), timeout);
        }
    }

    /// Whether a port's cable takes no frame now.
    fn is_blocked(&self, port: PortId) -> bool {
        let Some((cable, side)) = self.ports.get(port.0).and_then(|port| port.plug) else { return false };
        self.cables.get(cable.0).is_some_and(|node| node.blocked[side.index()])
    }

    /// Sends what a host has for one of its ports. Returns whether it has more that could go at once.
    fn transmit(&mut self, host: HostId, number: usize, budget: &mut usize) -> bool {
        let Some(node) = self.hosts.get_mut(host.0) else {
            return false;
        };
        let Some(&(interface, id)) = node.ports.get(number) else {
            return false;
        };
        if !node.stack.wants_transmit(interface) {
            return false;
        }
        let Some(port) = self.ports.get_mut(id.0) else {
            return false;
        };
        let observers = Observers { captures: &mut self.captures, trace: &mut self.trace, now: self.now };
        let mut sender = Sender { host: node, port, id, pool: &mut self.pool, observers };
        let Some((cable, side)) = sender.port.plug else {
            while *budget > 0
                && let Some(meta) = sender.next(interface, &mut self.scratch)
            {
                sender.account(&self.scratch[..meta.len.min(self.scratch.len())]);
                sender.port.counters.unplugged += 1;
                *budget -= 1;
            }
            return *budget == 0;
        };
        let Some(joint) = self.cables.get_mut(cable.0) else {
            return false;
        };
        let lane = joint.cable.lane_mut(side);
        let blocked = if lane.is_perfect() {
            sender.fill(lane, interface, budget)
        } else {
            while *budget > 0
                && let Some(meta) = sender.next(interface, &mut self.scratch)
            {
                let frame = &self.scratch[..meta.len.min(self.scratch.len())];
                sender.account(frame);
                lane.send(sender.observers.now, frame, meta);
                *budget -= 1;
            }
            false
        };
        joint.blocked[side.index()] = blocked;
        self.lane_changed(cable.0.index, side);
        *budget == 0 && !blocked
    }
}

/// A host that sends out of one of its ports.
struct Sender<'a> {
    host: &'a mut Host,
    port: &'a mut Port,
    id: PortId,
    pool: &'a mut Pool<'static>,
    observers: Observers<'a>,
}

impl Sender<'_> {
    fn next(&mut self, interface: ethertab::InterfaceId, buf: &mut [u8]) -> Option<FrameMeta> {
        self.host.stack.transmit(self.pool, self.observers.now, interface, buf)
    }

    fn account(&mut self, frame: &[u8]) {
        self.port.counters.frames_out += 1;
        self.port.counters.bytes_out += frame.len() as u64;
        self.observers.see(self.id, self.port, Direction::Out, frame);
    }

    /// Lets the host write its frames right into a perfect cable. Returns whether it must wait for room.
    fn fill(&mut self, lane: &mut Lane, interface: ethertab::InterfaceId, budget: &mut usize) -> bool {
        let now = self.observers.now;
        let capacity = self.host.stack.frame_capacity(interface);
        let watched = self.observers.are_watching(self.port);
        let before = *lane.counters();
        let mut blocked = false;
        while *budget > 0 {
            if lane.is_backed_up() {
                blocked = true;
                break;
            }
            match lane.send_in_place(now, capacity, |buf| self.host.stack.transmit(self.pool, now, interface, buf)) {
                Pushed::Frame => *budget -= 1,
                Pushed::Nothing => break,
                Pushed::Full => {
                    blocked = true;
                    break;
                }
            }
            if watched && let Some(frame) = lane.last_sent() {
                self.observers.see(self.id, self.port, Direction::Out, frame);
            }
        }
        self.port.counters.frames_out += lane.counters().sent - before.sent;
        self.port.counters.bytes_out += lane.counters().sent_bytes - before.sent_bytes;
        blocked
    }
}
