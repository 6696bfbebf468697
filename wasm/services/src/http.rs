//! HTTP/1.1 heads and chunk sizes, parsed by `httparse`.
//!
//! JavaScript gets numbers and not strings: every function returns offsets into the bytes that it was given, so that one
//! small typed array crosses the boundary whatever the number of fields. Framing (where a message ends) is decided in
//! JavaScript, which holds the streams.

use httparse::{Error, Header, ParserConfig, Request, Response, Status};
use js_sys::{RangeError, SyntaxError};
use wasm_bindgen::prelude::*;

/// The number of header fields that a head may have.
const MAX_HEADERS: usize = 128;

/// JavaScript's largest exact integer, `Number.MAX_SAFE_INTEGER`.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Parses a request head: the request line and the header fields with the empty line after them.
///
/// Returns `[length, minor, method, target, (name, value)...]`, where `length` is the head's length in bytes, `minor` the
/// minor version (0 or 1) and each text a pair of offsets, start and end. `undefined` means that the head is not complete.
///
/// # Errors
/// A `RangeError` for more than 128 header fields, a `SyntaxError` for anything that RFC 9112 does not allow.
#[wasm_bindgen]
pub fn parse_request_head(bytes: &[u8]) -> Result<Option<Box<[u32]>>, JsValue> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    let Status::Complete(length) = request.parse(bytes).map_err(head_error)? else {
        return Ok(None);
    };
    let mut head = Offsets::new(bytes, length, request.version);
    head.push(request.method.unwrap_or_default().as_bytes());
    head.push(request.path.unwrap_or_default().as_bytes());
    Ok(Some(head.finish(request.headers)))
}

/// Parses a response head.
///
/// Returns `[length, minor, status, reason, (name, value)...]` as [`parse_request_head`] does; `status` is one number. A
/// folded field value (RFC 9112 §5.2) keeps its line breaks: the caller replaces them by spaces.
///
/// # Errors
/// As [`parse_request_head`].
#[wasm_bindgen]
pub fn parse_response_head(bytes: &[u8]) -> Result<Option<Box<[u32]>>, JsValue> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = Response::new(&mut headers);
    // RFC 9112 §5.2: a user agent replaces obs-fold; only a server has to refuse it.
    let mut config = ParserConfig::default();
    config.allow_obsolete_multiline_headers_in_responses(true).allow_spaces_after_header_name_in_responses(true);
    let Status::Complete(length) = config.parse_response(&mut response, bytes).map_err(head_error)? else {
        return Ok(None);
    };
    let mut head = Offsets::new(bytes, length, response.version);
    head.values.push(response.code.unwrap_or_default().into());
    head.push(response.reason.unwrap_or_default().as_bytes());
    Ok(Some(head.finish(response.headers)))
}

/// Parses a chunk's size line (RFC 9112 §7.1), extensions skipped.
///
/// Returns `[length, size]`: the bytes of the line with its CRLF, and the bytes of the chunk. `undefined` means that the line
/// is not complete.
///
/// # Errors
/// A `SyntaxError` for a line that is no chunk size, or a size of 2^53 bytes or more.
#[wasm_bindgen]
pub fn parse_chunk_size(bytes: &[u8]) -> Result<Option<Box<[f64]>>, JsValue> {
    // httparse takes a line without digits for zero and lets an extension hold a bare LF: both read differently elsewhere,
    // which is how requests are smuggled.
    if bytes.first().is_some_and(|first| !first.is_ascii_hexdigit()) {
        return Err(syntax_error("a chunk size starts with a hexadecimal digit"));
    }
    let parsed = httparse::parse_chunk_size(bytes).map_err(|_| syntax_error("invalid chunk size"))?;
    let line = match parsed {
        Status::Complete((length, _)) => &bytes[..length - 2],
        Status::Partial => bytes,
    };
    if line.contains(&b'\n') {
        return Err(syntax_error("bare LF in a chunk extension"));
    }
    match parsed {
        Status::Complete((_, size)) if size > MAX_SAFE_INTEGER => Err(syntax_error("chunk size over 2^53 bytes")),
        Status::Complete((length, size)) => Ok(Some(Box::new([length as f64, size as f64]))),
        Status::Partial => Ok(None),
    }
}

/// The numbers that describe a head; see [`parse_request_head`].
struct Offsets<'b> {
    bytes: &'b [u8],
    values: Vec<u32>,
}

impl<'b> Offsets<'b> {
    fn new(bytes: &'b [u8], length: usize, version: Option<u8>) -> Self {
        let mut values = Vec::with_capacity(64);
        values.extend([length as u32, version.unwrap_or_default().into()]);
        Self { bytes, values }
    }

    /// Adds where `text` lies in the bytes. The parser's placeholder for an absent text lies elsewhere and becomes empty.
    fn push(&mut self, text: &[u8]) {
        let start = (text.as_ptr() as usize).wrapping_sub(self.bytes.as_ptr() as usize);
        let range = if start <= self.bytes.len() { [start as u32, (start + text.len()) as u32] } else { [0, 0] };
        self.values.extend(range);
    }

    fn finish(mut self, headers: &[Header<'_>]) -> Box<[u32]> {
        for header in headers {
            self.push(header.name.as_bytes());
            self.push(header.value);
        }
        self.values.into_boxed_slice()
    }
}

fn head_error(error: Error) -> JsValue {
    match error {
        Error::TooManyHeaders => RangeError::new("more than 128 header fields").into(),
        error => syntax_error(&error.to_string()),
    }
}

fn syntax_error(message: &str) -> JsValue {
    SyntaxError::new(message).into()
}
