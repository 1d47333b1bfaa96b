//! The program `dsfs`: a thin shell around the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    dsfs::cli::main()
}
