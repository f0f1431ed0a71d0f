//! What a layer may read besides its weights and its input.

use crate::ops::{Dropout, Mask};
use crate::random::Key;

/// Mask, mode and random keys of one forward pass. Cheap to clone; the same context
/// gives the same bytes, so a layer can be recomputed at will.
#[derive(Debug, Clone)]
pub struct Context {
    /// Which positions are tokens.
    pub mask: Mask,
    /// Training (dropout on) or evaluation.
    pub train: bool,
    /// Steps completed.
    pub step: u64,
    /// Index in the full batch of the first example of this micro-batch.
    pub first_example: u64,
    key: Key,
}

impl Context {
    pub fn new(mask: Mask, seed: u64) -> Self {
        let key = Key::new(seed).named("model");
        Self { mask, train: false, step: 0, first_example: 0, key }
    }

    pub fn training(mut self, step: u64, first_example: u64) -> Self {
        (self.train, self.step, self.first_example) = (true, step, first_example);
        self
    }

    pub fn evaluating(mut self, step: u64) -> Self {
        (self.train, self.step) = (false, step);
        self
    }

    /// The context of a part of the model: its draws differ from every other part's.
    pub fn enter(&self, part: &str, index: usize) -> Self {
        Self { key: self.key.named(part).index(index as u64), ..self.clone() }
    }

    pub fn with_mask(&self, mask: Mask) -> Self {
        Self { mask, ..self.clone() }
    }

    /// A key that stays the same for `interval` steps, in training and evaluation alike;
    /// an interval of 0 never changes.
    pub fn redrawn(&self, purpose: &str, interval: u64) -> Key {
        self.key.named(purpose).index(self.step.checked_div(interval).unwrap_or(0))
    }

    /// A key of each step while training, of none in evaluation.
    pub fn drawn(&self, purpose: &str) -> Key {
        let step = if self.train { self.step + 1 } else { 0 };
        self.key.named(purpose).index(step)
    }

    /// Dropout with probability `p` while training, none otherwise.
    pub fn dropout(&self, purpose: &str, p: f64) -> Dropout {
        if !self.train || p == 0.0 {
            return Dropout::NONE;
        }
        let key = self.key.named(purpose).index(self.step);
        Dropout { p, key, first_example: self.first_example }
    }
}
