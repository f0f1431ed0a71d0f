//! Parses, dispatches, and turns an error into a line and an exit code.

use clap::Parser;
use lra::cli::{Cli, Command, data};
use lra::progress::Progress;
use std::io::Write;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let progress = Progress::new(cli.quiet);
    let result = match &cli.command {
        Command::Data(args) => data::run(args, &progress),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
