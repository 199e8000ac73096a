//! The switch by which a test has the CUDA kernels emulated on the CPU, to prove the path without a GPU.

#[cfg(feature = "cuda-emulator")]
use std::cell::Cell;

#[cfg(feature = "cuda-emulator")]
thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread's work on CPU tensors goes to the emulated CUDA kernels.
pub fn is_on() -> bool {
    #[cfg(feature = "cuda-emulator")]
    return ON.get();
    #[cfg(not(feature = "cuda-emulator"))]
    false
}

/// Emulates on this thread for as long as `work` takes.
#[cfg(feature = "cuda-emulator")]
pub fn during<T>(work: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ON.set(self.0);
        }
    }
    let _restore = Restore(ON.replace(true));
    work()
}
