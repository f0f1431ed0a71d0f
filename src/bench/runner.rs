//! Which cells, in what order, and in turns with the peer.

use super::cell::Cell;
use super::product::ceiling;
use super::results::{Results, Row, Side};
use super::worker::Worker;
use crate::attention::Registry;
use crate::config::Dtype;
use crate::config::{Card, Request, resolve};
use crate::device;
use crate::error::{Error, Result};
use crate::measure;
use crate::progress::Progress;
use crate::random::{Key, bits};
use crate::tasks;
use crate::train::plan;
use std::path::PathBuf;

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct Plan {
    pub models: Vec<String>,
    /// Task, preset and lengths.
    pub task: String,
    pub preset: String,
    pub lengths: Vec<usize>,
    /// Examples of a step at a length: at least one, at most the preset's batch.
    pub batch: Batch,
    pub sets: Vec<String>,
    pub threads: usize,
    /// `cpu`, `cuda:N` or `auto`.
    pub device: String,
    pub dtype: Dtype,
    /// Windows of each side.
    pub turns: usize,
    /// Seconds of a window, at least.
    pub seconds: f64,
    /// Whether scoring is measured too.
    pub evaluate: bool,
    pub profile: bool,
    pub peer: Option<Peer>,
    /// Decides the order of the cells.
    pub seed: u64,
}

#[derive(Debug, Clone, Copy)]
pub enum Batch {
    Examples(usize),
    /// As many examples as have about so many tokens.
    Tokens(usize),
}

/// Another program that speaks a cell's commands.
#[derive(Debug, Clone)]
pub struct Peer {
    pub python: PathBuf,
    pub script: PathBuf,
    pub modes: Vec<String>,
}

impl Plan {
    /// Every cell, by model, then length.
    fn cells(&self, registry: &Registry) -> Result<Vec<(Cell, Row)>> {
        let card = Card::of(tasks::find(&self.task)?)?;
        let mut cells = Vec::new();
        for model in &self.models {
            let variant = registry.get(model)?;
            for &length in &self.lengths {
                let mut sets = vec![format!("model.length={length}")];
                sets.extend(self.sets.iter().cloned());
                let (device, dtype) = (self.device.as_str(), self.dtype);
                let usual = || Request { device, dtype, ..variant.request(&self.preset) };
                let request = Request { sets: &sets, ..usual() };
                let most = resolve(&card, &request)?.train.batch;
                let batch = match self.batch {
                    Batch::Examples(examples) => examples,
                    Batch::Tokens(tokens) => (tokens / length).clamp(1, most),
                };
                sets.push(format!("train.batch={batch}"));
                let request = Request { sets: &sets, ..usual() };
                let config = resolve(&card, &request)?;
                let plan = plan(&config, variant, card.sizes())?;
                let row = Row {
                    model: model.clone(),
                    task: self.task.clone(),
                    preset: self.preset.clone(),
                    length,
                    batch,
                    parameters: plan.parameters as u64,
                    flops: 3.0 * plan.forward * batch as f64,
                    own: None,
                    peers: Vec::new(),
                    failures: Vec::new(),
                    repeated: false,
                };
                let (sizes, threads, profile) = (card.sizes(), self.threads, self.profile);
                cells.push((Cell { config, sizes, threads, profile }, row));
            }
        }
        if cells.is_empty() {
            return Err(Error::usage("nothing to measure: expected a model and a length"));
        }
        Ok(cells)
    }
}

/// Measures all cells in random order, the first once more at the end, and hands what there is
/// to `save` after each. A cell that fails is a row with its reason.
pub fn run(
    plan: &Plan,
    registry: &Registry,
    command: String,
    progress: &Progress,
    save: &dyn Fn(&Results) -> Result<()>,
) -> Result<Results> {
    let device = device::open(&plan.device, progress)?;
    let environment = measure::observe(&device, plan.dtype.candle(), plan.threads);
    let ceiling = ceiling();
    let cells = plan.cells(registry)?;
    let lanes = Key::new(plan.seed).named("bench order").lanes();
    let mut order: Vec<usize> = (0..cells.len()).collect();
    order.sort_by_key(|&i| bits(lanes, i as u32));
    let repeated = (cells.len() > 1).then(|| order[0]);
    let bar =
        progress.bar("bench", "cells", (order.len() + usize::from(repeated.is_some())) as u64);
    let mut results = Results { environment, command, ceiling, rows: Vec::new() };
    // What cannot be written is known before an hour is spent.
    save(&results)?;
    let mut rows: Vec<Option<Row>> = cells.iter().map(|_| None).collect();
    for &i in &order {
        let (cell, row) = &cells[i];
        bar.note(format!("{}, length {}, batch {}", row.model, row.length, row.batch));
        rows[i] = Some(measure_row(plan, cell, row.clone(), progress));
        results.rows = rows.iter().flatten().cloned().collect();
        save(&results)?;
        bar.advance(1);
    }
    if let Some(i) = repeated {
        let (cell, row) = &cells[i];
        let row = Row { repeated: true, ..row.clone() };
        let again = measure_row(&Plan { peer: None, ..plan.clone() }, cell, row, progress);
        results.rows.push(again);
        bar.advance(1);
    }
    measure::finish(&mut results.environment);
    save(&results)?;
    Ok(results)
}

fn measure_row(plan: &Plan, cell: &Cell, mut row: Row, progress: &Progress) -> Row {
    let mut sides: Vec<(Worker, Side)> = Vec::new();
    let modes = plan.peer.iter().flat_map(|peer| peer.modes.iter().map(move |m| (peer, m)));
    let starts = std::iter::once(("lra".to_owned(), Worker::own(cell)));
    let starts = starts.chain(modes.map(|(peer, mode)| {
        let worker = Worker::peer(&peer.python, &peer.script, mode, cell);
        (format!("torch {mode}"), worker)
    }));
    for (name, worker) in starts {
        match worker {
            Ok(worker) => {
                let attention = worker.ready.attention.clone();
                let (train, evaluate) = (Vec::new(), Vec::new());
                let memory = Default::default();
                sides.push((worker, Side { name, attention, train, evaluate, memory }));
            }
            Err(error) => fail(&mut row, &name, &error, progress),
        }
    }
    for _ in 0..plan.turns {
        sides.retain_mut(|(worker, side)| {
            let mut turn = || -> Result<()> {
                side.train.push(worker.train(plan.seconds)?);
                if plan.evaluate {
                    side.evaluate.push(worker.evaluate(plan.seconds / 2.0)?);
                }
                Ok(())
            };
            let result = turn();
            if let Err(error) = &result {
                fail(&mut row, &side.name, error, progress);
            }
            result.is_ok()
        });
    }
    for (worker, mut side) in sides {
        match worker.end() {
            Ok(memory) => {
                side.memory = memory;
                if side.name == "lra" { row.own = Some(side) } else { row.peers.push(side) }
            }
            Err(error) => fail(&mut row, &side.name, &error, progress),
        }
    }
    row
}

fn fail(row: &mut Row, name: &str, error: &Error, progress: &Progress) {
    let line = format!("{name}: {error}");
    progress.say(&format!("{}, length {}: {line}", row.model, row.length));
    row.failures.push(line);
}
