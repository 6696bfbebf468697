//! Errors on their way to JavaScript.

use ethertab::ErrorText;

use crate::numbers::Told;

/// What a call returns that has failed; why is what it tells then. No call returns this number otherwise.
pub(crate) const FAILED: i32 = i32::MIN;

/// Why a call has failed: a `code` for programs, one of `SocketErrorCode` in the package or `EINVAL` for an argument that makes no
/// sense, and a sentence for people.
#[derive(Debug)]
pub(crate) struct Failure(Box<(&'static str, ErrorText)>);

impl Failure {
    /// One copy for all kinds of failures, apart from the paths that succeed.
    #[cold]
    #[inline(never)]
    pub(crate) fn new(code: &'static str, text: ErrorText) -> Failure {
        Failure(Box::new((code, text)))
    }

    /// An argument that makes no sense.
    #[cold]
    #[inline(never)]
    pub(crate) fn invalid(sentence: &'static str) -> Failure {
        Failure::new("EINVAL", ErrorText::plain(sentence))
    }

    /// A number that stands for nothing (any more).
    #[cold]
    #[inline(never)]
    pub(crate) fn missing() -> Failure {
        Failure::invalid("there is no such part of the network")
    }

    /// Tells it, instead of all that was told before.
    #[cold]
    #[inline(never)]
    pub(crate) fn tell(self, told: &mut Told) -> i32 {
        let (code, text) = *self.0;
        told.0.clear();
        told.text(code, text);
        FAILED
    }
}
