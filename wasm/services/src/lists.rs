//! Lists of short texts, as one text with blanks between.

use std::fmt::{Display, Write as _};

/// What these show, with blanks between.
pub(crate) fn joined(items: impl Iterator<Item = impl Display>) -> String {
    let mut text = String::new();
    for item in items {
        if !text.is_empty() {
            text.push(' ');
        }
        let _ = write!(text, "{item}");
    }
    text
}
