//! `lra export`: a run's history in another tool's form.

use super::out;
use crate::atomic::write_atomic;
use crate::error::{IoContext, Result};
use crate::report::history;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The run's folder
    #[arg(value_name = "DIR")]
    run: PathBuf,
    #[arg(long, value_enum)]
    format: Format,
    /// The file; standard output by default
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Weights & Biases: JSON lines, one for each step
    Wandb,
}

pub fn run(args: &ExportArgs) -> Result<()> {
    let Format::Wandb = args.format;
    let mut text = Vec::new();
    for line in history(&args.run)? {
        serde_json::to_writer(&mut text, &line)
            .map_err(std::io::Error::from)
            .at("read", &args.run)?;
        text.push(b'\n');
    }
    match &args.out {
        Some(path) => write_atomic(path, |to| to.write_all(&text)),
        None => out::print(|to| to.write_all(&text)),
    }
}
