//! Whether loading ever limits training: batches a second of the loader beside training
//! steps a second of the fastest attention, for every task and preset whose data is here.
//!
//! ```sh
//! LRA_DATA=DIR cargo bench --bench loading [-- TASK or PRESET...]
//! ```
//!
//! Generated tasks are made small first: what a batch costs does not depend on the set's
//! size, as long as the system keeps it cached.

use candle_core::Device;
use lra::attention::Registry;
use lra::config::{Card, Request, RunConfig, resolve};
use lra::data::{Loader, places};
use lra::error::Result;
use lra::progress::Progress;
use lra::tasks::{self, Dataset, Task};
use lra::train::{AdamW, build, micro_batch, plan, step as update};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: lra::measure::Counting = lra::measure::Counting;

const PRESETS: [&str; 4] = ["lra", "paper", "compact", "quick"];
/// A set as small as this is enough: it has more examples than any batch.
const SMALL: [&str; 3] = ["data.train=2048", "data.validation=16", "data.test=16"];
const CANDIDATES: usize = 3;
const ENOUGH: Duration = Duration::from_secs(2);

fn main() {
    // `cargo bench` adds flags of its own.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    // None of a kind is all of them.
    let chosen = |name: &str, all: &[&str]| {
        let named = wanted.iter().any(|word| word == name);
        named || !wanted.iter().any(|word| all.contains(&word.as_str()))
    };
    let names: Vec<&str> = tasks::all().iter().map(|task| task.name()).collect();
    println!("task\tpreset\tloaded examples/s\ttrained examples/s\tfastest\tratio");
    for task in tasks::all() {
        for preset in PRESETS {
            if !chosen(task.name(), &names) || !chosen(preset, &PRESETS) {
                continue;
            }
            if let Err(error) = measure(*task, preset) {
                println!("{}\t{preset}\tskipped: {error}", task.name());
            }
        }
    }
}

fn measure(task: &dyn Task, preset: &str) -> Result<()> {
    let card = Card::of(task)?;
    let sets: Vec<String> = match card.data.contains_key("train") {
        true => SMALL.map(str::to_string).to_vec(),
        false => Vec::new(),
    };
    let registry = Registry::builtin();
    let mut best = (0.0, "");
    let mut data = None;
    let mut candidates = Vec::new();
    for variant in registry.iter() {
        let request = Request { sets: &sets, ..variant.request(preset) };
        let config = resolve(&card, &request)?;
        let forward = plan(&config, variant, card.sizes())?.forward;
        candidates.push((forward, variant, config));
    }
    // The fastest is among those of the fewest operations.
    candidates.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (_, variant, config) in candidates.into_iter().take(CANDIDATES) {
        let (_, data) = match &mut data {
            Some(data) => data,
            none => {
                let loaded = task.load(&config.data, &places(None)?, &Progress::silent())?;
                none.insert((config.clone(), loaded))
            }
        };
        let speed = trained(&config, variant, &card, data)?;
        best = if speed > best.0 { (speed, variant.name) } else { best };
    }
    let Some((config, data)) = data else { return Ok(()) };
    let loaded = loaded(&config, &data)?;
    let (trained, name) = best;
    let ratio = loaded / trained;
    println!("{}\t{preset}\t{loaded:.0}\t{trained:.1}\t{name}\t{ratio:.0}", task.name());
    Ok(())
}

fn loader(config: &RunConfig, data: &Dataset) -> Loader {
    let RunConfig { train, model, .. } = config;
    Loader::new(data.train.clone(), 0, train.batch, model.length, train.pad)
}

fn loaded(config: &RunConfig, data: &Dataset) -> Result<f64> {
    let mut loader = loader(config, data);
    loader.batch(0)?;
    let (start, mut examples, mut step) = (Instant::now(), 0, 1);
    while start.elapsed() < ENOUGH {
        examples += loader.batch(step)?.len();
        step += 1;
    }
    Ok(examples as f64 / start.elapsed().as_secs_f64())
}

/// Whole training steps, of as many examples as go through at once.
fn trained(
    config: &RunConfig,
    variant: &lra::attention::Variant,
    card: &Card,
    data: &Dataset,
) -> Result<f64> {
    let mut config = config.clone();
    let sizes = card.sizes();
    config.train.batch = micro_batch(&config, variant, sizes, &Device::Cpu)?;
    let (model, weights) = build(&config, variant, sizes, &Device::Cpu)?;
    let mut optimiser = AdamW::new(weights.vars())?;
    let mut loader = loader(&config, data);
    config.run.micro_batch = config.train.batch;
    let (mut start, mut examples) = (Instant::now(), 0);
    for step in 0.. {
        let batch = loader.batch(step)?;
        update(&model, &mut optimiser, &batch, &config, step, &|| false)?;
        match step {
            0 => start = Instant::now(), // the first warms up
            _ => examples += batch.len(),
        }
        if examples > 0 && start.elapsed() > ENOUGH {
            break;
        }
    }
    Ok(examples as f64 / start.elapsed().as_secs_f64())
}
