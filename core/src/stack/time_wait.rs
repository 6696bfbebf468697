//! The table of connections in TIME-WAIT: how they enter it, answer from it and leave it (RFC 9293 §3.10.7.4, §3.6.1).

use super::Stack;
use super::flow::Flow;
use super::ip_input::Packet;
use super::nodes::Node;
use crate::counters::DropReason;
use crate::pool::Pool;
use crate::tcp::Segment;
use crate::tcp::challenge::ChallengeLimit;
use crate::tcp::time_wait::{TimeWait, Verdict};
use crate::time::Duration;

/// Whether a new connection can have a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Availability {
    /// Nobody has it.
    Free,
    /// The entry with this index in the table of those in TIME-WAIT has it, and may give it up.
    InTimeWait(u32),
    Taken,
}

impl Stack<'_> {
    /// Moves a connection in TIME-WAIT to the table of those, once it has nothing left to send. If the table is full, the
    /// oldest makes room.
    pub(super) fn enter_time_wait(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        if !core::mem::take(&mut connection.in_flows) {
            return; // it is there already
        }
        if self.time_wait.is_full() {
            self.counters.time_wait_evicted += 1;
            self.remove_oldest_time_wait();
        }
        let Some(connection) = self.connections.get(index) else { return };
        let flow_hash = connection.flow_hash;
        let connection_number = self.nodes.number(Node::Connection(index));
        let entry = self.time_wait.insert_with(|| TimeWait {
            flow: connection.flow,
            flow_hash,
            snd_nxt: connection.snd_nxt,
            rcv_nxt: connection.rcv_nxt(),
            window: (connection.promised_window() >> connection.rcv_scale).min(u32::from(u16::MAX)) as u16,
            timestamps: connection.timestamps.clone(),
            deadline: self.now + self.config.tcp.time_wait,
            challenges: ChallengeLimit::new(),
        });
        match entry {
            Some((key, _)) => {
                let number = self.nodes.number(Node::TimeWait(key.index));
                self.flows.replace(flow_hash, connection_number, number);
                let is_first = self.time_wait_queue.is_empty();
                self.links.push_back(&mut self.time_wait_queue, number);
                if is_first {
                    self.arm_time_wait_timer();
                }
            }
            // With `Limits::time_wait` at 0 nobody waits.
            None => self.flows.remove(flow_hash, connection_number),
        }
    }

    /// Whether a new connection can have a flow: what is in its place, if anything. It can have the place of one that has been in
    /// TIME-WAIT for as long as `patience`, with timestamps that tell old segments from new ones (RFC 6191 §2).
    pub(super) fn availability(&self, flow_hash: u32, flow: &Flow, patience: Option<Duration>) -> Availability {
        let Some(number) = self.find_flow(flow_hash, flow) else { return Availability::Free };
        let Node::TimeWait(index) = self.nodes.node(number) else { return Availability::Taken };
        let entry = self.time_wait.get(index).filter(|entry| entry.timestamps.agreed);
        let since = entry.map(|entry| entry.deadline - self.config.tcp.time_wait);
        let free_at = since.zip(patience).map(|(since, patience)| since + patience);
        match free_at {
            Some(free_at) if self.now >= free_at => Availability::InTimeWait(index),
            _ => Availability::Taken,
        }
    }

    /// Ends a TIME-WAIT; what there was to know of it.
    pub(super) fn leave_time_wait(&mut self, index: u32) -> Option<TimeWait> {
        let entry = self.time_wait.get(index).cloned();
        self.remove_time_wait(index);
        entry
    }

    #[inline]
    fn arm_time_wait_timer(&mut self) {
        if let Some(oldest) = self.time_wait_queue.head()
            && let Node::TimeWait(index) = self.nodes.node(oldest)
            && let Some(entry) = self.time_wait.get(index)
        {
            // A little late, so that those of one moment leave together.
            let grain = Duration::from_micros(self.config.tcp.time_wait.as_micros() / 256);
            self.deadlines.set_no_later(self.nodes.number(Node::TimeWaitTimer), entry.deadline + grain);
        }
    }

    fn remove_oldest_time_wait(&mut self) {
        if let Some(oldest) = self.time_wait_queue.head()
            && let Node::TimeWait(index) = self.nodes.node(oldest)
        {
            self.remove_time_wait(index);
        }
    }

    #[inline]
    fn remove_time_wait(&mut self, index: u32) {
        let number = self.nodes.number(Node::TimeWait(index));
        self.links.remove(&mut self.time_wait_queue, number);
        if let Some(entry) = self.time_wait.get(index) {
            self.flows.remove(entry.flow_hash, number);
            self.time_wait.remove(index);
        }
    }

    pub(super) fn time_wait_timeout(&mut self) {
        for _ in 0..super::TIMEOUTS_PER_CALL {
            let Some(oldest) = self.time_wait_queue.head() else { return };
            let Node::TimeWait(index) = self.nodes.node(oldest) else { return };
            if self.time_wait.get(index).is_some_and(|entry| entry.deadline > self.now) {
                break;
            }
            self.remove_time_wait(index);
        }
        self.arm_time_wait_timer();
    }

    pub(super) fn segment_for_time_wait(
        &mut self,
        pool: &mut Pool<'_>,
        packet: &Packet<'_>,
        index: u32,
        segment: &Segment<'_>,
    ) {
        let Some(entry) = self.time_wait.get_mut(index) else { return };
        match entry.segment_arrives(segment, self.now, &self.config.tcp) {
            Verdict::Ignore => {}
            Verdict::Remove => self.remove_time_wait(index),
            Verdict::Acknowledge => {
                self.counters.drop(DropReason::TcpNotAcceptable);
                let bare = entry.acknowledgment(self.now);
                self.send_bare(pool, &bare);
            }
            Verdict::Restart { acknowledge } => {
                entry.deadline = self.now + self.config.tcp.time_wait;
                let bare = entry.acknowledgment(self.now);
                if acknowledge {
                    self.counters.drop(DropReason::TcpNotAcceptable);
                    self.send_bare(pool, &bare);
                }
                let number = self.nodes.number(Node::TimeWait(index));
                self.links.remove(&mut self.time_wait_queue, number);
                self.links.push_back(&mut self.time_wait_queue, number);
            }
            Verdict::Reopen => {
                let (flow, flow_hash, used) = (entry.flow, entry.flow_hash, entry.snd_nxt);
                self.remove_time_wait(index);
                self.segment_without_connection(pool, packet, (&flow, flow_hash), segment, Some(used));
            }
        }
    }
}
