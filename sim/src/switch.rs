//! A learning Ethernet switch (IEEE 802.1D §7): it remembers behind which port a station lives, sends frames for a known
//! station there and all others to every port but the one they came from.
//!
//! Everything about it is bounded: the table of stations (a keyed hash, so that no sender can choose which entries
//! collide), the flooded frames per second (storm control) and the switches that one frame may pass; the last two end
//! the storm that a loop of cables would be, without a spanning tree. The bounded queue of each port is its cable.
//!
//! A port may be isolated, as those of a private VLAN are (RFC 5517): no frame passes from an isolated port to another one,
//! whatever its destination. Stations behind isolated ports are not trusted either: none takes the address of a station that is
//! known elsewhere, or makes the switch forget one, but for those of a port that has many where there is no room. Each has a
//! flood limit of its own, so that none uses up what the others need to find their router.

use ethertab::time::{Duration, Instant};
use ethertab::wire::MacAddr;
use siphasher::sip::SipHasher13;

/// Entries whose hashes agree in their low bits share a set of this many places.
const WAYS: usize = 4;

/// A frame that has passed this many switches is in a loop.
pub(crate) const MAX_HOPS: u8 = 16;

/// How a switch behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchConfig {
    /// Stations remembered, rounded up to a power of two, at least 4. When the places for a station are taken, the
    /// station heard of least recently is forgotten.
    pub stations: usize,
    /// How long a station that is not heard of is remembered (IEEE 802.1D §7.9.2 recommends 300 s).
    pub ageing: Duration,
    /// Broadcast, multicast and unknown-station frames forwarded per second, from each isolated port and from all others
    /// together; as many may come at once.
    pub flood_limit: u32,
}

impl Default for SwitchConfig {
    fn default() -> Self {
        SwitchConfig { stations: 1_024, ageing: Duration::from_secs(300), flood_limit: 20_000 }
    }
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Out of this port.
    To(u16),
    /// Out of every port but the one it came from.
    Flood,
    /// Nowhere.
    Drop,
}

/// What a switch has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwitchCounters {
    /// Frames sent to the one port behind which their destination lives.
    pub forwarded: u64,
    /// Frames sent to all ports.
    pub flooded: u64,
    /// Frames for a station behind the port they came from.
    pub filtered: u64,
    /// Frames shorter than an Ethernet header, or from a group address.
    pub malformed: u64,
    /// Frames not flooded since the flood limit was reached.
    pub storm_dropped: u64,
    /// Frames that have passed too many switches.
    pub loop_dropped: u64,
    /// Frames from an isolated port whose sender has the address of a station behind another port.
    pub spoofed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Station {
    mac: MacAddr,
    port: u16,
    heard: Instant,
}

/// The table and the counters; the ports are those of the [`Network`](crate::Network).
#[derive(Clone, Debug)]
pub struct Switch {
    config: SwitchConfig,
    key: (u64, u64),
    sets: Vec<[Option<Station>; WAYS]>,
    /// For each port the flood limit of its own that it has if it is isolated.
    isolated: Vec<Option<Bucket>>,
    /// That of all other ports.
    shared: Bucket,
    counters: SwitchCounters,
}

/// Storm control as a token bucket.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// In millionths of a frame.
    tokens: u64,
    refilled: Instant,
}

impl Switch {
    /// A switch that knows no station; `key` is secret to those who send frames through it.
    pub fn new(config: SwitchConfig, key: (u64, u64)) -> Self {
        let sets = config.stations.div_ceil(WAYS).clamp(1, 1 << 20).next_power_of_two();
        Switch {
            config,
            key,
            sets: vec![[None; WAYS]; sets],
            isolated: Vec::new(),
            shared: Bucket::full(&config),
            counters: SwitchCounters::default(),
        }
    }

    /// What it has done.
    pub fn counters(&self) -> &SwitchCounters {
        &self.counters
    }

    /// Tells of a port that the switch has: they are numbered in that order.
    pub(crate) fn add_port(&mut self) {
        self.isolated.push(None);
    }

    /// Isolates a port, or ends that. Stations that are known behind it stay known.
    pub(crate) fn isolate(&mut self, port: u16, isolated: bool) {
        if let Some(bucket) = self.isolated.get_mut(usize::from(port)) {
            *bucket = isolated.then(|| Bucket::full(&self.config));
        }
    }

    /// Whether frames may pass from one port to another.
    pub(crate) fn joins(&self, from: u16, to: u16) -> bool {
        !(self.is_isolated(from) && self.is_isolated(to))
    }

    fn is_isolated(&self, port: u16) -> bool {
        matches!(self.isolated.get(usize::from(port)), Some(Some(_)))
    }

    /// Decides where a frame from `port` goes, and learns where its sender lives.
    pub fn forward(&mut self, now: Instant, port: u16, frame: &[u8]) -> Forward {
        self.forward_after(now, port, frame, 0)
    }

    /// [`forward`](Self::forward) for a frame that has passed `hops` switches before.
    pub(crate) fn forward_after(&mut self, now: Instant, port: u16, frame: &[u8], hops: u8) -> Forward {
        let Some((destination, source)) = addresses(frame).filter(|(_, source)| source.is_unicast()) else {
            self.counters.malformed += 1;
            return Forward::Drop;
        };
        if hops >= MAX_HOPS {
            self.counters.loop_dropped += 1;
            return Forward::Drop;
        }
        if !self.learn(now, port, source) {
            self.counters.spoofed += 1;
            return Forward::Drop;
        }
        // A guest that says it is the gateway, before that was heard of, must not keep others from reaching it: what is
        // for a station behind an isolated port goes out of all ports that are not.
        match self.port_of(now, destination).filter(|&known| known == port || self.joins(port, known)) {
            Some(known) if known == port => {
                self.counters.filtered += 1;
                Forward::Drop
            }
            Some(known) => {
                self.counters.forwarded += 1;
                Forward::To(known)
            }
            None if self.may_flood(now, port) => {
                self.counters.flooded += 1;
                Forward::Flood
            }
            None => {
                self.counters.storm_dropped += 1;
                Forward::Drop
            }
        }
    }

    /// The port behind which a station lives, as far as is known.
    pub fn port_of(&self, now: Instant, mac: MacAddr) -> Option<u16> {
        if mac.is_multicast() {
            return None;
        }
        let set = &self.sets[self.set_of(mac)];
        let station = set.iter().flatten().find(|station| station.mac == mac)?;
        (now.since(station.heard) < self.config.ageing).then_some(station.port)
    }

    /// Forgets the stations behind a port.
    pub(crate) fn forget_port(&mut self, port: u16) {
        for place in self.sets.iter_mut().flatten() {
            if place.is_some_and(|station| station.port == port) {
                *place = None;
            }
        }
    }

    /// False if the station may not be behind that port.
    fn learn(&mut self, now: Instant, port: u16, mac: MacAddr) -> bool {
        let set = self.set_of(mac);
        let trusted = !self.is_isolated(port);
        let has_none = !trusted && self.places_of(set, port) == 0;
        // The place of the station, or of the one heard of least recently among those that may be forgotten for it.
        let mut place = None;
        let mut oldest = now;
        for (index, station) in self.sets[set].iter().enumerate() {
            let heard = station.map_or(Instant::ZERO, |station| station.heard);
            let may_take = station.is_none_or(|station| {
                trusted
                    || station.port == port
                    || (now.since(heard) >= self.config.ageing && self.is_isolated(station.port))
            });
            if station.is_some_and(|station| station.mac == mac) {
                if !may_take {
                    return false;
                }
                place = Some(index);
                break;
            }
            // What is for a station that has no place goes out of each port: nobody takes all places to hear that.
            let is_spare = station.is_some_and(|station| {
                has_none && self.is_isolated(station.port) && self.places_of(set, station.port) > 1
            });
            if (may_take || is_spare) && (place.is_none() || heard < oldest) {
                place = Some(index);
                oldest = heard;
            }
        }
        if let Some(place) = place {
            self.sets[set][place] = Some(Station { mac, port, heard: now });
        }
        true
    }

    /// How many stations behind a port a set has.
    #[inline(never)] // Called from two places: one copy is enough.
    fn places_of(&self, set: usize, port: u16) -> usize {
        self.sets[set].iter().flatten().filter(|station| station.port == port).count()
    }

    fn set_of(&self, mac: MacAddr) -> usize {
        SipHasher13::new_with_keys(self.key.0, self.key.1).hash(&mac.0) as usize & (self.sets.len() - 1)
    }

    fn may_flood(&mut self, now: Instant, port: u16) -> bool {
        let own = self.isolated.get_mut(usize::from(port)).and_then(Option::as_mut);
        own.unwrap_or(&mut self.shared).take(now, &self.config)
    }
}

impl Bucket {
    const FRAME: u64 = 1_000_000;

    fn full(config: &SwitchConfig) -> Self {
        Bucket { tokens: u64::from(config.flood_limit) * Self::FRAME, refilled: Instant::ZERO }
    }

    /// Whether one more frame may be flooded.
    fn take(&mut self, now: Instant, config: &SwitchConfig) -> bool {
        let limit = u64::from(config.flood_limit);
        let earned = now.since(self.refilled).as_micros().saturating_mul(limit);
        self.tokens = self.tokens.saturating_add(earned).min(limit * Self::FRAME);
        self.refilled = self.refilled.max(now);
        let may = self.tokens >= Self::FRAME;
        if may {
            self.tokens -= Self::FRAME;
        }
        may
    }
}

/// Destination and source of a frame that is long enough to have a header.
fn addresses(frame: &[u8]) -> Option<(MacAddr, MacAddr)> {
    let (destination, rest) = frame.split_first_chunk()?;
    let (source, rest) = rest.split_first_chunk()?;
    (rest.len() >= 2).then_some((MacAddr(*destination), MacAddr(*source)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(to: MacAddr, from: MacAddr) -> Vec<u8> {
        [&to.0[..], &from.0, &[0x08, 0x00], &[0; 46]].concat()
    }

    fn mac(number: u16) -> MacAddr {
        let [high, low] = number.to_be_bytes();
        MacAddr([2, 0, 0, 0, high, low])
    }

    fn switch(config: SwitchConfig) -> Switch {
        let mut switch = Switch::new(config, (1, 2));
        for _ in 0..4 {
            switch.add_port();
        }
        switch
    }

    const T0: Instant = Instant::ZERO;

    #[test]
    fn it_learns_where_stations_live() {
        let mut switch = switch(SwitchConfig::default());
        assert_eq!(switch.forward(T0, 0, &frame(mac(2), mac(1))), Forward::Flood);
        assert_eq!(switch.forward(T0, 1, &frame(mac(1), mac(2))), Forward::To(0));
        assert_eq!(switch.forward(T0, 0, &frame(mac(2), mac(1))), Forward::To(1));
        assert_eq!(switch.forward(T0, 3, &frame(mac(9), mac(1))), Forward::Flood, "the station has moved");
        assert_eq!(switch.forward(T0, 1, &frame(mac(1), mac(2))), Forward::To(3));
    }

    #[test]
    fn a_frame_for_its_own_side_is_filtered() {
        let mut switch = switch(SwitchConfig::default());
        switch.forward(T0, 0, &frame(mac(9), mac(1)));
        assert_eq!(switch.forward(T0, 0, &frame(mac(1), mac(2))), Forward::Drop);
        assert_eq!(switch.counters().filtered, 1);
    }

    #[test]
    fn broadcast_and_multicast_are_flooded_and_never_learned() {
        let mut switch = switch(SwitchConfig::default());
        let group = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(switch.forward(T0, 0, &frame(MacAddr::BROADCAST, mac(1))), Forward::Flood);
        assert_eq!(switch.forward(T0, 0, &frame(group, mac(1))), Forward::Flood);
        assert_eq!(switch.forward(T0, 0, &frame(mac(1), group)), Forward::Drop);
        assert_eq!(switch.forward(T0, 0, &[0; 13]), Forward::Drop);
        assert_eq!(switch.counters().malformed, 2);
    }

    #[test]
    fn stations_age() {
        let mut switch = switch(SwitchConfig::default());
        switch.forward(T0, 0, &frame(mac(9), mac(1)));
        assert_eq!(switch.port_of(Instant::from_millis(299_999), mac(1)), Some(0));
        assert_eq!(switch.port_of(Instant::from_secs(300), mac(1)), None);
        switch.forward(Instant::from_secs(300), 0, &frame(mac(9), mac(1)));
        assert_eq!(switch.port_of(Instant::from_secs(301), mac(1)), Some(0));
    }

    #[test]
    fn the_table_is_bounded_and_keeps_the_stations_heard_last() {
        let mut switch = switch(SwitchConfig { stations: 64, ..SwitchConfig::default() });
        for number in 0..5_000 {
            switch.forward(Instant::from_millis(number.into()), 0, &frame(MacAddr::BROADCAST, mac(number)));
        }
        let now = Instant::from_secs(5);
        let known = (0..5_000).filter(|&number| switch.port_of(now, mac(number)).is_some()).count();
        assert_eq!(known, 64);
        assert_eq!(switch.port_of(now, mac(4_999)), Some(0));
    }

    #[test]
    fn a_port_that_is_unplugged_is_forgotten() {
        let mut switch = switch(SwitchConfig::default());
        switch.forward(T0, 0, &frame(mac(9), mac(1)));
        switch.forward(T0, 1, &frame(mac(9), mac(2)));
        switch.forget_port(0);
        assert_eq!(switch.port_of(T0, mac(1)), None);
        assert_eq!(switch.port_of(T0, mac(2)), Some(1));
    }

    #[test]
    fn nothing_passes_between_isolated_ports() {
        let mut switch = switch(SwitchConfig::default());
        let (uplink, guest, other) = (0, 1, 2);
        switch.isolate(guest, true);
        switch.isolate(other, true);
        assert!(!switch.joins(guest, other) && switch.joins(guest, uplink) && switch.joins(uplink, other));
        switch.forward(T0, uplink, &frame(MacAddr::BROADCAST, mac(1)));
        switch.forward(T0, guest, &frame(MacAddr::BROADCAST, mac(2)));
        assert_eq!(switch.forward(T0, other, &frame(mac(1), mac(3))), Forward::To(uplink));
        assert_eq!(switch.forward(T0, uplink, &frame(mac(2), mac(1))), Forward::To(guest));
        assert_eq!(switch.forward(T0, other, &frame(mac(2), mac(3))), Forward::Flood, "to ports that are not isolated");
        switch.isolate(other, false);
        assert_eq!(switch.forward(T0, other, &frame(mac(2), mac(3))), Forward::To(guest));
    }

    #[test]
    fn an_isolated_port_has_a_flood_limit_of_its_own() {
        let mut switch = switch(SwitchConfig { flood_limit: 100, ..SwitchConfig::default() });
        let (uplink, guest, other) = (0, 1, 2);
        for port in [guest, other] {
            switch.isolate(port, true);
        }
        let flood = |switch: &mut Switch, port: u16, now| {
            (0..1_000)
                .filter(|_| switch.forward(now, port, &frame(MacAddr::BROADCAST, mac(port))) == Forward::Flood)
                .count()
        };
        assert_eq!(flood(&mut switch, guest, T0), 100);
        assert_eq!(flood(&mut switch, other, T0), 100, "what the other has sent is not counted");
        assert_eq!(flood(&mut switch, uplink, T0), 100, "nor is that of both for those that are not isolated");
        assert_eq!(flood(&mut switch, 3, T0), 0, "which share one");
        assert_eq!(flood(&mut switch, guest, Instant::from_millis(500)), 50);
    }

    #[test]
    fn a_station_behind_an_isolated_port_cannot_pose_as_another() {
        let mut switch = switch(SwitchConfig { stations: 64, ..SwitchConfig::default() });
        let (uplink, guest, other) = (0, 1, 2);
        for port in [guest, other] {
            switch.isolate(port, true);
        }
        switch.forward(T0, guest, &frame(MacAddr::BROADCAST, mac(1)));
        assert_eq!(switch.forward(T0, other, &frame(mac(1), mac(2))), Forward::Flood, "the router was not heard of");
        switch.forward(T0, uplink, &frame(MacAddr::BROADCAST, mac(1)));
        assert_eq!(switch.port_of(T0, mac(1)), Some(uplink));
        switch.forward(T0, other, &frame(mac(1), mac(2)));
        for posing in [mac(1), mac(2)] {
            assert_eq!(switch.forward(T0, guest, &frame(MacAddr::BROADCAST, posing)), Forward::Drop);
        }
        for number in 100..5_000 {
            switch.forward(T0, guest, &frame(mac(1), mac(number)));
        }
        assert_eq!((switch.port_of(T0, mac(1)), switch.port_of(T0, mac(2))), (Some(uplink), Some(other)));
        assert_eq!(switch.counters().spoofed, 2);
        let later = Instant::from_secs(301);
        assert_eq!(switch.forward(later, guest, &frame(MacAddr::BROADCAST, mac(1))), Forward::Drop);
        assert_eq!(switch.forward(later, guest, &frame(MacAddr::BROADCAST, mac(2))), Forward::Flood);
    }

    #[test]
    fn a_station_behind_an_isolated_port_leaves_room_for_others() {
        let mut switch = switch(SwitchConfig { stations: 64, ..SwitchConfig::default() });
        let (uplink, greedy, other, third) = (0, 1, 2, 3);
        for port in [greedy, other, third] {
            switch.isolate(port, true);
        }
        let fill = |switch: &mut Switch| {
            for number in 1_000..5_000 {
                switch.forward(T0, greedy, &frame(MacAddr::BROADCAST, mac(number)));
            }
        };
        fill(&mut switch);
        let guests = [(other, 2), (third, 3)];
        for (port, number) in guests {
            switch.forward(T0, port, &frame(MacAddr::BROADCAST, mac(number)));
        }
        fill(&mut switch);
        for (port, number) in guests {
            assert_eq!(switch.forward(T0, uplink, &frame(mac(number), mac(1))), Forward::To(port), "to nobody else");
        }
        assert_eq!(switch.counters().spoofed, 0);
    }

    #[test]
    fn floods_and_loops_are_bounded() {
        let mut switch = switch(SwitchConfig { flood_limit: 100, ..SwitchConfig::default() });
        let broadcast = frame(MacAddr::BROADCAST, mac(1));
        let mut flooded = |now| (0..1_000).filter(|_| switch.forward(now, 0, &broadcast) == Forward::Flood).count();
        assert_eq!(flooded(T0), 100);
        assert_eq!(flooded(Instant::from_millis(100)), 10);
        assert_eq!(flooded(Instant::from_secs(100)), 100);
        assert_eq!(switch.counters().storm_dropped, 2_790);
        let later = Instant::from_secs(200);
        assert_eq!(switch.forward_after(later, 0, &broadcast, MAX_HOPS - 1), Forward::Flood);
        assert_eq!(switch.forward_after(later, 0, &broadcast, MAX_HOPS), Forward::Drop);
        assert_eq!(switch.counters().loop_dropped, 1);
    }
}
