//! One encoder layer, pre-norm (Xiong et al. 2020; LRA's block):
//! `x + dropout(attention(norm x))`, then `x + dropout(feed_forward(norm x))` with
//! `feed_forward = down(dropout(gelu(up x)))`.

use crate::attention::{Attention, Build, Cost};
use crate::config::ModelSection;
use crate::error::Result;
use crate::layers::{Context, LayerNorm, Linear};
use crate::ops::{add_dropout, gelu_dropout};
use candle_core::Tensor;
use candle_nn::VarBuilder;

pub(super) struct Block {
    norm1: LayerNorm,
    attention: Box<dyn Attention>,
    norm2: LayerNorm,
    up: Linear,
    down: Linear,
    dropout: f64,
    width: usize,
    hidden: usize,
}

impl Block {
    pub(super) fn new(
        model: &ModelSection,
        build: impl Fn(&Build) -> Result<Box<dyn Attention>>,
        at: &Build,
        vb: VarBuilder,
    ) -> Result<Self> {
        let (d, hidden) = (model.width, model.feed_forward);
        Ok(Self {
            norm1: LayerNorm::new(d, vb.pp("norm1"))?,
            attention: build(&Build { weights: vb.pp("attention"), ..at.clone() })?,
            norm2: LayerNorm::new(d, vb.pp("norm2"))?,
            up: Linear::feed_forward(d, hidden, vb.pp("feed_forward.up"))?,
            down: Linear::feed_forward(hidden, d, vb.pp("feed_forward.down"))?,
            dropout: model.dropout,
            width: d,
            hidden,
        })
    }

    /// [b, n, width] -> the same.
    pub(super) fn forward(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        let drop = |purpose| cx.dropout(purpose, self.dropout);
        let mixed = self.attention.forward(&self.norm1.forward(x)?, cx)?;
        let x = add_dropout(x, &mixed, drop("attention"))?;
        let hidden = self.up.forward(&self.norm2.forward(&x)?)?;
        let hidden = gelu_dropout(&hidden, drop("hidden"))?;
        add_dropout(&x, &self.down.forward(&hidden)?, drop("feed_forward"))
    }

    pub(super) fn cost(&self, n: usize) -> Cost {
        let (rows, d, hidden) = (n as f64, self.width as f64, self.hidden as f64);
        let own = Cost { flops: 4.0 * rows * d * hidden, saved: rows * (6.0 * d + 2.0 * hidden) };
        self.attention.cost(n) + own
    }

    pub(super) fn receptive_field(&self, n: usize) -> usize {
        self.attention.receptive_field(n)
    }
}
