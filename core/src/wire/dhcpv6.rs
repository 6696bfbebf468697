//! DHCPv6 messages of clients and servers (RFC 9915 §8) and their options (§21): a checked view to read, a writer to build.
//!
//! [`Message::parse`] checks the layout of the options once. Options within options are read with [`Options`], which ends where the
//! layout does.

use core::net::Ipv6Addr;

use crate::time::Duration;

/// UDP port of clients.
pub const CLIENT_PORT: u16 = 546;
/// UDP port of servers and relays.
pub const SERVER_PORT: u16 = 547;
/// All_DHCP_Relay_Agents_and_Servers (RFC 9915 §7.1): where clients send everything.
pub const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
/// The longest DUID (RFC 9915 §11.1), type counted.
pub const MAX_DUID_LEN: usize = 130;
/// The lifetime that means for ever (RFC 9915 §7.7).
pub const INFINITY: u32 = u32::MAX;

/// Octets before the options.
const HEADER_LEN: usize = 4;

/// Option codes (RFC 9915 §21, RFC 3646).
pub mod option {
    /// DUID of the client.
    pub const CLIENT_ID: u16 = 1;
    /// DUID of the server.
    pub const SERVER_ID: u16 = 2;
    /// Addresses of an interface.
    pub const IA_NA: u16 = 3;
    /// An address, within `IA_NA`.
    pub const IA_ADDRESS: u16 = 5;
    /// The options that the client wants.
    pub const OPTION_REQUEST: u16 = 6;
    /// How much a server wants to be chosen.
    pub const PREFERENCE: u16 = 7;
    /// Hundredths of a second since the client began.
    pub const ELAPSED_TIME: u16 = 8;
    /// How it went.
    pub const STATUS_CODE: u16 = 13;
    /// The server may grant at once; empty.
    pub const RAPID_COMMIT: u16 = 14;
    /// Name servers (RFC 3646).
    pub const DNS_SERVERS: u16 = 23;
    /// Domains of short names (RFC 3646).
    pub const DOMAIN_LIST: u16 = 24;
    /// Delegated prefixes.
    pub const IA_PD: u16 = 25;
    /// A prefix, within `IA_PD`.
    pub const IA_PREFIX: u16 = 26;
    /// When parameters without a lease are to be asked for again.
    pub const REFRESH_TIME: u16 = 32;
    /// The longest pause between SOLICITs.
    pub const SOL_MAX_RT: u16 = 82;
    /// The longest pause between INFORMATION-REQUESTs.
    pub const INF_MAX_RT: u16 = 83;
}

/// Status codes (RFC 9915 §21.13).
pub mod status {
    /// All went well.
    pub const SUCCESS: u16 = 0;
    /// It failed, for no reason that is told.
    pub const UNSPEC_FAIL: u16 = 1;
    /// There is no address.
    pub const NO_ADDRS_AVAIL: u16 = 2;
    /// The server knows of no such lease.
    pub const NO_BINDING: u16 = 3;
    /// The address is not one of this link.
    pub const NOT_ON_LINK: u16 = 4;
    /// There is no prefix.
    pub const NO_PREFIX_AVAIL: u16 = 6;
}

/// The kind of a message (RFC 9915 §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageType {
    /// A client looks for servers.
    Solicit = 1,
    /// A server offers.
    Advertise = 2,
    /// A client takes an offer.
    Request = 3,
    /// A client asks whether its addresses are still those of this link.
    Confirm = 4,
    /// A client asks its server to extend a lease.
    Renew = 5,
    /// A client asks any server.
    Rebind = 6,
    /// A server answers.
    Reply = 7,
    /// A client gives a lease back.
    Release = 8,
    /// A client found an address in use.
    Decline = 9,
    /// A client wants parameters only.
    InformationRequest = 11,
}

impl MessageType {
    /// The kind with this number; those of relays and reconfiguration are not among them.
    pub const fn from_octet(octet: u8) -> Option<Self> {
        Some(match octet {
            1 => Self::Solicit,
            2 => Self::Advertise,
            3 => Self::Request,
            4 => Self::Confirm,
            5 => Self::Renew,
            6 => Self::Rebind,
            7 => Self::Reply,
            8 => Self::Release,
            9 => Self::Decline,
            11 => Self::InformationRequest,
            _ => return None,
        })
    }
}

/// Iterator over options: code and value. Ends where an option would run past the end.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a>(&'a [u8]);

impl<'a> Options<'a> {
    /// The options in these octets, such as those after the fixed part of another option.
    pub fn new(octets: &'a [u8]) -> Self {
        Options(octets)
    }

    /// The value of the first option with this code.
    pub fn find(&self, code: u16) -> Option<&'a [u8]> {
        let mut options = *self;
        options.find_map(|(found, value)| (found == code).then_some(value))
    }

    /// The status, and success if none is told (RFC 9915 §21.13).
    pub fn status(&self) -> u16 {
        match self.find(option::STATUS_CODE) {
            Some([high, low, ..]) => u16::from_be_bytes([*high, *low]),
            Some(_) => status::UNSPEC_FAIL,
            None => status::SUCCESS,
        }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let ([a, b, c, d], rest) = self.0.split_first_chunk()?;
        let (value, after) = rest.split_at_checked(usize::from(u16::from_be_bytes([*c, *d])))?;
        self.0 = after;
        Some((u16::from_be_bytes([*a, *b]), value))
    }
}

/// A message whose layout has been checked.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    kind: MessageType,
    xid: u32,
    options: &'a [u8],
}

impl<'a> Message<'a> {
    /// Checks the payload of a datagram; `None` for what is no message of a client or server.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let ([kind, a, b, c], options) = bytes.split_first_chunk::<HEADER_LEN>()?;
        let mut rest = Options(options);
        while rest.next().is_some() {}
        let kind = MessageType::from_octet(*kind).filter(|_| rest.0.is_empty())?;
        Some(Message { kind, xid: u32::from_be_bytes([0, *a, *b, *c]), options })
    }

    /// The kind of message.
    pub fn kind(&self) -> MessageType {
        self.kind
    }

    /// The transaction: 24 bits, chosen by the client.
    pub fn xid(&self) -> u32 {
        self.xid
    }

    /// The options.
    pub fn options(&self) -> Options<'a> {
        Options(self.options)
    }

    /// A DUID (option 1 or 2); `None` if it is missing or has a length that none has.
    pub fn duid(&self, code: u16) -> Option<Duid> {
        Duid::new(self.options().find(code)?)
    }
}

/// A client's or server's identifier (RFC 9915 §11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duid {
    octets: [u8; MAX_DUID_LEN],
    len: u8,
}

impl Duid {
    /// None at all.
    pub const EMPTY: Duid = Duid { octets: [0; MAX_DUID_LEN], len: 0 };

    /// A DUID of these octets, its type first; `None` unless it has 3 to 130.
    pub fn new(octets: &[u8]) -> Option<Duid> {
        let mut copy = Duid::EMPTY;
        copy.octets.get_mut(..octets.len())?.copy_from_slice(octets);
        copy.len = octets.len() as u8;
        (octets.len() >= 3).then_some(copy)
    }

    /// The DUID of a station (DUID-LL, §11.4).
    pub fn of_station(mac: super::MacAddr) -> Duid {
        let mut duid = Duid::EMPTY;
        duid.octets[..4].copy_from_slice(&[0, 3, 0, 1]);
        duid.octets[4..10].copy_from_slice(&mac.0);
        duid.len = 10;
        duid
    }

    /// The octets.
    pub fn as_octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }
}

/// The head of an IA_NA or IA_PD, and the options in it.
#[derive(Clone, Copy, Debug)]
pub struct Association<'a> {
    /// What the client knows it by.
    pub iaid: u32,
    /// When the client is to renew, in seconds; 0 leaves it to the client.
    pub t1: u32,
    /// When the client is to rebind.
    pub t2: u32,
    /// Addresses or prefixes, and a status.
    pub options: Options<'a>,
}

impl<'a> Association<'a> {
    /// Reads the value of option 3 or 25; `None` if it is too short.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (iaid, rest) = take_u32(value)?;
        let (t1, rest) = take_u32(rest)?;
        let (t2, rest) = take_u32(rest)?;
        Some(Association { iaid, t1, t2, options: Options(rest) })
    }
}

/// An address or a prefix with its lifetimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// The address, or the prefix.
    pub address: Ipv6Addr,
    /// Length of the prefix; 128 for an address.
    pub length: u8,
    /// Seconds until it should not be used for new connections.
    pub preferred: u32,
    /// Seconds until it must not be used.
    pub valid: u32,
}

impl Lifetimes {
    /// Reads the value of option 5; `None` if it is too short.
    pub fn parse_address(value: &[u8]) -> Option<Self> {
        let (octets, rest) = value.split_first_chunk::<16>()?;
        let (preferred, rest) = take_u32(rest)?;
        let (valid, _) = take_u32(rest)?;
        Some(Lifetimes { address: Ipv6Addr::from(*octets), length: 128, preferred, valid })
    }

    /// Reads the value of option 26; `None` if it is too short or no prefix.
    pub fn parse_prefix(value: &[u8]) -> Option<Self> {
        let (preferred, rest) = take_u32(value)?;
        let (valid, rest) = take_u32(rest)?;
        let (length, rest) = rest.split_first()?;
        let octets = rest.first_chunk::<16>()?;
        (1..=128).contains(length).then_some(Lifetimes {
            address: Ipv6Addr::from(*octets),
            length: *length,
            preferred,
            valid,
        })
    }
}

fn take_u32(octets: &[u8]) -> Option<(u32, &[u8])> {
    let (value, rest) = octets.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*value), rest))
}

/// So many seconds; `None` for ever.
pub fn lifetime(secs: u32) -> Option<Duration> {
    (secs != INFINITY).then(|| Duration::from_secs(secs.into()))
}

/// Writes a message: option after option, options within options.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
    /// Something did not fit.
    is_full: bool,
}

/// An option that has begun.
#[derive(Debug)]
#[must_use]
pub struct Open(usize);

impl<'a> Writer<'a> {
    /// Begins a message.
    pub fn new(buffer: &'a mut [u8], kind: MessageType, xid: u32) -> Self {
        let mut writer = Writer { buffer, len: 0, is_full: false };
        let [_, a, b, c] = xid.to_be_bytes();
        writer.put(&[kind as u8, a, b, c]);
        writer
    }

    /// Appends an option whose value consists of these parts.
    pub fn option(&mut self, code: u16, parts: &[&[u8]]) {
        let open = self.begin(code);
        for part in parts {
            self.put(part);
        }
        self.end(open);
    }

    /// Begins an option.
    pub fn begin(&mut self, code: u16) -> Open {
        self.put(&code.to_be_bytes());
        self.put(&[0, 0]);
        Open(self.len)
    }

    /// Begins an IA_NA or IA_PD.
    pub fn begin_association(&mut self, code: u16, iaid: u32, t1: u32, t2: u32) -> Open {
        let open = self.begin(code);
        for value in [iaid, t1, t2] {
            self.put(&value.to_be_bytes());
        }
        open
    }

    /// Appends an IA address or, if the length is below 128, an IA prefix.
    pub fn lifetimes(&mut self, of: &Lifetimes) {
        let (address, preferred, valid) = (of.address.octets(), of.preferred.to_be_bytes(), of.valid.to_be_bytes());
        match of.length {
            128 => self.option(option::IA_ADDRESS, &[&address, &preferred, &valid]),
            length => self.option(option::IA_PREFIX, &[&preferred, &valid, &[length], &address]),
        }
    }

    /// Appends a status without a text.
    pub fn status(&mut self, code: u16) {
        self.option(option::STATUS_CODE, &[&code.to_be_bytes()]);
    }

    /// Ends an option.
    pub fn end(&mut self, open: Open) {
        if self.is_full {
            return;
        }
        match u16::try_from(self.len - open.0) {
            Ok(len) => self.buffer[open.0 - 2..open.0].copy_from_slice(&len.to_be_bytes()),
            Err(_) => self.is_full = true,
        }
    }

    /// Ends the message and says how many octets it has; `None` if it did not fit.
    pub fn finish(self) -> Option<usize> {
        (!self.is_full).then_some(self.len)
    }

    #[inline(never)] // Called for each field.
    fn put(&mut self, octets: &[u8]) {
        match self.buffer.get_mut(self.len..self.len + octets.len()) {
            Some(place) if !self.is_full => {
                place.copy_from_slice(octets);
                self.len += octets.len();
            }
            _ => self.is_full = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut out = [0; 200];
        let mut writer = Writer::new(&mut out, MessageType::Reply, 0x0012_3456);
        writer.option(option::SERVER_ID, &[&[0, 3, 0, 1, 2, 0], &[0, 0, 0, 1]]);
        let ia = writer.begin_association(option::IA_NA, 7, 100, 200);
        let address = Lifetimes { address: Ipv6Addr::LOCALHOST, length: 128, preferred: 300, valid: INFINITY };
        writer.lifetimes(&address);
        writer.status(status::SUCCESS);
        writer.end(ia);
        let pd = writer.begin_association(option::IA_PD, 8, 0, 0);
        let prefix = Lifetimes { address: "fd00:1::".parse().unwrap(), length: 56, preferred: 1, valid: 2 };
        writer.lifetimes(&prefix);
        writer.end(pd);
        let len = writer.finish().unwrap();
        let message = Message::parse(&out[..len]).unwrap();
        assert_eq!((message.kind(), message.xid()), (MessageType::Reply, 0x0012_3456));
        assert_eq!(message.duid(option::SERVER_ID), Some(Duid::of_station(crate::wire::MacAddr([2, 0, 0, 0, 0, 1]))));
        let ia = Association::parse(message.options().find(option::IA_NA).unwrap()).unwrap();
        assert_eq!((ia.iaid, ia.t1, ia.t2, ia.options.status()), (7, 100, 200, status::SUCCESS));
        assert_eq!(Lifetimes::parse_address(ia.options.find(option::IA_ADDRESS).unwrap()), Some(address));
        let pd = Association::parse(message.options().find(option::IA_PD).unwrap()).unwrap();
        assert_eq!(Lifetimes::parse_prefix(pd.options.find(option::IA_PREFIX).unwrap()), Some(prefix));
        for cut in 0..len {
            let whole = Message::parse(&out[..cut]).is_some();
            assert!(
                !whole || cut == 4 || Options(&out[4..cut]).map(|(_, value)| value.len() + 4).sum::<usize>() == cut - 4
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_no_message() {
        let mut out = [0; 20];
        let mut writer = Writer::new(&mut out, MessageType::Reply, 1);
        writer.option(option::DNS_SERVERS, &[&[0; 16]]);
        writer.option(option::RAPID_COMMIT, &[]);
        assert_eq!(writer.finish(), None);
    }
}
