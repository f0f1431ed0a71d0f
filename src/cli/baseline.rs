//! `lra baseline save`: what `lra check` compares with.

use super::out;
use crate::attention::Registry;
use crate::check::{BASELINE_VERSION, Baseline, STEPS, calibrated, cells, count, groups};
use crate::error::Result;
use crate::measure;
use crate::progress::Progress;
use crate::records::load;
use candle_core::{DType, Device};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct BaselineArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Count small cells of every model, and keep that and the records of runs
    Save(SaveArgs),
}

#[derive(Debug, Args)]
struct SaveArgs {
    /// The baseline's file, JSON
    #[arg(long, value_name = "FILE", default_value = "results/baseline.json")]
    out: PathBuf,
    /// Models, or `all`
    #[arg(long, value_delimiter = ',', default_value = "all")]
    models: Vec<String>,
    /// Folders whose records are kept, for accuracy over seeds and memory
    #[arg(long, value_name = "DIR", num_args = 1..)]
    records: Vec<PathBuf>,
    /// Keep the speed beside a matrix product too, from so many rounds
    #[arg(long, value_name = "ROUNDS", num_args = 0..=1, default_missing_value = "10")]
    speed: Option<usize>,
}

pub fn run(args: &BaselineArgs, registry: &Registry, progress: &Progress) -> Result<()> {
    let What::Save(args) = &args.what;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut environment = measure::observe(&Device::Cpu, DType::F32, 1);
    let loaded = load(&args.records)?;
    loaded.skipped.iter().for_each(|line| progress.say(&format!("skipped {line}")));
    let cells = cells(registry, &registry.names(&args.models))?;
    let bar = progress.bar("count", "cells", cells.len() as u64);
    let mut entries = Vec::new();
    for cell in &cells {
        bar.note(cell.config.run.model.clone());
        let mut entry = count(cell, STEPS, registry)?;
        if let Some(rounds) = args.speed {
            entry.paces = calibrated(cell, rounds)?;
        }
        entries.push(entry);
        bar.advance(1);
    }
    drop(bar);
    measure::finish(&mut environment);
    let baseline = Baseline {
        version: BASELINE_VERSION,
        command: format!("lra {}", words.join(" ")),
        environment,
        cpu_kind: measure::cpu_kind(),
        cells: entries,
        records: groups(&loaded),
    };
    baseline.save(&args.out)?;
    out::print(|to| {
        let (cells, groups) = (baseline.cells.len(), baseline.records.len());
        let path = args.out.to_string_lossy();
        writeln!(to, "{cells} cells, {groups} groups of records: {}", out::line(&path))
    })
}
