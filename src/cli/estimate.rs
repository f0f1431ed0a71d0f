//! What a preset would cost on this machine, from one measured training step.

use crate::attention::Variant;
use crate::config::{Card, RunConfig, RunSection};
use crate::data::Batch;
use crate::error::Result;
use crate::layers::Weights;
use crate::models::Classifier;
use crate::ops::{Ids, Mask};
use crate::train::plan;
use candle_core::Device;
use std::time::Instant;

/// Seconds of training, or an error where the memory is not there; from one step on one example of the task's mean length.
pub fn seconds(config: &RunConfig, variant: &Variant, card: &Card, device: &Device) -> Result<f64> {
    let sizes = card.sizes();
    if device.is_cpu() {
        let one = RunConfig {
            run: RunSection { micro_batch: 1, ..config.run.clone() },
            ..config.clone()
        };
        plan(&one, variant, sizes)?.check()?;
    }
    let weights = Weights::new(0);
    let kind = (config.run.dtype.candle(), device);
    let (model, options) = (&config.model, &config.attention);
    let classifier = Classifier::new(model, variant, options, sizes, &weights, kind)?;
    let n = config.model.length;
    let rows = sizes.parts;
    let ids = (0..rows * n).map(|i| 1 + (i % (sizes.vocabulary - 1)) as u32).collect();
    let batch = Batch {
        ids: Ids { ids, batch: rows, n },
        mask: Mask::from_lengths(&vec![card.mean_length.min(n); rows], n)?,
        labels: vec![0],
        parts: rows,
    };
    let vars = weights.vars();
    // The first step touches memory that later ones find ready; of the next two the faster.
    let mut step = f64::INFINITY;
    for warm in [false, true, true] {
        let started = Instant::now();
        crate::train::gradients(&classifier, &vars, &batch, 1, (0, 0), &|| false)?;
        device.synchronize()?;
        if warm {
            step = step.min(started.elapsed().as_secs_f64());
        }
    }
    Ok(step * (config.train.batch as u64 * config.train.steps) as f64)
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
