//! Lists of blocks as kernels take them: tiles of rows, and for each the tiles of 64 columns that
//! it goes through. Forward, and for the slope of the queries, rows are queries; for those
//! of keys and values, rows are keys, which different entries may cut differently: their tiles
//! lie on a grid of their own for each step that spans have.

use crate::ops::attention::{Blocks, Part, Rule, Span};
use candle_core::{Device, Result, Tensor};
use std::collections::{BTreeMap, HashMap};

/// Columns of a tile.
const SIDE: usize = 64;

/// `Rows` and `Cols` of kernels/attention.cu.
const ROWS: usize = 5;
const COLS: usize = 8;
type Cols = [i32; COLS];

/// On the device: rows, columns, and where the rows of each list begin and end.
pub(super) struct Lists {
    pub rows: Tensor,
    pub cols: Tensor,
    pub starts: Tensor,
    /// Rows of the longest list.
    pub most: usize,
}

#[derive(Default)]
struct Builder {
    rows: Vec<u32>,
    cols: Vec<u32>,
    starts: Vec<u32>,
    /// Where the rows of the list that is being made begin.
    begun: u32,
    /// Where each sequence of columns is.
    known: HashMap<Vec<Cols>, (u32, u32)>,
}

impl Builder {
    fn push(&mut self, span: Span, cols: Vec<Cols>) {
        let (first, last) = *self.known.entry(cols).or_insert_with_key(|cols| {
            let first = (self.cols.len() / COLS) as u32;
            self.cols.extend(cols.iter().flatten().map(|&x| x as u32));
            (first, first + cols.len() as u32)
        });
        let [start, step, len] = [span.start, span.step, span.len].map(|x| x as u32);
        self.rows.extend([start, step, len, first, last]);
    }

    /// Ends a list.
    fn next_list(&mut self) {
        let end = (self.rows.len() / ROWS) as u32;
        self.starts.extend([self.begun, end]);
        self.begun = end;
    }

    /// A list like one before.
    fn same_list(&mut self, before: usize) {
        self.starts.extend_from_within(2 * before..2 * before + 2);
    }

    fn finish(self, device: &Device) -> Result<Lists> {
        let most = self.starts.chunks(2).map(|list| list[1] - list[0]).max().unwrap_or(0) as usize;
        let tensor = |mut x: Vec<u32>| {
            // A tensor without elements has no address.
            x.resize(x.len().max(1), 0);
            let count = x.len();
            Tensor::from_vec(x, count, device)
        };
        let (rows, cols, starts) = (tensor(self.rows)?, tensor(self.cols)?, tensor(self.starts)?);
        Ok(Lists { rows, cols, starts, most })
    }
}

/// Pieces of at most so many places.
fn pieces(span: Span, most: usize) -> impl Iterator<Item = Span> + Clone {
    let piece = move |first| Span::new(span.at(first), most.min(span.len - first), span.step);
    (0..span.len).step_by(most).map(piece)
}

/// Whether any of these queries sees any of these keys.
fn meet(queries: Span, keys: Span, rule: Rule) -> bool {
    if queries.len == 0 || keys.len == 0 {
        return false;
    }
    let Rule::Within(first, last) = rule else { return true };
    let ends = |span: Span| (span.start as isize, span.at(span.len - 1) as isize);
    let ((q, q_end), (k, k_end)) = (ends(queries), ends(keys));
    k - q_end <= last && k_end - q >= first
}

fn cols(span: Span, rule: Rule, (from, to): (usize, usize)) -> Cols {
    let clamp = |x: isize| x.clamp(i32::MIN as isize, i32::MAX as isize) as i32;
    let (kind, low, high) = match rule {
        Rule::All => (0, 0, 0),
        Rule::Within(low, high) => (1, clamp(low), clamp(high)),
        Rule::Beyond(low, high) => (2, clamp(low), clamp(high)),
        Rule::OthersFirst => (3, 0, 0),
    };
    let [start, step, len] = [span.start, span.step, span.len].map(|x| x as i32);
    [start, step, len, kind, low, high, from as i32, to as i32]
}

/// The parts of a round, one for each list.
fn parts(blocks: &Blocks, round: usize) -> impl Iterator<Item = &[crate::ops::attention::Entry]> {
    blocks.lists().iter().map(move |list| list.get(round).map_or(&[][..], Part::as_slice))
}

/// A list before the one at this place that is the same, among the nearest: the same head of
/// the example before, as a rule.
fn alike(blocks: &Blocks, round: usize, at: usize) -> Option<usize> {
    const NEAR: usize = 16;
    let lists = blocks.lists();
    let part = lists[at].get(round);
    (at.saturating_sub(NEAR)..at).rev().find(|&before| lists[before].get(round) == part)
}

/// Rows are queries, `side` of them to a tile.
pub(super) fn by_query(
    blocks: &Blocks,
    round: usize,
    side: usize,
    device: &Device,
) -> Result<Lists> {
    let mut builder = Builder::default();
    for (at, part) in parts(blocks, round).enumerate() {
        if let Some(before) = alike(blocks, round, at) {
            builder.same_list(before);
            continue;
        }
        for entry in part {
            for queries in pieces(entry.queries, side) {
                let keys = entry
                    .keys
                    .iter()
                    .flat_map(|&(span, rule)| pieces(span, SIDE).map(move |keys| (keys, rule)));
                let seen = keys.filter(|&(keys, rule)| meet(queries, keys, rule));
                builder.push(queries, seen.map(|(k, rule)| cols(k, rule, (0, side))).collect());
            }
        }
        builder.next_list();
    }
    builder.finish(device)
}

/// Rows are keys, 64 of them to a tile: lists for each step of the keys' spans. The rows of one
/// are disjoint.
pub(super) fn by_key(blocks: &Blocks, round: usize, device: &Device) -> Result<Vec<Lists>> {
    let side = SIDE;
    let spans = parts(blocks, round).flatten().flat_map(|entry| &entry.keys);
    let mut steps: Vec<usize> = spans.map(|(span, _)| span.step).collect();
    steps.sort_unstable();
    steps.dedup();
    let of_step = |step: usize| {
        let mut builder = Builder::default();
        for (at, part) in parts(blocks, round).enumerate() {
            if let Some(before) = alike(blocks, round, at) {
                builder.same_list(before);
                continue;
            }
            let mut tiles: BTreeMap<(usize, usize), Vec<Cols>> = BTreeMap::new();
            for entry in part {
                for &(span, rule) in entry.keys.iter().filter(|(span, _)| span.step == step) {
                    let (class, first) = (span.start % step, span.start / step);
                    let last = first + span.len;
                    for tile in first / side..last.div_ceil(side) {
                        let (from, to) = (first.max(tile * side), last.min((tile + 1) * side));
                        let keys = Span::new(class + from * step, to - from, step);
                        let range = (from - tile * side, to - tile * side);
                        let seeing = pieces(entry.queries, SIDE).filter(|&q| meet(q, keys, rule));
                        let seeing = seeing.map(|queries| cols(queries, rule, range));
                        tiles.entry((class, tile)).or_default().extend(seeing);
                    }
                }
            }
            for ((class, tile), seeing) in tiles {
                let start = class + tile * side * step;
                let len = side.min((blocks.m() - start).div_ceil(step));
                builder.push(Span::new(start, len, step), seeing);
            }
            builder.next_list();
        }
        builder.finish(device)
    };
    steps.into_iter().map(of_step).collect()
}
