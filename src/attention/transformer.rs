//! Softmax attention (Vaswani et al. 2017, arXiv:1706.03762, equation 1):
//! `O = softmax(Q Kᵀ / sqrt(d_k)) V` over all valid keys.
//!
//! Cost: `4 n² qkv` FLOPs; memory linear in n, since scores are recomputed.

use super::{Attention, Build, Cost, Projections, Variant};
use crate::config::resolved;
use crate::error::Result;
use crate::layers::Context;
use crate::ops::{Attend, Blocks, attention};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub(super) const VARIANT: Variant = Variant {
    name: "transformer",
    title: "Transformer",
    paper: "Vaswani et al. 2017, arXiv:1706.03762",
    summary: "softmax attention over all keys; quadratic time, linear memory",
    keys: &[],
    options: |table| resolved::<Options>("attention", table),
    build: |build| Ok(Box::new(Softmax::new(build)?)),
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {}

struct Softmax {
    projections: Projections,
    heads: usize,
    head_width: usize,
    dropout: f64,
}

impl Softmax {
    fn new(build: &Build) -> Result<Self> {
        let Options {} = build.options()?;
        Ok(Self {
            projections: Projections::new(build)?,
            heads: build.heads,
            head_width: build.head_width(),
            dropout: build.dropout,
        })
    }
}

impl Attention for Softmax {
    fn forward(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        let (q, k, v) = self.projections.split(x)?;
        let how = Attend {
            heads: self.heads,
            blocks: Arc::new(Blocks::full(cx.mask.n())),
            mask: cx.mask.clone(),
            keys: cx.mask.clone(),
            scale: (self.head_width as f64).powf(-0.5),
            dropout: cx.dropout("weights", self.dropout),
        };
        self.projections.merge(&attention(&q, &k, &v, &how)?)
    }

    fn cost(&self, n: usize) -> Cost {
        let a = (self.heads * self.head_width) as f64;
        let scores = Cost { flops: 4.0 * (n * n) as f64 * a, saved: (self.heads * n) as f64 };
        self.projections.cost(n) + scores
    }

    fn receptive_field(&self, n: usize) -> usize {
        n
    }
}
