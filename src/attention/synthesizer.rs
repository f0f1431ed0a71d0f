//! Synthesizer (Tay et al. 2020, arXiv:2005.00743): attention weights that are not made of
//! queries and keys, `O = softmax(S) V`.
//!
//! - `dense` (equation 2): `S_i = W2 relu(W1 x_i)`, a row of logits from each token.
//! - `random` (section 3.1.2): S is a weight, the same for all inputs.
//! - `factorised-dense`: `S_ij = A(x_i)[j mod p] B(x_i)[j div p]`.
//! - `factorised-random`: `S = R1 R2ᵀ` of rank k.
//!
//! Several may be mixed, with one another and with `Q Kᵀ / sqrt(d_k)` (`dot`): their sum, or
//! with `weighted` each times the sigmoid of a weight of its own. Shorter inputs use the
//! first rows and columns.
//!
//! Cost: `2 n² qkv` FLOPs, twice that with `dot`; the logits take memory quadratic in n,
//! `random` ones once and `dense` ones for each example.

use super::{Attention, Build, Cost, Multihead, Variant};
use crate::config::resolved;
use crate::error::Result;
use crate::layers::{Context, xavier};
use crate::ops::{Blocks, Extra, attention_with};
use crate::random::Key;
use candle_core::{Device, Tensor};
use candle_nn::{Init, VarBuilder};
use rand::Rng;
use serde::{Deserialize, Serialize};

pub(super) const VARIANT: Variant = Variant {
    name: "synthesizer",
    title: "Synthesizer",
    paper: "Tay et al. 2020, arXiv:2005.00743",
    summary: "attention weights without queries and keys; quadratic time, quadratic memory",
    keys: &[
        ("kinds", "which are mixed: random, dense, factorised-random, factorised-dense"),
        ("dot", "whether queries and keys are mixed in"),
        ("rank", "rank of the factorised random logits"),
        ("weighted", "whether each kind has a learned weight"),
        ("trained", "whether random logits are trained, or stay as drawn"),
    ],
    options: |table| resolved::<Options>("attention", table),
    build: |build| Ok(Box::new(Synthesizer::new(build)?)),
    ..Variant::PLAIN
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Random,
    Dense,
    FactorisedRandom,
    FactorisedDense,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    kinds: Vec<Kind>,
    dot: bool,
    rank: usize,
    weighted: bool,
    trained: bool,
}

impl Default for Options {
    /// What LRA's released code runs: random logits and queries with keys, summed. The rank
    /// is the paper's.
    fn default() -> Self {
        Self { kinds: vec![Kind::Random], dot: true, rank: 8, weighted: false, trained: true }
    }
}

/// Logits of one kind; weights have a leading axis of heads.
enum Logits {
    /// [heads, n, n].
    Random(Tensor),
    /// W1 [heads, width, d_k], W2 [heads, d_k, n].
    Dense(Tensor, Tensor),
    /// [heads, n, rank] twice.
    FactorisedRandom(Tensor, Tensor),
    /// [heads, width, p] and [heads, width, q], p q >= n.
    FactorisedDense(Tensor, Tensor),
}

struct Synthesizer {
    heads: Multihead,
    /// Each kind and its weight, of which there is at least one.
    logits: Vec<(Logits, Option<Tensor>)>,
    dot: bool,
    dot_weight: Option<Tensor>,
    width: usize,
}

impl Synthesizer {
    fn new(build: &Build) -> Result<Self> {
        let options: Options = build.options()?;
        if options.kinds.contains(&Kind::FactorisedRandom) {
            build.between("rank", options.rank, 1, build.n)?;
        }
        let mut sorted = options.kinds.clone();
        sorted.sort_by_key(|&kind| kind as usize);
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(build.bad("kinds", "expected each kind once"));
        }
        if options.kinds.is_empty() {
            return Err(build.bad("kinds", "expected at least one kind, got none"));
        }
        let weight = |name: &str| -> candle_core::Result<Option<Tensor>> {
            let vb = build.weights.pp("weights");
            options.weighted.then(|| vb.get_with_hints(1, name, Init::Const(0.0))).transpose()
        };
        let logits = options.kinds.iter().map(|&kind| {
            let name = match kind {
                Kind::Random => "random",
                Kind::Dense => "dense",
                Kind::FactorisedRandom => "factorised_random",
                Kind::FactorisedDense => "factorised_dense",
            };
            Ok((Logits::new(kind, build, build.weights.pp(name), &options)?, weight(name)?))
        });
        let logits = logits.collect::<Result<_>>()?;
        let (heads, dot_weight) = match options.dot {
            true => (Multihead::new(build)?, weight("dot")?),
            false => (Multihead::of_values(build)?, None),
        };
        Ok(Self { heads, logits, dot: options.dot, dot_weight, width: build.width })
    }

    /// All logits but those of queries and keys, [b or 1, heads, n, n].
    fn terms(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let weighted = |(logits, weight): &(Logits, Option<Tensor>)| match weight {
            Some(weight) => logits.of(x)?.broadcast_mul(&candle_nn::ops::sigmoid(weight)?),
            None => logits.of(x),
        };
        let terms = self.logits.iter().map(weighted);
        let Some(sum) = terms.reduce(|a, b| a?.broadcast_add(&b?)).transpose()? else {
            candle_core::bail!("synthesizer: logits of no kind")
        };
        Ok(sum)
    }
}

impl Logits {
    fn new(kind: Kind, build: &Build, vb: VarBuilder, options: &Options) -> Result<Self> {
        let (h, n, d, w) = (build.heads, build.n, build.width, build.head_width());
        // What is never trained is no weight: the same for every seed.
        let fixed = Key::new(0).named("synthesizer").index(build.layer as u64);
        let get = |name: &str, rows: usize, columns: usize| -> Result<Tensor> {
            let (shape, init) = ((h, rows, columns), xavier(rows, columns));
            if options.trained || matches!(kind, Kind::Dense | Kind::FactorisedDense) {
                return Ok(vb.get_with_hints(shape, name, init)?);
            }
            build.has_room_for([h, rows, columns])?;
            let bound = (6.0 / (rows + columns) as f64).sqrt();
            let mut rng = fixed.named(name).stream();
            let draws: Vec<f64> =
                (0..h * rows * columns).map(|_| rng.random_range(-bound..bound)).collect();
            let draws = Tensor::from_vec(draws, shape, &Device::Cpu)?;
            Ok(draws.to_dtype(vb.dtype())?.to_device(vb.device())?)
        };
        let p = (n as f64).sqrt().ceil() as usize;
        Ok(match kind {
            Kind::Random => Self::Random(get("logits", n, n)?),
            Kind::Dense => Self::Dense(get("hidden", d, w)?, get("output", w, n)?),
            Kind::FactorisedRandom => {
                let k = options.rank;
                Self::FactorisedRandom(get("rows", n, k)?, get("columns", n, k)?)
            }
            Kind::FactorisedDense => {
                Self::FactorisedDense(get("tiled", d, p)?, get("repeated", d, n.div_ceil(p))?)
            }
        })
    }

    /// [b or 1, heads, n, n].
    fn of(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let (b, n, _) = x.dims3()?;
        let each = |x: &Tensor, w: &Tensor| {
            x.to_dtype(w.dtype())?.reshape((b, 1, n, ()))?.broadcast_matmul(w)
        };
        match self {
            Self::Random(logits) => logits.narrow(1, 0, n)?.narrow(2, 0, n)?.unsqueeze(0),
            Self::FactorisedRandom(rows, columns) => {
                let columns = columns.narrow(1, 0, n)?.transpose(1, 2)?.contiguous()?;
                rows.narrow(1, 0, n)?.contiguous()?.matmul(&columns)?.unsqueeze(0)
            }
            Self::Dense(hidden, output) => {
                let hidden = each(x, hidden)?.relu()?;
                hidden.broadcast_matmul(&output.narrow(2, 0, n)?.contiguous()?)
            }
            Self::FactorisedDense(tiled, repeated) => {
                let (tiled, repeated) = (each(x, tiled)?, each(x, repeated)?);
                let (_, h, _, p) = tiled.dims4()?;
                let q = repeated.dim(3)?;
                let all = repeated.unsqueeze(4)?.broadcast_mul(&tiled.unsqueeze(3)?)?;
                all.reshape((b, h, n, q * p))?.narrow(3, 0, n)
            }
        }
    }

    fn cost(&self, n: usize, width: usize, heads: f64, head_width: usize) -> Cost {
        let (n, d, w) = (n as f64, width as f64, head_width as f64);
        let logits = heads * n * n;
        match self {
            Self::Random(_) => Cost { shared: logits, ..Cost::default() },
            Self::FactorisedRandom(rows, _) => {
                let rank = rows.dims().last().copied().unwrap_or(0) as f64;
                Cost { flops: 2.0 * logits * rank, shared: logits, ..Cost::default() }
            }
            Self::Dense(..) => Cost {
                flops: 2.0 * heads * n * d * w + 2.0 * logits * w,
                saved: logits + heads * n * w,
                passing: 3.0 * logits,
                ..Cost::default()
            },
            Self::FactorisedDense(..) => Cost {
                flops: 4.0 * heads * n * d * n.sqrt() + logits,
                saved: logits + 2.0 * heads * n * n.sqrt(),
                passing: 3.0 * logits,
                ..Cost::default()
            },
        }
    }
}

impl Attention for Synthesizer {
    fn forward(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        let projections = &self.heads.projections;
        let how = self.heads.how(Blocks::full(cx.mask.n()), cx);
        let terms = (Extra::Pairs, &self.terms(x)?);
        let o = if self.dot {
            let (mut q, k, v) = projections.split(x)?;
            if let Some(weight) = &self.dot_weight {
                q = q.broadcast_mul(&candle_nn::ops::sigmoid(weight)?.to_dtype(q.dtype())?)?;
            }
            attention_with(Some((&q, &k)), &v, terms, &how)?
        } else {
            attention_with(None, &projections.values(x)?, terms, &how)?
        };
        projections.merge(&o)
    }

    fn cost(&self, n: usize) -> Cost {
        let (h, w) = (self.heads.heads as f64, self.heads.head_width);
        let share = if self.dot { 1.0 } else { 0.5 };
        let scores = self.heads.cost(n, (n * n) as f64);
        // q, k and v, or v alone, are one operand.
        let operand = (n * self.heads.qkv()) as f64 * if self.dot { 2.0 } else { 1.0 };
        let parts = self.heads.projections.as_several_ops(n, operand, 0.0);
        let own = Cost { flops: scores.flops * share, ..scores } + parts;
        let terms = self.logits.iter().map(|(logits, _)| logits.cost(n, self.width, h, w));
        terms.fold(own, |a, b| a + b)
    }
}
