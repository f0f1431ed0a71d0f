//! The `lra` binary: the library's command line with the built-in attentions.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: lra::measure::Counting = lra::measure::Counting;

fn main() -> ExitCode {
    lra::cli::main(&lra::attention::Registry::builtin())
}
