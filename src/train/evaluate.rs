//! Loss and accuracy over a split.

use super::gradient::score;
use crate::config::RunConfig;
use crate::data::{Batch, Split};
use crate::error::Result;
use crate::models::Classifier;
use crate::progress::Bar;
use crate::records::Metrics;

/// Metrics over the first `examples` of a split. `None` when `stop` said to.
///
/// Examples are taken in the order of their lengths, which spares padding; sums and
/// counts are over the same examples whatever the order.
pub fn evaluate(
    model: &Classifier,
    config: &RunConfig,
    split: &Split,
    examples: usize,
    step: u64,
    bar: &Bar,
    stop: &dyn Fn() -> bool,
) -> Result<Option<Metrics>> {
    let mut indices: Vec<usize> = (0..examples).collect();
    let longest = |i: usize| (0..split.parts()).map(|p| split.length(i, p)).max();
    indices.sort_by_key(|&i| longest(i));
    let (mut loss, mut right) = (0.0, 0);
    for part in indices.chunks(config.run.micro_batch) {
        if stop() {
            return Ok(None);
        }
        let batch = Batch::gather(split, part, config.model.length, config.train.pad)?;
        let (part_loss, part_right) = score(model, &batch, (config.run.seed, step))?;
        loss += part_loss;
        right += part_right;
        bar.advance(part.len() as u64);
    }
    let count = examples.max(1) as f64;
    let accuracy = right as f64 / count;
    Ok(Some(Metrics { loss: loss / count, accuracy, examples: examples as u64 }))
}
