//! `lra check`, `lra baseline` and `lra compare`: what is caught, what is let pass, and what is
//! said of it.

mod accuracy;
mod cli;
mod compare;
mod machines;
mod rounding;

#[path = "../common/records.rs"]
mod synthetic;

use assert_cmd::Command;
use lra::random::Key;
use lra::records::Record;
use rand::Rng;
use std::path::Path;
use synthetic::{record, save_all};

fn lra(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lra"));
    command.current_dir(folder).env_remove("GITHUB_STEP_SUMMARY").env("NO_COLOR", "1");
    command
}

/// Runs of one model whose accuracy spreads by about `spread` over seeds: the sum of twelve
/// even draws is nearly normal, of deviation 1.
fn seeds(model: &str, count: u64, mean: f64, spread: f64, draw: u64) -> Vec<Record> {
    let mut rng = Key::new(draw).named(model).stream();
    let mut normal = || (0..12).map(|_| rng.random_range(0.0..1.0)).sum::<f64>() - 6.0;
    (0..count).map(|seed| record("listops", model, seed, mean + spread * normal())).collect()
}
