//! Memory of a training step, counted before anything of that size is made: what each part
//! declares, put together as `backward` runs.

use super::Classifier;
use crate::config::Pooling;

impl Classifier {
    /// The most values that a step holds beside weights, gradients and moments, over `examples`
    /// of n tokens a part, on so many threads of a CPU or on a GPU.
    pub fn held(&self, n: usize, examples: usize, threads: Option<usize>) -> f64 {
        let (section, n) = (&self.section, self.positions(n));
        let sequences = examples * self.parts;
        let stream = (n * sequences * section.width) as f64;
        let layers = self.blocks.iter().map(|block| block.held(n, sequences, threads));
        let layers: Vec<_> = layers.collect();
        // The embedding, and what dropout leaves of it.
        let embedded = if section.dropout > 0.0 { 2.0 * stream } else { stream };
        // A layer that is computed again has its input copied, and its output multiplied with
        // the slope that comes back.
        let again = 2.0 * stream;
        if section.reversible {
            // One half of a layer at a time, beside two streams and their slopes.
            let halves = layers.iter().flatten().map(|half| half.kept + half.passing);
            return embedded + 4.0 * stream + again + most(halves);
        }
        let kept = layers.iter().map(|[a, f]| a.kept + f.kept);
        // When the attention's turn comes, the hidden layer behind it is gone.
        let hidden = (n * sequences * section.feed_forward) as f64;
        let passing = layers.iter().map(|[a, f]| f.passing.max(a.passing - hidden));
        if self.recompute {
            let inputs = (layers.len() + 2) as f64 * stream;
            let whole = kept.zip(passing).map(|(kept, passing)| kept + passing);
            return embedded + inputs + again + most(whole);
        }
        // The norm of all positions, where all are pooled.
        let head = if section.pooling == Pooling::Mean { stream } else { 0.0 };
        embedded + kept.sum::<f64>() + head + most(passing)
    }
}

fn most(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}
