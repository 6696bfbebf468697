//! Domain names (RFC 1035 §3.1).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{DnsError, MAX_LABEL_LEN, MAX_NAME_LEN};

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

    /// The name whose first label is `label`, of at most 63 octets of any kind, and which lies directly below `parent`.
    ///
    /// # Errors
    /// If the label is empty or too long, or the name is.
    pub fn child(label: &[u8], parent: &Name) -> Result<Name, DnsError> {
        if label.is_empty() || label.len() > MAX_LABEL_LEN {
            return Err(DnsError::Label(label.len()));
        }
        let mut name = Name { octets: [0; MAX_NAME_LEN], len: 0 };
        name.append(label)?;
        name.len += 1;
        name.within(parent)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_may_have_any_octets_in_its_label() {
        let parent = Name::from_text("_http._tcp.local").unwrap();
        let child = Name::child(b"Tom's file. server", &parent).unwrap();
        assert_eq!(child.labels().next(), Some(&b"Tom's file. server"[..]));
        assert!(child.is_within(&parent));
        assert_eq!(Name::child(b"", &parent).unwrap_err(), DnsError::Label(0));
        assert_eq!(Name::child(&[b'x'; 64], &parent).unwrap_err(), DnsError::Label(64));
    }

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
