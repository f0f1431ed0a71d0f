//! BigBird (Zaheer et al. 2020, arXiv:2007.14062), section 2 and appendix D: blocks that see
//! their neighbours, a few random blocks, and global blocks or tokens.
//!
//! - `itc`: the first and the last block are global.
//! - `etc`: `tokens` learned tokens in front are global, a CLS position among them.
//!
//! The random graph is drawn once for each layer and head and never again; it is the same in
//! training and evaluation, and has no block that is seen anyway (released implementations
//! have such doubles; with blocks fewer than the pattern needs, fewer are drawn). The last
//! block is that of the example's last token, so padding changes nothing.
//!
//! Cost: `4 n block (3 + random) qkv` FLOPs, and `8 n global qkv`.

use super::{Attention, Build, Cost, Multihead, Projections, Support, Variant};
use crate::config::resolved;
use crate::error::{Error, Result};
use crate::layers::Context;
use crate::ops::attention::{Entry, Part, Rule};
use crate::ops::{Blocks, Mixing};
use crate::random::Key;
use candle_core::Tensor;
use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;

pub(super) const VARIANT: Variant = Variant {
    name: "bigbird",
    title: "BigBird",
    paper: "Zaheer et al. 2020, arXiv:2007.14062",
    summary: "windows of blocks, random blocks and global ones; linear time",
    keys: &[
        ("form", "`itc`: the first and last block are global; `etc`: tokens in front are"),
        ("block", "positions of a block"),
        ("random", "random blocks that each block sees"),
        ("tokens", "global tokens of `etc`, CLS among them"),
    ],
    options: |table| resolved::<Options>("attention", table),
    build: |build| Ok(Box::new(BigBird::new(build)?)),
    front: |table| match crate::config::section("attention", table)? {
        Options { form: Form::Itc, .. } => Ok(0),
        Options { tokens: tokens @ 1..=MOST_TOKENS, .. } => Ok(tokens),
        Options { tokens, .. } => Err(Error::config(
            "attention.tokens",
            format!("expected 1 to {MOST_TOKENS}, got {tokens}"),
        )),
    },
    ..Variant::PLAIN
};

/// More than the paper's 256 by far; they are weights, and all see them.
const MOST_TOKENS: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    Itc,
    Etc,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    form: Form,
    block: usize,
    random: usize,
    tokens: usize,
}

impl Default for Options {
    /// The paper's ITC, which is LRA's; its ETC has 256 tokens for inputs of 4,096.
    fn default() -> Self {
        Self { form: Form::Itc, block: 64, random: 3, tokens: 16 }
    }
}

struct BigBird {
    heads: Multihead,
    options: Options,
    graph: Key,
}

impl BigBird {
    fn new(build: &Build) -> Result<Self> {
        let options: Options = build.options()?;
        build.at_least("block", options.block, 1)?;
        let graph = Key::new(0).named("bigbird").index(build.layer as u64);
        Ok(Self { heads: Multihead::new(build)?, options, graph })
    }

    /// What each block of a sequence with so many valid positions sees in one head.
    fn part(&self, n: usize, head: usize) -> Part {
        let Options { form, block, random, tokens } = self.options;
        let front = if form == Form::Etc { tokens.min(n) } else { 0 };
        let count = (n - front).div_ceil(block);
        let range = |i: usize| front + i * block..(front + (i + 1) * block).min(n);
        let global = |i: usize| form == Form::Itc && (i == 0 || i + 1 == count);
        let row = |queries: Range<usize>, keys: Vec<Range<usize>>| Entry {
            queries: queries.into(),
            keys: keys.into_iter().map(|keys| (keys.into(), Rule::All)).collect(),
        };
        let all = || std::iter::once(0..n).collect();
        let mut part = Part::new();
        if front > 0 {
            part.push(row(0..front, all()));
        }
        for i in 0..count {
            if global(i) {
                part.push(row(range(i), all()));
                continue;
            }
            let mut seen: Vec<usize> =
                (0..count).filter(|&j| global(j) || i.abs_diff(j) <= 1).collect();
            let mut legal: Vec<usize> = (0..count).filter(|j| !seen.contains(j)).collect();
            let mut rng = self.graph.index(head as u64).index(i as u64).stream();
            for _ in 0..random.min(legal.len()) {
                seen.push(legal.swap_remove(rng.random_range(0..legal.len())));
            }
            seen.sort_unstable();
            let mut keys: Vec<Range<usize>> = std::iter::once(0..front).collect();
            for range in seen.into_iter().map(range) {
                match keys.last_mut() {
                    Some(last) if last.end == range.start => last.end = range.end,
                    _ => keys.push(range),
                }
            }
            keys.retain(|keys| !keys.is_empty());
            part.push(row(range(i), keys));
        }
        part
    }

    /// A list for each example, whose last block is where its tokens end, and head.
    fn blocks(&self, n: usize, ends: impl Iterator<Item = usize>) -> Blocks {
        let (heads, ends) = (self.heads.heads, ends.collect::<Vec<_>>());
        // Examples that end alike see alike.
        let mut distinct = ends.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let of = |&end: &usize| (0..heads).map(|head| vec![self.part(end, head)]).collect();
        let lists: Vec<Vec<Vec<Part>>> = distinct.par_iter().map(of).collect();
        let at = |end| distinct.partition_point(|&other| other < end);
        let all = ends.into_iter().flat_map(|end| lists[at(end)].iter().cloned());
        Blocks::each(n, n, heads, all.collect())
    }

    /// The blocks of a batch.
    fn of(&self, cx: &Context) -> Blocks {
        self.blocks(cx.mask.n(), (0..cx.mask.batch()).map(|example| cx.mask.end(example)))
    }
}

impl Attention for BigBird {
    fn forward(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        self.heads.attend(x, self.of(cx), cx)
    }

    fn mixing(&self, cx: &Context) -> Option<candle_core::Result<(&Projections, Mixing)>> {
        self.heads.mixing(self.of(cx), cx)
    }

    fn cost(&self, n: usize) -> Cost {
        self.heads.cost(n, self.blocks(n, std::iter::once(n)).pairs())
            + self.heads.projections.as_one_op(n)
    }

    fn support(&self, n: usize) -> Support {
        Support::Listed(self.blocks(n, std::iter::once(n)))
    }
}
