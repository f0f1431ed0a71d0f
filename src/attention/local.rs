//! Local attention: softmax attention inside contiguous blocks that do not overlap
//! (LRA's baseline, Tay et al. 2020, appendix B; after Parmar et al. 2018,
//! arXiv:1802.05751). The last block is shorter when the block does not divide n.
//!
//! LRA's released code attends over residue classes instead of blocks; this is the
//! published method. A CLS position would see the first block only, whatever the depth.
//!
//! Cost: `4 n block qkv` FLOPs.

use super::{Attention, Build, Cost, Projections, Variant};
use crate::config::resolved;
use crate::error::Result;
use crate::layers::Context;
use crate::ops::{Attend, Blocks, attention};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub(super) const VARIANT: Variant = Variant {
    name: "local",
    title: "Local Attention",
    paper: "Tay et al. 2020, arXiv:2011.04006; Parmar et al. 2018, arXiv:1802.05751",
    summary: "softmax attention inside contiguous blocks; linear time",
    keys: &[("block", "positions of a block")],
    options: |table| resolved::<Options>("attention", table),
    build: |build| Ok(Box::new(Local::new(build)?)),
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    block: usize,
}

impl Default for Options {
    /// The block of LRA's text-like tasks.
    fn default() -> Self {
        Self { block: 50 }
    }
}

struct Local {
    projections: Projections,
    heads: usize,
    head_width: usize,
    dropout: f64,
    block: usize,
}

impl Local {
    fn new(build: &Build) -> Result<Self> {
        let Options { block } = build.options()?;
        if block == 0 {
            return Err(build.bad("block", "expected at least 1, got 0"));
        }
        Ok(Self {
            projections: Projections::new(build)?,
            heads: build.heads,
            head_width: build.head_width(),
            dropout: build.dropout,
            block,
        })
    }
}

impl Attention for Local {
    fn forward(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        let (q, k, v) = self.projections.split(x)?;
        let how = Attend {
            heads: self.heads,
            blocks: Arc::new(Blocks::local(cx.mask.n(), self.block)),
            mask: cx.mask.clone(),
            keys: cx.mask.clone(),
            scale: (self.head_width as f64).powf(-0.5),
            dropout: cx.dropout("weights", self.dropout),
        };
        self.projections.merge(&attention(&q, &k, &v, &how)?)
    }

    fn cost(&self, n: usize) -> Cost {
        let pairs = Blocks::local(n, self.block).pairs();
        let a = (self.heads * self.head_width) as f64;
        let scores = Cost { flops: 4.0 * pairs * a, saved: (self.heads * n) as f64 };
        self.projections.cost(n) + scores
    }

    fn receptive_field(&self, n: usize) -> usize {
        self.block.min(n)
    }
}
