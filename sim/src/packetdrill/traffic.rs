//! Packets between script and wire: which connection they belong to, and their numbers on either side.

use std::collections::BTreeMap;

use ethertab::{ConnectionInfo, State};

use super::ast::{Body, PacketSpec, Quoted, TcpSpec, Tos};
use super::compare::{self, Difference};
use super::fast_open::named_cookies;
use super::flow::{Flow, Stream, stream_bytes};
use super::host::Sent;
use super::icmp;
use super::kernel::{Kernel, Subject};
use super::options::TcpOption;
use super::settings::Settings;
use super::wire::{ACK, Datagram, FIN, Packet, Payload, SYN, Segment};

/// What an IP packet has room for beside the longest headers, in bytes.
const LONGEST_PAYLOAD: u32 = 65_535 - 40 - 60;

/// The first of the script's own ports; each connection that comes in gets the next.
const FIRST_REMOTE_PORT: u16 = 40_000;

/// The connections of a script.
pub(super) struct Traffic {
    flows: Vec<Flow>,
    /// What packets without ports belong to.
    current: Current,
    next_remote_port: u16,
    /// Packets of the script have ports.
    names_ports: bool,
    /// How many connections there were when the script made its last socket.
    before_socket: usize,
    scaled_echoes: bool,
    /// Fast Open cookies of the stack, by the names that the script has for them.
    cookies: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
enum Current {
    /// The next packet that comes in begins a connection to this port.
    Port(u16),
    Flow(usize),
}

impl Traffic {
    pub(super) fn new(settings: &Settings, names_ports: bool) -> Self {
        Traffic {
            flows: Vec::new(),
            current: Current::Port(settings.bind_port),
            next_remote_port: FIRST_REMOTE_PORT,
            names_ports,
            before_socket: 0,
            scaled_echoes: settings.tcp_ts_ecr_scaled,
            cookies: named_cookies(settings),
        }
    }

    /// A call has made this the subject of what follows.
    pub(super) fn set_subject(&mut self, subject: Subject) {
        self.current = match subject {
            Subject::Port(_) => Current::Port(subject.local_port()),
            Subject::NewConnection(local, remote) => self.add(local, remote),
            Subject::Connection(local, remote) => match self.find(local, remote) {
                Some(index) => Current::Flow(index),
                None => self.add(local, remote),
            },
        };
    }

    /// The ports of the connection under test: the stack's and the script's.
    pub(super) fn current_ports(&self) -> Option<(u16, u16)> {
        match self.current {
            Current::Flow(index) => Some((self.flows[index].local_port, self.flows[index].remote_port)),
            Current::Port(_) => None,
        }
    }

    /// The script makes a socket: what comes before is perhaps no longer what it speaks of.
    pub(super) fn new_socket(&mut self) {
        self.before_socket = self.flows.len();
    }

    /// Whether a packet may be one of a connection that the script leaves behind with its next expectation.
    pub(super) fn may_be_left_behind(&self, sent: &Sent) -> bool {
        let is_older = |(local, remote)| self.find(local, remote).is_some_and(|index| index < self.before_socket);
        !self.names_ports && sent.ports().is_some_and(is_older)
    }

    /// Whether the script speaks of a connection that began after this one, and has no other way to say which it means.
    pub(super) fn has_moved_on(&self, (local, remote): (u16, u16)) -> bool {
        match (self.find(local, remote), self.current) {
            (Some(index), Current::Flow(current)) => index < current && !self.names_ports,
            _ => false,
        }
    }

    fn find(&self, local: u16, remote: u16) -> Option<usize> {
        self.flows.iter().rposition(|flow| flow.local_port == local && flow.remote_port == remote)
    }

    fn add(&mut self, local: u16, remote: u16) -> Current {
        self.flows.push(Flow::new(local, remote));
        Current::Flow(self.flows.len() - 1)
    }

    /// The connection of a packet that the script sends, made now if it is the first.
    fn inbound_flow(&mut self, spec: &PacketSpec) -> usize {
        let current = match (spec.ports, self.current) {
            (Some((remote, local)), _) => match self.find(local, remote) {
                Some(index) => Current::Flow(index),
                None => self.add(local, remote),
            },
            (None, Current::Port(port)) => {
                let remote = self.next_remote_port;
                self.next_remote_port = self.next_remote_port.wrapping_add(1).max(FIRST_REMOTE_PORT);
                self.add(port, remote)
            }
            (None, current) => current,
        };
        let is_syn = matches!(&spec.body, Body::Tcp(tcp) if tcp.flags.bits & (SYN | ACK) == SYN);
        if spec.ports.is_none() || is_syn {
            self.current = current;
        }
        match current {
            Current::Flow(index) => index,
            Current::Port(_) => 0,
        }
    }

    /// Sends a packet of the script to the stack.
    pub(super) fn inject(&mut self, kernel: &mut Kernel, spec: &PacketSpec) -> Result<(), Difference> {
        if let Some(mutation) = &spec.mutation {
            return Err((format!("a fuzzer to {mutation}"), "an interpreter without one".into()));
        }
        let len = match &spec.body {
            Body::Tcp(TcpSpec { len, .. }) | Body::Udp(len) => *len,
            Body::Icmp(message) => match message.quoted {
                Quoted::Tcp(_, len) | Quoted::Udp(len) | Quoted::Raw(len) => len,
                Quoted::Unspecified => 0,
            },
        };
        if len > LONGEST_PAYLOAD {
            return Err((format!("at most {LONGEST_PAYLOAD} bytes in a packet"), format!("{len}")));
        }
        let index = self.inbound_flow(spec);
        let flow = &mut self.flows[index];
        let (remote, local) = spec.ports.unwrap_or((flow.remote_port, flow.local_port));
        let (stack_address, script_address) = (kernel.host.local, kernel.host.remote);
        let payload = match &spec.body {
            Body::Tcp(tcp) => {
                if tcp.udp_encapsulation.is_some() {
                    return Err(("TCP in UDP".into(), "a stack without it".into()));
                }
                if let Some(seq) = tcp.seq.filter(|_| tcp.flags.bits & SYN != 0) {
                    let is_ours = |info: &ConnectionInfo| (info.local.port(), info.remote.port()) == (local, remote);
                    let stack = &kernel.host.stack;
                    let found = stack.connections().find(|info| is_ours(info)).map(|info| info.state);
                    // Where nobody may take it, the numbers of its answer are those on the wire.
                    if found.is_some() || stack.listeners().any(|(_, endpoint, ..)| endpoint.port == local) {
                        flow.learn_remote(seq, found.is_some_and(|state| state != State::SynSent));
                    }
                }
                let mut segment = inbound_segment(tcp, flow, remote, local);
                if super::options::emit(&segment.options).len() > 40 {
                    return Err(("at most 40 bytes of TCP options".into(), "more".into()));
                }
                if segment.options.iter().any(|option| matches!(option, TcpOption::Md5Computed { .. })) {
                    return Err(("an MD5 signature".into(), "an interpreter without them".into()));
                }
                for option in &mut segment.options {
                    if let TcpOption::FastOpenNamed { name, experimental } = option {
                        let cookie = self.cookies.get(name).cloned();
                        let cookie =
                            cookie.ok_or_else(|| (format!("a cookie sent as {name} before"), "none".into()))?;
                        *option = TcpOption::FastOpen { cookie, experimental: *experimental };
                    }
                }
                let echo = flow.inbound(&mut segment, tcp.absolute, self.scaled_echoes);
                echo.map_err(|echo| (format!("a timestamp seen before for ecr {echo}"), "none".to_string()))?;
                Payload::Tcp(segment)
            }
            Body::Udp(len) => Payload::Udp(Datagram {
                source_port: remote,
                destination_port: local,
                data: stream_bytes(Stream::FromScript, 0, *len),
            }),
            Body::Icmp(message) => {
                let seq = match message.quoted {
                    Quoted::Tcp(seq, _) => flow.to_wire(seq),
                    _ => flow.to_wire(0),
                };
                // What the message quotes went the other way.
                let quoting = Packet::new(stack_address, script_address, Payload::Tcp(Segment::default()));
                let built = icmp::message(message, &quoting, (local, remote), seq);
                Payload::Icmp(built.map_err(|name| ("an ICMP message that is known".to_string(), name))?)
            }
        };
        let mut packet = Packet::new(script_address, stack_address, payload);
        match spec.ip.tos {
            Tos::Masked { value, .. } => packet.tos = value,
            Tos::Unspecified | Tos::EitherEct(_) => {}
        }
        packet.hop_limit = spec.ip.hop_limit.unwrap_or(packet.hop_limit);
        packet.flow_label = spec.ip.flow_label.unwrap_or(0);
        kernel.deliver(&packet, &spec.outer).map_err(|outer| (outer, "an interpreter without it".into()))
    }

    /// Begins to expect a packet.
    pub(super) fn expect<'s>(&self, spec: &'s PacketSpec) -> Expectation<'s> {
        Expectation { spec, taken: 0, first_len: 0, flow_label: None }
    }

    /// A packet that the stack has sent, as scripts write it, and when.
    pub(super) fn describe(&self, sent: &Sent) -> String {
        let text = match &sent.packet {
            Ok(packet) => compare::packet_text(&self.in_script_numbers(packet)),
            Err(problem) => (*problem).to_string(),
        };
        format!("{text} at {}.{:06} s", sent.at / 1_000_000, sent.at % 1_000_000)
    }

    fn in_script_numbers(&self, packet: &Packet) -> Packet {
        let mut out = packet.clone();
        if let Payload::Tcp(segment) = &mut out.payload
            && let Some(index) = self.find(segment.source_port, segment.destination_port)
        {
            self.flows[index].clone().outbound(segment, None, None);
        }
        out
    }

    /// Puts cookies in the place of their names. The first that comes under a name is the one that it stands for.
    fn name_cookies(&mut self, spec: &mut TcpSpec, segment: &Segment) {
        let found = segment.options.iter().find_map(|option| match option {
            TcpOption::FastOpen { cookie, .. } if !cookie.is_empty() => Some(cookie),
            _ => None,
        });
        for option in spec.options.iter_mut().flatten() {
            if let TcpOption::FastOpenNamed { name, experimental } = option
                && let Some(found) = found
            {
                let cookie = self.cookies.entry(name.clone()).or_insert_with(|| found.clone()).clone();
                *option = TcpOption::FastOpen { cookie, experimental: *experimental };
            }
        }
    }

    /// The connection of a packet that the stack has sent, if it is the one that the script speaks of.
    fn outbound_flow(&mut self, spec: &PacketSpec, packet: &Packet) -> Result<Option<usize>, Difference> {
        let (local, remote) = match &packet.payload {
            Payload::Tcp(segment) => (segment.source_port, segment.destination_port),
            Payload::Udp(datagram) => (datagram.source_port, datagram.destination_port),
            Payload::Icmp(_) => return Ok(None),
        };
        let expected = spec.ports.or(self.current_ports());
        if let Some((expected_local, expected_remote)) = expected
            && (expected_local, expected_remote) != (local, remote)
        {
            return Err((
                format!("ports {expected_local} > {expected_remote}"),
                format!("{local} > {remote} {}", compare::packet_text(packet)),
            ));
        }
        if self.find(local, remote).is_none() {
            self.current = self.add(local, remote);
        }
        Ok(self.find(local, remote))
    }
}

fn inbound_segment(spec: &TcpSpec, flow: &Flow, source_port: u16, destination_port: u16) -> Segment {
    let seq = spec.seq.unwrap_or(0);
    let offset = flow.place_of_script(seq, spec.flags.bits & SYN != 0);
    Segment {
        source_port,
        destination_port,
        seq,
        ack: spec.ack.unwrap_or(0),
        flags: spec.flags.bits,
        window: spec.window.unwrap_or(0),
        urgent: spec.urgent,
        options: spec.options.clone().unwrap_or_default(),
        data: stream_bytes(Stream::FromScript, offset, spec.len),
    }
}

/// A packet of the script that the stack may send as several.
pub(super) struct Expectation<'s> {
    spec: &'s PacketSpec,
    /// Bytes of payload matched so far.
    taken: u32,
    /// Bytes of payload in the first of several.
    first_len: u32,
    flow_label: Option<u32>,
}

impl Expectation<'_> {
    /// What has come so far, for people.
    pub(super) fn so_far(&self) -> String {
        match self.taken {
            0 => "nothing".into(),
            taken => format!("{taken} bytes of it"),
        }
    }

    /// Compares the next packet; whether that completes what the script expects.
    pub(super) fn take(&mut self, traffic: &mut Traffic, settings: &Settings, sent: &Sent) -> Result<bool, Difference> {
        let spec = self.spec;
        let whole = || compare::spec_text(spec);
        let packet = sent.packet.as_ref().map_err(|problem| (whole(), (*problem).to_string()))?;
        if let Some(outer) = spec.outer.first() {
            return Err((format!("encapsulation in {outer:?}"), "a stack without it".into()));
        }
        let index = traffic.outbound_flow(spec, packet)?;
        let label = |difference: Difference, got: &Packet| {
            let (expected, found) = difference;
            (format!("{} ({expected})", whole()), format!("{} ({found})", compare::packet_text(got)))
        };
        if let (Some(before), true) = (self.flow_label, spec.ip.flow_label.is_some())
            && before != packet.flow_label
        {
            return Err(("one flow label".into(), "another".into()));
        }
        self.flow_label = Some(packet.flow_label);
        compare::ip(&spec.ip, packet).map_err(|difference| label(difference, &traffic.in_script_numbers(packet)))?;
        match (&spec.body, &packet.payload, index) {
            (Body::Tcp(tcp), Payload::Tcp(segment), Some(index)) => {
                let mut named = tcp.clone();
                traffic.name_cookies(&mut named, segment);
                self.take_segment(&mut traffic.flows[index], settings, &named, segment, packet)
            }
            (Body::Udp(len), Payload::Udp(_), _) if *len as usize == packet.payload_len() => Ok(true),
            (Body::Icmp(icmp), Payload::Icmp(message), _) => {
                let (kind, code) = icmp::kind_and_code(icmp, packet.source.is_ipv4())
                    .map_err(|name| ("an ICMP message that is known".to_string(), name))?;
                if (kind, code) == (message.kind, message.code) {
                    Ok(true)
                } else {
                    Err((whole(), compare::packet_text(packet)))
                }
            }
            _ => Err((whole(), compare::packet_text(&traffic.in_script_numbers(packet)))),
        }
    }

    fn take_segment(
        &mut self,
        flow: &mut Flow,
        settings: &Settings,
        spec: &TcpSpec,
        segment: &Segment,
        packet: &Packet,
    ) -> Result<bool, Difference> {
        let script_value = spec.options.iter().flatten().find_map(|option| match option {
            TcpOption::Timestamps { value, .. } => *value,
            _ => None,
        });
        let mut got = segment.clone();
        if spec.absolute {
            flow.outbound(&mut got.clone(), spec.seq, script_value);
        } else {
            flow.outbound(&mut got, spec.seq, script_value);
        }
        let len = got.data.len() as u32;
        let differs = |flow: &Flow, (expected, found): Difference| {
            let mut shown = packet.clone();
            let mut numbers = segment.clone();
            flow.clone().outbound(&mut numbers, None, None);
            shown.payload = Payload::Tcp(numbers);
            (
                format!("{} ({expected})", compare::spec_text(self.spec)),
                format!("{} ({found})", compare::packet_text(&shown)),
            )
        };
        let left = spec.len - self.taken;
        let is_last = len >= left;
        let fits = len == left || (len < left && len > 0 && !settings.strict_segments);
        if !fits {
            return Err(differs(flow, (format!("{left} bytes"), format!("{len} bytes"))));
        }
        if self.taken > 0 && !is_last && len != self.first_len {
            let difference = (format!("segments of {} bytes", self.first_len), format!("{len} bytes"));
            return Err(differs(flow, difference));
        }
        compare::segment(spec, self.taken, is_last, &got, settings).map_err(|difference| differs(flow, difference))?;
        if let Some(offset) = flow.place_of_stack(segment.seq, got.has(SYN)) {
            let is_probe = got.flags & (SYN | FIN) == 0 && len <= 1;
            if got.data != stream_bytes(Stream::FromStack, offset, len) && !is_probe {
                return Err(differs(flow, ("the bytes that were written".into(), "others".into())));
            }
        }
        if self.taken == 0 {
            self.first_len = len;
        }
        self.taken += len;
        Ok(is_last)
    }
}
