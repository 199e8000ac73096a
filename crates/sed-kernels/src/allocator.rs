//! The programs' allocator, mimalloc, set up for stages that allocate and free the same large buffers again and again.

use std::ffi::{c_int, c_long};
use std::time::Duration;

pub use mimalloc::MiMalloc;

/// How long freed memory is kept. After mimalloc's own second, a stage of a busy server often finds its pages gone and
/// faults them in again, small ones: with rejection off that took up to a quarter of the time.
const KEPT: Duration = Duration::from_secs(600);

/// `mi_option_purge_delay` of mimalloc.h (milliseconds); the bindings have no name for it.
const PURGE_DELAY: c_int = 15;

/// Keeps freed memory for ten minutes before the system gets it back, unless `MIMALLOC_PURGE_DELAY` (milliseconds)
/// says otherwise. For the start of a program whose global allocator is [`MiMalloc`].
pub fn keep_freed_memory() {
    let milliseconds = KEPT.as_millis() as c_long;
    // SAFETY: sets an integer; programs call this before they start a thread.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, milliseconds) };
}

/// Gives freed memory back to the system at once, so that what is measured next counts only what it needs itself.
pub fn give_back_freed_memory() {
    // SAFETY: may be called at any time.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
