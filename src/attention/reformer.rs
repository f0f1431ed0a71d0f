//! Reformer (Kitaev et al. 2020, arXiv:2001.04451): queries and keys are one projection,
//! keys of length 1; each position looks for others in its own bucket of a hash.
//!
//! A round hashes the queries by random rotations (Andoni et al. 2015): the bucket is the
//! largest of `[q R, -q R]`. Positions are sorted by (bucket, position) and cut into chunks
//! that see themselves and the chunks before, the first wrapping around to the last. Rounds
//! are weighed by their log-sum-exp (equation 6), which is one softmax over all that any
//! round shows. A position sees itself only where it sees nothing else. Padding is sorted
//! behind everything and is in no chunk.
//!
//! Scores are `q . k / |k|`, as in the authors' Trax (reformer-pytorch divides by sqrt(d_k)
//! as well). Rotations are drawn anew each step of training, and fixed in evaluation. With
//! more than 128 buckets they are pairs of smaller ones, so that hashing stays cheap. The
//! residuals are reversible ([`crate::models`]): `model.reversible`.
//!
//! Cost: `8 n rounds chunk qkv` FLOPs for scores and values, one chunk looked back.

use super::{Attention, Build, Cost, Support, Variant};
use crate::config::resolved;
use crate::error::Result;
use crate::layers::{Context, Linear, normal};
use crate::ops::attention::{Entry, Order, Part, Rule, blocks};
use crate::ops::{Attend, Blocks, Mask, attention, nearest_direction, unit_heads};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

pub(super) const VARIANT: Variant = Variant {
    name: "reformer",
    title: "Reformer",
    paper: "Kitaev et al. 2020, arXiv:2001.04451",
    summary: "softmax attention within buckets of a hash, reversible layers; linear time",
    keys: &[
        ("chunk", "positions of a chunk of the sorted sequence"),
        ("buckets", "buckets of a round; 0: twice the number of chunks"),
        ("rounds", "hashes whose chunks are seen together"),
        ("back", "chunks seen before the own one"),
        ("ahead", "chunks seen after the own one"),
    ],
    prefers: "model = { reversible = true }",
    options: |table| resolved::<Options>("attention", table),
    build: |build| Ok(Box::new(Reformer::new(build)?)),
    ..Variant::PLAIN
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    chunk: usize,
    buckets: usize,
    rounds: usize,
    back: usize,
    ahead: usize,
}

impl Default for Options {
    /// Chunks as in HF's port, rounds as the authors train; LRA's released code cuts every
    /// input into 10 chunks of one round.
    fn default() -> Self {
        Self { chunk: 64, buckets: 0, rounds: 2, back: 1, ahead: 0 }
    }
}

struct Reformer {
    query: Linear,
    value: Linear,
    output: Linear,
    width: usize,
    heads: usize,
    head_width: usize,
    dropout: f64,
    options: Options,
    /// Buckets are all combinations of one of each.
    factors: Vec<usize>,
}

impl Reformer {
    fn new(build: &Build) -> Result<Self> {
        let options: Options = build.options()?;
        build.at_least("chunk", options.chunk, 1)?;
        build.between("rounds", options.rounds, 1, 256)?;
        build.between("buckets", options.buckets, 0, 2 * build.n)?;
        if options.buckets % 2 == 1 {
            let got = options.buckets;
            return Err(build.bad("buckets", format!("expected an even number, got {got}")));
        }
        let buckets = match options.buckets {
            0 => 2 * build.n.div_ceil(options.chunk),
            given => given,
        };
        // Chunks are a ring: there are no more than positions to look back at.
        let near = |chunks: usize| chunks.min(build.n);
        let (chunk, back, ahead) = (near(options.chunk), near(options.back), near(options.ahead));
        let options = Options { chunk, back, ahead, ..options };
        let (d, a) = (build.width, build.qkv);
        let into = |name: &str| Linear::without_bias(d, a, build.weights.pp(name));
        Ok(Self {
            query: into("query")?,
            value: into("value")?,
            output: Linear::without_bias(a, d, build.weights.pp("output"))?,
            width: d,
            heads: build.heads,
            head_width: build.head_width(),
            dropout: build.dropout,
            options,
            factors: factors(buckets),
        })
    }

    /// The bucket of each position in each round, u32 [rounds, b, heads, n].
    fn hash(&self, q: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        let (b, n, _) = q.dims3()?;
        let (h, w) = (self.heads, self.head_width);
        let mut rng = cx.drawn("rotations").stream();
        let q = q.detach().reshape((b, n, h, w))?.permute((2, 0, 1, 3))?;
        let q = q.reshape((h, b * n, w))?.contiguous()?;
        let mut round = || {
            let mut buckets: Option<Tensor> = None;
            for &factor in &self.factors {
                let rotations: Vec<f64> =
                    (0..h * w * factor / 2).map(|_| normal(&mut rng)).collect();
                let rotations = Tensor::from_vec(rotations, (h, w, factor / 2), &Device::Cpu)?
                    .to_dtype(q.dtype())?
                    .to_device(q.device())?;
                let found = nearest_direction(&q.matmul(&rotations)?)?;
                buckets = Some(match buckets {
                    Some(before) => (before.affine(factor as f64, 0.0)? + found)?,
                    None => found,
                });
            }
            let Some(buckets) = buckets else { candle_core::bail!("reformer: no buckets") };
            buckets.reshape((h, b, n))?.transpose(0, 1)?.contiguous()
        };
        let rounds = (0..self.options.rounds).map(|_| round());
        Tensor::stack(&rounds.collect::<candle_core::Result<Vec<_>>>()?, 0)
    }

    /// What is seen of positions in these buckets.
    fn blocks(&self, buckets: &Tensor, mask: &Mask) -> candle_core::Result<Blocks> {
        let Options { chunk, back, ahead, .. } = self.options;
        sorted(buckets, self.factors.iter().product(), mask, (chunk, back, ahead))
    }
}

/// Positions sorted by (bucket, position) in each round, in chunks that see those around:
/// `buckets` [rounds, b, heads, n] below `count`, u32.
pub fn sorted(
    buckets: &Tensor,
    count: usize,
    mask: &Mask,
    (chunk, back, ahead): (usize, usize, usize),
) -> candle_core::Result<Blocks> {
    let rounds = buckets.dim(0)?;
    let order = Order::by_bucket(buckets, count, mask)?;
    let lists = (0..mask.batch()).map(|example| {
        let real = mask.row(example).iter().filter(|&&v| v).count();
        vec![chunks(real, chunk, back, ahead); rounds]
    });
    Ok(Blocks::sorted(order, lists.collect()))
}

/// Chunks of `n` places and the chunks around each, in a ring.
fn chunks(n: usize, size: usize, back: usize, ahead: usize) -> Part {
    let ring: Vec<Range<usize>> = blocks(n, size).collect();
    let count = ring.len();
    let entry = |i: usize| {
        let around = (0..=back + ahead).map(|k| (i + k + count * back - back) % count);
        let mut seen: Vec<usize> = around.take(count).collect();
        seen.sort_unstable();
        let keys = seen.into_iter().map(|j| (ring[j].clone().into(), Rule::OthersFirst));
        Entry { queries: ring[i].clone().into(), keys: keys.collect() }
    };
    (0..count).map(entry).collect()
}

/// Two even factors where one hash of so many buckets would cost much.
fn factors(buckets: usize) -> Vec<usize> {
    if buckets <= 128 {
        return vec![buckets];
    }
    let bits = buckets.next_power_of_two().ilog2();
    vec![1 << bits.div_ceil(2), 1 << (bits / 2)]
}

impl Attention for Reformer {
    fn forward(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        let (q, v) = (self.query.forward(x)?, self.value.forward(x)?);
        let blocks = self.blocks(&self.hash(&q, cx)?, &cx.mask)?;
        let k = unit_heads(&q, self.heads)?;
        let how = Attend {
            heads: self.heads,
            blocks: Arc::new(blocks),
            mask: cx.mask.clone(),
            keys: cx.mask.clone(),
            scale: 1.0,
            dropout: cx.dropout("weights", self.dropout),
        };
        self.output.forward(&attention(&q, &k, &v, &how)?)
    }

    fn cost(&self, n: usize) -> Cost {
        let (n_, d, a) = (n as f64, self.width as f64, (self.heads * self.head_width) as f64);
        let Options { chunk, rounds, back, ahead, .. } = self.options;
        let seen = (chunk * (1 + back + ahead)).min(n) as f64;
        let hashed = self.factors.iter().sum::<usize>() as f64 / 2.0;
        let each = 4.0 * n_ * seen * a + 2.0 * n_ * hashed * a;
        let flops = 6.0 * n_ * d * a + rounds as f64 * each;
        // q, k, v and the output, what comes in and goes out; of each round the order of the
        // positions and their log-sum-exps.
        let saved = n_ * (4.0 * a + 2.0 * d) + 3.0 * n_ * (rounds * self.heads) as f64;
        Cost { flops, saved, passing: n_ * (d + 6.0 * a), ..Cost::default() }
    }

    fn support(&self, _: usize) -> Support {
        Support::Chosen
    }
}
