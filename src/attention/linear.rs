//! Linear Transformer (Katharopoulos et al. 2020, arXiv:2006.16236): kernelised
//! attention with features elu(x) + 1 of queries and keys, not scaled.
//!
//! Cost: `4 n qkv d_k` FLOPs. There are no attention weights to drop: the attention
//! dropout has no effect.

use super::{Attention, Build, Cost, Projections, Variant};
use crate::config::resolved;
use crate::error::Result;
use crate::layers::Context;
use crate::ops::kernel::held;
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

/// What a kernel of so many features holds: each head's state, in f64, and a thread's blocks.
pub(super) fn kernel_held(n: usize, features: usize, (heads, width): (usize, usize)) -> Cost {
    let (state, per_thread) = held(n, features, width);
    let saved = (2 * heads * state) as f64;
    Cost { saved, per_thread: per_thread as f64, ..Cost::default() }
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
        let own = Cost { flops: 4.0 * n as f64 * a * self.head_width as f64, ..Cost::default() };
        let held = kernel_held(n, self.head_width, (self.heads, self.head_width));
        self.projections.cost(n) + self.projections.as_one_op(n) + own + held
    }
}
