//! DNS messages (RFC 1035): names, a bounded reader, a writer that truncates.
//!
//! A [`Name`] is a domain name in wire form, checked once; comparing and writing it cannot fail. Reading follows
//! compression pointers only backwards, so that it ends on any input.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

const MAX_LABEL_LEN: usize = 63;

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
    /// IPv6 address (RFC 3596).
    pub const AAAA: RecordType = RecordType(28);
    /// The EDNS pseudo-record (RFC 6891).
    pub const OPT: RecordType = RecordType(41);
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

/// A domain name in wire form: labels with their lengths, the root's zero at the end. Keeps the case it came with.
#[derive(Clone, Copy)]
pub struct Name {
    octets: [u8; MAX_NAME_LEN],
    len: u8,
}

impl Name {
    /// The root: no label.
    pub const ROOT: Name = Name { octets: [0; MAX_NAME_LEN], len: 1 };

    /// Reads the name at `offset` and says where what follows it begins.
    pub fn read(message: &[u8], offset: usize) -> Result<(Name, usize), DnsError> {
        let mut name = Name { octets: [0; MAX_NAME_LEN], len: 0 };
        let mut at = offset;
        let mut after = None;
        // Each pointer must go before the start of the run of labels that it ends, so that there is no loop.
        let mut run = offset;
        loop {
            let len = usize::from(*message.get(at).ok_or(DnsError::Truncated)?);
            match len {
                0 => {
                    name.append(&[])?;
                    return Ok((name, after.unwrap_or(at + 1)));
                }
                1..=MAX_LABEL_LEN => {
                    name.append(message.get(at + 1..at + 1 + len).ok_or(DnsError::Truncated)?)?;
                    at += 1 + len;
                }
                0xc0.. => {
                    let low = usize::from(*message.get(at + 1).ok_or(DnsError::Truncated)?);
                    let target = (len & 0x3f) << 8 | low;
                    if target >= run {
                        return Err(DnsError::Pointer(target));
                    }
                    after.get_or_insert(at + 2);
                    run = target;
                    at = target;
                }
                _ => return Err(DnsError::Label(len)),
            }
        }
    }

    /// The name written as `text`, with or without the final dot. No escapes: a label is any octets but a dot.
    pub fn from_text(text: &str) -> Result<Name, DnsError> {
        let mut name = Name { octets: [0; MAX_NAME_LEN], len: 0 };
        let text = text.strip_suffix('.').unwrap_or(text);
        if !text.is_empty() {
            for label in text.split('.') {
                if label.is_empty() || label.len() > MAX_LABEL_LEN {
                    return Err(DnsError::Label(label.len()));
                }
                name.append(label.as_bytes())?;
            }
        }
        name.append(&[])?;
        Ok(name)
    }

    /// The wire form.
    pub fn as_octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }

    /// The labels from left to right, without the root.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.as_octets();
        core::iter::from_fn(move || match rest {
            [] | [0, ..] => None,
            [len, tail @ ..] => {
                let (label, after) = tail.split_at_checked(usize::from(*len))?;
                rest = after;
                Some(label)
            }
        })
    }

    /// Where each label begins, the root's too, and how many there are.
    fn label_starts(&self) -> ([u8; MAX_NAME_LEN / 2 + 1], usize) {
        let mut starts = [0; MAX_NAME_LEN / 2 + 1];
        let (mut count, mut at) = (0, 0u8);
        while let Some(len) = self.as_octets().get(usize::from(at)) {
            starts[count] = at;
            count += 1;
            at = at.saturating_add(1 + len);
        }
        (starts, count)
    }

    /// How many labels two names have in common, counted from the root on, which is not counted.
    pub fn common_labels(&self, other: &Name) -> usize {
        let ((own, own_count), (others, other_count)) = (self.label_starts(), other.label_starts());
        let mut common = 0;
        while common + 1 < own_count.min(other_count) {
            let (mine, theirs) = (own_count - 2 - common, other_count - 2 - common);
            let mine = &self.octets[usize::from(own[mine])..usize::from(own[mine + 1])];
            let theirs = &other.octets[usize::from(others[theirs])..usize::from(others[theirs + 1])];
            if !mine.eq_ignore_ascii_case(theirs) {
                break;
            }
            common += 1;
        }
        common
    }

    /// Whether `self` is `ancestor` or lies below it.
    pub fn is_within(&self, ancestor: &Name) -> bool {
        let mut own = self.as_octets();
        while own.len() > ancestor.as_octets().len() {
            own = &own[1 + usize::from(own[0])..];
        }
        own.eq_ignore_ascii_case(ancestor.as_octets())
    }

    /// The address that this name stands for in reverse lookups: `4.3.2.1.in-addr.arpa`, or 32 nibbles under `ip6.arpa`.
    pub fn reverse_address(&self) -> Option<IpAddr> {
        let v4 = strip_suffix(self.as_octets(), b"\x07in-addr\x04arpa\0");
        let v6 = strip_suffix(self.as_octets(), b"\x03ip6\x04arpa\0");
        let mut rest = v4.or(v6)?;
        let mut octets = [0; 16];
        let mut count = 0;
        while let [len, tail @ ..] = rest {
            let (label, after) = tail.split_at_checked(usize::from(*len))?;
            if v4.is_some() {
                *octets.get_mut(count)? = label_number(label, 10)?;
            } else {
                let nibble = label_number(label, 16).filter(|nibble| *nibble < 16)?;
                *octets.get_mut(count / 2)? |= nibble << (count % 2 * 4);
            }
            count += 1;
            rest = after;
        }
        match (count, octets) {
            (4, [d, c, b, a, ..]) if v4.is_some() => Some(Ipv4Addr::new(a, b, c, d).into()),
            (32, mut octets) => {
                octets.reverse();
                Some(Ipv6Addr::from(octets).into())
            }
            _ => None,
        }
    }

    /// The name for reverse lookups of an address (RFC 1035 §3.5, RFC 3596 §2.5).
    pub fn reverse(address: IpAddr) -> Name {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut name = Name { octets: [0; MAX_NAME_LEN], len: 0 };
        // At most 74 octets.
        let mut append = |label: &[u8]| {
            let _ = name.append(label);
        };
        match address {
            IpAddr::V4(address) => {
                for octet in address.octets().into_iter().rev() {
                    let digits = [octet / 100, octet / 10 % 10, octet % 10].map(|digit| DIGITS[usize::from(digit)]);
                    let zeros = usize::from(octet < 100) + usize::from(octet < 10);
                    append(&digits[zeros..]);
                }
                append(b"in-addr");
            }
            IpAddr::V6(address) => {
                for octet in address.octets().into_iter().rev() {
                    append(&[DIGITS[usize::from(octet & 0xf)]]);
                    append(&[DIGITS[usize::from(octet >> 4)]]);
                }
                append(b"ip6");
            }
        }
        append(b"arpa");
        append(&[]);
        name
    }

    /// The name below `domain` with the same labels.
    ///
    /// # Errors
    /// If that is too long.
    pub fn within(&self, domain: &Name) -> Result<Name, DnsError> {
        let mut name = *self;
        name.len -= 1;
        for label in domain.labels() {
            name.append(label)?;
        }
        name.append(&[])?;
        Ok(name)
    }

    /// Appends a label; the empty one ends the name.
    fn append(&mut self, label: &[u8]) -> Result<(), DnsError> {
        let start = usize::from(self.len);
        let end = start + 1 + label.len();
        // One octet stays free for the root, unless this is it.
        if end + usize::from(!label.is_empty()) > MAX_NAME_LEN {
            return Err(DnsError::NameTooLong);
        }
        self.octets[start] = label.len() as u8;
        self.octets[start + 1..end].copy_from_slice(label);
        self.len = end as u8;
        Ok(())
    }
}

/// What stands before `suffix`, which is compared without regard to ASCII case.
#[inline(never)]
fn strip_suffix<'a>(octets: &'a [u8], suffix: &[u8]) -> Option<&'a [u8]> {
    let (head, tail) = octets.split_at_checked(octets.len().checked_sub(suffix.len())?)?;
    tail.eq_ignore_ascii_case(suffix).then_some(head)
}

/// The number that a label of a reverse name stands for. "01" and "+1" are other names than "1".
fn label_number(label: &[u8], radix: u8) -> Option<u8> {
    if matches!(label, [] | [b'0', _, ..]) {
        return None;
    }
    label.iter().try_fold(0u8, |number, digit| {
        let digit = char::from(*digit).to_digit(radix.into())?;
        number.checked_mul(radix)?.checked_add(digit as u8)
    })
}

/// Names are equal without regard to ASCII case (RFC 4343).
impl PartialEq for Name {
    #[inline(never)] // Called from many places.
    fn eq(&self, other: &Name) -> bool {
        // Length octets are below 64 and no letters, so that the wire forms compare as a whole.
        self.as_octets().eq_ignore_ascii_case(other.as_octets())
    }
}

impl Eq for Name {}

/// Text form without the final dot; the root is `.`. Octets other than visible ASCII, dots and backslashes in
/// labels are escaped as `\DDD` (RFC 1035 §5.1).
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len <= 1 {
            return f.write_str(".");
        }
        for (index, label) in self.labels().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            for &octet in label {
                match octet {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(octet))?,
                    b'!'..=b'~' => write!(f, "{}", char::from(octet))?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
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

/// The owner of a record to write.
#[derive(Clone, Copy, Debug)]
pub enum Owner {
    /// The name of the first question, as a compression pointer.
    Question,
    /// The root.
    Root,
    /// The name of the first question without its first label, as a compression pointer.
    ParentOfQuestion,
    /// The end of the first question's name from this octet on, where a label begins, as a compression pointer.
    SuffixOfQuestion(u8),
}

/// Writes a message: questions, then records in the order of the sections.
///
/// A record that no longer fits sets TC and is left out whole; [`Writer::reserve`] keeps room for what must fit.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    header: Header,
    len: usize,
    reserved: usize,
    parent: u16,
}

const POINTER: u16 = 0xc000;
/// Octets of an OPT record without options.
pub const OPT_LEN: usize = 11;

impl<'a> Writer<'a> {
    /// Begins a message of at most `buffer.len()` octets with the flags of `header` (its counts are set anew); `None` if
    /// not even the header fits.
    pub fn new(buffer: &'a mut [u8], header: Header) -> Option<Self> {
        if buffer.len() < HEADER_LEN {
            return None;
        }
        let header = Header { counts: [0; 4], ..header };
        Some(Writer { buffer, header, len: HEADER_LEN, reserved: 0, parent: POINTER })
    }

    /// Keeps `octets` free at the end for records added after [`Writer::reserve`]`(0)`.
    pub fn reserve(&mut self, octets: usize) {
        self.reserved = octets;
    }

    /// Appends a question, uncompressed; false if it does not fit.
    pub fn question(&mut self, question: &Question) -> bool {
        let start = self.len;
        let name = question.name.as_octets();
        if !(self.put(name)
            && self.put(&question.record_type.0.to_be_bytes())
            && self.put(&question.class.to_be_bytes()))
        {
            self.len = start;
            return false;
        }
        if self.header.counts[0] == 0 {
            // A message's first question starts at offset 12 and its name is at most 255 octets: a pointer reaches it.
            let skip = if name.len() > 1 { 1 + u16::from(name[0]) } else { 0 };
            self.parent = POINTER | (start as u16 + skip);
        }
        self.header.counts[0] += 1;
        true
    }

    /// Appends a record; if it does not fit, leaves it out, sets TC and returns false.
    pub fn record(
        &mut self,
        section: Section,
        owner: Owner,
        kind: RecordType,
        class: u16,
        ttl: u32,
        data: &[&[u8]],
    ) -> bool {
        let start = self.len;
        let mut wrote = match owner {
            Owner::Question => self.put(&(POINTER | HEADER_LEN as u16).to_be_bytes()),
            Owner::ParentOfQuestion => self.put(&self.parent.to_be_bytes()),
            Owner::SuffixOfQuestion(at) => self.put(&(POINTER | (HEADER_LEN as u16 + u16::from(at))).to_be_bytes()),
            Owner::Root => self.put(&[0]),
        } && self.put(&kind.0.to_be_bytes())
            && self.put(&class.to_be_bytes())
            && self.put(&ttl.to_be_bytes())
            && self.put(&[0; 2]);
        let data_start = self.len;
        wrote = wrote && data.iter().all(|part| self.put(part));
        match u16::try_from(self.len - data_start) {
            Ok(len) if wrote => self.buffer[data_start - 2..data_start].copy_from_slice(&len.to_be_bytes()),
            _ => wrote = false,
        }
        if wrote {
            self.header.counts[section as usize] += 1;
        } else {
            self.len = start;
            self.header.truncated = true;
        }
        wrote
    }

    /// Appends the OPT record (RFC 6891 §6.1.2).
    pub fn edns(&mut self, edns: Edns) -> bool {
        let [high, low] = edns.flags.to_be_bytes();
        let ttl = u32::from_be_bytes([edns.extended_rcode, edns.version, high, low]);
        self.record(Section::Additional, Owner::Root, RecordType::OPT, edns.udp_size, ttl, &[])
    }

    /// Ends the message and says how many octets it has.
    pub fn finish(self) -> usize {
        self.header.write(&mut self.buffer[..HEADER_LEN]);
        self.len
    }

    #[inline(never)] // Called for each field of a record.
    fn put(&mut self, octets: &[u8]) -> bool {
        let end = self.len + octets.len();
        if end + self.reserved > self.buffer.len() {
            return false;
        }
        self.buffer[self.len..end].copy_from_slice(octets);
        self.len = end;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_lead_backwards_only() {
        // "b" at 0, "a" + pointer to 0 at 3, a pointer to itself at 7, one forwards at 9.
        let message = [1, b'b', 0, 1, b'a', 0xc0, 0, 0xc0, 7, 0xc0, 11, 0];
        let (name, after) = Name::read(&message, 3).unwrap();
        assert_eq!(name, Name::from_text("A.b.").unwrap());
        assert_eq!(after, 7);
        assert_eq!(Name::read(&message, 7).unwrap_err(), DnsError::Pointer(7));
        assert_eq!(Name::read(&message, 9).unwrap_err(), DnsError::Pointer(11));
        assert_eq!(Name::read(&message, 12).unwrap_err(), DnsError::Truncated);
        assert_eq!(Name::read(&[0x40, 0], 0).unwrap_err(), DnsError::Label(0x40));
    }

    #[test]
    fn a_pointer_back_into_its_own_labels_is_no_loop() {
        // At 2 the label "a", then a pointer to 2: the run of labels began there.
        let message = [0, 0, 1, b'a', 0xc0, 2];
        assert_eq!(Name::read(&message, 2).unwrap_err(), DnsError::Pointer(2));
    }

    #[test]
    fn names_have_at_most_255_octets() {
        let label = "x".repeat(63);
        let three = [label.as_str(); 3].join(".");
        let longest = [three.as_str(), &"y".repeat(61)].join(".");
        assert_eq!(Name::from_text(&longest).unwrap().as_octets().len(), MAX_NAME_LEN);
        let longer = [three.as_str(), &"y".repeat(62)].join(".");
        assert_eq!(Name::from_text(&longer).unwrap_err(), DnsError::NameTooLong);
        assert_eq!(Name::from_text("a..b").unwrap_err(), DnsError::Label(0));
        assert_eq!(Name::from_text(&"x".repeat(64)).unwrap_err(), DnsError::Label(64));
    }

    #[test]
    fn reverse_names_are_addresses() {
        let address = |text: &str| Name::from_text(text).unwrap().reverse_address();
        assert_eq!(address("15.2.0.10.IN-ADDR.arpa"), Some("10.0.2.15".parse().unwrap()));
        assert_eq!(address("015.2.0.10.in-addr.arpa"), None);
        assert_eq!(address("256.2.0.10.in-addr.arpa"), None);
        assert_eq!(address("2.0.10.in-addr.arpa"), None);
        let nibbles = "2.0.0.0.".to_string() + &"0.".repeat(24) + "0.0.d.f.ip6.arpa";
        assert_eq!(address(&nibbles), Some("fd00::2".parse().unwrap()));
    }

    #[test]
    fn a_name_lies_within_its_ancestors() {
        let name = |text| Name::from_text(text).unwrap();
        assert!(name("a.shop.test").is_within(&name("SHOP.test")));
        assert!(name("shop.test").is_within(&name("shop.test")));
        assert!(name("shop.test").is_within(&Name::ROOT));
        assert!(!name("bookshop.test").is_within(&name("shop.test")));
        assert!(!name("test").is_within(&name("shop.test")));
    }

    #[test]
    fn odd_octets_are_escaped_in_text() {
        let (name, _) = Name::read(&[4, b'a', b'.', 0, 0xff, 0], 0).unwrap();
        assert_eq!(name.to_string(), "a\\.\\000\\255");
        assert_eq!(Name::ROOT.to_string(), ".");
    }
}
