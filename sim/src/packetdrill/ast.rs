//! What a script says, once parsed.

use std::net::IpAddr;

use super::options::TcpOption;

/// A script: its own command-line options, and what happens when.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// Options that the script sets for itself: name and value.
    pub options: Vec<(String, Option<String>)>,
    /// Commands before and after the events have no time of their own.
    pub events: Vec<Event>,
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The line that it begins on, from 1.
    pub line: usize,
    /// When it happens.
    pub time: Time,
    /// What happens.
    pub action: Action,
}

/// When an event happens; all in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Since the script began.
    Absolute(u64),
    /// Since the event before.
    Relative(u64),
    /// Whenever: `*`.
    Any,
    /// Between two times since the script began.
    AbsoluteRange(u64, u64),
    /// Between two times since the event before.
    RelativeRange(u64, u64),
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A packet comes from the network, or is expected to leave for it.
    Packet(Box<PacketSpec>),
    /// The application makes a system call.
    Call(Box<Call>),
    /// Shell commands, in backticks.
    Command(String),
    /// Assertions in Python.
    Code(String),
}

/// Which way a packet goes, as seen by the stack under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `<`: the script sends it.
    Inbound,
    /// `>`: the stack is expected to.
    Outbound,
}

/// A packet.
#[derive(Clone, Debug, PartialEq)]
pub struct PacketSpec {
    /// Which way it goes.
    pub direction: Direction,
    /// Outer headers (`ipv4 ... :`, `gre :`, `mpls ... :`), the outermost first.
    pub outer: Vec<OuterHeader>,
    /// What is said of the IP header.
    pub ip: IpSpec,
    /// The ports in the order of the packet's header, where given.
    pub ports: Option<(u16, u16)>,
    /// What the packet carries.
    pub body: Body,
    /// What a fuzzer is to do to it (`{mut ...}`), as written.
    pub mutation: Option<String>,
}

/// A header around a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OuterHeader {
    /// IPv4 or IPv6.
    Ip {
        /// Its source.
        source: IpAddr,
        /// Its destination, of the same family.
        destination: IpAddr,
    },
    /// GRE (RFC 2784, RFC 2890).
    Gre(Gre),
    /// A stack of MPLS labels (RFC 3032).
    Mpls(Vec<MplsLabel>),
    /// PSP, which encrypts what is inside.
    Psp {
        /// The security parameters index.
        spi: u32,
    },
}

/// A GRE header. Its flags say which of the other fields are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gre {
    /// Flags and version.
    pub flags: u16,
    /// Checksum, as the script says it.
    pub checksum: u16,
    /// The field behind the checksum.
    pub offset: u16,
    /// Key.
    pub key: u32,
    /// Sequence number.
    pub sequence: u32,
}

/// An entry of a stack of MPLS labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MplsLabel {
    /// The label, of 20 bits.
    pub label: u32,
    /// The traffic class, of 3 bits.
    pub class: u8,
    /// The last of the stack.
    pub bottom: bool,
    /// Time to live.
    pub ttl: u8,
}

/// What a script says of an IP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IpSpec {
    /// The bits of TOS or traffic class.
    pub tos: Tos,
    /// TTL or hop limit.
    pub hop_limit: Option<u8>,
    /// Flow label of IPv6.
    pub flow_label: Option<u32>,
}

/// What a script says of the TOS byte (or traffic class).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tos {
    /// Nothing.
    #[default]
    Unspecified,
    /// These bits under this mask.
    Masked {
        /// The bits that count.
        mask: u8,
        /// Their values.
        value: u8,
    },
    /// `ect01`: either of the two ECN-capable codepoints, and these DSCP bits where given.
    EitherEct(Option<u8>),
}

/// What a packet carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A TCP segment.
    Tcp(TcpSpec),
    /// A UDP datagram with so many bytes.
    Udp(u32),
    /// An ICMP message.
    Icmp(IcmpSpec),
}

/// Flags of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// The bits as in the header, from FIN (1) to AE (0x100).
    pub bits: u16,
    /// The three ECN bits were written as a number (AccECN's ACE field).
    pub ace: bool,
}

/// A TCP segment.
#[derive(Clone, Debug, PartialEq)]
pub struct TcpSpec {
    /// Flags.
    pub flags: Flags,
    /// Sequence number; None if it is not checked (`...(LEN)`).
    pub seq: Option<u32>,
    /// Sequence and acknowledgment numbers are those on the wire (`!`).
    pub absolute: bool,
    /// Bytes of payload.
    pub len: u32,
    /// Acknowledgment number.
    pub ack: Option<u32>,
    /// Window field.
    pub window: Option<u16>,
    /// Urgent pointer.
    pub urgent: u16,
    /// Options; None for `<...>`, any.
    pub options: Option<Vec<TcpOption>>,
    /// UDP ports around the segment (RFC 6951's way for TCP).
    pub udp_encapsulation: Option<(u16, u16)>,
}

/// An ICMP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IcmpSpec {
    /// Name of the type.
    pub kind: String,
    /// Name of the code.
    pub code: Option<String>,
    /// Next-hop MTU.
    pub mtu: Option<u32>,
    /// Identifier of an echo.
    pub id: Option<u16>,
    /// The packet that it quotes.
    pub quoted: Quoted,
}

/// The packet in an ICMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quoted {
    /// Not given.
    Unspecified,
    /// A segment with this sequence number and payload.
    Tcp(u32, u32),
    /// A datagram with so many bytes.
    Udp(u32),
    /// Bytes of no protocol, for an echo.
    Raw(u32),
}

/// A system call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// When it returns if it blocks, in microseconds on the event's scale of time; None if it returns at once.
    pub end: Option<u64>,
    /// Its name.
    pub name: String,
    /// Its arguments.
    pub arguments: Vec<Expr>,
    /// What it returns.
    pub result: Expr,
    /// The name of its error.
    pub errno: Option<String>,
}

/// A value in a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// `...`
    Ellipsis,
    /// A number.
    Int(i64),
    /// A symbol, such as `O_RDWR`.
    Word(String),
    /// Text.
    Str(String),
    /// Bitwise or.
    Or(Box<Expr>, Box<Expr>),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `{a=1, b(2)=3, 4}`: fields with and without names.
    Struct(Vec<Field>),
    /// `htons(8080)`
    Apply(String, Vec<Expr>),
}

/// A field of a structure.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name, where it has one.
    pub name: Option<String>,
    /// Its length, as in `msg_iov(2)=...`.
    pub len: Option<Expr>,
    /// Its value.
    pub value: Expr,
}

impl Expr {
    /// The value of a structure's field.
    pub fn field(&self, name: &str) -> Option<&Expr> {
        match self {
            Expr::Struct(fields) => {
                fields.iter().find(|field| field.name.as_deref() == Some(name)).map(|field| &field.value)
            }
            _ => None,
        }
    }
}
