//! Local attention: softmax attention inside contiguous blocks that do not overlap
//! (LRA's baseline, Tay et al. 2020, appendix B; after Parmar et al. 2018,
//! arXiv:1802.05751). The last block is shorter when the block does not divide n.
//!
//! LRA's released code attends over residue classes instead of blocks; this is the
//! published method. A CLS position would see the first block only, whatever the depth.
//!
//! Cost: `4 n block qkv` FLOPs.

use super::{Attention, Build, Cost, Multihead, Projections, Support, Variant};
use crate::config::resolved;
use crate::error::Result;
use crate::layers::Context;
use crate::ops::{Blocks, Mixing};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

pub(super) const VARIANT: Variant = Variant {
    name: "local",
    title: "Local Attention",
    paper: "Tay et al. 2020, arXiv:2011.04006; Parmar et al. 2018, arXiv:1802.05751",
    summary: "softmax attention inside contiguous blocks; linear time",
    keys: &[("block", "positions of a block")],
    options: |table| resolved::<Options>("attention", table),
    build: |build| Ok(Box::new(Local::new(build)?)),
    ..Variant::PLAIN
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
    heads: Multihead,
    block: usize,
}

impl Local {
    fn new(build: &Build) -> Result<Self> {
        let Options { block } = build.options()?;
        build.at_least("block", block, 1)?;
        Ok(Self { heads: Multihead::new(build)?, block })
    }
}

impl Attention for Local {
    fn forward(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        self.heads.attend(x, Blocks::local(cx.mask.n(), self.block), cx)
    }

    fn mixing(&self, cx: &Context) -> Option<candle_core::Result<(&Projections, Mixing)>> {
        self.heads.mixing(Blocks::local(cx.mask.n(), self.block), cx)
    }

    fn cost(&self, n: usize) -> Cost {
        self.heads.cost(n, Blocks::local(n, self.block).pairs())
            + self.heads.projections.as_one_op(n)
    }

    fn support(&self, n: usize) -> Support {
        Support::Listed(Blocks::local(n, self.block))
    }
}
