//! The command line: one verb, one file.

mod baseline;
mod bench;
mod check;
mod compare;
mod completions;
mod data;
mod estimate;
mod export;
mod list;
mod out;
mod report;
mod run;
mod show;
mod sweep;

use crate::attention::Registry;
use crate::error::Error;
use crate::progress::Progress;
use clap::{Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

/// Long Range Arena: accuracy, speed and memory of efficient attentions, measured the right way.
#[derive(Debug, Parser)]
#[command(name = "lra", version, about)]
struct Cli {
    /// Say nothing but results and errors
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train and evaluate one model on one task
    Run(run::RunArgs),
    /// Run a matrix of models, tasks and seeds
    Sweep(sweep::SweepArgs),
    /// Measure training speed and memory over models and lengths
    Bench(bench::BenchArgs),
    /// Turn the records of runs into tables and charts
    Report(report::ReportArgs),
    /// Put two runs, or groups of runs, side by side
    Compare(compare::CompareArgs),
    /// Compare what is here with a baseline: the regression gate
    Check(check::CheckArgs),
    /// Keep what is here, to check later versions against
    Baseline(baseline::BaselineArgs),
    /// Write a run's history for another tool
    Export(export::ExportArgs),
    /// Prepare, verify, export and look at the tasks' data
    Data(data::DataArgs),
    /// Draw what models look at
    Show(show::ShowArgs),
    /// List models, tasks and presets
    List(list::ListArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// The whole program, with the attentions of `registry`. Parses this process's
/// arguments, and turns an error into a line on standard error and an exit code
/// (see [`crate::error`]).
pub fn main(registry: &Registry) -> ExitCode {
    crate::measure::keep_freed_memory();
    let cli = Cli::parse();
    let progress = Progress::new(cli.quiet);
    let result = match &cli.command {
        Command::Run(args) => run::run(args, registry, &progress),
        Command::Sweep(args) => sweep::run(args, registry, &progress),
        Command::Bench(args) => bench::run(args, registry, &progress),
        Command::Report(args) => report::run(args, &progress),
        Command::Compare(args) => compare::run(args, &progress),
        Command::Check(args) => check::run(args, registry, &progress),
        Command::Baseline(args) => baseline::run(args, registry, &progress),
        Command::Export(args) => export::run(args),
        Command::Data(args) => data::run(args, &progress),
        Command::Show(args) => show::run(args, registry, &progress),
        Command::List(args) => list::run(args, registry),
        Command::Completions(args) => completions::run::<Cli>(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Starts the thread pool that all parallel work uses.
fn start_threads(threads: Option<usize>) -> Result<(), Error> {
    let threads = match threads {
        Some(0) => return Err(Error::usage("--threads 0: expected at least 1")),
        Some(threads) => threads,
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    // Candle cuts its products, and makes pools of its own, by RAYON_NUM_THREADS and nothing
    // else. A thread of its pool waits for more work in a loop, of 25,000 turns by default, on a
    // core that this crate's ops have work for by then: with few turns it sleeps instead.
    const WAIT: &str = "CANDLE_BARRIER_POOL_SPIN_LIMIT";
    // SAFETY: nothing has started a thread yet that could read the environment meanwhile.
    unsafe {
        std::env::set_var("RAYON_NUM_THREADS", threads.to_string());
        if std::env::var_os(WAIT).is_none() {
            std::env::set_var(WAIT, "100");
        }
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    pool.map_err(|error| Error::usage(format!("--threads {threads}: {error}")))
}
