//! What the attentions that are a softmax over listed keys share.

use super::{Build, Cost, Projections};
use crate::error::Result;
use crate::layers::Context;
use crate::ops::{Attend, Blocks, Mixing, attention_joined};
use candle_core::Tensor;
use std::sync::Arc;

/// Projections, heads and dropout of a softmax attention.
#[derive(Debug, Clone)]
pub struct Multihead {
    pub projections: Projections,
    pub heads: usize,
    /// Width of a head of queries and keys, d_k.
    pub head_width: usize,
    /// Probability of dropping a weight.
    pub dropout: f64,
}

impl Multihead {
    pub fn new(build: &Build) -> Result<Self> {
        Ok(Self::of(build, Projections::new(build)?))
    }

    /// Heads of values alone, whose scores are made of something else.
    pub fn of_values(build: &Build) -> Result<Self> {
        Ok(Self::of(build, Projections::of_values(build)?))
    }

    fn of(build: &Build, projections: Projections) -> Self {
        let (heads, dropout) = (build.heads, build.dropout);
        Self { projections, heads, head_width: build.head_width(), dropout }
    }

    /// Width of all heads.
    pub fn qkv(&self) -> usize {
        self.heads * self.head_width
    }

    /// Attention among the positions of a sequence, scaled by 1/sqrt(d_k).
    pub fn how(&self, blocks: Blocks, cx: &Context) -> Attend {
        Attend {
            heads: self.heads,
            blocks: Arc::new(blocks),
            mask: cx.mask.clone(),
            keys: cx.mask.clone(),
            scale: (self.head_width as f64).powf(-0.5),
            dropout: cx.dropout("weights", self.dropout),
        }
    }

    /// The whole layer where queries, keys and values are projections of `x` and nothing
    /// else: [b, n, width] -> the same.
    pub fn attend(&self, x: &Tensor, blocks: Blocks, cx: &Context) -> candle_core::Result<Tensor> {
        let qkv = self.projections.joined(x)?;
        self.projections.merge(&attention_joined(&qkv, &self.how(blocks, cx))?)
    }

    /// What [`Self::attend`] does between its projections.
    pub fn mixing(
        &self,
        blocks: Blocks,
        cx: &Context,
    ) -> Option<candle_core::Result<(&Projections, Mixing)>> {
        Some(Ok((&self.projections, Mixing::Softmax(self.how(blocks, cx)))))
    }

    /// The projections, and so many query-key pairs in each head.
    pub fn cost(&self, n: usize, pairs: f64) -> Cost {
        let flops = 4.0 * pairs * self.qkv() as f64;
        // A row's log-sum-exp is an f64. Keys and values of a head may be laid out anew.
        let (saved, per_thread) = ((2 * self.heads * n) as f64, (2 * n * self.head_width) as f64);
        self.projections.cost(n) + Cost { flops, saved, per_thread, ..Cost::default() }
    }
}
