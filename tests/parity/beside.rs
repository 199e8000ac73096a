//! The network as a program that another implementation is compared with and timed beside; see
//! [`sed_tests::beside`]. `tests/parity/cross_check.py` and `speed.py` drive it.

use sed_model::allocator::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    sed_tests::beside::run(std::env::args().skip(1));
}
