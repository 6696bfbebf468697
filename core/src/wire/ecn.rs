//! The ECN field: the two low bits of IPv4's TOS and of IPv6's traffic class (RFC 3168 §5).

/// An ECN codepoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Ecn {
    /// Not ECN-capable: a congested router drops the packet.
    #[default]
    NotEct = 0,
    /// ECN-capable, ECT(1); names L4S traffic (RFC 9331).
    Ect1 = 1,
    /// ECN-capable, ECT(0).
    Ect0 = 2,
    /// Congestion was experienced: a router has marked the packet instead of dropping it.
    Ce = 3,
}

impl Ecn {
    /// The codepoint in a TOS or traffic class byte.
    #[inline]
    pub const fn of_traffic_class(byte: u8) -> Self {
        match byte & 3 {
            0 => Ecn::NotEct,
            1 => Ecn::Ect1,
            2 => Ecn::Ect0,
            _ => Ecn::Ce,
        }
    }
}
