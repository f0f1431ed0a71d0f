//! One encoder layer: `attend(x) = dropout(attention(norm x))` and
//! `feed(x) = dropout(down(dropout(gelu(up norm x))))`, wired by residuals.
//!
//! Pre-norm (Xiong et al. 2020; LRA's block): `x + attend(x)`, then `x + feed(x)`.
//! Reversible (Gomez et al. 2017; Reformer): two streams, `y1 = x1 + attend(x2)` and
//! `y2 = x2 + feed(y1)`.

use crate::attention::{Attention, Build, Cost};
use crate::config::ModelSection;
use crate::error::Result;
use crate::layers::{Context, FeedForward, LayerNorm};
use crate::ops::{add_dropout, dropout, feed_forward};
use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;

/// Values of half a layer: kept for its backward pass, and held for a moment in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub kept: f64,
    pub passing: f64,
}

pub(super) struct Block {
    norm1: LayerNorm,
    attention: Box<dyn Attention>,
    feed_forward: FeedForward,
    dropout: f64,
    width: usize,
    hidden: usize,
    heads: usize,
    /// Pieces of the sequence that the feed-forward layer takes one after the other.
    chunks: usize,
    /// Of what is between input and output, which have the type of the residual stream.
    dtype: DType,
}

impl Block {
    pub(super) fn new(
        model: &ModelSection,
        build: impl Fn(&Build) -> Result<Box<dyn Attention>>,
        at: &Build,
        (vb, dtype): (VarBuilder, DType),
    ) -> Result<Self> {
        let (d, hidden) = (model.width, model.feed_forward);
        Ok(Self {
            norm1: LayerNorm::new(d, vb.pp("norm1"))?,
            attention: build(&Build { weights: vb.pp("attention"), ..at.clone() })?,
            feed_forward: FeedForward::new(d, hidden, vb.clone())?,
            dropout: model.dropout,
            width: d,
            hidden,
            heads: model.heads,
            chunks: model.feed_forward_chunks,
            dtype,
        })
    }

    /// [b, n, width] -> the same, pre-norm.
    pub(super) fn forward(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        self.feed(&self.attend(x, cx, true)?, cx, true)
    }

    /// What the attention is given of a layer's input.
    pub(super) fn attention_input(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        self.norm1.forward(x)
    }

    /// The attention layer, with or without its residual.
    pub(super) fn attend(
        &self,
        x: &Tensor,
        cx: &Context,
        residual: bool,
    ) -> candle_core::Result<Tensor> {
        let stream = x.dtype();
        let x = &x.to_dtype(self.dtype)?;
        let drop = cx.dropout("attention", self.dropout);
        if let Some(mixing) = self.attention.mixing(cx) {
            let (projections, mixing) = mixing?;
            return projections.layer(x, mixing, &self.norm1, drop, residual)?.to_dtype(stream);
        }
        let mixed = self.attention.forward(&self.norm1.forward(x)?, cx)?;
        let y = if residual { add_dropout(x, &mixed, drop) } else { dropout(&mixed, drop) };
        y?.to_dtype(stream)
    }

    /// The feed-forward layer, with or without its residual.
    pub(super) fn feed(
        &self,
        x: &Tensor,
        cx: &Context,
        residual: bool,
    ) -> candle_core::Result<Tensor> {
        let feed = |x: &Tensor, cx: &Context| {
            let drop = |purpose| cx.dropout(purpose, self.dropout);
            let (stream, x) = (x.dtype(), x.to_dtype(self.dtype)?);
            let drops = (drop("hidden"), drop("feed_forward"));
            self.feed_forward.forward(&x, drops, residual)?.to_dtype(stream)
        };
        let n = x.dim(1)?;
        let size = n.div_ceil(self.chunks);
        if size == n {
            return feed(x, cx);
        }
        let piece = |(i, first): (usize, usize)| {
            let x = x.narrow(1, first, size.min(n - first))?.contiguous()?;
            feed(&x, &cx.enter("chunk", i))
        };
        let pieces = (0..n).step_by(size).enumerate().map(piece);
        Tensor::cat(&pieces.collect::<candle_core::Result<Vec<_>>>()?, 1)
    }

    pub(super) fn cost(&self, n: usize) -> Cost {
        let (rows, d, hidden) = (n as f64, self.width as f64, self.hidden as f64);
        let (flops, saved) = (4.0 * rows * d * hidden, rows * (2.0 * d + hidden));
        self.attention.cost(n) + Cost { flops, saved, ..Cost::default() }
    }

    /// Values held at a training step over `examples` of n positions, on so many threads of a CPU
    /// or on a GPU: by the attention and by the feed-forward layer.
    pub(super) fn held(&self, n: usize, examples: usize, threads: Option<usize>) -> [Held; 2] {
        let (b, d, hidden) = (examples as f64, self.width as f64, self.hidden as f64);
        let rows = n as f64 * b;
        let cost = self.attention.cost(n);
        let tasks = threads.map_or(0, |threads| threads.min(examples * self.heads));
        let working = tasks as f64 * cost.per_thread;
        // Candle adds a first slope to zeros: three values where one stays.
        let attention = Held {
            kept: b * cost.saved + cost.shared + rows * d,
            passing: b * cost.passing + 3.0 * cost.shared + working,
        };
        // The slopes of what comes out, dropped or not, and of what came in.
        let working = match threads {
            Some(threads) => {
                feed_forward::working(n * examples, (self.width, self.hidden), threads) as f64
            }
            // The hidden layer's values and two slopes of it, whole.
            None => rows * (3.0 * hidden + d),
        };
        let passing = 3.0 * rows * d + working;
        [attention, Held { kept: rows * (d + hidden), passing }]
    }

    pub(super) fn attention(&self) -> &dyn Attention {
        self.attention.as_ref()
    }
}
