//! What a preset would cost on this machine, from measured training steps.

use crate::attention::Variant;
use crate::bench::batch;
use crate::config::{Card, RunConfig, RunSection, TrainSection};
use crate::error::Result;
use crate::train::{build, check_memory, gradients};
use candle_core::Device;
use std::time::Instant;

/// Seconds of training, or an error where the memory is not there; from steps on one example
/// of the task's mean length.
pub fn seconds(config: &RunConfig, variant: &Variant, card: &Card, device: &Device) -> Result<f64> {
    let sizes = card.sizes();
    let one = RunConfig {
        run: RunSection { micro_batch: 1, ..config.run.clone() },
        train: TrainSection { batch: 1, ..config.train.clone() },
        ..config.clone()
    };
    check_memory(&one, variant, sizes, device)?;
    let (model, weights) = build(&one, variant, sizes, device)?;
    let (batch, vars) = (batch(&one, sizes, card.mean_length)?, weights.vars());
    // The first step touches memory that later ones find ready; of the next two the faster.
    let mut step = f64::INFINITY;
    for warm in [false, true, true] {
        let started = Instant::now();
        gradients(&model, &vars, &batch, 1, (0, 0), &|| false)?;
        device.synchronize()?;
        if warm {
            step = step.min(started.elapsed().as_secs_f64());
        }
    }
    Ok(step * config.train.batch as f64 * config.train.steps as f64)
}

/// `40 s`, `12 min`, `5.2 h`, `3.1 days`.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s if s < 48.0 * 3600.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86400.0),
    }
}
