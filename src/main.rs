//! The `tidelog` command, and its allocator (`docs/decisions/0008-fewer-allocations.md`).
//!
//! Not here: everything else (`cli/`).

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    tidelog::cli::main()
}
