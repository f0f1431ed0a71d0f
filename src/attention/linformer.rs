//! Linformer (Wang et al. 2020, arXiv:2006.04768): softmax attention over k mixtures of
//! the keys and values instead of n of them: `K' = Eᵀ K`, `V' = Fᵀ V`,
//! `O = softmax(Q K'ᵀ / sqrt(d_k)) V'`, with E and F [n, k] learned.
//!
//! Padded rows of K and V are zeroed first, which excludes them from every mixture;
//! shorter inputs use the first rows of E and F. A mixture has no position, so nothing
//! is masked after it.
//!
//! Cost: `8 n k qkv` FLOPs.

use super::{Attention, Build, Cost, Multihead, Variant};
use crate::config::resolved;
use crate::error::Result;
use crate::layers::{Context, xavier};
use crate::ops::{Attend, Blocks, Mask, attention};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

pub(super) const VARIANT: Variant = Variant {
    name: "linformer",
    title: "Linformer",
    paper: "Wang et al. 2020, arXiv:2006.04768",
    summary: "softmax attention over k learned mixtures of the keys; linear time",
    keys: &[
        ("k", "mixtures of keys and values"),
        (
            "sharing",
            "`none`: E and F per head; `headwise`: per layer; `kv`: E = F; `layerwise`: one \
             for all layers",
        ),
    ],
    normalised: false,
    options: |table| resolved::<Options>("attention", table),
    build: |build| Ok(Box::new(Linformer::new(build)?)),
    ..Variant::PLAIN
};

/// What shares one projection along the sequence (the paper's section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sharing {
    None,
    Headwise,
    Kv,
    Layerwise,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    k: usize,
    sharing: Sharing,
}

impl Default for Options {
    /// What LRA's released code runs; the paper takes k of 128 (n = 512) and 256 (1024).
    fn default() -> Self {
        Self { k: 16, sharing: Sharing::Kv }
    }
}

struct Linformer {
    heads: Multihead,
    /// E and F, [longest n, k] each, of all heads or of each; the same tensors where they are
    /// shared.
    key: Vec<Tensor>,
    value: Vec<Tensor>,
    k: usize,
}

impl Linformer {
    fn new(build: &Build) -> Result<Self> {
        let Options { k, sharing } = build.options()?;
        build.between("k", k, 1, build.n)?;
        let one = |vb: VarBuilder| vb.get_with_hints((build.n, k), "weight", xavier(build.n, k));
        let single = |vb| Ok::<_, candle_core::Error>(vec![one(vb)?]);
        let per_head = |name: &str| {
            let heads = (0..build.heads).map(|h| one(build.weights.pp(format!("{name}.{h}"))));
            heads.collect::<candle_core::Result<Vec<_>>>()
        };
        let both = |e: Vec<Tensor>| (e.clone(), e);
        let (key, value) = match sharing {
            Sharing::None => (per_head("mix_key")?, per_head("mix_value")?),
            Sharing::Headwise => {
                (single(build.weights.pp("mix_key"))?, single(build.weights.pp("mix_value"))?)
            }
            Sharing::Kv => both(single(build.weights.pp("mix"))?),
            Sharing::Layerwise => both(single(build.shared.pp("mix"))?),
        };
        Ok(Self { heads: Multihead::new(build)?, key, value, k })
    }

    /// `x` [b, n, qkv] -> its mixtures [b, k, qkv].
    fn mix(&self, x: &Tensor, weights: &[Tensor]) -> candle_core::Result<Tensor> {
        let (b, n, a) = x.dims3()?;
        let weights = beside(weights)?;
        let groups = weights.dim(0)?;
        let width = a / groups;
        // One product per group: columns of all examples beside one another.
        let columns = x.reshape((b, n, groups, width))?.permute((2, 0, 3, 1))?;
        let columns = columns.reshape((groups, b * width, n))?;
        let mixed = columns.matmul(&weights.narrow(1, 0, n)?.contiguous()?)?;
        mixed.reshape((groups, b, width, self.k))?.permute((1, 3, 0, 2))?.reshape((b, self.k, a))
    }
}

/// [1 or heads, longest n, k]. A copy where there are several: of the weights as they are now,
/// so it is made at each call.
fn beside(weights: &[Tensor]) -> candle_core::Result<Tensor> {
    match weights {
        [one] => one.unsqueeze(0),
        several => Tensor::stack(several, 0),
    }
}

impl Attention for Linformer {
    fn forward(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        let (q, k, v) = self.heads.projections.split(x)?;
        let (b, mixtures) = (cx.mask.batch(), self.k);
        let valid = cx.mask.tensor(x.dtype(), x.device())?.unsqueeze(2)?;
        let k = self.mix(&k.broadcast_mul(&valid)?, &self.key)?;
        let v = self.mix(&v.broadcast_mul(&valid)?, &self.value)?;
        let keys = Mask::new(vec![true; b * mixtures], b, mixtures)?;
        let how = self.heads.how(Blocks::rectangle(cx.mask.n(), mixtures), cx);
        let how = Attend { keys, ..how };
        self.heads.projections.merge(&attention(&q, &k, &v, &how)?)
    }

    /// Mixtures are made of all positions.
    fn spread(&self, weights: &Tensor, x: &Tensor, _: &Context) -> candle_core::Result<Tensor> {
        let mixes = beside(&self.key)?.narrow(1, 0, x.dim(1)?)?.transpose(1, 2)?.unsqueeze(0)?;
        weights.broadcast_matmul(&mixes.contiguous()?)
    }

    /// Kept besides the projections: columns and mixtures of keys and values.
    fn cost(&self, n: usize) -> Cost {
        let (n_, k, a) = (n as f64, self.k as f64, self.heads.qkv() as f64);
        let mixing = Cost { flops: 4.0 * n_ * k * a, saved: 2.0 * (n_ + k) * a };
        self.heads.cost(n, n_ * k) + mixing
    }
}
