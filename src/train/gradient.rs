//! Loss and gradients of a batch, in micro-batches.

use crate::data::Batch;
use crate::error::{Error, Result};
use crate::layers::Context;
use crate::models::{Classifier, Sums};
use crate::ops::cpu::{Real, fused, read, with_real};
use candle_core::{D, DType, Tensor, Var};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// What one batch gives.
pub struct Gradients {
    /// Shares of the micro-batches in the batch's mean cross-entropy, in nats. A device that
    /// works behind the program's back is not waited for.
    losses: Vec<Tensor>,
    /// By the variable's name.
    pub by_name: BTreeMap<String, Tensor>,
}

/// Mean cross-entropy over `count` examples, of the given ones: [b, classes] -> scalar.
fn cross_entropy(logits: &Tensor, labels: &[u32], count: usize) -> candle_core::Result<Tensor> {
    let labels = Tensor::from_slice(labels, (labels.len(), 1), logits.device())?;
    let log_p = candle_nn::ops::log_softmax(logits, D::Minus1)?;
    log_p.gather(&labels, D::Minus1)?.sum_all()?.affine(-1.0 / count as f64, 0.0)
}

/// Loss and gradients of the batch's mean, computed `micro` examples at a time: the
/// result is that of the whole batch up to the rounding of the sums. `None` when `stop`,
/// asked before each micro-batch, said to.
pub fn gradients(
    model: &Classifier,
    vars: &BTreeMap<String, Var>,
    batch: &Batch,
    micro: usize,
    (seed, step): (u64, u64),
    stop: &dyn Fn() -> bool,
) -> Result<Option<Gradients>> {
    let mut losses = Vec::new();
    let mut sums = Sums::new(vars);
    for first in (0..batch.len()).step_by(micro.max(1)) {
        if stop() {
            return Ok(None);
        }
        let part = batch.narrow(first, micro.min(batch.len() - first))?;
        let cx = Context::new(part.mask.clone(), seed).training(step, batch.row(first));
        let mean = |logits: &Tensor| cross_entropy(logits, &part.labels, batch.len());
        losses.push(model.backward(&part.ids, &cx, &mut sums, mean)?);
    }
    let by_name = sums.finish().map_err(|name| {
        let message = format!("weight `{name}` gets no gradient from this model");
        Error::Tensor(candle_core::Error::Msg(message))
    })?;
    Ok(Some(Gradients { losses, by_name }))
}

/// Sums of losses and of right answers over a batch, without gradients.
pub fn score(model: &Classifier, batch: &Batch, (seed, step): (u64, u64)) -> Result<(f64, u64)> {
    let cx = Context::new(batch.mask.clone(), seed).evaluating(step);
    let logits = model.forward(&batch.ids, &cx)?.detach();
    let loss = cross_entropy(&logits, &batch.labels, 1)?.to_dtype(DType::F64)?.to_scalar()?;
    let answers = logits.argmax(D::Minus1)?.to_vec1::<u32>()?;
    let right = answers.iter().zip(&batch.labels).filter(|(a, l)| a == l).count() as u64;
    Ok((loss, right))
}

impl Gradients {
    /// Mean cross-entropy over the batch, in nats.
    pub fn loss(&self) -> Result<f64> {
        let share = |x: &Tensor| x.to_dtype(DType::F64)?.to_scalar::<f64>();
        Ok(self.losses.iter().map(share).sum::<candle_core::Result<f64>>()?)
    }

    /// Global 2-norm, or the name of a gradient that is not finite.
    pub fn norm(&self) -> candle_core::Result<std::result::Result<f64, String>> {
        let mut total = 0.0;
        for (name, gradient) in &self.by_name {
            let square = square_sum(gradient)?;
            if !square.is_finite() {
                return Ok(Err(name.clone()));
            }
            total += square;
        }
        Ok(Ok(total.sqrt()))
    }
}

/// Sum of squares in f64, over blocks of fixed size.
fn square_sum(x: &Tensor) -> candle_core::Result<f64> {
    if !fused(x) {
        return x.to_dtype(DType::F32)?.sqr()?.sum_all()?.to_dtype(DType::F64)?.to_scalar();
    }
    let x = x.contiguous()?;
    let held = read(&x)?;
    with_real!("gradient norm", x.dtype(), T => {
        let block = |block: &[T]| block.iter().map(|&v| Real::to_f64(v).powi(2)).sum::<f64>();
        let parts: Vec<f64> = held.slice::<T>()?.par_chunks(1 << 14).map(block).collect();
        Ok(parts.iter().sum())
    })
}
