//! The `tidelog` command.
//!
//! Not here: everything (`cli/`).

use std::process::ExitCode;

fn main() -> ExitCode {
    tidelog::cli::main()
}
