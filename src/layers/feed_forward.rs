//! The feed-forward layer of an encoder block, with its norm.

use super::norm::EPS;
use super::{LayerNorm, xavier};
use crate::ops::{self, Dropout};
use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};

/// `down(gelu(up(norm x)))`: weights `norm2`, `feed_forward.up` [hidden, width] and
/// `feed_forward.down` [width, hidden], with biases.
#[derive(Debug, Clone)]
pub struct FeedForward {
    norm: LayerNorm,
    up: (Tensor, Tensor),
    down: (Tensor, Tensor),
}

impl FeedForward {
    /// Xavier-uniform weights, biases normal with deviation 1e-6, as in LRA.
    pub fn new(width: usize, hidden: usize, vb: VarBuilder) -> Result<Self> {
        let affine = |name: &str, input, output| -> Result<(Tensor, Tensor)> {
            let vb = vb.pp(format!("feed_forward.{name}"));
            let weight = vb.get_with_hints((output, input), "weight", xavier(input, output))?;
            let bias = Init::Randn { mean: 0.0, stdev: 1e-6 };
            Ok((weight, vb.get_with_hints(output, "bias", bias)?))
        };
        Ok(Self {
            norm: LayerNorm::new(width, vb.pp("norm2"))?,
            up: affine("up", width, hidden)?,
            down: affine("down", hidden, width)?,
        })
    }

    /// [b, n, width] -> the same, with dropout of the hidden layer and of the output, and with
    /// or without `x` added.
    pub fn forward(&self, x: &Tensor, drop: (Dropout, Dropout), residual: bool) -> Result<Tensor> {
        let how = ops::FeedForward {
            norm: self.norm.weights(),
            eps: EPS,
            up: (&self.up.0, &self.up.1),
            down: (&self.down.0, &self.down.1),
            drop,
            residual,
        };
        ops::feed_forward(x, &how)
    }
}
