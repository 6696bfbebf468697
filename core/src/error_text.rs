//! What errors say: a sentence, and the value that it is about.
//!
//! All that can go wrong shows itself by an [`ErrorText`], which is plain data: so who shows errors in another language needs none of
//! Rust's formatting, which counts in a WebAssembly module.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::address::Prefix;
use crate::wire::MacAddr;

/// A sentence for people without its last detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorText {
    /// The sentence, with `{}` where the value goes.
    pub sentence: &'static str,
    /// The value.
    pub about: About,
}

/// The value that a sentence is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum About {
    /// None: the sentence says it all.
    Nothing,
    /// A number, a port for example.
    Number(u32),
    /// An address.
    Address(IpAddr),
    /// An address and a port.
    Endpoint(SocketAddr),
    /// A network or an address with the length of its prefix.
    Prefix(Prefix),
    /// A station's address.
    Mac(MacAddr),
    /// The name of a field.
    Word(&'static str),
}

// Out of line, since errors have many sentences and hardly ever say one.
impl ErrorText {
    /// A sentence that says it all.
    #[inline(never)]
    pub const fn plain(sentence: &'static str) -> Self {
        ErrorText { sentence, about: About::Nothing }
    }

    /// A sentence with `{}` for a value.
    pub const fn about(sentence: &'static str, about: About) -> Self {
        ErrorText { sentence, about }
    }

    /// A sentence with `{}` for a number.
    #[inline(never)]
    pub const fn number(sentence: &'static str, number: u32) -> Self {
        ErrorText { sentence, about: About::Number(number) }
    }

    /// A sentence with `{}` for an address.
    #[inline(never)]
    pub const fn address(sentence: &'static str, address: IpAddr) -> Self {
        ErrorText { sentence, about: About::Address(address) }
    }

    /// A sentence with `{}` for an address and a port.
    #[inline(never)]
    pub const fn endpoint(sentence: &'static str, endpoint: SocketAddr) -> Self {
        ErrorText { sentence, about: About::Endpoint(endpoint) }
    }

    /// A sentence with `{}` for a prefix.
    #[inline(never)]
    pub const fn prefix(sentence: &'static str, prefix: Prefix) -> Self {
        ErrorText { sentence, about: About::Prefix(prefix) }
    }
}

impl fmt::Display for ErrorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = self.sentence.split_once("{}").unwrap_or((self.sentence, ""));
        f.write_str(before)?;
        match self.about {
            About::Nothing => {}
            About::Number(number) => number.fmt(f)?,
            About::Address(address) => address.fmt(f)?,
            About::Endpoint(endpoint) => endpoint.fmt(f)?,
            About::Prefix(prefix) => prefix.fmt(f)?,
            About::Mac(mac) => mac.fmt(f)?,
            About::Word(word) => f.write_str(word)?,
        }
        f.write_str(after)
    }
}

/// Errors that show themselves by their method `text`.
macro_rules! errors_with_text {
    ($($error:ty),*) => {$(
        impl core::fmt::Display for $error {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.text().fmt(f)
            }
        }

        impl core::error::Error for $error {}
    )*};
}
pub(crate) use errors_with_text;

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;
    use std::string::ToString;

    #[test]
    fn the_value_stands_in_its_place() {
        let address = Ipv4Addr::new(10, 0, 2, 15);
        let shown = |sentence, about| ErrorText::about(sentence, about).to_string();
        assert_eq!(ErrorText::plain("the queue is full").to_string(), "the queue is full");
        assert_eq!(ErrorText::number("port {} is in use", 80).to_string(), "port 80 is in use");
        assert_eq!(ErrorText::address("no route to {}", address.into()).to_string(), "no route to 10.0.2.15");
        assert_eq!(shown("{} is taken", About::Prefix(Prefix::host(address.into()))), "10.0.2.15/32 is taken");
        assert_eq!(shown("{} is taken", About::Endpoint((address, 80).into())), "10.0.2.15:80 is taken");
        assert_eq!(shown("to {}", About::Mac(MacAddr([2, 0, 0, 0, 0, 1]))), "to 02:00:00:00:00:01");
        assert_eq!(shown("the limit `{}` is reached", About::Word("routes")), "the limit `routes` is reached");
    }
}
