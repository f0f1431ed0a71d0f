//! `lra baseline save`: what `lra check` compares with.

use super::out;
use crate::attention::Registry;
use crate::check::{Baseline, Machine, STEPS, calibrated, cells, count, groups};
use crate::error::Result;
use crate::measure;
use crate::printable;
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
    /// Count small cells of every model, and keep that, for this type of CPU beside others,
    /// and the records of runs
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
    /// Drop what the file holds, also of other types of CPU: after a change that is meant
    #[arg(long)]
    fresh: bool,
    /// Folders whose records are kept in the place of those that were, for accuracy over seeds
    /// and memory
    #[arg(long, value_name = "DIR", num_args = 1..)]
    records: Vec<PathBuf>,
    /// Keep the speed beside a matrix product too, from so many rounds
    #[arg(long, value_name = "ROUNDS", num_args = 0..=1, default_missing_value = "10")]
    speed: Option<usize>,
}

pub fn run(args: &BaselineArgs, registry: &Registry, progress: &Progress) -> Result<()> {
    let What::Save(args) = &args.what;
    // What is wrong with the file is said before anything is counted.
    let mut baseline = match args.fresh || !args.out.exists() {
        true => Baseline::default(),
        false => Baseline::load(&args.out)?,
    };
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
    let cells = entries.len();
    let machine = Machine {
        cpu_kind: measure::cpu_kind(),
        command: format!("lra {}", words.join(" ")),
        environment,
        cells: entries,
    };
    for other in baseline.put(machine, &args.out)? {
        progress.say(&format!(
            "kept the counters of another version: {other}; where the code between changed them, \
             --fresh drops them"
        ));
    }
    if !args.records.is_empty() {
        baseline.records = groups(&loaded);
    }
    baseline.save(&args.out)?;
    out::print(|to| {
        let (kinds, groups) = (baseline.machines.len(), baseline.records.len());
        let path = printable::line(&args.out.to_string_lossy());
        let types = if kinds == 1 { "type" } else { "types" };
        writeln!(to, "{cells} cells, {kinds} {types} of CPU, {groups} groups of records: {path}")
    })
}
