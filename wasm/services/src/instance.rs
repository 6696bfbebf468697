//! Where a server lives that is the only one of its kind in a WebAssembly instance.

use std::cell::Cell;

/// A place for one server, which lives as long as the instance; empty before it is made, and while a call is in it.
pub(crate) struct Slot<T: 'static>(Cell<Option<&'static mut T>>);

impl<T> Slot<T> {
    /// No server yet.
    pub(crate) const fn empty() -> Self {
        Self(Cell::new(None))
    }

    /// The server is made.
    pub(crate) fn fill(&self, server: T) {
        self.0.set(Some(Box::leak(Box::new(server))));
    }

    /// Does something with the server.
    pub(crate) fn enter<R>(&self, call: impl FnOnce(&mut T) -> R) -> R {
        let Some(server) = self.0.take() else { no_server() };
        let result = call(server);
        self.0.set(Some(server));
        result
    }
}

/// The package makes a server before it calls it, and calls no instance that has trapped.
#[cold]
#[inline(never)]
fn no_server() -> ! {
    panic!("there is no such server, or a call into it has not returned")
}
