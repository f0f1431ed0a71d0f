//! `lra bench`: speed and memory over models and lengths.

use super::run::DtypeArg;
use super::{out, start_threads};
use crate::attention::Registry;
use crate::bench::{Batch, Cell, Peer, Plan, Results, run as measure, serve};
use crate::error::{Error, Result};
use crate::printable;
use crate::progress::Progress;
use crate::report::bench::{ratios, tables};
use crate::train::on_large_stack;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Models, or `all`
    #[arg(long, value_delimiter = ',', default_value = "all")]
    models: Vec<String>,
    /// The task whose sizes are taken; the tokens are random
    #[arg(long, default_value = "text")]
    task: String,
    #[arg(long, default_value = "lra")]
    preset: String,
    /// Tokens of an input; the paper's Table 2 by default
    #[arg(long, value_delimiter = ',', default_values_t = [1024, 2048, 3072, 4096])]
    lengths: Vec<usize>,
    /// Examples of a step
    #[arg(long, conflicts_with = "tokens")]
    batch: Option<usize>,
    /// Tokens of a step: as many examples as have so many, at most the preset's batch
    #[arg(long, default_value_t = 8192)]
    tokens: usize,
    /// Change a value of the configuration; may be repeated
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    #[arg(long)]
    threads: Option<usize>,
    /// `cpu`, or `cuda:N`
    #[arg(long, default_value = "cpu")]
    device: String,
    #[arg(long, value_enum, default_value_t = DtypeArg::F32)]
    dtype: DtypeArg,
    /// Windows of each cell and side
    #[arg(long, default_value_t = 5)]
    turns: usize,
    /// Seconds of a window, at least
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Measure scoring too
    #[arg(long)]
    evaluate: bool,
    /// Tell where a step's time goes
    #[arg(long)]
    profile: bool,
    /// Measure PyTorch beside it: the Python of `benches/peers/setup.sh`
    #[arg(long, value_name = "PYTHON")]
    peer: Option<PathBuf>,
    /// PyTorch's modes
    #[arg(long, value_delimiter = ',', default_value = "eager,compile")]
    modes: Vec<String>,
    /// The peer's program
    #[arg(long, default_value = "benches/peers/peer.py")]
    script: PathBuf,
    /// Decides the order of the cells
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The results' file, JSON
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the tables of results measured before
    #[arg(long, value_name = "FILE", num_args = 1..)]
    show: Vec<PathBuf>,
    /// Serve one cell on standard input and output
    #[arg(long, hide = true)]
    cell: Option<String>,
}

pub fn run(args: &BenchArgs, registry: &Registry, progress: &Progress) -> Result<()> {
    if let Some(cell) = &args.cell {
        let cell: Cell =
            serde_json::from_str(cell).map_err(|error| Error::usage(format!("--cell: {error}")))?;
        start_threads(Some(cell.threads))?;
        let variant = registry.get(&cell.config.run.model)?;
        return on_large_stack(|| {
            serve(&cell, variant, std::io::stdin().lock(), std::io::stdout().lock())
        });
    }
    if !args.show.is_empty() {
        let found = args.show.iter().map(|path| Results::load(path)).collect::<Result<Vec<_>>>()?;
        return out::print(|to| {
            found.iter().try_for_each(|results| writeln!(to, "{}", tables(results)))?;
            // The table of a single one says it all.
            match ratios(&found).filter(|_| found.len() > 1) {
                Some(together) => writeln!(to, "{together}"),
                None => Ok(()),
            }
        });
    }
    let threads =
        args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    start_threads(Some(threads))?;
    if !(args.seconds > 0.0 && args.seconds.is_finite()) || args.turns == 0 {
        return Err(Error::usage("--seconds and --turns: expected more than 0"));
    }
    let plan = Plan {
        models: registry.names(&args.models),
        task: args.task.clone(),
        preset: args.preset.clone(),
        lengths: args.lengths.clone(),
        batch: args.batch.map_or(Batch::Tokens(args.tokens), Batch::Examples),
        sets: args.set.clone(),
        threads,
        device: args.device.clone(),
        dtype: args.dtype.on(&args.device)?,
        turns: args.turns,
        seconds: args.seconds,
        evaluate: args.evaluate,
        profile: args.profile,
        peer: args.peer.clone().map(|python| Peer {
            python,
            script: args.script.clone(),
            modes: args.modes.clone(),
        }),
        seed: args.seed,
    };
    let words: Vec<String> = std::env::args().skip(1).collect();
    let path = args
        .out
        .clone()
        .unwrap_or_else(|| format!("results/bench/{}-{}.json", args.task, args.preset).into());
    let save = |results: &Results| results.save(&path);
    let results = measure(&plan, registry, format!("lra {}", words.join(" ")), progress, &save)?;
    out::print(|to| {
        writeln!(to, "{}", tables(&results))?;
        writeln!(to, "results: {}", printable::line(&path.to_string_lossy()))
    })
}
