//! The command line: one verb, one file.

pub mod data;
mod out;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "lra", version, about)]
pub struct Cli {
    /// Say nothing but results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prepare, verify, export and look at the tasks' data
    Data(data::DataArgs),
}
