//! Errors on their way to JavaScript.

use std::fmt::Display;

use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    /// An `Error` with a `code` for programs: one of `SocketErrorCode` in the package, or `EINVAL`.
    #[wasm_bindgen(js_name = Error)]
    #[derive(Debug)]
    pub type Failure;

    #[wasm_bindgen(constructor, js_class = "Error")]
    fn with_message(message: &str) -> Failure;

    #[wasm_bindgen(method, setter)]
    fn set_code(this: &Failure, code: &str);
}

impl Failure {
    /// A failure with a sentence for people. One copy for all kinds of messages, apart from the paths that succeed.
    #[cold]
    #[inline(never)]
    pub(crate) fn new(code: &str, message: &dyn Display) -> Failure {
        let failure = Failure::with_message(&message.to_string());
        failure.set_code(code);
        failure
    }

    /// An argument that makes no sense.
    #[cold]
    #[inline(never)]
    pub(crate) fn invalid(message: &dyn Display) -> Failure {
        Failure::new("EINVAL", message)
    }

    /// A number that stands for nothing (any more).
    #[cold]
    #[inline(never)]
    pub(crate) fn missing() -> Failure {
        Failure::invalid(&"there is no such part of the network")
    }
}
