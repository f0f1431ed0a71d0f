//! One measured cell: a model, a length, a batch, in a process of its own.
//!
//! The process reads one command a line from its input and answers each with one JSON
//! document a line: `window S` trains for at least S seconds, `evaluate S` scores, `end` tells
//! the memory and ends. A peer written in another language speaks the same, so that two sides
//! can be measured in turns without being started anew (`benches/peers/`). `lra check` has two
//! more: `steps N` trains N steps and tells what they counted, `calibrate S` multiplies
//! matrices.

use super::product::Product;
use crate::attention::Variant;
use crate::config::{RunConfig, Sizes};
use crate::data::Batch;
use crate::device;
use crate::error::{Error, Result};
use crate::measure;
use crate::models::Classifier;
use crate::ops::{Ids, Mask, profile};
use crate::progress::Progress;
use crate::random::{Key, bits};
use crate::train::{AdamW, build, check_memory, score, step};
use candle_core::Device;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Write};
use std::time::Instant;

/// Steps before the first window.
const WARM_UP: u64 = 3;

/// What a cell's process is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cell {
    pub config: RunConfig,
    pub sizes: Sizes,
    pub threads: usize,
    /// Whether the time of each op is kept.
    #[serde(default)]
    pub profile: bool,
}

/// The first answer, once the warm-up is over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {
    pub ready: bool,
    pub parameters: u64,
    /// Who answers, where it is not this program: its version, mode, and attention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention: Option<String>,
}

/// Whole steps, and the seconds they took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Window {
    pub steps: u64,
    pub seconds: f64,
}

impl Window {
    pub fn rate(&self) -> f64 {
        self.steps as f64 / self.seconds
    }
}

/// Bytes: the peak resident set of the windows, and the resident set before the model was
/// built; of this program also the peak of its live heap.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Memory {
    pub peak: u64,
    pub base: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profile: Vec<profile::Share>,
}

impl Memory {
    /// What training took beyond the bare process.
    pub fn taken(&self) -> u64 {
        self.peak.saturating_sub(self.base)
    }
}

/// What some steps on one batch come to, whatever the clock says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// Of the last step's batch, before its update.
    pub loss: f64,
    /// The most live heap bytes, above those before the model was built.
    pub peak_live: Option<u64>,
    /// Blocks taken from the heap.
    pub allocations: Option<u64>,
}

/// A batch of random inputs of so many tokens, keyed by the run's seed.
pub fn batch(config: &RunConfig, sizes: Sizes, tokens: usize) -> Result<Batch> {
    let (rows, n) = (config.train.batch * sizes.parts, config.model.length);
    let lanes = Key::new(config.run.seed).named("bench").lanes();
    // 0 is padding where a task has any.
    let id = |i: usize| 1 + bits(lanes, i as u32) % (sizes.vocabulary.max(2) as u32 - 1);
    let label = |i: usize| bits(lanes, !(i as u32)) % sizes.classes.max(1) as u32;
    Ok(Batch {
        ids: Ids { ids: (0..rows * n).map(id).collect(), batch: rows, n },
        mask: Mask::from_lengths(&vec![tokens.min(n); rows], n)?,
        labels: (0..config.train.batch).map(label).collect(),
        parts: sizes.parts,
    })
}

/// The cell's model at work.
struct Trial<'a> {
    cell: &'a Cell,
    device: &'a Device,
    model: Classifier,
    optimiser: AdamW,
    batch: Batch,
    step: u64,
}

impl Trial<'_> {
    /// One step; its loss.
    fn train(&mut self) -> Result<f64> {
        let Self { cell, model, optimiser, batch, step: at, .. } = self;
        let done = step(model, optimiser, batch, &cell.config, *at, &|| false)?;
        *at += 1;
        Ok(done.map_or(f64::NAN, |done| done.loss))
    }

    fn score(&self) -> Result<()> {
        score(&self.model, &self.batch, (self.cell.config.run.seed, self.step)).map(|_| ())
    }

    fn counted(&mut self, steps: u64, bare: Option<u64>) -> Result<Counted> {
        measure::reset_peaks(self.device);
        let before = measure::allocations();
        let mut loss = f64::NAN;
        for _ in 0..steps {
            loss = self.train()?;
        }
        let above = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        let allocations = above(measure::allocations(), before);
        Ok(Counted { loss, peak_live: above(measure::peak_live(), bare), allocations })
    }
}

/// Whole pieces of `work` for at least so many seconds.
fn window(seconds: f64, mut work: impl FnMut() -> Result<()>) -> Result<Window> {
    let (started, mut steps) = (Instant::now(), 0);
    loop {
        work()?;
        steps += 1;
        let seconds_now = started.elapsed().as_secs_f64();
        if seconds_now >= seconds {
            return Ok(Window { steps, seconds: seconds_now });
        }
    }
}

/// Builds the cell, warms up, and answers commands until `end` or the end of the input.
pub fn serve(
    cell: &Cell,
    variant: &Variant,
    commands: impl BufRead,
    mut answers: impl Write,
) -> Result<()> {
    cell.config.check()?;
    let device = device::open(&cell.config.run.device, &Progress::silent())?;
    check_memory(&cell.config, variant, cell.sizes, &device)?;
    let (base, bare) = (measure::resident().unwrap_or(0), measure::live());
    let (model, weights) = build(&cell.config, variant, cell.sizes, &device)?;
    let optimiser = AdamW::new(weights.vars())?;
    let batch = batch(&cell.config, cell.sizes, cell.config.model.length)?;
    let mut trial = Trial { cell, device: &device, model, optimiser, batch, step: 0 };
    for _ in 0..WARM_UP {
        trial.train()?;
    }
    measure::reset_peaks(&device);
    profile::start(cell.profile);
    let parameters = weights.count() as u64;
    let ready = Ready { ready: true, parameters, torch: None, mode: None, attention: None };
    answer(&mut answers, &ready)?;
    for line in commands.lines() {
        let line = line.map_err(|source| broken("read", source))?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["window", seconds] => {
                let trained = window(number(seconds)?, || trial.train().map(|_| ()))?;
                answer(&mut answers, &trained)?;
            }
            ["evaluate", seconds] => {
                answer(&mut answers, &window(number(seconds)?, || trial.score())?)?;
            }
            ["steps", steps] => answer(&mut answers, &trial.counted(number(steps)?, bare)?)?,
            ["calibrate", seconds] => {
                let product = Product::small()?;
                answer(&mut answers, &window(number(seconds)?, || product.run())?)?;
            }
            ["end"] => break,
            _ => {
                return Err(Error::usage(format!(
                    "`{line}`: expected window S, evaluate S, steps N, calibrate S or end"
                )));
            }
        }
    }
    // Of a GPU's pool nothing was in use before.
    let pool = measure::peak_pool(&device);
    let memory = Memory {
        peak: pool.or_else(measure::peak_resident).unwrap_or(0),
        base: if pool.is_some() { 0 } else { base },
        live: measure::peak_live(),
        profile: profile::finish(),
    };
    answer(&mut answers, &memory)
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::usage(format!("`{text}`: expected a number")))
}

fn answer(to: &mut impl Write, value: &impl Serialize) -> Result<()> {
    let line = serde_json::to_string(value).map_err(candle_core::Error::wrap)?;
    writeln!(to, "{line}").and_then(|()| to.flush()).map_err(|source| broken("write", source))
}

fn broken(action: &'static str, source: std::io::Error) -> Error {
    Error::Io { action, path: "the pipe of the benchmark".into(), source }
}
