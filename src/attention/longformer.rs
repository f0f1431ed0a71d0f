//! Longformer (Beltagy et al. 2020, arXiv:2004.05150), section 3: a sliding window of
//! `window` positions, half on each side, that some heads widen by a dilation, and global
//! positions in front: all see them, and they see all by projections of their own.
//!
//! The global positions are the first ones, among them CLS, as the paper has it for
//! classification. Windows may grow from layer to layer. LRA's released code has no global
//! position and computes the window as an n x n mask.
//!
//! Cost: `4 n (3/2 window + global) qkv` FLOPs, and the same of `global` rows over n.

use super::{Attention, Build, Cost, Multihead, Support, Variant};
use crate::config::resolved;
use crate::error::Result;
use crate::layers::{Context, Linear};
use crate::ops::attention::{Entry, Part, Rule, Span};
use crate::ops::{Attend, Blocks, Mask, attention, attention_joined};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

pub(super) const VARIANT: Variant = Variant {
    name: "longformer",
    title: "Longformer",
    paper: "Beltagy et al. 2020, arXiv:2004.05150",
    summary: "sliding windows and a few global positions; linear time",
    keys: &[
        ("window", "positions seen besides the own one, half on each side; a list goes by layer"),
        ("dilation", "step between positions of a window; a list goes by layer"),
        ("dilated_heads", "how many heads, from the last, have the dilation"),
        ("global", "positions in front that see all and are seen by all"),
    ],
    options: |table| resolved::<Options>("attention", table),
    build: |build| Ok(Box::new(Longformer::new(build)?)),
    ..Variant::PLAIN
};

/// One value for all layers, or one for each; the last goes on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum ByLayer {
    Same(usize),
    Each(Vec<usize>),
}

impl ByLayer {
    fn at(&self, layer: usize) -> Option<usize> {
        match self {
            Self::Same(value) => Some(*value),
            Self::Each(values) => values.get(layer).or(values.last()).copied(),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    window: ByLayer,
    dilation: ByLayer,
    dilated_heads: usize,
    global: usize,
}

impl Default for Options {
    /// The window of LRA and of the paper's RoBERTa; the paper dilates two heads, where it
    /// dilates.
    fn default() -> Self {
        let (window, dilation) = (ByLayer::Same(512), ByLayer::Same(1));
        Self { window, dilation, dilated_heads: 2, global: 1 }
    }
}

struct Longformer {
    heads: Multihead,
    /// Query, key and value projections of the global rows, if there are any.
    rows: Option<[Linear; 3]>,
    /// Positions on each side.
    side: usize,
    dilation: usize,
    dilated_heads: usize,
    global: usize,
}

impl Longformer {
    fn new(build: &Build) -> Result<Self> {
        let options: Options = build.options()?;
        let window = options.window.at(build.layer).unwrap_or(0);
        if window == 0 || window % 2 == 1 {
            return Err(build.bad("window", format!("expected an even number, got {window}")));
        }
        let dilation = options.dilation.at(build.layer).unwrap_or(0);
        build.at_least("dilation", dilation, 1)?;
        if dilation > 1 {
            build.between("dilated_heads", options.dilated_heads, 0, build.heads)?;
        }
        let into =
            |name: &str| Linear::without_bias(build.width, build.qkv, build.weights.pp(name));
        let rows = match options.global {
            0 => None,
            _ => Some([into("global_query")?, into("global_key")?, into("global_value")?]),
        };
        Ok(Self {
            heads: Multihead::new(build)?,
            rows,
            // No position is farther than the input is long.
            side: (window / 2).min(build.n),
            dilation: dilation.min(build.n),
            dilated_heads: options.dilated_heads.min(build.heads),
            global: options.global,
        })
    }

    /// Windows at a dilation, and the global keys, for all rows but the global ones.
    fn windows(&self, n: usize, step: usize) -> Part {
        let (global, side) = (self.global.min(n), self.side);
        let reach = (side * step) as isize;
        let mut part = Part::new();
        for class in 0..step.min(n - global) {
            // Positions of this class, in blocks as long as a side.
            let positions = Span::new(global + class, (n - global - class).div_ceil(step), step);
            for first in (0..positions.len).step_by(side) {
                let last = (first + side).min(positions.len);
                let (from, to) = (first.saturating_sub(side), (last + side).min(positions.len));
                let slice = |from: usize, to: usize| Span::new(positions.at(from), to - from, step);
                let mut keys = vec![(slice(from, to), Rule::Within(-reach, reach))];
                if global > 0 {
                    keys.push(((0..global).into(), Rule::All));
                }
                part.push(Entry { queries: slice(first, last), keys });
            }
        }
        part
    }

    /// What all rows but the global ones see.
    fn local(&self, n: usize) -> Blocks {
        if self.dilation == 1 || self.dilated_heads == 0 {
            return Blocks::new(n, n, vec![self.windows(n, 1)]);
        }
        let plain = self.heads.heads - self.dilated_heads;
        let step = |head| if head < plain { 1 } else { self.dilation };
        let lists = (0..self.heads.heads).map(|head| vec![self.windows(n, step(head))]);
        Blocks::per_head(n, n, lists.collect())
    }

    /// What the global rows see of all positions, [b, global, qkv].
    ///
    /// With few rows it is dear to project every position to keys and values for them. Since
    /// `q (x W_k)ᵀ = (q W_kᵀ) xᵀ` and `p (x W_v) = (p x) W_v`, each head's queries are brought
    /// to the width of x instead, and the mixtures of x to the width of the head.
    fn global(
        &self,
        x: &Tensor,
        global: usize,
        [query, key, value]: &[Linear; 3],
        cx: &Context,
    ) -> candle_core::Result<Tensor> {
        let ((b, n, d), h) = (x.dims3()?, self.heads.heads);
        let (w, rows) = (self.heads.head_width, h * global);
        let q = query.forward(&x.narrow(1, 0, global)?.contiguous()?)?;
        let q = q.reshape((b * global, h, w))?.transpose(0, 1)?.contiguous()?;
        let q = q
            .matmul(&key.weight().to_dtype(x.dtype())?.reshape((h, w, d))?)?
            .reshape((h, b, global, d))?;
        let q = q.transpose(0, 1)?.contiguous()?.reshape((b, rows, d))?;
        let real = |i: usize| (0..h).flat_map(move |_| cx.mask.row(i)[..global].to_vec());
        let how = Attend {
            heads: 1,
            mask: Mask::new((0..b).flat_map(real).collect(), b, rows)?,
            dropout: cx.dropout("global", self.heads.dropout),
            ..self.heads.how(Blocks::rectangle(rows, n), cx)
        };
        let mixed = attention(&q, x, x, &how)?.reshape((b, h, global, d))?;
        let mixed = mixed.transpose(0, 1)?.contiguous()?.reshape((h, b * global, d))?;
        let values = value
            .weight()
            .to_dtype(x.dtype())?
            .reshape((h, w, d))?
            .transpose(1, 2)?
            .contiguous()?;
        let o = mixed.matmul(&values)?.reshape((h, b, global, w))?;
        o.permute((1, 2, 0, 3))?.contiguous()?.reshape((b, global, h * w))
    }
}

impl Attention for Longformer {
    fn forward(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        let (_, n, _) = x.dims3()?;
        let qkv = self.heads.projections.joined(x)?;
        let mut o = attention_joined(&qkv, &self.heads.how(self.local(n), cx))?;
        if let Some(rows) = &self.rows {
            let global = self.global.min(n);
            let rows = self.global(x, global, rows, cx)?;
            o = match n - global {
                0 => rows,
                rest => Tensor::cat(&[rows, o.narrow(1, global, rest)?], 1)?,
            };
        }
        self.heads.projections.merge(&o)
    }

    fn cost(&self, n: usize) -> Cost {
        let (global, h) = (self.global.min(n) as f64, self.heads.heads as f64);
        let (rows, d, a) = (n as f64, self.heads.projections.width(), self.heads.qkv() as f64);
        // q, k and v are one operand; the global rows' slope of x is there beside it.
        let x = if self.rows.is_some() { rows * d as f64 } else { 0.0 };
        let parts = self.heads.projections.as_several_ops(n, 3.0 * rows * a, x);
        let mut cost = self.heads.cost(n, self.local(n).pairs()) + parts;
        if self.rows.is_some() {
            let d = self.heads.projections.width() as f64;
            cost.flops +=
                4.0 * h * global * n as f64 * d + 6.0 * global * d * self.heads.qkv() as f64;
            // Rows that were put together again, and what the global ones take.
            cost.saved += rows * a + 2.0 * h * global * d;
        }
        cost
    }

    /// The global rows of all heads are those of one head, one after the other.
    fn spread(&self, weights: &Tensor, _: &Tensor, _: &Context) -> candle_core::Result<Tensor> {
        let ((b, h, rows, n), heads) = (weights.dims4()?, self.heads.heads);
        if h == heads { Ok(weights.clone()) } else { weights.reshape((b, heads, rows / heads, n)) }
    }

    fn support(&self, n: usize) -> Support {
        let global = self.global.min(n);
        let all = Entry { queries: (0..global).into(), keys: vec![((0..n).into(), Rule::All)] };
        Support::Listed(self.local(n).with_entry((global > 0).then_some(all)))
    }
}
