//! Transformer-XL (Dai et al. 2019, arXiv:1901.02860) as an encoder: segments that also see
//! the hidden states before them, without gradient, and relative positions (equation 5):
//! `s_ij = ((q_i + u) . k_j + (q_i + v) . W_r R_{i-j}) / sqrt(d_k)`.
//!
//! The states a segment remembers are this layer's input at the positions before it, so with
//! the whole sequence at hand all segments are computed side by side: each block of queries
//! sees its own keys and, of the keys' detached copies, the `memory` before it. This equals
//! the recurrence from segment to segment.
//!
//! The paper's decoder is causal; an encoder sees all of its own segment (as XLNet does),
//! unless `causal` is set. No absolute positions are added, and a CLS position in front would
//! see the first segment only: the output is pooled by the mean.
//!
//! Cost: `4 n (segment + memory) qkv` FLOPs, and half as much again for the positions.

use super::{Attention, Build, Cost, Multihead, Support, Variant};
use crate::config::resolved;
use crate::error::Result;
use crate::layers::{Context, Linear};
use crate::ops::attention::{Entry, Rule, blocks};
use crate::ops::{Attend, Blocks, Extra, attention_kv, linear};
use candle_core::{DType, Device, Tensor};
use candle_nn::{Init, VarBuilder};
use serde::{Deserialize, Serialize};

pub(super) const VARIANT: Variant = Variant {
    name: "transformer-xl",
    title: "Transformer-XL",
    paper: "Dai et al. 2019, arXiv:1901.02860",
    summary: "segments with a detached memory and relative positions; linear time",
    keys: &[
        ("segment", "positions of a segment"),
        ("memory", "positions before a segment that it sees, without gradient"),
        ("causal", "whether a position sees none after it"),
        ("tied", "whether all layers share the biases u and v"),
    ],
    prefers: "model = { positions = \"none\", pooling = \"mean\" }",
    options: |table| resolved::<Options>("attention", table),
    build: |build| Ok(Box::new(TransformerXl::new(build)?)),
    ..Variant::PLAIN
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    segment: usize,
    memory: usize,
    causal: bool,
    tied: bool,
}

impl Default for Options {
    /// The paper's: memory as long as a segment, biases shared. It trains segments of 150 to
    /// 512; LRA has no entry.
    fn default() -> Self {
        Self { segment: 128, memory: 128, causal: false, tied: true }
    }
}

struct TransformerXl {
    heads: Multihead,
    relative: Linear,
    /// u and v, [qkv] each.
    biases: [Tensor; 2],
    width: usize,
    segment: usize,
    memory: usize,
    causal: bool,
}

impl TransformerXl {
    fn new(build: &Build) -> Result<Self> {
        let Options { segment, memory, causal, tied } = build.options()?;
        build.at_least("segment", segment, 1)?;
        let (d, a) = (build.width, build.qkv);
        let place = if tied { &build.shared } else { &build.weights };
        let init = Init::Randn { mean: 0.0, stdev: 0.02 };
        let bias = |name: &str, vb: &VarBuilder| vb.get_with_hints(a, name, init);
        Ok(Self {
            heads: Multihead::new(build)?,
            relative: Linear::without_bias(d, a, build.weights.pp("relative"))?,
            biases: [bias("content_bias", place)?, bias("position_bias", place)?],
            width: d,
            // Nothing lies before or beyond the input.
            segment: segment.min(build.n),
            memory: memory.min(build.n),
            causal,
        })
    }

    /// Keys of the sequence, then their copies.
    fn blocks(&self, n: usize) -> Blocks {
        let own = if self.causal { Rule::Within(isize::MIN, 0) } else { Rule::All };
        let entry = |segment: std::ops::Range<usize>| {
            let before = segment.start.saturating_sub(self.memory)..segment.start;
            let mut keys = vec![(segment.clone().into(), own)];
            if !before.is_empty() {
                keys.push(((n + before.start..n + before.end).into(), Rule::All));
            }
            Entry { queries: segment.into(), keys }
        };
        Blocks::new(n, 2 * n, vec![blocks(n, self.segment).map(entry).collect()])
    }

    /// Distances from `1 - segment` on.
    fn distances(&self) -> usize {
        self.memory + 2 * self.segment - 1
    }

    /// What the distances add to the scores of queries with u: for each head `W_r R` and its
    /// product with `v - u`, [1, distances, heads * (d_k + 1)].
    fn positions(&self, like: &Tensor) -> candle_core::Result<Tensor> {
        let kind = (self.relative.weight().dtype(), like.device());
        let table = signed_sinusoid(self.distances(), self.segment - 1, self.width, kind)?;
        let (h, w) = (self.heads.heads, self.heads.head_width);
        let r = self.relative.forward(&table)?.reshape(((), h, w))?;
        let [u, v] = &self.biases;
        let c = r.broadcast_mul(&(v - u)?.reshape((1, h, w))?)?.sum_keepdim(2)?;
        Tensor::cat(&[r, c], 2)?.reshape((1, self.distances(), h * (w + 1)))
    }
}

/// `[sin | cos]` of the distances `row - zero`, [rows, width].
pub(super) fn signed_sinusoid(
    rows: usize,
    zero: usize,
    width: usize,
    (dtype, device): (DType, &Device),
) -> candle_core::Result<Tensor> {
    let half = width.div_ceil(2);
    let mut table = Vec::with_capacity(rows * width);
    for row in 0..rows {
        let distance = row as f64 - zero as f64;
        let angle = |i: usize| distance * 1e4f64.powf(-2.0 * i as f64 / width as f64);
        table.extend((0..half).map(|i| angle(i).sin()));
        table.extend((0..width - half).map(|i| angle(i).cos()));
    }
    Tensor::from_vec(table, (rows, width), &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
}

impl Attention for TransformerXl {
    fn forward(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        let projections = &self.heads.projections;
        // The bias of all queries is that of their projection.
        let q = linear(x, projections.query()?, Some(&self.biases[0]))?;
        let own = projections.keys_and_values(x)?;
        let kv = Tensor::cat(&[&own, &projections.keys_and_values(&x.detach())?], 1)?;
        let how = Attend { keys: cx.mask.twice()?, ..self.heads.how(self.blocks(cx.mask.n()), cx) };
        let extra = (Extra::Distances { zero: self.segment - 1 }, &self.positions(x)?);
        projections.merge(&attention_kv(&q, &kv, Some(extra), &how)?)
    }

    fn cost(&self, n: usize) -> Cost {
        let (d, a, p) = (self.width as f64, self.heads.qkv() as f64, self.distances() as f64);
        let pairs = self.blocks(n).pairs();
        let met = n as f64 * (self.segment.min(n) + self.memory.min(n)) as f64;
        let flops = 4.0 * n as f64 * d * a + 2.0 * p * d * a + 2.0 * met * a;
        // Keys and values, those of the memory, and both in one operand; the heads' output.
        let own = Cost { flops, saved: 5.0 * n as f64 * a, ..Cost::default() };
        let (q, kv) = (n as f64 * a, 4.0 * n as f64 * a);
        self.heads.cost(n, pairs) + own + self.heads.projections.as_several_ops(n, kv, q)
    }

    fn support(&self, n: usize) -> Support {
        Support::Listed(self.blocks(n))
    }
}
