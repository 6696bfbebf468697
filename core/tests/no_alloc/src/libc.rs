//! The little that a program without the standard library needs of the system: to say why it failed, and to end.

use core::ffi::{c_int, c_void};
use core::fmt::{self, Write};
use core::panic::PanicInfo;

#[link(name = "c")]
unsafe extern "C" {
    fn write(fd: c_int, bytes: *const c_void, len: usize) -> isize;
    fn abort() -> !;
}

struct StandardError;

impl Write for StandardError {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the pointer and the length are those of one slice.
        let written = unsafe { write(2, text.as_ptr().cast(), text.len()) };
        if written == text.len() as isize { Ok(()) } else { Err(fmt::Error) }
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // If this cannot be said either, the exit status still tells.
    let _ = writeln!(StandardError, "{info}");
    // SAFETY: `abort` may be called at any time.
    unsafe { abort() }
}

/// Named by the unwinding tables of the precompiled `core`, and never called: a panic aborts.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
