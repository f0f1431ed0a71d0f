//! The command line: one verb, one file.

pub mod report;

use crate::error::Result;
use crate::progress::Progress;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "lra", version, about)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Print results only
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Report(report::ReportArgs),
}

pub fn run(cli: &Cli) -> Result<()> {
    let progress = Progress::new(cli.quiet);
    match &cli.command {
        Command::Report(args) => report::run(args, &progress),
    }
}
