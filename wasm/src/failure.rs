//! Errors on their way to JavaScript.

use std::fmt::Display;

use wasm_bindgen::JsValue;

/// Why a call failed: a code for programs and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    code: &'static str,
    message: String,
}

impl Failure {
    /// A failure with one of the codes of `SocketErrorCode` in the package, or `EINVAL`.
    pub(crate) fn new(code: &'static str, message: impl Display) -> Self {
        Failure { code, message: written(&message) }
    }

    /// An argument that makes no sense.
    pub(crate) fn invalid(message: impl Display) -> Self {
        Failure::new("EINVAL", message)
    }

    /// The same failure, with what was attempted in front of the message.
    pub(crate) fn context(self, attempt: impl Display) -> Self {
        Failure { message: written(&format_args!("{attempt}: {}", self.message)), ..self }
    }
}

/// One copy for all kinds of messages, apart from the paths that succeed.
#[cold]
#[inline(never)]
fn written(message: &dyn Display) -> String {
    message.to_string()
}

impl From<Failure> for JsValue {
    fn from(failure: Failure) -> Self {
        let error = js_sys::Error::new(&failure.message);
        // Setting a property of a plain new object cannot fail.
        let _ = js_sys::Reflect::set(&error, &"code".into(), &failure.code.into());
        error.into()
    }
}

impl From<serde_wasm_bindgen::Error> for Failure {
    fn from(error: serde_wasm_bindgen::Error) -> Self {
        Failure::invalid(error)
    }
}
