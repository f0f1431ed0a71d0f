//! `lra sweep`: a matrix of runs, one process each.
//!
//! Cells are `lra run`s in folders of their own, so a sweep that is stopped and given again
//! goes on: runs that have ended are not run again, interrupted ones continue. A cell that
//! fails is told at the end and stops no other.

use super::{estimate, out, start_threads};
use crate::attention::Registry;
use crate::config::{Card, resolve};
use crate::error::{Error, Result};
use crate::measure::Stop;
use crate::progress::Progress;
use crate::records::{RECORD_FILE, Record, Status, read_record};
use crate::tasks;
use crate::train::{micro_batch, plan};
use candle_core::Device;
use clap::Args;
use rustix::process::{Pid, Signal};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
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
    /// Change a value of the configuration; may be repeated
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Threads of each run
    #[arg(long)]
    threads: Option<usize>,
    /// Runs side by side; their speeds are not those of a quiet machine
    #[arg(long, default_value_t = 1)]
    jobs: usize,
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

struct Cell {
    model: String,
    task: String,
    seed: u64,
    folder: PathBuf,
}

impl Cell {
    fn name(&self) -> String {
        format!("{} on {}, seed {}", self.model, self.task, self.seed)
    }

    /// The record, once the run has ended.
    fn record(&self) -> Option<Record> {
        read_record(&self.folder.join(RECORD_FILE)).ok()
    }

    fn is_done(&self) -> bool {
        self.record().is_some_and(|r| matches!(r.status, Status::Done | Status::Diverged))
    }
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
    let all = |given: &[String]| given.iter().any(|name| name == "all");
    let models: Vec<String> = match all(&args.models) {
        true => registry.iter().map(|variant| variant.name.to_owned()).collect(),
        false => args.models.clone(),
    };
    let tasks: Vec<String> = match all(&args.tasks) {
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
                resolve(&card, &crate::config::Request { sets: &args.set, seed, ..request })?;
                let name = format!("{task}-{model}-{}-s{seed}", args.preset);
                let (model, task, folder) = (model.clone(), task.clone(), args.out.join(name));
                // What is named twice is one run.
                if !cells.iter().any(|cell: &Cell| cell.folder == folder) {
                    cells.push(Cell { model, task, seed, folder });
                }
            }
        }
    }
    Ok(cells)
}

pub fn run(args: &SweepArgs, registry: &Registry, progress: &Progress) -> Result<()> {
    let cells = cells(args, registry)?;
    if args.dry_run {
        return dry_run(args, &cells, registry);
    }
    let stop = Stop::install()?;
    let bar = progress.bar("sweep", "runs", cells.len() as u64);
    let mut running: Vec<(&Cell, Child)> = Vec::new();
    let mut failures: Vec<String> = Vec::new();
    let mut waiting = cells.iter();
    let mut told = false;
    loop {
        while running.len() < args.jobs.max(1) && stop.requested().is_none() {
            let Some(cell) = waiting.next() else { break };
            if cell.is_done() {
                bar.advance(1);
                continue;
            }
            bar.note(cell.name());
            match start(args, cell) {
                Ok(child) => running.push((cell, child)),
                Err(error) => failures.push(format!("{}: {error}", cell.name())),
            }
        }
        if running.is_empty() {
            break;
        }
        if stop.requested().is_some() && !told {
            // Once each: they write a checkpoint and end.
            running.iter().for_each(|(_, child)| ask_to_stop(child));
            told = true;
        }
        std::thread::sleep(Duration::from_millis(100));
        let mut still = Vec::new();
        for (cell, mut child) in running {
            match child.try_wait() {
                Ok(None) => still.push((cell, child)),
                Ok(Some(status)) => {
                    bar.advance(1);
                    match (status.success(), cell.record()) {
                        (true, Some(record)) => bar.say(&super::run::summary(&record)),
                        _ => failures.push(failure(cell, status)),
                    }
                }
                Err(error) => failures.push(format!("{}: {error}", cell.name())),
            }
        }
        running = still;
    }
    drop(bar);
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

fn start(args: &SweepArgs, cell: &Cell) -> Result<Child> {
    let io = |source| Error::Io { action: "start", path: "lra run".into(), source };
    let program = std::env::current_exe().map_err(io)?;
    std::fs::create_dir_all(&args.out).map_err(io)?;
    let log = std::fs::File::create(log_of(&cell.folder)).map_err(io)?;
    let mut command = Command::new(program);
    command.args(["run", "--model", &cell.model, "--task", &cell.task, "--preset", &args.preset]);
    command.args(["--seed", &cell.seed.to_string()]).arg("--out").arg(&cell.folder);
    args.set.iter().for_each(|set| {
        command.args(["--set", set]);
    });
    if let Some(steps) = args.steps {
        command.args(["--steps", &steps.to_string()]);
    }
    if let Some(threads) = args.threads {
        command.args(["--threads", &threads.to_string()]);
    }
    if let Some(dir) = &args.data_dir {
        command.arg("--data-dir").arg(dir);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone().map_err(io)?).stderr(log);
    // In a group of its own: a Ctrl-C at the terminal reaches the sweep alone, which passes it on.
    command.process_group(0).spawn().map_err(io)
}

/// A run that has just ended hears nothing, and needs not.
fn ask_to_stop(child: &Child) {
    let _ = rustix::process::kill_process(Pid::from_child(child), Signal::TERM);
}

/// Where a cell's lines go, beside its folder.
fn log_of(folder: &Path) -> PathBuf {
    folder.with_extension("log")
}

/// A cell's failure in its own words.
fn failure(cell: &Cell, status: ExitStatus) -> String {
    let log = std::fs::read_to_string(log_of(&cell.folder)).unwrap_or_default();
    let last = log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    format!("{}: {status}: {}", cell.name(), out::line(last))
}

fn dry_run(args: &SweepArgs, cells: &[Cell], registry: &Registry) -> Result<()> {
    start_threads(args.threads)?;
    let mut total = 0.0;
    let mut lines = Vec::new();
    for cell in cells {
        let card = Card::of(tasks::find(&cell.task)?)?;
        let variant = registry.get(&cell.model)?;
        let request = crate::config::Request {
            sets: &args.set,
            steps: args.steps,
            ..variant.request(&args.preset)
        };
        let mut config = resolve(&card, &request)?;
        config.run.micro_batch = micro_batch(&config, variant, card.sizes(), &Device::Cpu)?;
        let plan = plan(&config, variant, card.sizes())?;
        let memory = (plan.weights + plan.kept) / 1e9;
        lines.push(if cell.is_done() {
            format!("{}: done", cell.name())
        } else {
            match estimate::seconds(&config, variant, &card, &Device::Cpu) {
                Ok(seconds) => {
                    total += seconds;
                    let time = estimate::duration(seconds);
                    format!("{}: about {time}, {memory:.2} GB", cell.name())
                }
                Err(error) => format!("{}: {error}", cell.name()),
            }
        });
    }
    let time = estimate::duration(total / args.jobs.max(1) as f64);
    lines.push(format!("about {time} of training in all, measured on one example of each"));
    out::print(|to| lines.iter().try_for_each(|line| writeln!(to, "{line}")))
}
