//! DHCP messages (RFC 2131 §2) and their options (RFC 2132): a checked view to read, a writer to build.
//!
//! [`Message::parse`] checks the fixed part and the layout of every option once; reading afterwards cannot fail.
//! Options may spill into the `file` and `sname` fields (option overload, 52) in both directions.

use core::net::Ipv4Addr;

use super::{array_at, u16_at, u32_at};

/// Octets of a message before its options: the BOOTP part and the magic cookie.
pub const HEADER_LEN: usize = 240;
/// The shortest message that BOOTP relays and clients take (RFC 1542 §2.1); shorter ones are padded to this.
pub const MIN_MESSAGE_LEN: usize = 300;
/// UDP port of servers and relays.
pub const SERVER_PORT: u16 = 67;
/// UDP port of clients.
pub const CLIENT_PORT: u16 = 68;

/// The bit of the `flags` field by which a client asks for broadcast answers.
pub const FLAG_BROADCAST: u16 = 0x8000;

const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];
const SNAME: core::ops::Range<usize> = 44..108;
const FILE: core::ops::Range<usize> = 108..236;

/// Option codes (RFC 2132).
pub mod option {
    /// Fills; has no length.
    pub const PAD: u8 = 0;
    /// Subnet mask.
    pub const SUBNET_MASK: u8 = 1;
    /// Routers, most preferred first.
    pub const ROUTER: u8 = 3;
    /// Domain name servers, most preferred first.
    pub const DNS_SERVERS: u8 = 6;
    /// Host name of the client.
    pub const HOST_NAME: u8 = 12;
    /// Domain name for unqualified names.
    pub const DOMAIN_NAME: u8 = 15;
    /// MTU of the interface in octets.
    pub const INTERFACE_MTU: u8 = 26;
    /// Broadcast address of the subnet.
    pub const BROADCAST_ADDRESS: u8 = 28;
    /// Time servers, most preferred first.
    pub const NTP_SERVERS: u8 = 42;
    /// The address that the client would like, or has.
    pub const REQUESTED_ADDRESS: u8 = 50;
    /// Lease time in seconds; `u32::MAX` is for ever.
    pub const LEASE_TIME: u8 = 51;
    /// Says that `file` (1), `sname` (2) or both (3) hold options.
    pub const OVERLOAD: u8 = 52;
    /// Kind of message: what makes a BOOTP message a DHCP message.
    pub const MESSAGE_TYPE: u8 = 53;
    /// Address of the server meant or answering.
    pub const SERVER_ID: u8 = 54;
    /// The options that the client would like, most wanted first.
    pub const PARAMETER_LIST: u8 = 55;
    /// Text that explains a NAK.
    pub const MESSAGE: u8 = 56;
    /// The longest message that the sender takes, IP and UDP headers counted.
    pub const MAX_MESSAGE_SIZE: u8 = 57;
    /// T1: seconds until the client renews.
    pub const RENEWAL_TIME: u8 = 58;
    /// T2: seconds until the client rebinds.
    pub const REBINDING_TIME: u8 = 59;
    /// Client identifier (RFC 4361).
    pub const CLIENT_ID: u8 = 61;
    /// The server may grant an address at once (RFC 4039); empty.
    pub const RAPID_COMMIT: u8 = 80;
    /// What a relay says of where the client is (RFC 3046).
    pub const RELAY_AGENT: u8 = 82;
    /// Hosts that can do without IPv4 should, for so many seconds (RFC 8925).
    pub const IPV6_ONLY_PREFERRED: u8 = 108;
    /// Routes with their masks (RFC 3442).
    pub const CLASSLESS_ROUTES: u8 = 121;
    /// Last option; has no length.
    pub const END: u8 = 255;
}

/// The kind of a DHCP message (option 53).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageType {
    /// A client looks for servers.
    Discover = 1,
    /// A server offers an address.
    Offer = 2,
    /// A client takes an offer, checks or extends a lease.
    Request = 3,
    /// A client found the address in use.
    Decline = 4,
    /// A server grants a lease.
    Ack = 5,
    /// A server refuses.
    Nak = 6,
    /// A client gives its address back.
    Release = 7,
    /// A client with an address wants the other parameters.
    Inform = 8,
}

impl MessageType {
    /// The kind with this number in option 53.
    pub const fn from_octet(octet: u8) -> Option<Self> {
        Some(match octet {
            1 => Self::Discover,
            2 => Self::Offer,
            3 => Self::Request,
            4 => Self::Decline,
            5 => Self::Ack,
            6 => Self::Nak,
            7 => Self::Release,
            8 => Self::Inform,
            _ => return None,
        })
    }
}

/// Direction of a message: the `op` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// From a client.
    Request = 1,
    /// From a server.
    Reply = 2,
}

/// Why octets are no DHCP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// Shorter than [`HEADER_LEN`], with the length.
    Truncated(usize),
    /// `op` is neither request nor reply, with its value.
    Op(u8),
    /// The magic cookie is missing: BOOTP without options.
    Cookie,
    /// An option runs past the end of its field, with its code.
    Option(u8),
    /// An option that has a fixed length has another, with its code.
    OptionLength(u8),
    /// No known message type (option 53).
    MessageType,
}

/// A DHCP message whose layout has been checked.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    header: &'a [u8; HEADER_LEN],
    options: &'a [u8],
    op: Op,
    kind: MessageType,
    overload: u8,
}

impl<'a> Message<'a> {
    /// Checks `bytes`, the payload of a UDP datagram.
    ///
    /// A missing End option is forgiven, since some clients leave it out; an option that runs past its field is not.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let (header, options) = bytes.split_first_chunk().ok_or(ParseError::Truncated(bytes.len()))?;
        let op = match header[0] {
            1 => Op::Request,
            2 => Op::Reply,
            other => return Err(ParseError::Op(other)),
        };
        if header[236..] != MAGIC_COOKIE {
            return Err(ParseError::Cookie);
        }
        // The overload option counts in the options field only (RFC 2132 §9.3), so that is walked first.
        let mut message = Message { header, options, op, kind: MessageType::Discover, overload: 0 };
        check_field(options)?;
        if let Some(&[value]) = message.option(option::OVERLOAD) {
            if !(1..=3).contains(&value) {
                return Err(ParseError::OptionLength(option::OVERLOAD));
            }
            message.overload = value;
        }
        if message.overload & 1 != 0 {
            check_field(&header[FILE])?;
        }
        if message.overload & 2 != 0 {
            check_field(&header[SNAME])?;
        }
        message.kind = match message.option(option::MESSAGE_TYPE) {
            Some(&[octet]) => MessageType::from_octet(octet).ok_or(ParseError::MessageType)?,
            _ => return Err(ParseError::MessageType),
        };
        Ok(message)
    }

    /// Request or reply.
    pub fn op(&self) -> Op {
        self.op
    }

    /// The kind of message (option 53).
    pub fn kind(&self) -> MessageType {
        self.kind
    }

    /// Hardware type (1 is Ethernet) and the hardware address, of at most 16 octets.
    pub fn hardware(&self) -> (u8, &'a [u8]) {
        let len = usize::from(self.hlen()).min(16);
        (self.header[1], &self.header[28..28 + len])
    }

    /// The 16 octets of the `chaddr` field.
    pub fn chaddr(&self) -> [u8; 16] {
        array_at(self.header, 28..44)
    }

    /// Length of the hardware address as sent; above 16 it makes no sense.
    pub fn hlen(&self) -> u8 {
        self.header[2]
    }

    /// The transaction, chosen by the client.
    pub fn xid(&self) -> u32 {
        u32_at(self.header, 4..8)
    }

    /// Seconds since the client began.
    pub fn secs(&self) -> u16 {
        u16_at(self.header, 8..10)
    }

    /// The flags field.
    pub fn flags(&self) -> u16 {
        u16_at(self.header, 10..12)
    }

    /// Whether the client asks for broadcast answers.
    pub fn broadcast(&self) -> bool {
        self.flags() & FLAG_BROADCAST != 0
    }

    /// The address that the client has and answers ARP for.
    pub fn ciaddr(&self) -> Ipv4Addr {
        Ipv4Addr::from(array_at(self.header, 12..16))
    }

    /// The address that the server gives.
    pub fn yiaddr(&self) -> Ipv4Addr {
        Ipv4Addr::from(array_at(self.header, 16..20))
    }

    /// The server of the next boot step.
    pub fn siaddr(&self) -> Ipv4Addr {
        Ipv4Addr::from(array_at(self.header, 20..24))
    }

    /// The relay agent, unspecified when there is none.
    pub fn giaddr(&self) -> Ipv4Addr {
        Ipv4Addr::from(array_at(self.header, 24..28))
    }

    /// All options in the order of RFC 2131 §4.1 (options, `file`, `sname`), without Pad and End.
    pub fn options(&self) -> Options<'a> {
        let none: &[u8] = &[];
        Options {
            fields: [
                self.options,
                if self.overload & 1 != 0 { &self.header[FILE] } else { none },
                if self.overload & 2 != 0 { &self.header[SNAME] } else { none },
            ],
            field: 0,
        }
    }

    /// The value of the first option with this code.
    #[inline(never)] // Called for each option that a server looks at.
    pub fn option(&self, code: u8) -> Option<&'a [u8]> {
        self.options().find(|(found, _)| *found == code).map(|(_, value)| value)
    }

    /// Copies the value of an option that may be split over several instances (RFC 3396 §7), as much as fits into `out`, and
    /// returns its length.
    pub fn gather(&self, code: u8, out: &mut [u8]) -> usize {
        let mut len = 0;
        for (_, value) in self.options().filter(|(found, _)| *found == code) {
            let part = &value[..value.len().min(out.len() - len)];
            out[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        }
        len
    }

    /// The value of an option that holds one address; `None` if it is missing or has another length.
    pub fn address_option(&self, code: u8) -> Option<Ipv4Addr> {
        let octets: [u8; 4] = self.option(code)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets))
    }

    /// The value of an option that holds 32 bits; `None` if it is missing or has another length.
    pub fn u32_option(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.option(code)?.try_into().ok()?))
    }

    /// The value of an option that holds 16 bits; `None` if it is missing or has another length.
    pub fn u16_option(&self, code: u8) -> Option<u16> {
        Some(u16::from_be_bytes(self.option(code)?.try_into().ok()?))
    }
}

/// Iterator over the options of a message: code and value.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    fields: [&'a [u8]; 3],
    field: usize,
}

impl<'a> Iterator for Options<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(rest) = self.fields.get_mut(self.field) {
            // `Message::parse` has checked all fields: no error is left.
            match next_option(rest) {
                Ok(Some(found)) => return Some(found),
                _ => self.field += 1,
            }
        }
        None
    }
}

/// Takes the next option off a field: code and value, `None` at the end, an error if it runs past the end.
fn next_option<'a>(field: &mut &'a [u8]) -> Result<Option<(u8, &'a [u8])>, ParseError> {
    while let [option::PAD, rest @ ..] = *field {
        *field = rest;
    }
    match *field {
        [] | [option::END, ..] => Ok(None),
        [code, len, rest @ ..] if rest.len() >= usize::from(*len) => {
            let (value, after) = rest.split_at(usize::from(*len));
            *field = after;
            Ok(Some((*code, value)))
        }
        [code, ..] => Err(ParseError::Option(*code)),
    }
}

fn check_field(mut field: &[u8]) -> Result<(), ParseError> {
    while let Some((code, value)) = next_option(&mut field)? {
        let fixed = match code {
            option::MESSAGE_TYPE | option::OVERLOAD => Some(1),
            option::REQUESTED_ADDRESS | option::SERVER_ID | option::LEASE_TIME => Some(4),
            option::MAX_MESSAGE_SIZE => Some(2),
            _ => None,
        };
        if fixed.is_some_and(|len| value.len() != len) {
            return Err(ParseError::OptionLength(code));
        }
    }
    Ok(())
}

/// The fixed part of a message to write.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Direction.
    pub op: Op,
    /// Hardware type; 1 is Ethernet.
    pub htype: u8,
    /// Length of the hardware address in octets, at most 16.
    pub hlen: u8,
    /// Transaction.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// [`FLAG_BROADCAST`] or 0.
    pub flags: u16,
    /// The client's address, if it has one.
    pub ciaddr: Ipv4Addr,
    /// The address given.
    pub yiaddr: Ipv4Addr,
    /// The relay agent.
    pub giaddr: Ipv4Addr,
    /// Hardware address, padded with zeros.
    pub chaddr: [u8; 16],
}

/// Writes a message: the fixed part, then option after option.
///
/// Options that no longer fit the options field go to `file` and `sname`, announced by option 52.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
    file: usize,
    sname: usize,
}

/// What is kept free in the options field for option 52 and End.
const TRAILER_LEN: usize = 4;

impl<'a> Writer<'a> {
    /// Begins a message of at most `buffer.len()` octets; `None` if that is less than [`MIN_MESSAGE_LEN`].
    pub fn new(buffer: &'a mut [u8], header: &Header, kind: MessageType) -> Option<Self> {
        if buffer.len() < MIN_MESSAGE_LEN {
            return None;
        }
        let fixed = buffer.first_chunk_mut::<HEADER_LEN>()?;
        fixed.fill(0);
        fixed[0] = header.op as u8;
        fixed[1] = header.htype;
        fixed[2] = header.hlen;
        fixed[4..8].copy_from_slice(&header.xid.to_be_bytes());
        fixed[8..10].copy_from_slice(&header.secs.to_be_bytes());
        fixed[10..12].copy_from_slice(&header.flags.to_be_bytes());
        fixed[12..16].copy_from_slice(&header.ciaddr.octets());
        fixed[16..20].copy_from_slice(&header.yiaddr.octets());
        fixed[24..28].copy_from_slice(&header.giaddr.octets());
        fixed[28..44].copy_from_slice(&header.chaddr);
        fixed[236..].copy_from_slice(&MAGIC_COOKIE);
        let mut writer = Writer { buffer, len: HEADER_LEN, file: 0, sname: 0 };
        writer.option(option::MESSAGE_TYPE, &[kind as u8]);
        Some(writer)
    }

    /// Appends an option; false, with nothing written, if no field has room for it or it exceeds 255 octets.
    #[inline(never)] // Called for each option of each kind of answer.
    pub fn option(&mut self, code: u8, value: &[u8]) -> bool {
        let Ok(value_len) = u8::try_from(value.len()) else {
            return false;
        };
        let total = value.len() + 2;
        let at = if self.len + total + TRAILER_LEN <= self.buffer.len() {
            self.len += total;
            self.len - total
        } else if self.file + total < FILE.len() {
            self.file += total;
            FILE.start + self.file - total
        } else if self.sname + total < SNAME.len() {
            self.sname += total;
            SNAME.start + self.sname - total
        } else {
            return false;
        };
        self.buffer[at] = code;
        self.buffer[at + 1] = value_len;
        self.buffer[at + 2..at + total].copy_from_slice(value);
        true
    }

    /// Ends the message and says how many octets it has.
    pub fn finish(mut self) -> usize {
        let overload = u8::from(self.file > 0) | u8::from(self.sname > 0) << 1;
        if overload & 1 != 0 {
            self.buffer[FILE.start + self.file] = option::END;
        }
        if overload & 2 != 0 {
            self.buffer[SNAME.start + self.sname] = option::END;
        }
        if overload != 0 {
            self.buffer[self.len..self.len + 3].copy_from_slice(&[option::OVERLOAD, 1, overload]);
            self.len += 3;
        }
        self.buffer[self.len] = option::END;
        self.len += 1;
        if self.len < MIN_MESSAGE_LEN {
            self.buffer[self.len..MIN_MESSAGE_LEN].fill(option::PAD);
            self.len = MIN_MESSAGE_LEN;
        }
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        op: Op::Request,
        htype: 1,
        hlen: 6,
        xid: 0x1234_5678,
        secs: 0,
        flags: FLAG_BROADCAST,
        ciaddr: Ipv4Addr::UNSPECIFIED,
        yiaddr: Ipv4Addr::UNSPECIFIED,
        giaddr: Ipv4Addr::UNSPECIFIED,
        chaddr: [2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    };

    #[test]
    fn what_is_written_reads_back() {
        let mut buffer = [0xaa; 576];
        let mut writer = Writer::new(&mut buffer, &HEADER, MessageType::Discover).unwrap();
        assert!(writer.option(option::REQUESTED_ADDRESS, &[10, 0, 2, 15]));
        let len = writer.finish();
        assert_eq!(len, MIN_MESSAGE_LEN);
        let message = Message::parse(&buffer[..len]).unwrap();
        assert_eq!(message.kind(), MessageType::Discover);
        assert_eq!(message.xid(), 0x1234_5678);
        assert!(message.broadcast());
        assert_eq!(message.hardware(), (1, &[2, 0, 0, 0, 0, 1][..]));
        assert_eq!(message.address_option(option::REQUESTED_ADDRESS), Some(Ipv4Addr::new(10, 0, 2, 15)));
    }

    #[test]
    fn options_that_do_not_fit_overflow_into_file_and_sname() {
        let mut buffer = [0; MIN_MESSAGE_LEN];
        let mut writer = Writer::new(&mut buffer, &HEADER, MessageType::Ack).unwrap();
        let mut written = 0;
        while writer.option(200 + written, &[written; 20]) {
            written += 1;
        }
        assert_eq!(written, 2 + 5 + 2);
        let len = writer.finish();
        let message = Message::parse(&buffer[..len]).unwrap();
        for index in 0..written {
            assert_eq!(message.option(200 + index), Some(&[index; 20][..]));
        }
    }

    #[test]
    fn an_option_past_the_end_is_an_error() {
        let mut buffer = [0; MIN_MESSAGE_LEN];
        let len = Writer::new(&mut buffer, &HEADER, MessageType::Ack).unwrap().finish();
        buffer[243] = option::HOST_NAME;
        buffer[244] = 200;
        assert_eq!(Message::parse(&buffer[..len]).unwrap_err(), ParseError::Option(option::HOST_NAME));
        assert_eq!(Message::parse(&buffer[..239]).unwrap_err(), ParseError::Truncated(239));
    }
}
