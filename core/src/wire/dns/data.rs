//! The data of a record as it compares: without compression.

use core::fmt;

use super::{DnsError, Name, Record, RecordType};

/// The longest data of a record that is kept, in octets. RFC 6763 §6.1 has 400 octets for texts that need much; those of printers
/// have more.
pub const MAX_DATA_LEN: usize = 1_024;

/// The data of a record in place, its names written out.
#[derive(Clone, Copy)]
pub struct RecordData {
    octets: [u8; MAX_DATA_LEN],
    len: u16,
}

impl RecordData {
    /// No data.
    pub const EMPTY: RecordData = RecordData { octets: [0; MAX_DATA_LEN], len: 0 };

    /// These parts, one after the other.
    ///
    /// # Errors
    /// [`DnsError::DataTooLong`]
    pub fn new(parts: &[&[u8]]) -> Result<RecordData, DnsError> {
        let mut data = RecordData::EMPTY;
        for part in parts {
            let start = usize::from(data.len);
            let end = start + part.len();
            data.octets.get_mut(start..end).ok_or(DnsError::DataTooLong(end))?.copy_from_slice(part);
            data.len = end as u16;
        }
        Ok(data)
    }

    /// The data of a record in `message`. Names are expanded in those types whose names RFC 6762 §18.14 lets be compressed; what follows
    /// a type's last name is taken as it is.
    ///
    /// # Errors
    /// If a name cannot be read, or the data is too long.
    pub fn read(message: &[u8], record: &Record<'_>) -> Result<RecordData, DnsError> {
        let (fixed, names) = layout(record.record_type);
        let start = record.data_offset;
        let end = start + record.data.len();
        if names == 0 {
            return RecordData::new(&[record.data]);
        }
        // A name begins within the data, but may end elsewhere.
        let message = message.get(..end).ok_or(DnsError::Truncated)?;
        let (first, mut at) = Name::read(message, start + fixed)?;
        let mut second = None;
        if names == 2 {
            let (name, after) = Name::read(message, at)?;
            (second, at) = (Some(name), after);
        }
        let rest = message.get(at..end).ok_or(DnsError::Truncated)?;
        let fixed = message.get(start..start + fixed).ok_or(DnsError::Truncated)?;
        let second = second.as_ref().map_or(&[][..], Name::as_octets);
        RecordData::new(&[fixed, first.as_octets(), second, rest])
    }

    /// The octets.
    pub fn as_octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }

    /// The name that data of this type begins with, after its numbers: a PTR's, an SRV's target.
    pub fn name(&self, kind: RecordType) -> Option<Name> {
        let (fixed, names) = layout(kind);
        if names == 0 {
            return None;
        }
        Name::read(self.as_octets(), fixed).ok().map(|(name, _)| name)
    }

    /// Whether two records of this type have the same data: names are compared without regard to ASCII case.
    pub fn equals(&self, kind: RecordType, other: &RecordData) -> bool {
        let (fixed, names) = layout(kind);
        let (own, others) = (self.as_octets(), other.as_octets());
        match (own.split_at_checked(fixed), others.split_at_checked(fixed)) {
            (Some((own, own_rest)), Some((others, other_rest))) if names > 0 => {
                own == others && own_rest.eq_ignore_ascii_case(other_rest)
            }
            _ => own == others,
        }
    }
}

/// How many octets precede the names in data of this type, and how many names there are.
fn layout(kind: RecordType) -> (usize, usize) {
    match kind {
        RecordType::PTR | RecordType::CNAME | RecordType::NS | RecordType::NSEC => (0, 1),
        RecordType::MX => (2, 1),
        RecordType::SRV => (6, 1),
        RecordType::SOA => (0, 2),
        _ => (0, 0),
    }
}

impl fmt::Debug for RecordData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_octets(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_data_are_written_out() {
        // "x.local" at 0, then an SRV record of the root whose target is "y" and a pointer to "local".
        let mut message = vec![1, b'x', 5, b'l', b'o', b'c', b'a', b'l', 0];
        message.extend([0, 0, 33, 0, 1, 0, 0, 0, 9, 0, 10, 0, 1, 0, 2, 0, 80, 1, b'y', 0xc0, 2]);
        let (record, _) = Record::read(&message, 9).unwrap();
        let data = RecordData::read(&message, &record).unwrap();
        assert_eq!(data.as_octets(), b"\x00\x01\x00\x02\x00\x50\x01y\x05local\0");
        assert_eq!(data.name(RecordType::SRV), Name::from_text("y.local").ok());
        let other = RecordData::new(&[b"\x00\x01\x00\x02\x00\x50", b"\x01Y\x05LOCAL\0"]).unwrap();
        assert!(data.equals(RecordType::SRV, &other) && !data.equals(RecordType::TXT, &other));
        let other = RecordData::new(&[b"\x00\x01\x00\x02\x00\x70", b"\x01y\x05local\0"]).unwrap();
        assert!(!data.equals(RecordType::SRV, &other), "a port is no letter");
    }

    #[test]
    fn a_name_that_leaves_its_data_is_none() {
        // A PTR whose data is the first octet of a label.
        let message = [0, 0, 12, 0, 1, 0, 0, 0, 9, 0, 1, 3, b'a', b'b', b'c', 0];
        let (record, _) = Record::read(&message, 0).unwrap();
        assert_eq!(RecordData::read(&message, &record).unwrap_err(), DnsError::Truncated);
    }

    #[test]
    fn long_data_is_not_kept() {
        assert!(RecordData::new(&[&[0; MAX_DATA_LEN]]).is_ok());
        assert_eq!(RecordData::new(&[&[0; MAX_DATA_LEN], &[0]]).unwrap_err(), DnsError::DataTooLong(MAX_DATA_LEN + 1));
    }
}
