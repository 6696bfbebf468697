//! What has to be known of a certificate that neither rustls nor webpki tells: its names as they are encoded, how long it is valid,
//! its key. A reader of DER (X.690) for that much of RFC 5280 §4.1.

/// The fields of a certificate that are looked at.
#[derive(Debug)]
pub(crate) struct Certificate<'a> {
    /// The issuer's name with its tag and length.
    pub(crate) issuer: &'a [u8],
    pub(crate) validity: Validity,
    /// The subject's name with its tag and length.
    pub(crate) subject: &'a [u8],
    /// The bits of the public key.
    pub(crate) public_key: &'a [u8],
    /// The identifier of the public key (RFC 5280 §4.2.1.2).
    pub(crate) subject_key_identifier: Option<&'a [u8]>,
    /// Whether the key may sign certificates.
    pub(crate) is_authority: bool,
}

/// From when until when a certificate is valid, both included: seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
}

/// An attribute of a name.
#[derive(Debug)]
pub(crate) struct Attribute<'a> {
    /// The parts of its type's object identifier.
    pub(crate) kind: Vec<u64>,
    /// The tag of the value: one of the kinds of strings.
    pub(crate) tag: u8,
    pub(crate) value: &'a [u8],
}

const BOOLEAN: u8 = 0x01;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const PRINTABLE_STRING: u8 = 0x13;
pub(crate) const IA5_STRING: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// The certificate's version, and its extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// The object identifiers 2.5.29.14, .15 and .19.
const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x0e];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];

/// The bit `keyCertSign` in the first byte of a key's usage (RFC 5280 §4.2.1.3).
const KEY_CERT_SIGN: u8 = 0x04;

/// Elements one after the other.
#[derive(Clone, Copy)]
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The next element: its tag, its contents, and all of it.
    fn next(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let all = self.0;
        let (&tag, rest) = all.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let digits = rest.split_off(..usize::from(first & 0x7f))?;
            if digits.is_empty() || digits.len() > 3 {
                return None;
            }
            digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit))
        };
        let contents = rest.split_off(..length)?;
        self.0 = rest;
        Some((tag, contents, &all[..all.len() - rest.len()]))
    }

    /// The contents of the next element if it has this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, ..)| *found == tag).map(|(_, contents, _)| contents)
    }

    /// The contents of the next element if it has this tag; otherwise it stays.
    fn optional(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let contents = ahead.expect(tag)?;
        *self = ahead;
        Some(contents)
    }
}

impl<'a> Certificate<'a> {
    /// Reads a certificate; None if it is none.
    pub(crate) fn parse(der: &'a [u8]) -> Option<Self> {
        let mut certificate = Elements(Elements(der).expect(SEQUENCE)?);
        let mut fields = Elements(certificate.expect(SEQUENCE)?);
        let has_version = fields.optional(VERSION).is_some();
        let _serial_number = fields.next()?;
        let _algorithm = fields.expect(SEQUENCE)?;
        let (_, _, issuer) = fields.next()?;
        let mut times = Elements(fields.expect(SEQUENCE)?);
        let validity = Validity { not_before: time(&mut times)?, not_after: time(&mut times)? };
        let (_, _, subject) = fields.next()?;
        let mut key = Elements(fields.expect(SEQUENCE)?);
        let _algorithm = key.expect(SEQUENCE)?;
        // The first byte counts the bits that the last one lacks: none.
        let (_, public_key) = key.expect(BIT_STRING)?.split_first()?;
        let mut extensions = Extensions::default();
        while let Some((tag, contents, _)) = fields.next() {
            if tag == EXTENSIONS {
                extensions = Extensions::parse(contents)?;
            }
        }
        // RFC 5280 §6.1.4 (k): a certificate of version 3 says so; the first ones, which have no version, cannot.
        let is_authority = match extensions.is_authority {
            Some(says_so) => says_so,
            None => !has_version && issuer == subject,
        };
        Some(Self {
            issuer,
            validity,
            subject,
            public_key,
            subject_key_identifier: extensions.subject_key_identifier,
            // (n): "If a key usage extension is present, verify that the keyCertSign bit is set."
            is_authority: is_authority && extensions.may_sign.unwrap_or(true),
        })
    }

    /// Whether it names itself as its issuer.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }
}

/// Whether this is a certificate that names itself as its issuer.
pub(crate) fn is_self_issued(der: &[u8]) -> bool {
    Certificate::parse(der).is_some_and(|certificate| certificate.is_self_issued())
}

/// The attributes of a name; None if it is no name, or one of its parts has several attributes.
pub(crate) fn attributes(name: &[u8]) -> Option<Vec<Attribute<'_>>> {
    let mut parts = Elements(Elements(name).expect(SEQUENCE)?);
    let mut attributes = Vec::new();
    while !parts.0.is_empty() {
        let mut set = Elements(parts.expect(SET)?);
        let mut pair = Elements(set.expect(SEQUENCE)?);
        if !set.0.is_empty() {
            return None;
        }
        let kind = object_identifier(pair.expect(OBJECT_IDENTIFIER)?)?;
        let (tag, value, _) = pair.next()?;
        attributes.push(Attribute { kind, tag, value });
    }
    Some(attributes)
}

/// X.690 §8.19.
fn object_identifier(bytes: &[u8]) -> Option<Vec<u64>> {
    if bytes.last()? & 0x80 != 0 {
        return None;
    }
    let mut parts = Vec::new();
    let mut part: u64 = 0;
    for byte in bytes {
        part = part.checked_mul(128)? + u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        if parts.is_empty() {
            let first = (part / 40).min(2);
            parts.extend([first, part - first * 40]);
        } else {
            parts.push(part);
        }
        part = 0;
    }
    Some(parts)
}

/// What is known of a certificate's extensions; None of those that it has not.
#[derive(Default)]
struct Extensions<'a> {
    subject_key_identifier: Option<&'a [u8]>,
    /// What its key may be used for has `keyCertSign`.
    may_sign: Option<bool>,
    is_authority: Option<bool>,
}

impl<'a> Extensions<'a> {
    fn parse(extensions: &'a [u8]) -> Option<Self> {
        let mut extensions = Elements(Elements(extensions).expect(SEQUENCE)?);
        let mut found = Self::default();
        while !extensions.0.is_empty() {
            let mut extension = Elements(extensions.expect(SEQUENCE)?);
            let kind = extension.expect(OBJECT_IDENTIFIER)?;
            let _is_critical = extension.optional(BOOLEAN);
            // What is in an extension is an octet string in which the element is.
            let mut value = Elements(extension.expect(OCTET_STRING)?);
            match kind {
                SUBJECT_KEY_IDENTIFIER => found.subject_key_identifier = Some(value.expect(OCTET_STRING)?),
                // After a byte that counts the bits that the last one lacks.
                KEY_USAGE => {
                    let usage = value.expect(BIT_STRING)?.get(1).copied().unwrap_or(0);
                    found.may_sign = Some(usage & KEY_CERT_SIGN != 0);
                }
                BASIC_CONSTRAINTS => {
                    let is_authority = Elements(value.expect(SEQUENCE)?).optional(BOOLEAN);
                    found.is_authority = Some(is_authority.is_some_and(|value| value != [0]));
                }
                _ => {}
            }
        }
        Some(found)
    }
}

/// RFC 5280 §4.1.2.5: `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn time(elements: &mut Elements<'_>) -> Option<u64> {
    let (tag, text, _) = elements.next()?;
    let text = str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match tag {
        UTC_TIME => {
            let year: u64 = text.get(..2)?.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    if rest.len() != 10 {
        return None;
    }
    let mut numbers = [0; 5];
    for (i, number) in numbers.iter_mut().enumerate() {
        *number = rest.get(2 * i..2 * i + 2)?.parse().ok()?;
    }
    let [month, day, hour, minute, second] = numbers;
    // What began before 1970 has begun.
    Some((days_since_1970(year, month, day)? * 24 + hour) * 3_600 + minute * 60 + second)
}

/// Days of the Gregorian calendar, 0 for those before 1970.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin in March have their leap day at the end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    const UNTIL_1970: u64 = 719_468;
    Some(days.saturating_sub(UNTIL_1970))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(days_since_1970(1970, 1, 1), Some(0));
        assert_eq!(days_since_1970(2000, 3, 1), Some(11_017));
        assert_eq!(days_since_1970(2024, 2, 29), Some(19_782));
        assert_eq!(days_since_1970(1950, 1, 1), Some(0));
        assert_eq!(days_since_1970(2024, 13, 1), None);
    }

    #[test]
    fn object_identifiers_have_their_parts() {
        assert_eq!(object_identifier(&[0x55, 0x04, 0x03]), Some(vec![2, 5, 4, 3]));
        assert_eq!(
            object_identifier(&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19]),
            Some(vec![0, 9, 2342, 19200300, 100, 1, 25])
        );
        for none in [&[][..], &[0x80], &[0x55, 0x84], &[0xff; 12]] {
            assert_eq!(object_identifier(none), None, "{none:x?}");
        }
    }

    #[test]
    fn times_are_those_of_rfc_5280() {
        let read = |tag: u8, text: &str| {
            let der = [&[tag, text.len() as u8], text.as_bytes()].concat();
            time(&mut Elements(&der))
        };
        assert_eq!(read(UTC_TIME, "700101000001Z"), Some(1));
        assert_eq!(read(GENERALIZED_TIME, "20500101000000Z"), Some(2_524_608_000));
        for (tag, text) in [
            (UTC_TIME, "7001010000Z"),
            (UTC_TIME, "700101000001+0100"),
            (UTC_TIME, "70010100000+1Z"),
            (UTC_TIME, "19700101000001Z"),
            (GENERALIZED_TIME, "20500101000000.5Z"),
            (GENERALIZED_TIME, "205001010000Z"),
        ] {
            assert_eq!(read(tag, text), None, "{text}");
        }
    }

    #[test]
    fn a_certificate_reads_as_it_was_made_and_never_past_its_end() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(1999, 12, 31);
        params.not_after = rcgen::date_time_ymd(2051, 1, 2);
        let made = params.self_signed(&key).unwrap();
        let certificate = Certificate::parse(made.der()).unwrap();
        assert!(certificate.is_self_issued());
        assert_eq!(certificate.validity.not_before, 946_598_400);
        assert_eq!(certificate.validity.not_after, 2_556_230_400);
        assert_eq!(certificate.public_key, rcgen::PublicKeyData::der_bytes(&key));
        assert_eq!(certificate.subject_key_identifier, Some(&params.key_identifier(&key)[..]));
        assert!(certificate.is_authority);
        let [name] = &attributes(certificate.subject).unwrap()[..] else { panic!("one attribute") };
        assert_eq!((&name.kind[..], name.value), (&[2, 5, 4, 3][..], &b"rcgen self signed cert"[..]));
        for end in 0..made.der().len() {
            assert!(Certificate::parse(&made.der()[..end]).is_none());
        }
        let mut damaged = made.der().to_vec();
        for i in 0..damaged.len() {
            damaged[i] ^= 0xff;
            if let Some(certificate) = Certificate::parse(&damaged) {
                let _ = attributes(certificate.subject);
            }
            damaged[i] ^= 0xff;
        }
    }

    #[test]
    fn authorities_are_those_that_may_sign() {
        use rcgen::{BasicConstraints, IsCa, KeyUsagePurpose};
        let key = rcgen::KeyPair::generate().unwrap();
        let any = || IsCa::Ca(BasicConstraints::Unconstrained);
        for (is_ca, usages, expected) in [
            (any(), vec![], true),
            (IsCa::Ca(BasicConstraints::Constrained(0)), vec![KeyUsagePurpose::KeyCertSign], true),
            (any(), vec![KeyUsagePurpose::DigitalSignature], false),
            (IsCa::ExplicitNoCa, vec![], false),
            (IsCa::NoCa, vec![], false),
            (IsCa::NoCa, vec![KeyUsagePurpose::KeyCertSign], false),
        ] {
            let mut params = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
            (params.is_ca, params.key_usages) = (is_ca, usages.clone());
            let made = params.self_signed(&key).unwrap();
            let found = Certificate::parse(made.der()).map(|certificate| certificate.is_authority);
            assert_eq!(found, Some(expected), "{is_ca:?} {usages:?}");
        }
    }
}
