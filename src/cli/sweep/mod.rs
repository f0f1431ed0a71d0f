//! `lra sweep`: a matrix of runs, one process each.
//!
//! Cells are `lra run`s in folders of their own, so a sweep that is stopped and given again
//! goes on: runs that have ended are not run again, interrupted ones continue. A cell that
//! fails is told at the end and stops no other.

mod cell;
mod dry_run;

use super::run::DtypeArg;
use crate::attention::Registry;
use crate::config::{Card, Request, resolve};
use crate::error::{Error, Result};
use crate::measure::Stop;
use crate::progress::{Bar, Progress};
use crate::records::{RunKey, Status};
use crate::tasks;
use cell::{Cell, ask_to_stop};
use clap::Args;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

#[derive(Debug, Args)]
pub struct SweepArgs {
    /// Models, or `all`
    #[arg(long, value_delimiter = ',', default_value = "all")]
    models: Vec<String>,
    /// Tasks, or `all`
    #[arg(long, value_delimiter = ',', required = true)]
    tasks: Vec<String>,
    /// Seeds: `0,1,5`, or `0..3` for 0, 1 and 2
    #[arg(long, default_value = "0")]
    seeds: String,
    #[arg(long, default_value = "quick")]
    preset: String,
    /// Training steps, instead of the preset's
    #[arg(long)]
    steps: Option<u64>,
    /// Examples per forward pass; less takes less memory
    #[arg(long)]
    micro_batch: Option<usize>,
    /// Change a value of the configuration; may be repeated
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// `cpu`, `cuda:N`, or `auto`: the first GPU if there is one
    #[arg(long, default_value = "auto")]
    device: String,
    #[arg(long, value_enum, default_value_t = DtypeArg::F32)]
    dtype: DtypeArg,
    /// Threads of each run
    #[arg(long)]
    threads: Option<usize>,
    /// Runs side by side; their speeds are not those of a quiet machine
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Write each run's events for TensorBoard too; runs that have ended are left as they are
    #[arg(long)]
    tensorboard: bool,
    /// Folder with the official files, or their archive [env: LRA_DATA]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Folder of the run folders
    #[arg(long, value_name = "DIR", default_value = "results/runs")]
    out: PathBuf,
    /// Say what would be run, how long it would take and how much it needs
    #[arg(long)]
    dry_run: bool,
}

/// `0,1,5` or `0..3`.
fn seeds(text: &str) -> Result<Vec<u64>> {
    let bad = || Error::usage(format!("--seeds {text}: expected numbers, as 0,1,5 or 0..3"));
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| bad());
    let seeds: Vec<u64> = match text.split_once("..") {
        Some((first, end)) => (number(first)?..number(end)?).take(10_001).collect(),
        None => text.split(',').map(number).collect::<Result<_>>()?,
    };
    if seeds.is_empty() || seeds.len() > 10_000 { Err(bad()) } else { Ok(seeds) }
}

fn cells(args: &SweepArgs, registry: &Registry) -> Result<Vec<Cell>> {
    let models = registry.names(&args.models);
    let tasks: Vec<String> = match args.tasks.iter().any(|name| name == "all") {
        true => tasks::all().iter().map(|task| task.name().to_owned()).collect(),
        false => args.tasks.clone(),
    };
    let mut cells = Vec::new();
    for task in &tasks {
        let card = Card::of(tasks::find(task)?)?;
        for model in &models {
            let variant = registry.get(model)?;
            for seed in seeds(&args.seeds)? {
                // What is wrong with the configuration is said before anything is run.
                let request = variant.request(&args.preset);
                let (sets, micro_batch) = (&args.set[..], args.micro_batch);
                let request = Request { sets, steps: args.steps, micro_batch, seed, ..request };
                let config = resolve(&card, &request)?;
                let (preset, task, model) = (args.preset.clone(), task.clone(), model.clone());
                let folder = args.out.join(format!("{task}-{model}-{preset}-s{seed}"));
                // What is named twice is one run.
                if !cells.iter().any(|cell: &Cell| cell.folder == folder) {
                    let run = RunKey { preset, task, model, seed };
                    cells.push(Cell { run, folder, config });
                }
            }
        }
    }
    Ok(cells)
}

pub fn run(args: &SweepArgs, registry: &Registry, progress: &Progress) -> Result<()> {
    let cells = cells(args, registry)?;
    if args.dry_run {
        return dry_run::dry_run(args, &cells, registry);
    }
    let stop = Stop::install()?;
    let board = progress.board("sweep", "runs", cells.len() as u64);
    let mut running: Vec<Running> = Vec::new();
    let mut failures: Vec<String> = Vec::new();
    let mut waiting = cells.iter();
    let mut told = false;
    loop {
        while running.len() < args.jobs.max(1) && stop.requested().is_none() {
            let Some(cell) = waiting.next() else { break };
            if let Some(record) = cell.ended() {
                board.top.advance(1);
                if record.status == Status::Diverged {
                    failures.push(format!(
                        "{}: {}",
                        cell.name(),
                        record.reason.unwrap_or_default()
                    ));
                }
                continue;
            }
            match cell.start(args) {
                Ok(child) => {
                    let bar = board.bar(cell.name(), "steps", cell.config.train.steps);
                    bar.start_at(cell.step().unwrap_or(0));
                    running.push(Running { cell, child, bar });
                }
                Err(error) => failures.push(format!("{}: {error}", cell.name())),
            }
        }
        if running.is_empty() {
            break;
        }
        if stop.requested().is_some() && !told {
            // Once each: they write a checkpoint and end.
            running.iter().for_each(|run| ask_to_stop(&run.child));
            told = true;
        }
        std::thread::sleep(LOOK_EVERY);
        let mut still = Vec::new();
        for mut run in running {
            match run.child.try_wait() {
                Ok(None) => still.push(run),
                Ok(Some(status)) => {
                    let Running { cell, bar, .. } = run;
                    drop(bar);
                    board.top.advance(1);
                    match (status.success(), cell.record()) {
                        (true, Some(record)) => board.top.say(&super::run::summary(&record)),
                        _ if told => {}
                        _ => {
                            let failure = cell.failure(status);
                            board.top.say(&failure);
                            failures.push(failure);
                        }
                    }
                }
                Err(error) => failures.push(format!("{}: {error}", run.cell.name())),
            }
        }
        running = still;
        board.top.note(state_of(&running));
        board.top.beat();
    }
    drop(board);
    if let Some(signal) = stop.requested() {
        return Err(Error::Interrupted(signal));
    }
    match failures.len() {
        0 => Ok(()),
        count => {
            failures.iter().for_each(|line| progress.say(line));
            Err(Error::Cells { failed: count, of: cells.len(), first: failures.swap_remove(0) })
        }
    }
}

/// Between two looks at the runs.
const LOOK_EVERY: Duration = Duration::from_millis(100);

struct Running<'a> {
    cell: &'a Cell,
    child: Child,
    bar: Bar,
}

/// Moves the bars of the runs to where they are, and says it in a line.
fn state_of(running: &[Running]) -> String {
    let mut parts = Vec::new();
    for Running { cell, bar, .. } in running {
        let step = cell.step().unwrap_or(0);
        bar.set(step);
        parts.push(format!("{} at {step} of {} steps", cell.name(), cell.config.train.steps));
    }
    parts.join("; ")
}
