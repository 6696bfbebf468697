//! Secrets of connections for those who look at captures of them: lines as in the file that `SSLKEYLOGFILE` names
//! (draft-ietf-tls-keylogfile).

use std::cell::RefCell;
use std::fmt::Write as _;

use rustls::KeyLog;
use wasm_bindgen::prelude::wasm_bindgen;

thread_local! {
    /// What was not asked for yet.
    static LINES: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps lines until [`key_log`] takes them.
#[derive(Debug)]
pub(crate) struct Lines;

impl KeyLog for Lines {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        LINES.with_borrow_mut(|lines| {
            lines.push_str(label);
            for bytes in [client_random, secret] {
                lines.push(' ');
                for byte in bytes {
                    // A String takes everything.
                    let _ = write!(lines, "{byte:02x}");
                }
            }
            lines.push('\n');
        });
    }
}

/// The secrets that the calls since the last one of this have brought, of connections whose configuration wants that: a line for each.
#[wasm_bindgen]
pub fn key_log() -> String {
    LINES.take()
}
