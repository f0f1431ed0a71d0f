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
use crate::error::{Error, Result};
use crate::layers::{Context, xavier};
use crate::ops::{Attend, Blocks, Mask, attention, mix};
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
    /// E and F, [longest n, k]: one for all heads, or one for each; the same where shared.
    key: Vec<Tensor>,
    value: Vec<Tensor>,
    k: usize,
}

impl Linformer {
    fn new(build: &Build) -> Result<Self> {
        let Options { k, sharing } = build.options()?;
        build.between("k", k, 1, build.n)?;
        let one = |vb: VarBuilder| vb.get_with_hints((build.n, k), "weight", xavier(build.n, k));
        let single = |vb| Ok::<_, Error>(vec![one(vb)?]);
        let per_head = |name: &str| -> Result<Vec<Tensor>> {
            (0..build.heads).map(|h| Ok(one(build.weights.pp(format!("{name}.{h}")))?)).collect()
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

    /// Mixtures of the keys and of the values, [b, k, qkv] each. Where all heads have the same,
    /// positions are mixed before they are projected, `Eᵀ (x W) = (Eᵀ x) W`: k rows are
    /// projected instead of n.
    fn mixtures(&self, x: &Tensor, cx: &Context) -> candle_core::Result<(Tensor, Tensor)> {
        let projections = &self.heads.projections;
        if let ([e], [f]) = (&self.key[..], &self.value[..]) {
            let keys = mix(x, e, &cx.mask)?;
            let values = if e.id() == f.id() { keys.clone() } else { mix(x, f, &cx.mask)? };
            return Ok((projections.keys(&keys)?, projections.values(&values)?));
        }
        let width = self.heads.head_width;
        let per_head = |x: &Tensor, weights: &[Tensor]| -> candle_core::Result<Tensor> {
            let head = |(h, w)| mix(&x.narrow(2, h * width, width)?.contiguous()?, w, &cx.mask);
            let heads = weights.iter().enumerate().map(head);
            Tensor::cat(&heads.collect::<candle_core::Result<Vec<_>>>()?, 2)
        };
        let (keys, values) = (projections.keys(x)?, projections.values(x)?);
        Ok((per_head(&keys, &self.key)?, per_head(&values, &self.value)?))
    }
}

impl Attention for Linformer {
    fn forward(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        let q = self.heads.projections.queries(x)?;
        let (k, v) = self.mixtures(x, cx)?;
        let (b, mixtures) = (cx.mask.batch(), self.k);
        let keys = Mask::new(vec![true; b * mixtures], b, mixtures)?;
        let how = self.heads.how(Blocks::rectangle(cx.mask.n(), mixtures), cx);
        let how = Attend { keys, ..how };
        self.heads.projections.merge(&attention(&q, &k, &v, &how)?)
    }

    /// Mixtures are made of all positions.
    fn spread(&self, weights: &Tensor, x: &Tensor, _: &Context) -> candle_core::Result<Tensor> {
        let mixes = Tensor::stack(&self.key, 0)?.narrow(1, 0, x.dim(1)?)?;
        let mixes = mixes.transpose(1, 2)?.unsqueeze(0)?;
        weights.broadcast_matmul(&mixes.contiguous()?)
    }

    fn cost(&self, n: usize) -> Cost {
        let (n_, k, a) = (n as f64, self.k as f64, self.heads.qkv() as f64);
        let several = |largest, others| self.heads.projections.as_several_ops(n, largest, others);
        let whole = self.heads.cost(n, n_ * k);
        if self.key.len() > 1 {
            let (flops, saved) = (4.0 * n_ * k * a, 2.0 * (n_ + k) * a);
            let own = Cost { flops, saved, ..Cost::default() };
            return whole + own + several(n_ * a, 2.0 * n_ * a);
        }
        // Half of the projections are of k rows instead of n.
        let d = self.heads.projections.width() as f64;
        let mixtures = if self.key[0].id() == self.value[0].id() { 1.0 } else { 2.0 };
        let flops = whole.flops - 4.0 * (n_ - k) * d * a + 2.0 * mixtures * n_ * k * d;
        let saved = whole.saved - 2.0 * (n_ - k) * a + k * d * mixtures;
        Cost { flops, saved, ..whole } + several(n_ * a, n_ * d)
    }
}
