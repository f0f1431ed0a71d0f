//! Sparse Sinkhorn attention (Tay et al. 2020, arXiv:2002.11296): each block of queries sees
//! its own block of keys and one that a learned sort of the blocks puts beside it.
//!
//! A sort net reads the mean of each block's tokens and gives nb logits for each of the nb
//! blocks; with Gumbel noise in training, over a temperature, alternating normalisation of
//! columns and rows in log space (Sinkhorn 1964) makes them a nearly doubly stochastic
//! matrix P whose rows sum to 1. Sorted keys and values are `P K` and `P V`, position by
//! position of the blocks. With SortCut (`cut`) all queries see the first sorted blocks and
//! nothing else.
//!
//! Padding: blocks without tokens are in no sort; in a block that ends early, a sorted
//! position is the mixture of the tokens there are, and counts as much as P gives them
//! (the logarithm of that share is added to its scores).
//!
//! Cost: `8 n block qkv` FLOPs, and `4 n²/block qkv` for the sorting.

use super::{Attention, Build, Cost, Multihead, Variant};
use crate::config::resolved;
use crate::error::Result;
use crate::layers::{Context, Linear};
use crate::ops::attention::{Entry, Rule, blocks};
use crate::ops::sort::shares;
use crate::ops::{Attend, Blocks, Extra, Mask, attention_kv, mix, sort_blocks};
use candle_core::{D, DType, Device, Tensor};
use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;

pub(super) const VARIANT: Variant = Variant {
    name: "sinkhorn",
    title: "Sinkhorn Transformer",
    paper: "Tay et al. 2020, arXiv:2002.11296",
    summary: "the own block and one that a learned sort puts beside it; n²/block for the sort",
    keys: &[
        ("block", "positions of a block"),
        ("iterations", "normalisations of columns and rows"),
        ("temperature", "divides the logits of the sort"),
        ("gumbel", "whether training adds Gumbel noise to them"),
        ("cut", "SortCut: sorted blocks that all see instead; 0: none"),
    ],
    options: |table| resolved::<Options>("attention", table),
    build: |build| Ok(Box::new(Sinkhorn::new(build)?)),
    ..Variant::PLAIN
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    block: usize,
    iterations: usize,
    temperature: f64,
    gumbel: bool,
    cut: usize,
}

impl Default for Options {
    /// LRA's block, the paper's sort (LRA's released code never runs one).
    fn default() -> Self {
        Self { block: 50, iterations: 8, temperature: 0.75, gumbel: true, cut: 0 }
    }
}

struct Sinkhorn {
    heads: Multihead,
    /// From a block's mean to a logit for each block and head.
    sort: Linear,
    /// Blocks of the longest input.
    most: usize,
    options: Options,
}

impl Sinkhorn {
    fn new(build: &Build) -> Result<Self> {
        let options: Options = build.options()?;
        build.at_least("block", options.block, 1)?;
        build.between("iterations", options.iterations, 1, 1000)?;
        // A block is padded to its size, and none is longer than the input.
        let block = options.block.min(build.n);
        let cut = options.cut.min(build.n);
        let options = Options { block, cut, ..options };
        if !(options.temperature > 0.0 && options.temperature.is_finite()) {
            let got = options.temperature;
            return Err(build.bad("temperature", format!("expected a number > 0, got {got}")));
        }
        let most = build.n.div_ceil(options.block);
        let sort = Linear::without_bias(build.width, build.heads * most, build.weights.pp("sort"))?;
        Ok(Self { heads: Multihead::new(build)?, sort, most, options })
    }

    /// P [b, heads, nb, nb] of the blocks of `x` [b, n, width].
    fn sorted(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        let ((b, n, _), size) = (x.dims3()?, self.options.block);
        let nb = n.div_ceil(size);
        let tokens = |example: usize| {
            cx.mask.row(example).chunks(size).map(|row| row.iter().filter(|&&v| v).count() as f64)
        };
        let tokens: Vec<f64> = (0..b).flat_map(tokens).collect();
        let tokens = Tensor::from_vec(tokens, (b, nb, 1), &Device::Cpu)?;
        let exact = self.sort.weight().dtype();
        let tokens = tokens.to_dtype(exact)?.to_device(x.device())?;
        let own = (0..n * nb).map(|at| f32::from(u8::from(at / nb / size == at % nb))).collect();
        let own = Tensor::from_vec::<_, f32>(own, (n, nb), &Device::Cpu)?;
        let sums = mix(x, &own.to_dtype(x.dtype())?.to_device(x.device())?, &cx.mask)?;
        let mean = sums.to_dtype(exact)?.broadcast_div(&tokens.maximum(1.0)?)?;
        let (h, kind) = (self.heads.heads, (exact, x.device()));
        let logits = self.sort.forward(&mean)?.reshape((b, nb, h, self.most))?;
        let mut logits = logits.narrow(3, 0, nb)?.transpose(1, 2)?.contiguous()?;
        if cx.train && self.options.gumbel {
            logits = (logits + gumbel((b, h, nb * nb), cx, kind)?.reshape((b, h, nb, nb))?)?;
        }
        // Blocks of padding mix among themselves alone.
        let real = tokens.minimum(1.0)?;
        let other = (real.ones_like()? - &real)?;
        let mixed = (real.matmul(&other.transpose(1, 2)?)?
            + other.matmul(&real.transpose(1, 2)?)?)?
        .unsqueeze(1)?;
        let logits = (logits / self.options.temperature)?.broadcast_add(&(mixed * -1e30)?)?;
        doubly_stochastic(&logits, self.options.iterations)
    }

    /// Keys: the sorted blocks, then the sequence's own.
    fn blocks(&self, n: usize) -> Blocks {
        let (size, sorted) = (self.options.block, n.div_ceil(self.options.block));
        let m = sorted * size + n;
        if self.options.cut > 0 {
            let keys = 0..self.options.cut.min(sorted) * size;
            let all = Entry { queries: (0..n).into(), keys: vec![(keys.into(), Rule::All)] };
            return Blocks::new(n, m, vec![vec![all]]);
        }
        let entry = |(i, block): (usize, Range<usize>)| {
            let beside = (i * size..(i + 1) * size, Rule::All);
            let own = (m - n + block.start..m - n + block.end, Rule::All);
            let keys = [beside, own].map(|(range, rule)| (range.into(), rule)).to_vec();
            Entry { queries: block.into(), keys }
        };
        Blocks::new(n, m, vec![blocks(n, size).enumerate().map(entry).collect()])
    }
}

/// Rows that sum to 1 and columns that nearly do, of logits [.., n, n].
pub fn doubly_stochastic(logits: &Tensor, iterations: usize) -> candle_core::Result<Tensor> {
    let normalised = |x: &Tensor, axis: D| -> candle_core::Result<Tensor> {
        let top = x.max_keepdim(axis)?.detach();
        let sum = x.broadcast_sub(&top)?.exp()?.sum_keepdim(axis)?.log()?;
        x.broadcast_sub(&(sum + top)?)
    };
    let mut x = logits.clone();
    for _ in 0..iterations {
        x = normalised(&normalised(&x, D::Minus2)?, D::Minus1)?;
    }
    x.exp()
}

/// Draws of each example's own.
fn gumbel(
    (b, h, count): (usize, usize, usize),
    cx: &Context,
    (dtype, device): (DType, &Device),
) -> candle_core::Result<Tensor> {
    let key = cx.drawn("gumbel");
    let mut noise = vec![0f64; b * h * count];
    noise.par_chunks_exact_mut(h * count).enumerate().for_each(|(example, noise)| {
        let mut rng = key.index(cx.first_example + example as u64).stream();
        // 1 - u lies in (0, 1]; the floor keeps -ln from being zero.
        noise.fill_with(|| -(-(1.0 - rng.random::<f64>()).ln()).max(1e-300).ln());
    });
    Tensor::from_vec(noise, (b, h, count), &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
}

impl Attention for Sinkhorn {
    fn forward(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        let (b, n, _) = x.dims3()?;
        let (h, size) = (self.heads.heads, self.options.block);
        let q = self.heads.projections.queries(x)?;
        let own = self.heads.projections.keys_and_values(x)?;
        let p = self.sorted(x, cx)?;
        let places = n.div_ceil(size) * size;
        let kv = sort_blocks(&own, 2, &p, size, &cx.mask)?;
        // A sorted key counts by its share of tokens: its logarithm is added to the scores.
        let share = shares(&p, size, &cx.mask)?.log()?.reshape((b, h, places))?.transpose(1, 2)?;
        let terms = share.contiguous()?.pad_with_zeros(1, 0, n)?;

        let row = |i: usize| [&vec![true; places], cx.mask.row(i)].concat();
        let keys_mask = Mask::new((0..b).flat_map(row).collect(), b, places + n)?;
        let how = Attend { keys: keys_mask, ..self.heads.how(self.blocks(n), cx) };
        let o = attention_kv(&q, &kv, Some((Extra::Keys, &terms)), &how)?;
        self.heads.projections.merge(&o)
    }

    /// A sorted position is made of the same place in every block; padding is left out.
    fn spread(&self, weights: &Tensor, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        let ((b, h, rows, m), n, size) = (weights.dims4()?, x.dim(1)?, self.options.block);
        let nb = n.div_ceil(size);
        let p = self.sorted(x, cx)?.transpose(2, 3)?.contiguous()?;
        let beside = weights.narrow(3, 0, nb * size)?.reshape((b, h, rows, nb, size))?;
        let beside = beside.permute((0, 1, 3, 2, 4))?.reshape((b, h, nb, rows * size))?;
        let mixed = p.matmul(&beside)?.reshape((b, h, nb, rows, size))?;
        let mixed = mixed.permute((0, 1, 3, 2, 4))?.reshape((b, h, rows, nb * size))?;
        mixed.narrow(3, 0, n)? + weights.narrow(3, m - n, n)?
    }

    fn cost(&self, n: usize) -> Cost {
        let (n_, a, size) = (n as f64, self.heads.qkv() as f64, self.options.block as f64);
        // Each half of an iteration keeps three matrices of blocks.
        let sorts = self.heads.heads as f64 * (n_ / size).powi(2);
        let saved = 4.0 * n_ * a + 6.0 * self.options.iterations as f64 * sorts;
        let per_thread = 3.0 * n_ * self.heads.head_width as f64;
        let sort = Cost { flops: 4.0 * n_ * n_ / size * a, saved, per_thread, ..Cost::default() };
        // Sorted keys and values and the sequence's own are one operand.
        let parts = self.heads.projections.as_several_ops(n, 4.0 * n_ * a, n_ * a);
        self.heads.cost(n, self.blocks(n).pairs()) + sort + parts
    }
}
