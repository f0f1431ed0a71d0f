//! Attentions: how tokens of a sequence are mixed. One file per variant, one line each
//! in [`Registry::builtin`].
//!
//! A variant is a pure function of (weights, x, context): padded keys get no weight, and
//! called twice it gives the same bytes. What differs from layer to layer is decided in
//! the constructor, which is told the layer's index and the depth.

mod build;
mod linear;
mod local;
mod performer;
mod registry;
mod transformer;

pub use build::{Build, Projections};
pub use performer::projection;
pub use registry::{Registry, Variant};

use crate::layers::Context;
use candle_core::{Result, Tensor};

/// One layer's token mixer.
pub trait Attention: Send + Sync {
    /// `x` [b, n, width] -> [b, n, width]. What is returned at padded positions is of no
    /// consequence.
    fn forward(&self, x: &Tensor, cx: &Context) -> Result<Tensor>;

    /// Cost of one forward pass over one example of n positions, projections included.
    fn cost(&self, n: usize) -> Cost;

    /// The largest number of positions one output depends on, within this layer.
    fn receptive_field(&self, n: usize) -> usize;
}

/// What a forward pass costs; training is about three times the FLOPs.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cost {
    /// Floating point operations, a multiplication and an addition counting two.
    pub flops: f64,
    /// Values kept for the backward pass.
    pub saved: f64,
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { flops: self.flops + other.flops, saved: self.saved + other.saved }
    }
}
