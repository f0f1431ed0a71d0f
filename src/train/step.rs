//! One update: gradients of a batch, clipping, the optimiser.

use super::gradient::gradients;
use super::optimiser::AdamW;
use super::schedule::learning_rate;
use crate::config::RunConfig;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::models::Classifier;

/// What an update was.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Mean cross-entropy over the batch, in nats, before the update.
    pub loss: f64,
    /// Global 2-norm of the gradient, before clipping.
    pub gradient_norm: f64,
    pub rate: f64,
}

/// The update after `step` others. `None` when `stop`, asked before each micro-batch, said to;
/// nothing has changed then, nor after an error.
pub fn step(
    model: &Classifier,
    optimiser: &mut AdamW,
    batch: &Batch,
    config: &RunConfig,
    step: u64,
    stop: &dyn Fn() -> bool,
) -> Result<Option<Step>> {
    let RunConfig { run, train, .. } = config;
    let found = gradients(model, optimiser.vars(), batch, run.micro_batch, (run.seed, step), stop)?;
    let Some(found) = found else { return Ok(None) };
    let diverged = |what: String| Error::Diverged { step: step + 1, what };
    let rate = learning_rate(train, step);
    // Changes nothing where the gradient is not finite, as it is where the loss is not.
    let norm = optimiser.update(train, step, rate, &found)?;
    let loss = found.loss()?;
    if !loss.is_finite() {
        return Err(diverged(format!("`loss` of the training batch is {loss}")));
    }
    let gradient_norm = norm.map_err(|name| {
        diverged(format!("the gradient of `{name}` is not finite; lower train.learning_rate"))
    })?;
    Ok(Some(Step { loss, gradient_norm, rate }))
}
