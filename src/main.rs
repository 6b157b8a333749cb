//! The `keyweir` binary.

use std::process::ExitCode;

/// Steadier under many small, short-lived buffers than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keyweir::cli::main()
}
