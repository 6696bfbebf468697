//! Numbers on their way between JavaScript and the engine.
//!
//! What a call is given or tells beyond a few numbers stands in memory, as floating-point numbers of 64 bits: those that are given at
//! one place, those that are told at another, which JavaScript asks for after the call. An address is four of them, the highest first
//! and IPv4 as it is mapped (RFC 4291 §2.5.5.2); what is absent is NaN. So neither texts nor objects cross, and all
//! formatting is left to the package, whose `names.ts` says what the numbers of each record are.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ethertab::time::Duration;
use ethertab::wire::MacAddr;
use ethertab::{About, Endpoint, ErrorReport, ErrorText, ParsePrefixError, Prefix};

use crate::failure::Failure;

/// Numbers of an address.
pub(crate) const ADDRESS: usize = 4;
/// Numbers of a code with its sentence.
pub(crate) const TEXT: usize = 10;
/// Most numbers that a call is given.
pub(crate) const GIVEN: usize = 128;

/// What a call is given and what it tells.
#[derive(Debug)]
pub(crate) struct Numbers {
    pub(crate) given: [f64; GIVEN],
    pub(crate) told: Told,
}

impl Numbers {
    pub(crate) fn new() -> Numbers {
        Numbers { given: [f64::NAN; GIVEN], told: Told::default() }
    }

    /// What it is given, from the first number on.
    pub(crate) fn given(&self) -> Given<'_> {
        Given(&self.given)
    }

    /// The `count` numbers from the one at `first` on, to be changed in their places.
    pub(crate) fn settings(&mut self, first: usize, count: u32) -> &mut [f64] {
        self.given.get_mut(first..first.saturating_add(count as usize)).unwrap_or_default()
    }
}

/// Numbers that a call is given, to be read in their order.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a>(pub(crate) &'a [f64]);

impl<'a> Given<'a> {
    /// The next number; NaN behind the last.
    #[inline(never)]
    fn next(&mut self) -> f64 {
        self.0.split_off_first().copied().unwrap_or(f64::NAN)
    }

    /// The next address, if there is one.
    #[inline(never)]
    pub(crate) fn optional(&mut self) -> Option<IpAddr> {
        let words = [self.next(), self.next(), self.next(), self.next()];
        let bits = words.iter().fold(0, |bits, word| bits << 32 | u128::from(*word as u32));
        (!words[0].is_nan()).then(|| Ipv6Addr::from_bits(bits).to_canonical())
    }

    /// The next address.
    #[inline(never)]
    pub(crate) fn address(&mut self) -> Result<IpAddr, Failure> {
        self.optional().ok_or_else(|| Failure::invalid("an address is missing"))
    }

    /// The next `count` addresses.
    #[inline(never)]
    pub(crate) fn addresses(&mut self, count: u32) -> Result<Vec<IpAddr>, Failure> {
        (0..count).map(|_| self.address()).collect()
    }

    /// The next address and the length of its prefix.
    #[inline(never)]
    pub(crate) fn prefix(&mut self) -> Result<Prefix, Failure> {
        let address = self.address()?;
        Ok(Prefix::new(address, self.next() as u8)?)
    }

    /// The next address as a local endpoint; none, or an unspecified one, is every address.
    pub(crate) fn endpoint(&mut self, port: u16) -> Endpoint {
        Endpoint { address: self.optional().filter(|address| !address.is_unspecified()), port }
    }

    /// The `count` numbers that come next.
    pub(crate) fn rest(self, count: u32) -> &'a [f64] {
        &self.0[..(count as usize).min(self.0.len())]
    }
}

impl From<ParsePrefixError> for Failure {
    fn from(_: ParsePrefixError) -> Self {
        Failure::invalid("the prefix length is 0 to 32 for IPv4 and 0 to 128 for IPv6")
    }
}

/// Numbers that a call tells.
#[derive(Debug, Default)]
pub(crate) struct Told(pub(crate) Vec<f64>);

impl Told {
    #[inline(never)]
    fn push(&mut self, number: f64) {
        self.0.push(number);
    }

    /// A number.
    pub(crate) fn number(&mut self, number: impl Into<f64>) {
        self.push(number.into());
    }

    /// A number of 64 bits, as far as it is exact.
    pub(crate) fn long(&mut self, number: u64) {
        self.push(number as f64);
    }

    /// A span of time in milliseconds.
    pub(crate) fn millis(&mut self, span: Duration) {
        self.push(span.as_micros() as f64 / 1_000.0);
    }

    /// So many numbers that are absent.
    #[inline(never)]
    pub(crate) fn nothing(&mut self, count: usize) {
        (0..count).for_each(|_| self.push(f64::NAN));
    }

    /// An address.
    #[inline(never)]
    pub(crate) fn address(&mut self, address: IpAddr) {
        let address = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        for shift in [96, 64, 32, 0] {
            self.number((address.to_bits() >> shift) as u32);
        }
    }

    /// An address, if there is one.
    #[inline(never)]
    pub(crate) fn optional(&mut self, address: Option<IpAddr>) {
        match address {
            Some(address) => self.address(address),
            None => self.nothing(ADDRESS),
        }
    }

    /// An address and a port.
    #[inline(never)]
    pub(crate) fn endpoint(&mut self, end: SocketAddr) {
        self.address(end.ip());
        self.number(end.port());
    }

    /// Who has sent an ICMP error, and its type and code.
    #[inline(never)]
    pub(crate) fn report(&mut self, report: &ErrorReport) {
        self.address(report.reporter);
        self.number(report.kind);
        self.number(report.code);
    }

    /// An address and the length of its prefix.
    #[inline(never)]
    pub(crate) fn prefix(&mut self, prefix: Prefix) {
        self.address(prefix.address);
        self.number(prefix.length);
    }

    /// A station's address as its number of 48 bits, if there is one.
    #[inline(never)]
    pub(crate) fn mac(&mut self, mac: Option<MacAddr>) {
        let number = |MacAddr([a, b, c, d, e, f])| u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        self.push(mac.map_or(f64::NAN, |mac| number(mac) as f64));
    }

    /// Where bytes are and how many, which must stay there until the next call.
    #[inline(never)]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.long(bytes.as_ptr() as usize as u64);
        self.long(bytes.len() as u64);
    }

    /// Why something failed: where the code and the sentence are, which kind of value it is about, and the value.
    #[inline(never)]
    pub(crate) fn text(&mut self, code: &'static str, text: ErrorText) {
        let end = self.0.len() + TEXT;
        self.bytes(code.as_bytes());
        self.bytes(text.sentence.as_bytes());
        match text.about {
            About::Number(number) => {
                self.number(1);
                self.number(number);
            }
            About::Address(address) => {
                self.number(2);
                self.address(address);
            }
            About::Endpoint(address) => {
                self.number(3);
                self.endpoint(address);
            }
            About::Prefix(prefix) => {
                self.number(4);
                self.prefix(prefix);
            }
            About::Mac(mac) => {
                self.number(5);
                self.mac(Some(mac));
            }
            About::Word(word) => {
                self.number(6);
                self.bytes(word.as_bytes());
            }
            _ => self.number(0),
        }
        self.nothing(end - self.0.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn addresses_are_four_numbers_both_ways() {
        let mut told = Told::default();
        told.endpoint("10.0.2.15:80".parse().unwrap());
        told.endpoint("[fd00::1]:9".parse().unwrap());
        told.optional(None);
        told.mac(Some(MacAddr([2, 0, 0, 0, 0, 1])));
        assert_eq!(told.0[..5], [0.0, 0.0, 65_535.0, 167_772_687.0, 80.0]);
        assert_eq!(told.0[5..10], [4_244_635_648.0, 0.0, 0.0, 1.0, 9.0]);
        assert!(told.0[10..14].iter().all(|number| number.is_nan()));
        assert_eq!(told.0[14], 2_199_023_255_553.0);
        let mut given = Given(&told.0);
        assert_eq!(given.optional(), Some(Ipv4Addr::new(10, 0, 2, 15).into()));
        assert_eq!(given.next(), 80.0);
        assert_eq!(given.optional(), Some("fd00::1".parse().unwrap()));
        assert_eq!(given.next(), 9.0);
        assert_eq!(given.optional(), None);
    }

    #[test]
    fn sentences_have_one_length_whatever_they_are_about() {
        let address = IpAddr::from([10, 0, 0, 1]);
        for about in [
            About::Nothing,
            About::Number(7),
            About::Address(address),
            About::Endpoint(SocketAddr::new(address, 80)),
            About::Prefix(Prefix::host(address)),
            About::Mac(MacAddr::BROADCAST),
            About::Word("routes"),
        ] {
            let mut told = Told::default();
            told.text("EINVAL", ErrorText::about("{}", about));
            assert_eq!(told.0.len(), TEXT, "{about:?}");
        }
    }
}
