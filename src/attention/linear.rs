//! Linear Transformer (Katharopoulos et al. 2020, arXiv:2006.16236): kernelised
//! attention with features elu(x) + 1 of queries and keys, not scaled.
//!
//! Cost: `4 n qkv d_k` FLOPs. There are no attention weights to drop: the attention
//! dropout has no effect.

use super::{Attention, Build, Cost, Projections, Variant};
use crate::config::resolved;
use crate::error::Result;
use crate::layers::Context;
use crate::ops::{Features, Kernelised, Mixing, kernel_attention};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

pub(super) const VARIANT: Variant = Variant {
    name: "linear",
    title: "Linear Transformer",
    paper: "Katharopoulos et al. 2020, arXiv:2006.16236",
    summary: "kernelised attention with elu(x) + 1 features; linear time",
    keys: &[("eps", "added to the denominator")],
    options: |table| resolved::<Options>("attention", table),
    build: |build| Ok(Box::new(Linear::new(build)?)),
    ..Variant::PLAIN
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    eps: f64,
}

impl Default for Options {
    /// LRA's value.
    fn default() -> Self {
        Self { eps: 1e-6 }
    }
}

struct Linear {
    projections: Projections,
    heads: usize,
    head_width: usize,
    eps: f64,
}

impl Linear {
    fn new(build: &Build) -> Result<Self> {
        let Options { eps } = build.options()?;
        if !(eps >= 0.0 && eps.is_finite()) {
            return Err(build.bad("eps", format!("expected a finite number >= 0, got {eps}")));
        }
        let (heads, head_width) = (build.heads, build.head_width());
        Ok(Self { projections: Projections::new(build)?, heads, head_width, eps })
    }

    fn how(&self, cx: &Context) -> Kernelised {
        Kernelised {
            heads: self.heads,
            mask: cx.mask.clone(),
            features: Features::EluPlusOne,
            eps: self.eps,
        }
    }
}

impl Attention for Linear {
    fn forward(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        self.projections.merge(&kernel_attention(&self.projections.joined(x)?, &self.how(cx))?)
    }

    fn mixing(&self, cx: &Context) -> Option<candle_core::Result<(&Projections, Mixing)>> {
        Some(Ok((&self.projections, Mixing::Kernel(self.how(cx)))))
    }

    fn cost(&self, n: usize) -> Cost {
        let a = (self.heads * self.head_width) as f64;
        let (n_, w) = (n as f64, self.head_width as f64);
        // Features of queries and keys, their slopes, numerators and what comes back to them.
        let own = Cost { flops: 4.0 * n_ * a * w, per_thread: 5.0 * n_ * w, ..Cost::default() };
        self.projections.cost(n) + self.projections.as_one_op(n) + own
    }
}
