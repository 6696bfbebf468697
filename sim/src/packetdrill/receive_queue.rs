//! How large the receive window is on Linux, where a script has set the size of receive buffers: the memory of packet buffers counts, and
//! how well the peer fills them decides how much window there is to a byte of it.

use ethertab::{ConnectionHandle, ConnectionInfo};
use std::collections::VecDeque;

use super::ast::OuterHeader;
use super::dialect::Dialect;
use super::kernel::{File, FileKind, Kernel};
use super::send_queue::BufferSize;
use super::stream::config_of;
use super::wire::{Packet, Payload};

/// Memory of a packet buffer beside its blocks, and that of the first block.
const OVERHEAD: u32 = 256;
const PAGE: u32 = 4_096;

/// Bytes of a packet that fit into one page: less is one block, of more the rest is in pages of its own.
const LINEAR: u32 = PAGE - 64 - 320;

/// The largest piece of pages.
const LARGEST: u32 = 8 * PAGE;

/// What a buffer's memory is worth as window before a packet has come, in 256ths.
const FIRST_SHARE: u32 = 128;

/// A packet as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// Bytes in the IP packet, and of payload.
    pub(super) packet: u32,
    pub(super) payload: u32,
    /// Payload of each of the segments that it stands for.
    pub(super) unit: u32,
}

/// A packet buffer.
#[derive(Clone, Copy, Debug)]
struct Buffer {
    /// Where its packet ends, once there is no gap before it.
    end: Option<u32>,
    payload: u32,
    memory: u32,
}

/// The packet buffers of one connection. Places are offsets in its stream.
#[derive(Clone, Debug)]
pub(super) struct ReceiveQueue {
    /// The memory that they may have, and what it may grow to.
    limit: u32,
    most: u32,
    /// What that is worth, in 256ths.
    share: u32,
    /// The most window, and how far it has come.
    clamp: u32,
    threshold: u32,
    packets: VecDeque<Buffer>,
    /// Bytes that the user has read in a round trip, since when, and from where on.
    space: u32,
    since: u64,
    from: u32,
}

impl ReceiveQueue {
    /// The queue of a connection to which its peer has sent little yet.
    pub(super) fn new(size: BufferSize, info: &ConnectionInfo, now: u64) -> Self {
        let (limit, most) = size.bounds();
        let share = FIRST_SHARE;
        let threshold = info.receive_window + info.receive_queue;
        let read = (info.bytes_received as u32).wrapping_sub(info.receive_queue);
        let mut packets = VecDeque::new();
        if info.receive_queue > 0 {
            let (end, payload) = (Some(info.bytes_received as u32), info.receive_queue);
            packets.push_back(Buffer { end, payload, memory: memory_of(payload) });
        }
        let space = threshold.min(10 * u32::from(info.advertised_mss)).max(1);
        ReceiveQueue {
            limit,
            most,
            share,
            clamp: worth(limit, share),
            threshold,
            packets,
            space,
            since: now,
            from: read,
        }
    }

    /// The user has set another size.
    pub(super) fn resize(&mut self, size: BufferSize) {
        (self.limit, self.most) = size.bounds();
    }

    /// A packet has come: what the connection was before and after it.
    pub(super) fn arrived(&mut self, arrival: &Arrival, before: &ConnectionInfo, after: &ConnectionInfo) {
        let in_order = after.bytes_received != before.bytes_received;
        if !in_order && after.out_of_order_segments == before.out_of_order_segments {
            return;
        }
        let memory = memory_of(arrival.packet);
        if arrival.unit > before.receive_mss {
            self.share = (arrival.payload * 256 / memory).max(1);
            self.clamp = worth(self.limit, self.share);
            self.space = self.space.min(self.clamp).max(1);
        }
        if in_order {
            let end = after.bytes_received as u32;
            for packet in &mut self.packets {
                packet.end = packet.end.or(Some(end));
            }
            self.packets.push_back(Buffer { end: Some(end), payload: arrival.payload, memory });
            if arrival.payload >= 128 {
                self.grow_window(arrival.payload, memory, after);
            }
        } else {
            self.grow_window(arrival.payload, memory, after);
            self.packets.push_back(Buffer { end: None, payload: arrival.payload, memory });
            let beyond = self.packets.iter().filter(|packet| packet.end.is_none()).map(|packet| packet.payload).sum();
            self.grow_memory(self.space, beyond);
        }
    }

    /// The user has read up to `read`.
    pub(super) fn read(&mut self, read: u32, now: u64, info: &ConnectionInfo) {
        let is_read = |packet: &Buffer| packet.end.is_some_and(|end| read.wrapping_sub(end) as i32 >= 0);
        while self.packets.front().is_some_and(is_read) {
            self.packets.pop_front();
        }
        let round_trip = info.receive_rtt.or(info.srtt).map_or(u64::MAX, |time| time.as_micros());
        if now - self.since < round_trip {
            return;
        }
        let copied = read.wrapping_sub(self.from);
        if copied > self.space {
            self.grow_memory(copied, 0);
        }
        (self.since, self.from) = (now, read);
    }

    /// Bytes of window that there is, in units of its scale, after `current` were announced.
    pub(super) fn window(&self, current: u32, may_shrink: bool, info: &ConnectionInfo) -> u32 {
        let unit = 1 << info.window_scales.map_or(0, |(_, ours)| ours);
        let down = |bytes: u32| bytes / unit * unit;
        let allowed = worth(self.limit, self.share);
        let full = self.clamp.min(allowed);
        let mss = info.receive_mss.min(full).max(1);
        let mut free = self.free();
        if may_shrink && unit > 1 {
            free = down(free);
        }
        if free < full / 2 {
            free = down(free);
            if free < allowed / 16 || free < mss {
                return 0;
            }
        }
        let free = free.min(self.threshold);
        if unit > 1 {
            free.next_multiple_of(unit)
        } else if current <= free.saturating_sub(mss) || current > free {
            free / mss * mss
        } else if mss == full && free > current + full / 2 {
            free
        } else {
            current
        }
    }

    /// Window that the memory which is left is worth.
    fn free(&self) -> u32 {
        let used: u32 = self.packets.iter().map(|packet| packet.memory).sum();
        worth(self.limit.saturating_sub(used), self.share)
    }

    /// Opens the window for a packet of so much payload, as far as its like would fit.
    fn grow_window(&mut self, payload: u32, memory: u32, info: &ConnectionInfo) {
        let room = self.clamp.min(self.free()).saturating_sub(self.threshold);
        let step = if worth(memory, self.share) <= payload {
            2 * u32::from(info.advertised_mss)
        } else {
            // Where the window is small beside what it may be, packets may be worse filled.
            let (mut half, mut window) = (worth(memory, self.share) / 2, worth(self.most, self.share) / 2);
            while half > payload && self.threshold <= window {
                (half, window) = (half / 2, window / 2);
            }
            if self.threshold <= window { 2 * info.receive_mss } else { 0 }
        };
        if step > 0 {
            self.threshold += room.min(step.max(2 * payload));
        }
    }

    /// Makes room for twice what was read in a round trip, more where that grows, and for what waits beyond a gap.
    fn grow_memory(&mut self, copied: u32, beyond: u32) {
        let twice = u64::from(copied) * 2;
        let growth = twice * u64::from(copied.saturating_sub(self.space)) / u64::from(self.space);
        self.space = copied;
        let window = twice + 2 * growth + u64::from(beyond);
        let memory = (window * 256 / u64::from(self.share)).min(u64::from(self.most)) as u32;
        if memory > self.limit {
            self.limit = memory;
            self.clamp = worth(memory, self.share);
        }
    }
}

impl Kernel {
    /// Delivers a packet to the stack, and fits the window of its receiver before that is announced.
    ///
    /// # Errors
    /// Names what cannot be put around a packet.
    pub(super) fn deliver(&mut self, packet: &Packet, outer: &[OuterHeader]) -> Result<(), String> {
        let receiver = self.receiver_of(packet);
        self.host.deliver(packet, outer)?;
        if let Some((number, before)) = receiver {
            self.packet_arrived(number, packet, &before);
        }
        self.host.transmit();
        Ok(())
    }

    /// The memory that what a file receives may have, if it counts.
    pub(super) fn receive_memory(&self, number: i64) -> Option<u32> {
        let file = self.files.get(&number)?;
        let first = file.knobs.receive_memory.map(|size| size.bounds().0);
        file.receive_queue.as_ref().map(|queue| queue.limit).or(first)
    }

    /// The file that a packet with data is for, if the memory of its packets counts, and its connection.
    fn receiver_of(&self, packet: &Packet) -> Option<(i64, ConnectionInfo)> {
        let Payload::Tcp(segment) = &packet.payload else { return None };
        let ports = (segment.destination_port, segment.source_port);
        let counts = |file: &File| {
            file.ports == Some(ports) && file.knobs.dialect == Dialect::Linux && file.knobs.receive_memory.is_some()
        };
        let (number, _) = self.files.iter().find(|(_, file)| counts(file))?;
        let info = self.connection_info(*number)?;
        (!segment.data.is_empty() && info.state.is_synchronized()).then_some((*number, info))
    }

    fn packet_arrived(&mut self, number: i64, packet: &Packet, before: &ConnectionInfo) {
        let now = self.host.now();
        let payload = packet.payload_len() as u32;
        let unit = match u32::from(self.settings.mss) {
            0 => payload,
            mss => payload.min(mss),
        };
        let arrival = Arrival { packet: packet.to_bytes().len() as u32, payload, unit };
        let Some(after) = self.connection_info(number) else { return };
        let Some(file) = self.files.get_mut(&number) else { return };
        let (FileKind::Open(handle), Some(size)) = (&file.kind, file.knobs.receive_memory) else { return };
        let handle = *handle;
        let queue = file.receive_queue.get_or_insert_with(|| ReceiveQueue::new(size, before, now));
        queue.arrived(&arrival, before, &after);
        self.fit_window(number, handle, &after, 0, before.receive_window);
    }

    /// The user is about to read `count` bytes: what window there will be after that.
    pub(super) fn expect_reading(&mut self, number: i64, handle: ConnectionHandle, count: u32) {
        let now = self.host.now();
        let Some(info) = self.connection_info(number) else { return };
        let Some(file) = self.files.get_mut(&number) else { return };
        let Some(queue) = &mut file.receive_queue else { return };
        queue.read(file.bytes_read.wrapping_add(count), now, &info);
        self.fit_window(number, handle, &info, count, info.receive_window);
    }

    fn fit_window(&mut self, number: i64, handle: ConnectionHandle, info: &ConnectionInfo, read: u32, current: u32) {
        let now = self.host.instant();
        let Some(file) = self.files.get_mut(&number) else { return };
        let Some(queue) = &mut file.receive_queue else { return };
        let window = queue.window(current, file.knobs.tcp.shrink_window, info);
        file.knobs.receive_limit = Some((info.receive_queue - read + window).max(1));
        // One that is over needs no window.
        let _ = self.host.stack.set_connection_config(now, handle, &config_of(&file.knobs));
    }
}

fn worth(memory: u32, share: u32) -> u32 {
    (u64::from(memory) * u64::from(share) / 256) as u32
}

/// The memory of a buffer for an IP packet of so many bytes.
fn memory_of(packet: u32) -> u32 {
    if packet < LINEAR {
        return (packet + PAGE - LINEAR).next_power_of_two() + OVERHEAD;
    }
    let mut memory = PAGE + OVERHEAD;
    let mut rest = packet - LINEAR;
    while rest > 0 {
        let mut piece = LARGEST;
        while piece > PAGE && piece > rest.next_multiple_of(PAGE) {
            piece /= 2;
        }
        memory += piece;
        rest = rest.saturating_sub(piece);
    }
    memory
}

/// The window that a SYN offers: whole segments of what the memory is worth.
pub(super) fn first_window(size: BufferSize, mss: u32) -> u32 {
    let space = worth(size.bounds().0, FIRST_SHARE);
    if space > mss { space / mss * mss } else { space }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_have_the_memory_of_linuxs() {
        for (packet, memory) in [(1_063, 2_304), (9_040, 12_544), (10_040, 12_544), (20_040, 20_736), (39_040, 41_216)]
        {
            assert_eq!(memory_of(packet), memory, "{packet}");
        }
        assert_eq!(first_window(BufferSize::Fixed(40_000), 1_460), 18_980);
    }
}
