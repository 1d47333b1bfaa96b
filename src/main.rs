//! The program `dsfs`: a thin shell around the library.

use std::process::ExitCode;

/// The C library's heap keeps what lies below the last thing in use: after an attack, tens of
/// megabytes for good. This one gives its pages back.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    dsfs::cli::main()
}
