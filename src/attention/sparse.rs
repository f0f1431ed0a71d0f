//! Sparse Transformer (Child et al. 2019, arXiv:1904.10509), section 4.3: two patterns that
//! together connect every pair of positions in two steps.
//!
//! - `strided`: the window `|i - j| < l`, and the positions a multiple of l away.
//! - `fixed`: the own block of l positions, and the last c positions of every block.
//!
//! They are combined in one softmax (`merged`), by turns of the layers (`layers`), or by
//! turns of the heads (`heads`). The paper's are causal; an encoder's are not, unless
//! `causal` is set, which is what LRA's released code runs.
//!
//! Cost: `4 n (l + n/l) qkv` FLOPs (strided) or `4 n (l + c n/l) qkv` (fixed).

use super::{Attention, Build, Cost, Multihead, Projections, Support, Variant};
use crate::config::resolved;
use crate::error::Result;
use crate::layers::Context;
use crate::ops::attention::{Entry, Part, Rule, Span, blocks};
use crate::ops::{Blocks, Mixing};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

pub(super) const VARIANT: Variant = Variant {
    name: "sparse-transformer",
    title: "Sparse Transformer",
    paper: "Child et al. 2019, arXiv:1904.10509",
    summary: "strided or fixed patterns of about sqrt(n) keys; n sqrt(n) time at stride sqrt(n)",
    keys: &[
        ("pattern", "`fixed` or `strided`"),
        ("stride", "l: positions of a block or window, and the step between columns"),
        ("summary", "c: positions at a block's end that all see, of `fixed` alone"),
        ("combine", "`merged`, `layers` or `heads`: where the two patterns meet"),
        ("causal", "whether a position sees none after it"),
    ],
    options: |table| resolved::<Options>("attention", table),
    build: |build| Ok(Box::new(Sparse::new(build)?)),
    ..Variant::PLAIN
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Pattern {
    Fixed,
    Strided,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Combine {
    Merged,
    Layers,
    Heads,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    pattern: Pattern,
    stride: usize,
    summary: usize,
    combine: Combine,
    causal: bool,
}

impl Default for Options {
    /// What LRA's released code runs, but for the causal mask.
    fn default() -> Self {
        let (pattern, combine) = (Pattern::Fixed, Combine::Merged);
        Self { pattern, stride: 50, summary: 10, combine, causal: false }
    }
}

struct Sparse {
    heads: Multihead,
    options: Options,
    layer: usize,
}

impl Sparse {
    fn new(build: &Build) -> Result<Self> {
        let options: Options = build.options()?;
        build.at_least("stride", options.stride, 1)?;
        build.between("summary", options.summary, 1, options.stride)?;
        Ok(Self { heads: Multihead::new(build)?, options, layer: build.layer })
    }

    fn blocks(&self, n: usize) -> Blocks {
        let alone = |i: usize| vec![self.alone(n, i % 2)];
        match self.options.combine {
            Combine::Merged => Blocks::new(n, n, self.merged(n)),
            Combine::Layers => Blocks::new(n, n, alone(self.layer)),
            Combine::Heads => Blocks::per_head(n, n, (0..self.heads.heads).map(alone).collect()),
        }
    }

    /// No later than the query, where that is asked for.
    fn order(&self) -> Rule {
        if self.options.causal { Rule::Within(isize::MIN, 0) } else { Rule::All }
    }

    /// The first pattern or the second.
    fn alone(&self, n: usize, which: usize) -> Part {
        match (self.options.pattern, which) {
            (Pattern::Strided, 0) => self.window(n),
            (Pattern::Strided, _) => self.columns(n, self.order()),
            (Pattern::Fixed, 0) => blocks(n, self.options.stride)
                .map(|block| Entry {
                    queries: block.clone().into(),
                    keys: vec![(block.into(), self.order())],
                })
                .collect(),
            (Pattern::Fixed, _) => {
                vec![Entry { queries: (0..n).into(), keys: self.summaries(n).collect() }]
            }
        }
    }

    fn merged(&self, n: usize) -> Vec<Part> {
        let (l, c) = (self.options.stride, self.options.summary);
        match self.options.pattern {
            Pattern::Strided => {
                // Of the column, what the window does not have.
                let near = l as isize - 1;
                let far = match self.options.causal {
                    true => Rule::Within(isize::MIN, -near - 1),
                    false => Rule::Beyond(-near, near),
                };
                vec![self.window(n), self.columns(n, far)]
            }
            Pattern::Fixed => {
                let entry = |block: std::ops::Range<usize>| {
                    let own = block.start..(block.start + l - c).min(n);
                    let own = (!own.is_empty()).then(|| (own.into(), self.order()));
                    let keys = own.into_iter().chain(self.summaries(n)).collect();
                    Entry { queries: block.into(), keys }
                };
                vec![blocks(n, l).map(entry).collect()]
            }
        }
    }

    fn window(&self, n: usize) -> Part {
        let l = self.options.stride;
        let near = l as isize - 1;
        let rule = Rule::Within(-near, if self.options.causal { 0 } else { near });
        let entry = |block: std::ops::Range<usize>| {
            let around = (block.start + 1).saturating_sub(l)..(block.end + l - 1).min(n);
            Entry { queries: block.into(), keys: vec![(around.into(), rule)] }
        };
        blocks(n, l).map(entry).collect()
    }

    /// Positions a multiple of the stride apart.
    fn columns(&self, n: usize, rule: Rule) -> Part {
        let l = self.options.stride;
        let column = |r: usize| Span::new(r, (n - r).div_ceil(l), l);
        let entry = |r| Entry { queries: column(r), keys: vec![(column(r), rule)] };
        (0..l.min(n)).map(entry).collect()
    }

    /// The last positions of every block, a list for each place in the block.
    fn summaries(&self, n: usize) -> impl Iterator<Item = (Span, Rule)> {
        let (l, c, rule) = (self.options.stride, self.options.summary, self.order());
        (l - c..l.min(n)).map(move |r| (Span::new(r, (n - r).div_ceil(l), l), rule))
    }
}

impl Attention for Sparse {
    fn forward(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        self.heads.attend(x, self.blocks(cx.mask.n()), cx)
    }

    fn mixing(&self, cx: &Context) -> Option<candle_core::Result<(&Projections, Mixing)>> {
        self.heads.mixing(self.blocks(cx.mask.n()), cx)
    }

    fn cost(&self, n: usize) -> Cost {
        self.heads.cost(n, self.blocks(n).pairs()) + self.heads.projections.as_one_op(n)
    }

    fn support(&self, n: usize) -> Support {
        Support::Listed(self.blocks(n))
    }
}
