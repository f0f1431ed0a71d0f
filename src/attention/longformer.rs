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
use crate::ops::{Attend, Blocks, Mask, attention};
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
}

impl Attention for Longformer {
    fn forward(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        let (b, n, _) = x.dims3()?;
        let (q, k, v) = self.heads.projections.split(x)?;
        let mut o = attention(&q, &k, &v, &self.heads.how(self.local(n), cx))?;
        if let Some([query, key, value]) = &self.rows {
            let global = self.global.min(n);
            let valid = (0..b).flat_map(|i| cx.mask.row(i)[..global].to_vec()).collect();
            let how = Attend {
                mask: Mask::new(valid, b, global)?,
                dropout: cx.dropout("global", self.heads.dropout),
                ..self.heads.how(Blocks::rectangle(global, n), cx)
            };
            let q = query.forward(&x.narrow(1, 0, global)?.contiguous()?)?;
            let rows = attention(&q, &key.forward(x)?, &value.forward(x)?, &how)?;
            o = match n - global {
                0 => rows,
                rest => Tensor::cat(&[rows, o.narrow(1, global, rest)?], 1)?,
            };
        }
        self.heads.projections.merge(&o)
    }

    fn cost(&self, n: usize) -> Cost {
        let (global, a) = (self.global.min(n) as f64, self.heads.qkv() as f64);
        let pairs = self.local(n).pairs() + global * n as f64;
        let mut cost = self.heads.cost(n, pairs);
        if self.rows.is_some() {
            cost.flops += self.heads.projections.cost(n).flops / 2.0;
            cost.saved += 2.0 * n as f64 * a;
        }
        cost
    }

    fn support(&self, n: usize) -> Support {
        let global = self.global.min(n);
        let all = Entry { queries: (0..global).into(), keys: vec![((0..n).into(), Rule::All)] };
        Support::Listed(self.local(n).with_entry((global > 0).then_some(all)))
    }
}
