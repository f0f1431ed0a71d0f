//! From task card, preset and `--set` to one resolved [`RunConfig`].
//!
//! Unknown keys, wrong types and impossible values are errors that name the key.

mod card;
mod resolve;
mod section;

pub use card::{Card, PresetInfo, Sizes};
pub use resolve::{Request, resolve};
pub use section::{resolved, section, set};

use crate::error::{Error, Result};
use crate::records::Selection;
use serde::{Deserialize, Serialize};

/// Everything that decides a run's numbers. Two runs with equal configurations on one
/// CPU type end in the same bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    pub run: RunSection,
    pub model: ModelSection,
    /// Options of the attention, defaults included.
    pub attention: toml::Table,
    /// Options of the task's data.
    pub data: toml::Table,
    pub train: TrainSection,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSection {
    pub task: String,
    pub model: String,
    pub preset: String,
    pub seed: u64,
    /// `cpu` or `cuda:N`.
    pub device: String,
    pub dtype: Dtype,
    /// Examples per forward pass; gradients are summed over the batch.
    pub micro_batch: usize,
    /// Whether the backward pass computes layers again instead of keeping what they were.
    #[serde(default, skip_serializing_if = "is_false")]
    pub recompute: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    F32,
    F64,
    /// Layers in bf16, with weights, their gradients and moments in f32.
    Bf16,
}

impl Dtype {
    /// Of weights, their gradients and moments.
    pub fn of_weights(self) -> candle_core::DType {
        if self == Self::Bf16 { candle_core::DType::F32 } else { self.candle() }
    }

    /// Of what goes from layer to layer.
    pub fn candle(self) -> candle_core::DType {
        match self {
            Self::F32 => candle_core::DType::F32,
            Self::F64 => candle_core::DType::F64,
            Self::Bf16 => candle_core::DType::BF16,
        }
    }
}

/// The encoder's sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSection {
    /// Longest input; longer ones are cut.
    pub length: usize,
    pub layers: usize,
    /// Width of the residual stream (LRA's `emb_dim`).
    pub width: usize,
    /// Width of queries, keys and values over all heads (LRA's `qkv_dim`).
    pub qkv: usize,
    pub heads: usize,
    /// Hidden width of the feed-forward layers and of the head (LRA's `mlp_dim`).
    pub feed_forward: usize,
    pub dropout: f64,
    pub attention_dropout: f64,
    pub positions: Positions,
    pub pooling: Pooling,
    /// What the head sees of two documents; of tasks with two alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<Pair>,
    /// Residuals `y1 = x1 + attention(x2)`, `y2 = x2 + feed_forward(y1)` of two streams, whose
    /// inputs are computed from their outputs (Gomez et al. 2017).
    #[serde(default, skip_serializing_if = "is_false")]
    pub reversible: bool,
    /// In how many pieces of the sequence a feed-forward layer is computed (Reformer).
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub feed_forward_chunks: usize,
}

fn one() -> usize {
    1
}

fn is_one(x: &usize) -> bool {
    *x == 1
}

fn is_false(x: &bool) -> bool {
    !x
}

/// How the vectors of two documents become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pair {
    /// `[x1, x2]`: LRA's public configuration.
    Concatenate,
    /// `[x1, x2, x1 * x2, x1 - x2]`: the paper's appendix.
    Interaction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Positions {
    /// Fixed sines and cosines.
    Sinusoid,
    /// Fixed sines and cosines of the row and of the column of a square picture.
    #[serde(rename = "sinusoid-2d")]
    Sinusoid2d,
    /// A trained table.
    Learned,
    /// None are added: the attention has its own.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The output at a learned position put in front.
    Cls,
    /// The output at the first token: what LRA calls CLS where there are two documents.
    First,
    /// The mean over the positions that are tokens.
    Mean,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSection {
    pub batch: usize,
    pub steps: u64,
    /// Steps between evaluations on the validation split.
    pub evaluate_every: u64,
    /// Examples of the validation split used while training; 0: all.
    pub evaluate_examples: usize,
    /// Steps between checkpoints, beside those of a stop and of the best validation.
    pub checkpoint_every: u64,
    pub selection: Selection,
    /// Pad batches to their longest input, or always to `model.length`.
    pub pad: Pad,
    pub learning_rate: f64,
    pub schedule: Schedule,
    pub warmup: u64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    /// Largest global norm of the gradient; 0: no clipping.
    pub clip: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pad {
    Longest,
    Length,
}

/// The learning rate's factor after the linear warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    Constant,
    /// 1/sqrt(max(step, warmup)): LRA's text-like tasks. The peak is rate/sqrt(warmup).
    Rsqrt,
    /// Half a cosine from 1 to 0: LRA's image-like tasks.
    Cosine,
    /// A line from 1 to 0: the Nystromformer protocol.
    Linear,
}

impl RunConfig {
    /// Sizes that no machine could hold, before anything of that size is made.
    fn check_size(&self) -> Result<()> {
        let (m, t) = (&self.model, &self.train);
        for (key, value, most) in [
            ("model.length", m.length, 1 << 24),
            ("model.layers", m.layers, 1 << 10),
            ("model.width", m.width, 1 << 16),
            ("model.qkv", m.qkv, 1 << 16),
            ("model.feed_forward", m.feed_forward, 1 << 18),
            ("train.batch", t.batch, 1 << 20),
        ] {
            if value > most {
                return Err(Error::config(key, format!("expected at most {most}, got {value}")));
            }
        }
        // Projections and feed-forward of each layer, and the table of positions; weights,
        // gradients and two moments of each.
        let layer = 4 * m.width as u64 * m.qkv as u64 + 2 * (m.width * m.feed_forward) as u64;
        let values = m.layers as u64 * layer + (m.length * m.width) as u64;
        let bytes = 4 * values * self.run.dtype.candle().size_in_bytes() as u64;
        match crate::measure::total_memory() {
            Some(memory) if bytes > memory => Err(Error::OutOfMemory(format!(
                "weights, gradients and moments alone take {} GB and this machine has {} GB; lower \
                 model.width, model.layers or model.feed_forward",
                bytes / 1_000_000_000,
                memory / 1_000_000_000
            ))),
            _ => Ok(()),
        }
    }

    /// Values that no model or training could have.
    pub(crate) fn check(&self) -> Result<()> {
        let (m, t) = (&self.model, &self.train);
        let positive = [
            ("model.length", m.length),
            ("model.layers", m.layers),
            ("model.width", m.width),
            ("model.qkv", m.qkv),
            ("model.heads", m.heads),
            ("model.feed_forward", m.feed_forward),
            ("model.feed_forward_chunks", m.feed_forward_chunks),
            ("train.batch", t.batch),
            ("train.steps", t.steps as usize),
            ("train.evaluate_every", t.evaluate_every as usize),
            ("train.checkpoint_every", t.checkpoint_every as usize),
            ("run.micro_batch (--micro-batch)", self.run.micro_batch),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(Error::config(*key, "expected at least 1, got 0"));
        }
        self.check_size()?;
        if m.qkv % m.heads != 0 {
            let message = format!("{} heads do not divide model.qkv = {}", m.heads, m.qkv);
            return Err(Error::config("model.heads", message));
        }
        let rates = [
            ("model.dropout", m.dropout),
            ("model.attention_dropout", m.attention_dropout),
            ("train.beta1", t.beta1),
            ("train.beta2", t.beta2),
        ];
        if let Some((key, value)) = rates.iter().find(|(_, v)| !(0.0..1.0).contains(v)) {
            return Err(Error::config(*key, format!("expected 0 <= value < 1, got {value}")));
        }
        let amounts = [
            ("train.learning_rate", t.learning_rate),
            ("train.eps", t.eps),
            ("train.weight_decay", t.weight_decay),
            ("train.clip", t.clip),
        ];
        match amounts.iter().find(|(_, v)| !(v.is_finite() && *v >= 0.0)) {
            Some((key, value)) => {
                Err(Error::config(*key, format!("expected a finite number >= 0, got {value}")))
            }
            None => Ok(()),
        }
    }
}
