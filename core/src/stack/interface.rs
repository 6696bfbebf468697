//! An interface: the stack's port to a network, and what waits to leave through it.

use super::anycast;
use super::autoconfiguration::Routers;
use super::group_querier::Asking;
use super::group_reports::Querier;
use super::neighbor::{REACHABLE_TIME, RETRANS_TIMER};
use super::router_advertiser::Advertiser;
use crate::config::{InterfaceConfig, Medium};
use crate::links::List;
use crate::pool::{Account, Pool};
use crate::random::Generator;
use crate::record_queue::RecordQueue;
use crate::stack::accept_any::AnyAddress;
use crate::stack::forward::{FORWARD_BYTES, Forwarding};
use crate::time::{Duration, Instant};
use crate::wire::ethernet;

/// Bytes that a socket may send before the next one has its turn.
pub(crate) const TURN_BYTES: u32 = 64 * 1024;

/// Bytes of packets without a socket that wait on one interface.
const CONTROL_BYTES: u32 = 192 * 1024;

/// What a packet that no socket owns is; each kind has its own quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ControlKind {
    /// ARP and neighbour discovery: complete Ethernet frames.
    Neighbor = 0,
    /// ICMP: echo replies and errors.
    Icmp = 1,
    /// TCP resets and acknowledgments from TIME-WAIT.
    Tcp = 2,
    /// Echo requests of our own, and packets of raw sockets.
    Datagram = 3,
    /// Complete frames of raw sockets.
    Frame = 4,
}

impl ControlKind {
    /// Whether what is queued has its Ethernet header.
    pub(crate) fn is_frame(self) -> bool {
        matches!(self, ControlKind::Neighbor | ControlKind::Frame)
    }
}

/// Packets of one kind that may wait on one interface.
const CONTROL_QUOTA: [u16; 5] = [64, 64, 128, 64, 64];

/// How long the neighbours of an interface are believed, and when requests are repeated (RFC 4861 §6.3.2).
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkTimes {
    pub(crate) base_reachable_time: Duration,
    /// Between half and three halves of it.
    pub(crate) reachable_time: Duration,
    pub(crate) retrans_timer: Duration,
    pub(crate) drawn_at: Option<Instant>,
}

impl LinkTimes {
    pub(crate) const DEFAULT: LinkTimes = LinkTimes {
        base_reachable_time: REACHABLE_TIME,
        reachable_time: REACHABLE_TIME,
        retrans_timer: RETRANS_TIMER,
        drawn_at: None,
    };

    /// RFC 4861 §6.3.2: a "uniformly distributed random value between MIN_RANDOM_FACTOR and MAX_RANDOM_FACTOR times
    /// BaseReachableTime", which are 0.5 and 1.5.
    pub(crate) fn draw(&mut self, now: Instant, random: &mut Generator) {
        let base = self.base_reachable_time.as_micros();
        self.reachable_time = Duration::from_micros(base / 2 + random.below(base));
        self.drawn_at = Some(now);
    }
}

/// An interface of a stack.
#[derive(Clone, Debug)]
pub struct Interface {
    pub(crate) config: InterfaceConfig,
    /// VLANs on it.
    pub(crate) vlans: u8,
    /// The number of the interface that has the next turn among this one and its VLANs.
    pub(crate) vlan_turn: u8,
    /// Sockets with something to send, and neighbours for which packets have waited.
    pub(crate) ready: List,
    /// Bytes that the first of them has sent in its turn.
    pub(crate) turn_used: u32,
    pub(crate) times: LinkTimes,
    pub(crate) routers: Routers,
    pub(crate) advertiser: Advertiser,
    /// Those of IPv6, and of IPv4.
    pub(crate) queriers: [Querier; 2],
    /// The same of our own questions.
    pub(crate) asking: [Asking; 2],
    pub(crate) control: RecordQueue,
    control_counts: [u16; CONTROL_QUOTA.len()],
    pub(crate) forwarding: Forwarding,
    pub(crate) anycast_answer: anycast::Answer,
    pub(crate) any_address: Option<AnyAddress>,
    /// Frames that are forwarded.
    pub(crate) forward: RecordQueue,
    /// Control packets and forwarded ones take turns: whether a forwarded one goes next if there is one.
    forward_first: bool,
    /// Something is to be sent for addresses that are being claimed.
    pub(crate) claims_due: bool,
    /// Control packets and sockets take turns: whether a control packet goes next if there is one.
    pub(crate) control_first: bool,
}

impl Interface {
    pub(crate) fn new(config: InterfaceConfig) -> Self {
        Interface {
            config,
            vlans: 0,
            vlan_turn: 0,
            ready: List::default(),
            turn_used: 0,
            times: LinkTimes::DEFAULT,
            routers: Routers::new(config.mtu),
            advertiser: Advertiser::new(),
            queriers: [Querier::NONE; 2],
            asking: [Asking::OFF; 2],
            control: RecordQueue::new(CONTROL_BYTES),
            control_counts: [0; CONTROL_QUOTA.len()],
            forwarding: Forwarding::default(),
            anycast_answer: anycast::Answer::NONE,
            any_address: None,
            forward: RecordQueue::new(FORWARD_BYTES),
            forward_first: false,
            claims_due: false,
            control_first: true,
        }
    }

    /// Whether frames come in as they are for this interface, and leave as it makes them.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.is_ethernet() && self.vlans == 0
    }

    #[inline]
    pub(crate) fn is_ethernet(&self) -> bool {
        matches!(self.config.medium, Medium::Ethernet)
    }

    /// Whether neighbours are stations with addresses of their own.
    pub(crate) fn has_stations(&self) -> bool {
        !matches!(self.config.medium, Medium::Ip | Medium::Loopback)
    }

    /// Whether there may be a frame to send.
    #[inline]
    pub(crate) fn wants_transmit(&self) -> bool {
        !self.ready.is_empty() || self.has_control() || self.claims_due
    }

    /// Bytes of the longest frame.
    #[inline]
    pub(crate) fn frame_capacity(&self) -> usize {
        let tag = if self.vlans == 0 { 0 } else { ethernet::TAG_LEN };
        ethernet::HEADER_LEN + usize::from(self.config.mtu) + tag
    }

    /// Whether there are packets that no socket owns: ours or forwarded ones.
    #[inline]
    pub(crate) fn has_control(&self) -> bool {
        !self.control.is_empty() || !self.forward.is_empty()
    }

    /// Whether the next packet that no socket owns is a forwarded one.
    pub(crate) fn is_forward_next(&mut self) -> bool {
        let is_next = !self.forward.is_empty() && (self.forward_first || self.control.is_empty());
        self.forward_first = !is_next;
        is_next
    }

    /// Queues a packet that no socket owns; false if its kind's quota or the memory is used up.
    pub(crate) fn queue_control(
        &mut self,
        pool: &mut Pool<'_>,
        account: &mut Account,
        kind: ControlKind,
        parts: &[&[u8]],
    ) -> bool {
        let count = &mut self.control_counts[kind as usize];
        if *count >= CONTROL_QUOTA[kind as usize] {
            return false;
        }
        let queued = self.control.push(pool, account, kind as u8, parts);
        *count += u16::from(queued);
        queued
    }

    /// Drops all packets that no socket owns; returns how many.
    pub(crate) fn clear_control(&mut self, pool: &mut Pool<'_>, account: &mut Account) -> usize {
        let dropped = self.control.len() + self.forward.len();
        self.control.clear(pool, account);
        self.forward.clear(pool, account);
        self.control_counts = [0; CONTROL_QUOTA.len()];
        dropped
    }

    /// What the first control packet is.
    pub(crate) fn first_control(&self) -> Option<ControlKind> {
        Some(match self.control.front_tag()? {
            0 => ControlKind::Neighbor,
            1 => ControlKind::Icmp,
            2 => ControlKind::Tcp,
            3 => ControlKind::Datagram,
            _ => ControlKind::Frame,
        })
    }

    /// Drops the first control packet, which was sent.
    pub(crate) fn drop_control(&mut self, pool: &mut Pool<'_>, account: &mut Account) {
        if let Some(kind) = self.first_control() {
            self.control.pop(pool, account);
            self.control_counts[kind as usize] -= 1;
        }
    }
}
