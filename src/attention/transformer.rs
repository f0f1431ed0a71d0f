//! Softmax attention (Vaswani et al. 2017, arXiv:1706.03762, equation 1):
//! `O = softmax(Q Kᵀ / sqrt(d_k)) V` over all valid keys.
//!
//! Cost: `4 n² qkv` FLOPs; memory linear in n, since scores are recomputed.

use super::{Attention, Build, Cost, Multihead, Projections, Variant};
use crate::config::resolved;
use crate::error::Result;
use crate::layers::Context;
use crate::ops::{Blocks, Mixing};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

pub(super) const VARIANT: Variant = Variant {
    name: "transformer",
    title: "Transformer",
    paper: "Vaswani et al. 2017, arXiv:1706.03762",
    summary: "softmax attention over all keys; quadratic time, linear memory",
    options: |table| resolved::<Options>("attention", table),
    build: |build| Ok(Box::new(Softmax::new(build)?)),
    ..Variant::PLAIN
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {}

struct Softmax(Multihead);

impl Softmax {
    fn new(build: &Build) -> Result<Self> {
        let Options {} = build.options()?;
        Ok(Self(Multihead::new(build)?))
    }
}

impl Attention for Softmax {
    fn forward(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        self.0.attend(x, Blocks::full(cx.mask.n()), cx)
    }

    fn mixing(&self, cx: &Context) -> Option<candle_core::Result<(&Projections, Mixing)>> {
        self.0.mixing(Blocks::full(cx.mask.n()), cx)
    }

    fn cost(&self, n: usize) -> Cost {
        self.0.cost(n, (n * n) as f64) + self.0.projections.as_one_op(n)
    }
}
