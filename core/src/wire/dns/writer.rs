//! Writing messages.

use super::{DnsError, Edns, HEADER_LEN, Header, Name, Question, RecordType, Section};

/// Labels that a message may point back to; names that come later are written out.
const MAX_LABELS: usize = 64;

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
    /// Where the labels are that were written by [`Writer::put_name`], in ascending order.
    labels: [u16; MAX_LABELS],
    label_count: usize,
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
        Some(Writer {
            buffer,
            header,
            len: HEADER_LEN,
            reserved: 0,
            parent: POINTER,
            labels: [0; MAX_LABELS],
            label_count: 0,
        })
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

    /// Appends a question whose name is compressed; false if it does not fit.
    pub fn compressed_question(&mut self, question: &Question) -> bool {
        let start = self.len;
        let wrote = self.put_name(&question.name)
            && self.put(&question.record_type.0.to_be_bytes())
            && self.put(&question.class.to_be_bytes());
        if !wrote {
            self.roll_back(start);
            return false;
        }
        self.header.counts[0] += 1;
        true
    }

    /// Appends a record with compressed names (RFC 6762 §18.14), also in the data of those types that may have such; SRV only if
    /// `compress_srv`. False, without TC, if it does not fit.
    pub fn compressed_record(
        &mut self,
        section: Section,
        name: &Name,
        (kind, class, ttl): (RecordType, u16, u32),
        data: &[u8],
        compress_srv: bool,
    ) -> bool {
        let start = self.len;
        let mut wrote = self.put_name(name)
            && self.put(&kind.0.to_be_bytes())
            && self.put(&class.to_be_bytes())
            && self.put(&ttl.to_be_bytes())
            && self.put(&[0; 2]);
        let data_start = self.len;
        wrote = wrote && self.put_data(kind, data, compress_srv);
        if !wrote {
            self.roll_back(start);
            return false;
        }
        let len = (self.len - data_start) as u16;
        self.buffer[data_start - 2..data_start].copy_from_slice(&len.to_be_bytes());
        self.header.counts[section as usize] += 1;
        true
    }

    /// Whether there is no record yet.
    pub fn has_no_record(&self) -> bool {
        self.header.counts[1..] == [0; 3]
    }

    /// Sets TC.
    pub fn set_truncated(&mut self) {
        self.header.truncated = true;
    }

    fn put_data(&mut self, kind: RecordType, data: &[u8], compress_srv: bool) -> bool {
        let fixed = match kind {
            RecordType::PTR | RecordType::CNAME | RecordType::NS => 0,
            RecordType::SRV if compress_srv => 6,
            _ => return self.put(data),
        };
        match Name::read(data, fixed) {
            Ok((name, end)) if end == data.len() => self.put(&data[..fixed]) && self.put_name(&name),
            _ => self.put(data),
        }
    }

    /// Appends a name: the labels that the message does not have yet, then a pointer to those that it has (RFC 1035 §4.1.4).
    fn put_name(&mut self, name: &Name) -> bool {
        let mut rest = name.as_octets();
        while rest.len() > 1 {
            if let Some(at) = self.find_name(rest) {
                return self.put(&(POINTER | at).to_be_bytes());
            }
            let label = 1 + usize::from(rest[0]);
            // A pointer has 14 bits.
            if self.len < usize::from(POINTER ^ u16::MAX)
                && let Some(place) = self.labels.get_mut(self.label_count)
            {
                *place = self.len as u16;
                self.label_count += 1;
            }
            if !self.put(&rest[..label]) {
                return false;
            }
            rest = &rest[label..];
        }
        self.put(&[0])
    }

    /// Where a name with this wire form stands in whole. A name that is being written has no end yet, and is not found.
    fn find_name(&self, wanted: &[u8]) -> Option<u16> {
        let known = self.labels[..self.label_count].iter().copied();
        let written = &self.buffer[..self.len];
        known.into_iter().find(|at| {
            let read: Result<(Name, usize), DnsError> = Name::read(written, usize::from(*at));
            read.is_ok_and(|(name, _)| name.as_octets().eq_ignore_ascii_case(wanted))
        })
    }

    fn roll_back(&mut self, start: usize) {
        self.len = start;
        while self.label_count > 0 && usize::from(self.labels[self.label_count - 1]) >= start {
            self.label_count -= 1;
        }
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
    use super::super::{CLASS_IN, Record};
    use super::*;

    #[test]
    fn names_point_to_what_the_message_has() {
        let name = |text| Name::from_text(text).unwrap();
        let question = Question { name: name("_http._tcp.local"), record_type: RecordType::PTR, class: CLASS_IN };
        let mut buffer = [0; 512];
        let mut writer = Writer::new(&mut buffer, Header::default()).unwrap();
        assert!(writer.compressed_question(&question));
        let fields = |kind| (kind, CLASS_IN, 120);
        let shop = name("shop._http._tcp.local");
        let wrote =
            writer.compressed_record(Section::Answer, &question.name, fields(RecordType::PTR), shop.as_octets(), true);
        let server = [&[0, 0, 0, 0, 0, 80][..], name("till.local").as_octets()].concat();
        assert!(wrote && writer.compressed_record(Section::Answer, &shop, fields(RecordType::SRV), &server, true));
        let len = writer.finish();
        // The header, 18 + 4; 2 + 10 + 7; 2 + 10 + 6 + 7.
        assert_eq!(len, 12 + 22 + 19 + 25);
        let (first, at) = Record::read(&buffer[..len], 34).unwrap();
        assert_eq!(Name::read(&buffer, first.data_offset).unwrap().0, shop);
        let (second, end) = Record::read(&buffer[..len], at).unwrap();
        assert_eq!((second.name, end), (shop, len));
        assert_eq!(Name::read(&buffer, second.data_offset + 6).unwrap().0, name("till.local"));
    }

    #[test]
    fn what_does_not_fit_is_forgotten_with_its_labels() {
        let name = |text| Name::from_text(text).unwrap();
        let mut buffer = [0; 60];
        let mut writer = Writer::new(&mut buffer, Header::default()).unwrap();
        let fields = (RecordType::TXT, CLASS_IN, 120);
        assert!(!writer.compressed_record(Section::Answer, &name("a.local"), fields, &[0; 40], true));
        assert!(writer.has_no_record());
        assert!(writer.compressed_record(Section::Answer, &name("b.local"), fields, &[0; 20], true));
        let len = writer.finish();
        assert_eq!(Record::read(&buffer[..len], 12).unwrap().0.name, name("b.local"));
    }
}
