//! Identifiers of clients as texts.

/// Two hexadecimal digits for each byte.
pub(crate) fn digits_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of such a text; none if it is no such text.
pub(crate) fn bytes_of(digits: &str) -> Vec<u8> {
    let byte = |pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
    digits.as_bytes().chunks(2).map(byte).collect::<Option<_>>().unwrap_or_default()
}
