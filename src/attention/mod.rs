//! Attentions: how tokens of a sequence are mixed. One file per variant, one line each
//! in [`Registry::builtin`].
//!
//! A variant is a pure function of (weights, x, context): padded keys get no weight, and
//! called twice it gives the same bytes. What differs from layer to layer is decided in
//! the constructor, which is told the layer's index and the depth.

mod bigbird;
mod build;
mod linear;
mod linformer;
mod local;
mod longformer;
mod multihead;
mod performer;
mod reformer;
mod registry;
mod sinkhorn;
mod sparse;
mod synthesizer;
mod transformer;
mod transformer_xl;

pub use build::{Build, Projections};
pub use multihead::Multihead;
pub use performer::projection;
pub use reformer::sorted;
pub use registry::{Registry, Variant};
pub use sinkhorn::doubly_stochastic;

use crate::layers::Context;
use crate::ops::{Blocks, Mixing};
use candle_core::{Result, Tensor};

/// One layer's token mixer.
pub trait Attention: Send + Sync {
    /// `x` [b, n, width] -> [b, n, width]. What is returned at padded positions is of no
    /// consequence.
    fn forward(&self, x: &Tensor, cx: &Context) -> Result<Tensor>;

    /// Where the layer is projections around something that mixes them, what that is: the
    /// layer, its norm and its residual are then one op. Values are those of [`Self::forward`].
    fn mixing(&self, cx: &Context) -> Option<Result<(&Projections, Mixing)>> {
        let _ = cx;
        None
    }

    /// Cost of one forward pass over one example of n positions, projections included.
    fn cost(&self, n: usize) -> Cost;

    /// Which positions each output depends on through this layer, in an input of n without
    /// padding.
    fn support(&self, n: usize) -> Support {
        let _ = n;
        Support::All
    }

    /// Weights over what this layer made of its keys, [b, heads, rows, m], as weights over the
    /// positions of the input `x` [b, n, width]: [b, heads, rows, n]. Keys beyond n are copies,
    /// unless a variant knows better.
    fn spread(&self, weights: &Tensor, x: &Tensor, cx: &Context) -> Result<Tensor> {
        let _ = cx;
        let (b, h, rows, m) = weights.dims4()?;
        let n = x.dim(1)?;
        weights.reshape((b, h, rows, m / n, n))?.sum(3)
    }
}

/// What outputs depend on.
#[derive(Debug, Clone)]
pub enum Support {
    /// Every output on every input.
    All,
    /// What is listed; keys beyond n are copies of the n positions.
    Listed(Blocks),
    /// On what the input itself chooses.
    Chosen,
}

impl Support {
    /// The largest number of positions one output depends on.
    pub fn widest(&self, n: usize) -> usize {
        match self {
            Self::All | Self::Chosen => n,
            Self::Listed(blocks) => blocks.widest(),
        }
    }
}

/// What a layer costs in a forward pass, and holds in training, which is about three times the
/// FLOPs. A sum is over parts of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cost {
    /// Floating point operations, a multiplication and an addition counting two.
    pub flops: f64,
    /// Values kept for the backward pass.
    pub saved: f64,
    /// Values held for a moment in the backward pass, beside those kept.
    pub passing: f64,
    /// Values kept once for all examples, whose slope is one too.
    pub shared: f64,
    /// Values that each thread holds at work on one head of one example.
    pub per_thread: f64,
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            flops: self.flops + other.flops,
            saved: self.saved + other.saved,
            passing: self.passing + other.passing,
            shared: self.shared + other.shared,
            per_thread: self.per_thread + other.per_thread,
        }
    }
}
