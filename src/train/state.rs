//! What a run knows beside weights and moments, and how all of it becomes a checkpoint.

use super::checkpoint::Checkpoint;
use super::optimiser::AdamW;
use crate::error::{Error, Result};
use crate::layers::Weights;
use crate::records::{Evaluation, Memory, Speed, Wall};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Everything that goes on from one sitting to the next, as one JSON note.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct State {
    pub step: u64,
    /// Sum and number of the training losses since the last evaluation.
    pub loss_sum: f64,
    pub loss_count: u64,
    pub evaluations: Vec<Evaluation>,
    pub wall: Wall,
    /// Of the sitting with the most windows so far.
    pub speed: Option<Speed>,
    /// Peaks over all sittings.
    pub memory: Memory,
}

const STATE: &str = "state";

impl State {
    pub(super) fn evaluated(&self, step: u64) -> bool {
        self.evaluations.last().is_some_and(|e| e.step >= step)
    }

    /// The evaluation with the best validation accuracy, the earliest of equals.
    pub(super) fn best(&self) -> Option<&Evaluation> {
        let better = |a: &&Evaluation, b: &&Evaluation| {
            let by_accuracy = a.validation.accuracy.total_cmp(&b.validation.accuracy);
            by_accuracy.then(b.step.cmp(&a.step))
        };
        self.evaluations.iter().max_by(better)
    }

    /// Keeps the speed that was measured over more windows.
    pub(super) fn take_speed(&mut self, speed: Option<Speed>) {
        if speed.as_ref().map(|s| s.windows) >= self.speed.as_ref().map(|s| s.windows) {
            self.speed = speed;
        }
    }

    pub(super) fn checkpoint(&self, optimiser: &AdamW) -> Result<Checkpoint> {
        let mut tensors = BTreeMap::new();
        for (name, var) in optimiser.vars() {
            tensors.insert(format!("weights.{name}"), var.as_tensor().clone());
        }
        for (name, moments) in optimiser.moments() {
            tensors.insert(format!("first.{name}"), moments.first.as_tensor().clone());
            tensors.insert(format!("second.{name}"), moments.second.as_tensor().clone());
        }
        let note = serde_json::to_string(self).map_err(candle_core::Error::wrap)?;
        let notes = BTreeMap::from([(STATE.to_string(), note)]);
        Ok(Checkpoint { step: self.step, tensors, notes })
    }

    /// Puts a checkpoint's weights and moments back and returns its state. `path` names
    /// the folder in errors.
    pub(super) fn restore(
        checkpoint: Checkpoint,
        weights: &Weights,
        optimiser: &AdamW,
        path: &Path,
    ) -> Result<Self> {
        let bad = |message: String| Error::Checkpoint { path: path.to_path_buf(), message };
        let state = checkpoint.notes.get(STATE).ok_or_else(|| bad("has no state".into()))?;
        let state: Self = serde_json::from_str(state)
            .map_err(|error| bad(format!("its state cannot be read: {error}")))?;
        let part = |prefix: &str| -> BTreeMap<String, Tensor> {
            let named = checkpoint.tensors.iter();
            let own = named.filter_map(|(name, t)| Some((name.strip_prefix(prefix)?, t)));
            own.map(|(name, t)| (name.to_string(), t.clone())).collect()
        };
        weights.set(&part("weights.")).map_err(|error| bad(error.to_string()))?;
        let (first, second) = (part("first."), part("second."));
        for (name, moments) in optimiser.moments() {
            let (Some(m), Some(v)) = (first.get(name), second.get(name)) else {
                return Err(bad(format!("the moments of `{name}` are missing")));
            };
            moments.first.set(m)?;
            moments.second.set(v)?;
        }
        Ok(state)
    }
}
