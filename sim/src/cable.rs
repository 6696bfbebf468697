//! A cable joins two ports. Each of its two directions is a [`Lane`] with an [`Impairment`] of its own.
//!
//! A perfect lane is a ring into which the sender writes frames and from which the receiver reads them, and nothing else.
//! An impaired lane first passes a frame over the line (queue, rate), then decides its fate (loss, corruption,
//! duplication), then gives it the time at which it arrives. Frames that keep their order wait in one ring, those held
//! back in a second one, each sorted by time as it is filled; so no search and no heap is needed.

use crate::impairment::{Chances, Impairment, ImpairmentError, Queue};
use crate::random::Random;
use crate::ring::{FrameRing, Pushed, Record};
use ethertab::FrameMeta;
use ethertab::time::{Duration, Instant};
use ethertab::wire::ethernet;
use std::collections::VecDeque;

/// Bytes under way in one direction of an impaired cable; more are dropped. 1 Gbit/s for 128 ms.
const IN_FLIGHT_LIMIT: usize = 16 * 1024 * 1024;
/// Bytes that wait in one direction of a perfect cable for a receiver that does not take them; more are dropped.
const PERFECT_LIMIT: usize = 1024 * 1024;
/// A host fills a perfect cable up to here and then waits, as a network card waits for the line.
const BACK_PRESSURE: usize = 64 * 1024;

/// An end of a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The first port it was plugged into.
    A,
    /// The second one.
    B,
}

impl Side {
    /// The far end.
    pub const fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Side::A => 0,
            Side::B => 1,
        }
    }
}

/// What happened to the frames sent in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCounters {
    /// Frames handed to the cable.
    pub sent: u64,
    /// Bytes of them.
    pub sent_bytes: u64,
    /// Frames that came out at the far end, duplicates included.
    pub delivered: u64,
    /// Lost at random.
    pub lost: u64,
    /// Lost in a burst.
    pub burst_lost: u64,
    /// Dropped since the queue in front of the line was full.
    pub queue_dropped: u64,
    /// Dropped since the receiver left too much lying on the cable, or too much was under way.
    pub overflowed: u64,
    /// Dropped since longer than the MTU.
    pub too_long: u64,
    /// Frames with a flipped bit.
    pub corrupted: u64,
    /// Frames that were sent twice.
    pub duplicated: u64,
    /// Frames that were held back.
    pub reordered: u64,
}

/// Two lanes.
#[derive(Clone, Debug)]
pub struct Cable {
    lanes: [Lane; 2],
}

impl Cable {
    /// A perfect cable. What its impairments draw later depends on `seed` and `stream` alone.
    pub fn new(seed: u64, stream: u64) -> Self {
        let lane = |side: Side| Lane::new(Random::new(seed, stream.wrapping_mul(2).wrapping_add(side.index() as u64)));
        Cable { lanes: [lane(Side::A), lane(Side::B)] }
    }

    /// Changes what happens to the frames sent from `side` from now on. Those under way are not touched.
    ///
    /// # Errors
    /// If the impairment makes no sense; the cable is as before then.
    pub fn impair(&mut self, side: Side, impairment: Impairment) -> Result<(), ImpairmentError> {
        self.lane_mut(side).impair(impairment)
    }

    /// The direction in which frames sent from `side` go.
    pub fn lane(&self, side: Side) -> &Lane {
        &self.lanes[side.index()]
    }

    /// The direction in which frames sent from `side` go.
    pub fn lane_mut(&mut self, side: Side) -> &mut Lane {
        &mut self.lanes[side.index()]
    }
}

/// One direction of a cable.
#[derive(Clone, Debug)]
pub struct Lane {
    in_order: FrameRing,
    held_back: FrameRing,
    /// When the last frame that keeps its order is due, and the last one held back.
    last_due: [Instant; 2],
    line: Line,
    impairment: Impairment,
    /// `None` for a perfect cable.
    chances: Option<Chances>,
    in_burst: bool,
    random: Random,
    counters: LaneCounters,
}

impl Lane {
    fn new(random: Random) -> Self {
        Lane {
            in_order: FrameRing::new(PERFECT_LIMIT),
            held_back: FrameRing::new(IN_FLIGHT_LIMIT),
            last_due: [Instant::ZERO; 2],
            line: Line::default(),
            impairment: Impairment::PERFECT,
            chances: None,
            in_burst: false,
            random,
            counters: LaneCounters::default(),
        }
    }

    fn impair(&mut self, impairment: Impairment) -> Result<(), ImpairmentError> {
        impairment.check()?;
        self.impairment = impairment;
        self.chances = (!impairment.is_perfect()).then(|| Chances::new(&impairment));
        self.in_order.set_limit(if self.chances.is_some() { IN_FLIGHT_LIMIT } else { PERFECT_LIMIT });
        self.in_burst &= impairment.burst_loss.is_some();
        Ok(())
    }

    /// What it does to frames.
    pub fn impairment(&self) -> &Impairment {
        &self.impairment
    }

    /// What it has done to frames.
    pub fn counters(&self) -> &LaneCounters {
        &self.counters
    }

    /// Frames under way.
    pub fn in_flight(&self) -> usize {
        self.in_order.len() + self.held_back.len()
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.in_order.capacity() + self.held_back.capacity()
    }

    pub(crate) fn is_perfect(&self) -> bool {
        self.chances.is_none()
    }

    /// Whether a sender that can wait should wait.
    #[inline]
    pub(crate) fn is_backed_up(&self) -> bool {
        self.chances.is_none() && self.in_order.used() + self.held_back.used() >= BACK_PRESSURE
    }

    /// Sends a copy of `frame`; frames of length 0 are ignored. Returns whether it will arrive.
    pub fn send(&mut self, now: Instant, frame: &[u8], meta: FrameMeta) -> bool {
        self.send_after(now, frame, meta, 0)
    }

    /// [`send`](Self::send) for a frame that has passed `hops` switches.
    pub(crate) fn send_after(&mut self, now: Instant, frame: &[u8], meta: FrameMeta, hops: u8) -> bool {
        if frame.is_empty() {
            return false;
        }
        self.counters.sent += 1;
        self.counters.sent_bytes += frame.len() as u64;
        match self.chances {
            None => {
                let due = now.max(self.last_due[0]);
                self.put(false, frame, due, meta, hops)
            }
            Some(chances) => self.send_impaired(now, frame, meta, hops, &chances),
        }
    }

    /// Lets `write` put a frame of up to `max` bytes right into a perfect cable; the length is what `write` returns.
    #[inline]
    pub(crate) fn send_in_place(
        &mut self,
        now: Instant,
        max: usize,
        write: impl FnOnce(&mut [u8]) -> Option<FrameMeta>,
    ) -> Pushed {
        debug_assert!(self.chances.is_none());
        let due = now.max(self.last_due[0]);
        let pushed = self.in_order.push_with(max, due, 0, write);
        if pushed == Pushed::Frame {
            let len = self.in_order.back().map_or(0, |(_, frame)| frame.len());
            self.counters.sent += 1;
            self.counters.sent_bytes += len as u64;
        }
        pushed
    }

    /// The frame sent last by [`send_in_place`](Self::send_in_place).
    pub(crate) fn last_sent(&self) -> Option<&[u8]> {
        self.in_order.back().map(|(_, frame)| frame)
    }

    fn send_impaired(&mut self, now: Instant, frame: &[u8], meta: FrameMeta, hops: u8, chances: &Chances) -> bool {
        if self.impairment.mtu.is_some_and(|mtu| frame.len() > usize::from(mtu) + header_len(frame)) {
            self.counters.too_long += 1;
            return false;
        }
        let Some(sent) = self.line.send(now, frame.len(), self.impairment.rate, self.impairment.queue) else {
            self.counters.queue_dropped += 1;
            return false;
        };
        if self.random.happens(chances.loss) {
            self.counters.lost += 1;
            return false;
        }
        if self.is_lost_in_burst(chances) {
            self.counters.burst_lost += 1;
            return false;
        }
        let corrupt = self.random.happens(chances.corrupt);
        let duplicate = self.random.happens(chances.duplicate);
        let held_back = self.random.happens(chances.reorder);
        let mut due = sent + self.latency();
        if held_back {
            due += self.impairment.reorder_by;
            self.counters.reordered += 1;
        }
        let last_due = &mut self.last_due[usize::from(held_back)];
        due = due.max(*last_due);
        *last_due = due;
        if !self.put(held_back, frame, due, meta, hops) {
            return false;
        }
        if corrupt {
            let bit = self.random.index(frame.len() * 8);
            let ring = if held_back { &mut self.held_back } else { &mut self.in_order };
            if let Some(bytes) = ring.back_mut() {
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            self.counters.corrupted += 1;
        }
        if duplicate {
            self.counters.duplicated += 1;
            self.put(held_back, frame, due, meta, hops);
        }
        true
    }

    #[inline(never)] // Once, for frames on a perfect cable, impaired ones and duplicates.
    fn put(&mut self, held_back: bool, frame: &[u8], due: Instant, meta: FrameMeta, hops: u8) -> bool {
        let ring = if held_back { &mut self.held_back } else { &mut self.in_order };
        let fits = ring.push(frame, due, meta, hops);
        if !fits {
            self.counters.overflowed += 1;
        }
        fits
    }

    fn is_lost_in_burst(&mut self, chances: &Chances) -> bool {
        let changes = if self.in_burst { chances.burst_stop } else { chances.burst_start };
        if self.random.happens(changes) {
            self.in_burst = !self.in_burst;
        }
        self.in_burst && self.random.happens(chances.burst_loss)
    }

    fn latency(&mut self) -> Duration {
        let jitter = self.impairment.jitter.as_micros();
        let latency = self.impairment.latency.as_micros();
        if jitter == 0 {
            return self.impairment.latency;
        }
        let varied = latency.saturating_add(self.random.below(jitter.saturating_mul(2).saturating_add(1)));
        Duration::from_micros(varied.saturating_sub(jitter))
    }

    /// When the next frame arrives.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.next().map(|(record, _)| record.due)
    }

    /// The next frame, if it has arrived by `now`; [`pop`](Self::pop) takes it off the cable.
    pub fn arrived(&self, now: Instant) -> Option<(&[u8], FrameMeta)> {
        self.next_arrived(now).map(|(record, frame)| (frame, record.meta))
    }

    #[inline]
    pub(crate) fn next_arrived(&self, now: Instant) -> Option<(&Record, &[u8])> {
        self.next().filter(|(record, _)| record.due <= now)
    }

    #[inline]
    fn next(&self) -> Option<(&Record, &[u8])> {
        if self.held_back.is_empty() || self.in_order_is_next() {
            return self.in_order.front();
        }
        self.held_back.front()
    }

    fn in_order_is_next(&self) -> bool {
        match (self.in_order.front(), self.held_back.front()) {
            (Some((in_order, _)), Some((held_back, _))) => in_order.due <= held_back.due,
            (_, held_back) => held_back.is_none(),
        }
    }

    /// Takes the next frame off the cable.
    #[inline]
    pub fn pop(&mut self) {
        let ring =
            if self.held_back.is_empty() || self.in_order_is_next() { &mut self.in_order } else { &mut self.held_back };
        if !ring.is_empty() {
            self.counters.delivered += 1;
            ring.pop();
        }
    }
}

fn header_len(frame: &[u8]) -> usize {
    let tagged = frame.get(12..14) == Some(&ethernet::ethertype::VLAN.to_be_bytes());
    ethernet::HEADER_LEN + if tagged { 4 } else { 0 }
}

/// A line with a rate: when it is free again, and the frames that wait for it.
#[derive(Clone, Debug, Default)]
struct Line {
    /// When the last bit of the last frame leaves, in whole microseconds...
    free_at: Instant,
    /// ...and the rest of a microsecond, in units of 1 / rate: no rounding adds up, whatever the rate.
    remainder: u64,
    /// Frames that have not left yet: when their last bit leaves, and their lengths in bytes.
    waiting: VecDeque<(Instant, usize)>,
    waiting_bytes: usize,
}

impl Line {
    /// When the last bit of a frame of `len` bytes has left, rounded up to a microsecond; `None` if the queue is full.
    fn send(&mut self, now: Instant, len: usize, rate: Option<u64>, queue: Queue) -> Option<Instant> {
        let Some(rate) = rate else {
            self.waiting.clear();
            self.waiting_bytes = 0;
            return Some(now);
        };
        while let Some(&(gone, len)) = self.waiting.front()
            && gone <= now
        {
            self.waiting_bytes -= len;
            self.waiting.pop_front();
        }
        let full = match queue {
            Queue::Frames(frames) => self.waiting.len() >= frames as usize,
            Queue::Bytes(bytes) => !self.waiting.is_empty() && self.waiting_bytes + len > bytes as usize,
        };
        if full {
            return None;
        }
        // The remainder belongs to the rate at which it arose; it is below one microsecond whatever it was.
        if self.free_at < now || self.remainder >= rate {
            self.free_at = self.free_at.max(now);
            self.remainder = 0;
        }
        let ticks = len as u64 * 8 * 1_000_000 + self.remainder;
        self.free_at += Duration::from_micros(ticks / rate);
        self.remainder = ticks % rate;
        let gone = if self.remainder == 0 { self.free_at } else { self.free_at + Duration::from_micros(1) };
        self.waiting.push_back((gone, len));
        self.waiting_bytes += len;
        Some(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::impairment::BurstLoss;

    fn cable(impairment: Impairment) -> Cable {
        let mut cable = Cable::new(42, 0);
        cable.impair(Side::A, impairment).unwrap();
        cable
    }

    fn send(cable: &mut Cable, now: u64, frame: &[u8]) -> bool {
        cable.lane_mut(Side::A).send(Instant::from_micros(now), frame, FrameMeta::received(frame.len()))
    }

    /// All frames in the order of arrival, with their times in microseconds.
    fn receive(cable: &mut Cable) -> Vec<(u64, Vec<u8>)> {
        let lane = cable.lane_mut(Side::A);
        let mut frames = Vec::new();
        while let Some((frame, _)) = lane.arrived(Instant::FAR_FUTURE) {
            let frame = frame.to_vec();
            frames.push((lane.next_arrival().unwrap().as_micros(), frame));
            lane.pop();
        }
        frames
    }

    fn numbered(number: u32) -> Vec<u8> {
        let mut frame = vec![0; 60];
        frame[..4].copy_from_slice(&number.to_be_bytes());
        frame
    }

    fn numbers(frames: &[(u64, Vec<u8>)]) -> Vec<u32> {
        frames.iter().map(|(_, frame)| u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]])).collect()
    }

    #[test]
    fn a_perfect_cable_delivers_at_once_and_in_order() {
        let mut cable = cable(Impairment::PERFECT);
        for number in 0..100 {
            assert!(send(&mut cable, 5, &numbered(number)));
        }
        let frames = receive(&mut cable);
        assert!(frames.iter().all(|(at, _)| *at == 5));
        assert_eq!(numbers(&frames), (0..100).collect::<Vec<_>>());
        assert_eq!(cable.lane(Side::A).counters().delivered, 100);
        assert_eq!(cable.lane(Side::B).counters().sent, 0);
    }

    #[test]
    fn a_perfect_cable_that_nobody_empties_is_bounded() {
        let mut cable = cable(Impairment::PERFECT);
        let accepted = (0..2_000).filter(|_| send(&mut cable, 0, &[0; 1_514])).count();
        assert_eq!(accepted, PERFECT_LIMIT / 1_514);
        assert_eq!(cable.lane(Side::A).counters().overflowed, 2_000 - accepted as u64);
        assert!(cable.lane(Side::A).memory() <= PERFECT_LIMIT);
    }

    #[test]
    fn loss_is_exact_for_the_seed() {
        let run = |stream| {
            let mut cable = Cable::new(42, stream);
            cable.impair(Side::A, Impairment { loss: 0.01, ..Impairment::PERFECT }).unwrap();
            for number in 0..10_000 {
                send(&mut cable, 0, &numbered(number));
            }
            numbers(&receive(&mut cable))
        };
        let arrived = run(0);
        assert_eq!(arrived, run(0));
        assert_ne!(arrived, run(1));
        assert!((9_870..9_930).contains(&arrived.len()), "{}", arrived.len());
    }

    #[test]
    fn burst_loss_comes_in_bursts_of_the_given_length() {
        let burst_loss = Some(BurstLoss { start: 0.001, stop: 0.1, loss: 1.0 });
        let mut cable = cable(Impairment { burst_loss, ..Impairment::PERFECT });
        let fates: Vec<bool> = (0..100_000).map(|number| send(&mut cable, 0, &numbered(number))).collect();
        let lost = fates.iter().filter(|arrives| !**arrives).count();
        let bursts = fates.windows(2).filter(|pair| pair[0] && !pair[1]).count();
        assert_eq!(cable.lane(Side::A).counters().burst_lost, lost as u64);
        assert!((70..130).contains(&bursts), "{bursts}");
        assert!((8..13).contains(&(lost / bursts)), "{lost} in {bursts}");
    }

    #[test]
    fn the_rate_is_exact_to_the_microsecond() {
        // 3 Mbit/s and 100 bytes: 266.67 µs a frame, which no rounding of single frames adds up to.
        let mut cable = cable(Impairment { rate: Some(3_000_000), ..Impairment::PERFECT });
        for number in 0..900 {
            send(&mut cable, 1_000, &[&numbered(number)[..], &[0; 40]].concat());
        }
        let times: Vec<u64> = receive(&mut cable).iter().map(|(at, _)| *at).collect();
        assert_eq!(times[..4], [1_267, 1_534, 1_800, 2_067]);
        assert_eq!(times[899], 1_000 + 900 * 800 / 3);
    }

    #[test]
    fn an_idle_line_starts_afresh() {
        let mut cable = cable(Impairment { rate: Some(8_000_000), ..Impairment::PERFECT });
        send(&mut cable, 0, &[0; 100]);
        send(&mut cable, 50, &[0; 100]);
        send(&mut cable, 1_000, &[0; 100]);
        let times: Vec<u64> = receive(&mut cable).iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [100, 200, 1_100]);
    }

    #[test]
    fn a_full_queue_drops_and_drains_with_the_line() {
        let queue = Queue::Frames(3);
        let mut frames = cable(Impairment { rate: Some(8_000_000), queue, ..Impairment::PERFECT });
        assert_eq!((0..5).filter(|_| send(&mut frames, 0, &[0; 100])).count(), 3);
        assert_eq!(frames.lane(Side::A).counters().queue_dropped, 2);
        assert!(!send(&mut frames, 99, &[0; 100]));
        assert!(send(&mut frames, 100, &[0; 100]));

        let queue = Queue::Bytes(250);
        let mut bytes = cable(Impairment { rate: Some(8_000_000), queue, ..Impairment::PERFECT });
        assert!(send(&mut bytes, 0, &[0; 1_000]));
        assert!(!send(&mut bytes, 999, &[0; 100]));
        assert_eq!((0..5).filter(|_| send(&mut bytes, 1_000, &[0; 100])).count(), 2);
    }

    #[test]
    fn frames_held_back_arrive_late_and_the_others_keep_their_order() {
        let reorder_by = Duration::from_micros(500);
        let mut cable =
            cable(Impairment { latency: Duration::from_millis(1), reorder: 0.1, reorder_by, ..Impairment::PERFECT });
        for number in 0..1_000 {
            send(&mut cable, u64::from(number) * 10, &numbered(number));
        }
        let held_back = cable.lane(Side::A).counters().reordered;
        assert!((70..130).contains(&held_back), "{held_back}");
        let frames = receive(&mut cable);
        assert_eq!(frames.len(), 1_000);
        assert!(frames.is_sorted_by_key(|(at, _)| *at));
        let mut late = 0;
        for ((at, _), number) in frames.iter().zip(numbers(&frames)) {
            let delay = at - u64::from(number) * 10;
            assert!(delay == 1_000 || delay == 1_500, "{delay}");
            late += u64::from(delay == 1_500);
        }
        assert_eq!(late, held_back);
    }

    #[test]
    fn jitter_varies_the_latency_within_its_bounds_and_keeps_the_order() {
        let mut cable = cable(Impairment {
            latency: Duration::from_millis(10),
            jitter: Duration::from_millis(3),
            ..Impairment::PERFECT
        });
        for number in 0..1_000 {
            send(&mut cable, u64::from(number) * 10_000, &numbered(number));
        }
        let frames = receive(&mut cable);
        assert_eq!(numbers(&frames), (0..1_000).collect::<Vec<_>>());
        let delays: Vec<u64> = frames.iter().zip(0..).map(|((at, _), number)| at - number * 10_000).collect();
        let (least, most) = (*delays.iter().min().unwrap(), *delays.iter().max().unwrap());
        assert!((7_000..7_050).contains(&least) && (12_950..=13_000).contains(&most), "{least} {most}");
    }

    #[test]
    fn duplicates_follow_and_corruption_flips_one_bit() {
        let mut cable = cable(Impairment { duplicate: 1.0, corrupt: 1.0, ..Impairment::PERFECT });
        send(&mut cable, 0, &[0; 60]);
        let frames = receive(&mut cable);
        let flipped: Vec<u32> =
            frames.iter().map(|(_, frame)| frame.iter().map(|byte| byte.count_ones()).sum()).collect();
        assert_eq!(flipped, [1, 0]);
    }

    #[test]
    fn too_long_frames_are_dropped_but_a_vlan_tag_is_not_counted() {
        let mut cable = cable(Impairment { mtu: Some(1_500), ..Impairment::PERFECT });
        assert!(send(&mut cable, 0, &[0; 1_514]));
        assert!(!send(&mut cable, 0, &[0; 1_515]));
        let mut tagged = [0; 1_518];
        tagged[12..14].copy_from_slice(&[0x81, 0x00]);
        assert!(send(&mut cable, 0, &tagged));
        assert_eq!(cable.lane(Side::A).counters().too_long, 1);
    }

    #[test]
    fn impairments_change_while_frames_are_under_way() {
        let mut cable = cable(Impairment::latency(Duration::from_millis(5)));
        send(&mut cable, 0, &numbered(0));
        cable.impair(Side::A, Impairment::PERFECT).unwrap();
        send(&mut cable, 1, &numbered(1));
        let frames = receive(&mut cable);
        assert_eq!(numbers(&frames), [0, 1], "a shorter cable does not let frames overtake");
        assert_eq!(frames[1].0, 5_000);
    }
}
