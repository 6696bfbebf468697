//! DNS messages (RFC 1035): names, a bounded reader, a writer that truncates.
//!
//! A [`Name`] is a domain name in wire form, checked once; comparing and writing it cannot fail. Reading follows
//! compression pointers only backwards, so that it ends on any input.

mod data;
mod name;
mod writer;

pub use data::{MAX_DATA_LEN, RecordData};
pub use name::Name;
pub use writer::{OPT_LEN, Owner, Writer};

/// Octets of the header.
pub const HEADER_LEN: usize = 12;
/// The longest name in wire form (RFC 1035 §2.3.4), final zero counted.
pub const MAX_NAME_LEN: usize = 255;
/// The longest answer over UDP to a client without EDNS (RFC 1035 §4.2.1), in octets.
pub const UDP_LIMIT: usize = 512;
/// UDP and TCP port of servers.
pub const PORT: u16 = 53;
/// The class of the Internet.
pub const CLASS_IN: u16 = 1;
/// Any class, in questions only.
pub const CLASS_ANY: u16 = 255;
/// The bit of the EDNS flags by which a client takes DNSSEC records (RFC 3225).
pub const EDNS_DO: u16 = 0x8000;

/// The longest label (RFC 1035 §2.3.4), in octets.
pub const MAX_LABEL_LEN: usize = 63;

/// Why octets are no DNS message, or text no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DnsError {
    /// The message ends too early.
    Truncated,
    /// A label has this length, or these two top bits that mean nothing.
    Label(usize),
    /// A name is longer than 255 octets.
    NameTooLong,
    /// A compression pointer does not point backwards, with its target.
    Pointer(usize),
    /// The OPT record stands twice or has an owner other than the root (RFC 6891 §6.1.1).
    Edns,
    /// The data of a record has so many octets without compression, which is more than is kept.
    DataTooLong(usize),
}

/// The type of a record or question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordType(pub u16);

impl RecordType {
    /// IPv4 address.
    pub const A: RecordType = RecordType(1);
    /// Name server.
    pub const NS: RecordType = RecordType(2);
    /// Canonical name of an alias.
    pub const CNAME: RecordType = RecordType(5);
    /// Start of a zone of authority.
    pub const SOA: RecordType = RecordType(6);
    /// Pointer to a name, for addresses.
    pub const PTR: RecordType = RecordType(12);
    /// Mail exchanger.
    pub const MX: RecordType = RecordType(15);
    /// Texts (RFC 1464, RFC 6763 §6).
    pub const TXT: RecordType = RecordType(16);
    /// IPv6 address (RFC 3596).
    pub const AAAA: RecordType = RecordType(28);
    /// Host and port of a service (RFC 2782).
    pub const SRV: RecordType = RecordType(33);
    /// The EDNS pseudo-record (RFC 6891).
    pub const OPT: RecordType = RecordType(41);
    /// Which types there are of a name (RFC 4034 §4, RFC 6762 §6.1).
    pub const NSEC: RecordType = RecordType(47);
    /// Every type, in questions only.
    pub const ANY: RecordType = RecordType(255);
}

/// A response code (RFC 1035 §4.1.1, RFC 6891 §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Rcode {
    /// No error.
    NoError = 0,
    /// The server cannot interpret the query.
    FormErr = 1,
    /// The server has failed.
    ServFail = 2,
    /// The name does not exist.
    NxDomain = 3,
    /// The server does not support the operation.
    NotImp = 4,
    /// The server does not want to answer.
    Refused = 5,
    /// The EDNS version is not known; its upper bits travel in the OPT record.
    BadVers = 16,
}

/// The header of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Chosen by the client, echoed.
    pub id: u16,
    /// QR: an answer, not a query.
    pub response: bool,
    /// 0 is a standard query.
    pub opcode: u8,
    /// AA: the server is an authority for the name.
    pub authoritative: bool,
    /// TC: not everything fitted.
    pub truncated: bool,
    /// RD: the client wants recursion.
    pub recursion_desired: bool,
    /// RA: the server offers recursion.
    pub recursion_available: bool,
    /// CD: the client checks DNSSEC itself (RFC 4035 §3.2.2).
    pub checking_disabled: bool,
    /// The low four bits of the response code.
    pub rcode: u8,
    /// Number of questions, answers, authority records and additional records, as claimed.
    pub counts: [u16; 4],
}

impl Header {
    /// Reads the first 12 octets.
    pub fn read(message: &[u8]) -> Result<Header, DnsError> {
        let octets: &[u8; HEADER_LEN] = message.first_chunk().ok_or(DnsError::Truncated)?;
        let word = |at: usize| u16::from_be_bytes([octets[at], octets[at + 1]]);
        let flags = word(2);
        Ok(Header {
            id: word(0),
            response: flags & 0x8000 != 0,
            opcode: (flags >> 11 & 0xf) as u8,
            authoritative: flags & 0x0400 != 0,
            truncated: flags & 0x0200 != 0,
            recursion_desired: flags & 0x0100 != 0,
            recursion_available: flags & 0x0080 != 0,
            checking_disabled: flags & 0x0010 != 0,
            rcode: (flags & 0xf) as u8,
            counts: [word(4), word(6), word(8), word(10)],
        })
    }

    fn write(&self, octets: &mut [u8]) {
        let flags = u16::from(self.response) << 15
            | u16::from(self.opcode & 0xf) << 11
            | u16::from(self.authoritative) << 10
            | u16::from(self.truncated) << 9
            | u16::from(self.recursion_desired) << 8
            | u16::from(self.recursion_available) << 7
            | u16::from(self.checking_disabled) << 4
            | u16::from(self.rcode & 0xf);
        let words = [self.id, flags, self.counts[0], self.counts[1], self.counts[2], self.counts[3]];
        for (place, word) in octets.chunks_exact_mut(2).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
    }
}

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name asked for, in the case it was asked.
    pub name: Name,
    /// The type wanted.
    pub record_type: RecordType,
    /// The class, nearly always [`CLASS_IN`].
    pub class: u16,
}

impl Question {
    /// Reads the question at `offset` and says where what follows it begins.
    pub fn read(message: &[u8], offset: usize) -> Result<(Question, usize), DnsError> {
        let (name, at) = Name::read(message, offset)?;
        let record_type = RecordType(word(message, at)?);
        let class = word(message, at + 2)?;
        Ok((Question { name, record_type, class }, at + 4))
    }
}

/// The section of a message that a record stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// What was asked for.
    Answer = 1,
    /// Name servers, and the SOA of negative answers.
    Authority = 2,
    /// Everything else; OPT.
    Additional = 3,
}

/// A record in a message.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The owner.
    pub name: Name,
    /// The type.
    pub record_type: RecordType,
    /// The class; the sender's UDP size for OPT.
    pub class: u16,
    /// Time to live in seconds.
    pub ttl: u32,
    /// The data, still compressed where its type allows that.
    pub data: &'a [u8],
    /// Where `data` begins in the message, to read names in it.
    pub data_offset: usize,
}

impl<'a> Record<'a> {
    /// Reads the record at `offset` and says where what follows it begins.
    pub fn read(message: &'a [u8], offset: usize) -> Result<(Record<'a>, usize), DnsError> {
        // A record begins like a question.
        let (Question { name, record_type, class }, at) = Question::read(message, offset)?;
        let ttl = u32::from(word(message, at)?) << 16 | u32::from(word(message, at + 2)?);
        let data_offset = at + 6;
        let end = data_offset + usize::from(word(message, at + 4)?);
        let data = message.get(data_offset..end).ok_or(DnsError::Truncated)?;
        Ok((Record { name, record_type, class, ttl, data, data_offset }, end))
    }
}

/// The EDNS part of a message (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// The longest UDP payload that the sender takes, in octets.
    pub udp_size: u16,
    /// The upper eight bits of the response code.
    pub extended_rcode: u8,
    /// 0 is the only one defined.
    pub version: u8,
    /// [`EDNS_DO`] and reserved bits.
    pub flags: u16,
}

impl Edns {
    /// Finds the OPT record among the `header.counts` records from `offset` on. Reads on to the last record, so that the
    /// whole message is checked; each takes at least 11 octets, which bounds the work by the message's length.
    pub fn find(message: &[u8], header: &Header, offset: usize) -> Result<Option<Edns>, DnsError> {
        let mut found = None;
        let mut at = offset;
        for section in 1..4 {
            for _ in 0..header.counts[section] {
                let (record, next) = Record::read(message, at)?;
                at = next;
                if record.record_type != RecordType::OPT || section != Section::Additional as usize {
                    continue;
                }
                if found.is_some() || record.name != Name::ROOT {
                    return Err(DnsError::Edns);
                }
                let [extended_rcode, version, high, low] = record.ttl.to_be_bytes();
                let flags = u16::from_be_bytes([high, low]);
                found = Some(Edns { udp_size: record.class, extended_rcode, version, flags });
            }
        }
        Ok(found)
    }
}

fn word(message: &[u8], at: usize) -> Result<u16, DnsError> {
    match message.get(at..at + 2) {
        Some(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
        _ => Err(DnsError::Truncated),
    }
}
