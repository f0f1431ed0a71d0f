//! Tiles of query rows, and the scores both passes compute of one.

use super::extra::{Offsets, Terms};
use super::operands::{Dims, Head, Operand, Places, Slope};
use super::pattern::{LAST_RESORT, Part, Rule, Span};
use super::{Attend, Order};
use crate::ops::cpu::{Mat, MatMut, Real, Shared, apart, gemm, simd};
use crate::random::bits;

/// Size of a score buffer: half of a usual L2 cache.
const TILE_BYTES: usize = 1 << 19;

/// The operands of one call. Scores are made of q and k, of something extra, or of both.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a, T> {
    pub d: Dims,
    pub dot: Option<(Operand<'a, T>, Operand<'a, T>)>,
    pub v: Operand<'a, T>,
    pub extra: Option<Terms<'a, T>>,
}

/// Keys of a tile: the first column they have, their places, and the rule they are under.
#[derive(Clone)]
pub(super) struct Columns<'a> {
    pub at: usize,
    pub places: Places<'a>,
    pub rule: Rule,
}

/// A tile of query rows and the keys it sees, up to the example's last valid one.
pub(super) struct Tile<'a> {
    pub rows: Places<'a>,
    pub columns: Vec<Columns<'a>>,
    /// Number of all columns.
    pub keys: usize,
    /// Values from row to row in a buffer of scores.
    pub stride: usize,
}

impl<'a> Tile<'a> {
    /// The tiles of a part, for one example and head, that hold any valid query and key.
    pub(super) fn of<T>(how: &'a Attend, round: usize, part: &'a Part, head: Head) -> Vec<Self> {
        let order = how.blocks.order().map(|order: &Order| order.row(round, head.0, head.1));
        let (end, keys_end) = match order {
            // Lists over an order leave padding out themselves.
            Some(_) => (usize::MAX, usize::MAX),
            None => (how.mask.end(head.0), how.keys.end(head.0)),
        };
        let mut tiles = Vec::new();
        for entry in part {
            let mut keys = 0;
            let spans = entry.keys.iter().map(|&(span, rule)| (span.before(keys_end), rule));
            let columns = spans.filter(|(span, _)| span.len > 0).map(|(span, rule)| {
                keys += span.len;
                Columns { at: keys - span.len, places: Places { span, order }, rule }
            });
            let columns: Vec<_> = columns.collect();
            if keys == 0 {
                continue;
            }
            let queries = entry.queries.before(end);
            let step = (TILE_BYTES / (size_of::<T>() * keys)).clamp(16, 256);
            for first in (0..queries.len).step_by(step) {
                let span = queries.part(first, step.min(queries.len - first));
                let rows = Places { span, order };
                let stride = apart::<T>(keys);
                tiles.push(Self { rows, columns: columns.clone(), keys, stride });
            }
        }
        tiles
    }

    /// Whether these tiles of a head see each of its keys twice on average, so that keys laid out
    /// for their products are paid back. Keys in an order are collected for each tile anyway.
    pub(super) fn see_often<'t>(how: &Attend, tiles: impl Iterator<Item = &'t Self>) -> bool
    where
        'a: 't,
    {
        how.blocks.order().is_none()
            && tiles.map(|tile| tile.keys).sum::<usize>() >= 2 * how.keys.n()
    }

    /// The rows of a buffer of scores.
    pub(super) fn rows_of<'s, T>(&self, s: &'s [T]) -> impl Iterator<Item = &'s [T]> + use<'s, T> {
        let keys = self.keys;
        s.chunks_exact(self.stride).map(move |row| &row[..keys])
    }

    pub(super) fn rows_mut<'s, T>(
        &self,
        s: &'s mut [T],
    ) -> impl Iterator<Item = &'s mut [T]> + use<'s, T> {
        let keys = self.keys;
        s.chunks_exact_mut(self.stride).map(move |row| &mut row[..keys])
    }

    /// Scores from column `at` on, `keys` of them.
    pub(super) fn part<'s, T>(&self, s: &'s [T], at: usize, keys: usize) -> Mat<'s, T> {
        Mat::rows(&s[at..], self.rows.len(), keys, self.stride)
    }

    /// Whether rows of the keys are collected for one product, instead of a product for each
    /// list: where they are not in place anyway, or the lists are many and short.
    fn collects(&self) -> bool {
        self.columns.iter().any(|c| c.places.order.is_some())
            || (self.columns.len() > 1 && self.keys < 256 * self.columns.len())
    }

    /// The keys' rows of `x`, in pieces: the first column of a piece, and its rows.
    pub(super) fn pieces<'s, T: Real>(
        &'s self,
        x: &Operand<'s, T>,
        head: Head,
        scratch: &'s mut Vec<T>,
    ) -> Vec<(usize, Mat<'s, T>)> {
        let width = x.field.width;
        if self.collects() {
            scratch.clear();
            for columns in &self.columns {
                x.collect(head, columns.places, scratch);
            }
            return vec![(0, Mat::rows(scratch, self.keys, width, width))];
        }
        self.columns.iter().map(|c| (c.at, x.in_place(head, c.places.span))).collect()
    }

    /// Adds `scale * aᵀ b` to the keys' rows of `to`, with `a` [rows, keys] and `b` [rows,
    /// width].
    ///
    /// # Safety
    /// No other task may touch these rows of this head.
    pub(super) unsafe fn add<T: Real>(
        &self,
        to: &Slope<'_, T>,
        head: Head,
        scale: T,
        (a, b): (&[T], Mat<'_, T>),
        scratch: &mut Vec<T>,
    ) {
        let width = to.field.width;
        if !self.collects() {
            for c in &self.columns {
                let a = self.part(a, c.at, c.places.len()).t();
                // SAFETY: passed on to the caller.
                unsafe { to.add(head, c.places, scale, (a, b), scratch) };
            }
            return;
        }
        scratch.resize(self.keys * width, T::ZERO);
        let mut product = MatMut::rows(scratch, self.keys, width, width);
        gemm(&mut product, false, scale, self.part(a, 0, self.keys).t(), b);
        for c in &self.columns {
            let add = &scratch[c.at * width..][..c.places.len() * width];
            // SAFETY: passed on to the caller.
            unsafe { to.scatter(head, c.places, add) };
        }
    }

    /// `s` [rows, keys] = `scale * a bᵀ` with `a` [rows, width] and rows of `b`, or columns of
    /// the same turned, [width, m].
    pub(super) fn product<T: Real>(
        &self,
        s: &mut [T],
        scale: f64,
        a: Mat<'_, T>,
        (b, turned): (&Operand<'_, T>, Option<Mat<'_, T>>),
        head: Head,
        scratch: &mut Vec<T>,
    ) {
        let pieces = match turned {
            Some(turned) => self.turned_pieces(turned, scratch),
            None => {
                let pieces = self.pieces(b, head, scratch).into_iter();
                pieces.map(|(at, b)| (at, b.t())).collect()
            }
        };
        let s = Shared::new(s);
        for (at, b) in pieces {
            // SAFETY: one view at a time.
            let mut out = unsafe { s.view(at, self.rows.len(), b.cols(), self.stride) };
            gemm(&mut out, false, T::of(scale), a, b);
        }
    }

    /// As `pieces`, of an operand's head that was turned.
    fn turned_pieces<'s, T: Real>(
        &'s self,
        turned: Mat<'s, T>,
        scratch: &'s mut Vec<T>,
    ) -> Vec<(usize, Mat<'s, T>)> {
        let spans = self.columns.iter().map(|c| (c.at, c.places.span));
        if !self.collects() {
            let piece = |Span { start, len, step }| turned.every(start, len, step);
            return spans.map(|(at, span)| (at, piece(span))).collect();
        }
        let width = turned.count();
        scratch.clear();
        for row in (0..width).map(|i| turned.row(i)) {
            for (_, Span { start, len, step }) in spans.clone() {
                match step {
                    1 => scratch.extend_from_slice(&row[start..start + len]),
                    _ => scratch.extend(row[start..].iter().step_by(step).take(len)),
                }
            }
        }
        vec![(0, Mat::rows(scratch, width, self.keys, self.keys))]
    }

    /// Fills `s` [rows, keys] with the scores; those of pairs that do not count are -inf. Keys
    /// may be given turned, too.
    pub(super) fn scores<T: Real>(
        &self,
        s: &mut Vec<T>,
        how: &Attend,
        x: &Operands<'_, T>,
        (head, turned): (Head, Option<Mat<'_, T>>),
        [rows, columns]: [&mut Vec<T>; 2],
        offsets: &mut Offsets<T>,
    ) {
        s.resize(self.rows.len() * self.stride, T::ZERO);
        let q = match &x.dot {
            Some((q, k)) => {
                let q = q.rows(head, self.rows, rows);
                self.product(s, how.scale, q, (k, turned), head, columns);
                q
            }
            None => {
                s.fill(T::ZERO);
                Mat::rows(&[], 0, 0, 0)
            }
        };
        if let Some(terms) = &x.extra {
            terms.add(s, self, q, how.scale, head, offsets);
        }
        self.forbid(s, how, head.0);
    }

    /// Sets the scores of padded keys and of pairs against a rule to -inf.
    fn forbid<T: Real>(&self, s: &mut [T], how: &Attend, example: usize) {
        for Columns { at, places, rule } in &self.columns {
            let span = places.span;
            for (r, row) in self.rows_mut(s).enumerate() {
                let (i, row) = (self.rows.span.at(r), &mut row[*at..][..span.len]);
                // The columns whose places lie in i + first ..= i + last.
                let inside = |first: isize, last: isize| {
                    let count = |end: isize| span.before(end.max(0) as usize).len;
                    let first = (i as isize).saturating_add(first);
                    let last = (i as isize).saturating_add(last).saturating_add(1);
                    let from = count(first);
                    from..count(last).max(from)
                };
                match *rule {
                    Rule::All => {}
                    Rule::Within(first, last) => {
                        let inside = inside(first, last);
                        row[..inside.start].fill(-T::INFINITY);
                        row[inside.end..].fill(-T::INFINITY);
                    }
                    Rule::Beyond(first, last) => row[inside(first, last)].fill(-T::INFINITY),
                    Rule::OthersFirst => {
                        for x in &mut row[inside(0, 0)] {
                            *x -= T::of(LAST_RESORT);
                        }
                    }
                }
            }
            if !how.keys.is_prefix() && places.order.is_none() {
                let valid = how.keys.row(example);
                for (c, _) in span.iter().enumerate().filter(|&(_, j)| !valid[j]) {
                    s.iter_mut().skip(at + c).step_by(self.stride).for_each(|x| *x = -T::INFINITY);
                }
            }
        }
    }

    /// Fills `factors` [keys] with what dropout multiplies the weights of row `r` with; false if
    /// it leaves all as they are.
    pub(super) fn kept<T: Real>(
        &self,
        factors: &mut Vec<T>,
        r: usize,
        how: &Attend,
        head: Head,
    ) -> bool {
        let (drop, n, m) = (how.dropout, how.mask.n(), how.keys.n());
        if drop.p == 0.0 {
            return false;
        }
        let (lanes, threshold, scale) = (drop.lanes(head.0), drop.threshold(), T::of(drop.scale()));
        // The element's index in the example's [heads, n, m] weights, modulo 2^32.
        let base = ((head.1 * n + self.rows.position(r)) * m) as u32;
        factors.resize(self.keys, T::ZERO);
        for Columns { at, places, .. } in &self.columns {
            let part = &mut factors[*at..][..places.len()];
            let Span { start, len, step } = places.span;
            match places.order {
                None => simd(
                    #[inline(always)]
                    move || {
                        for (c, factor) in part.iter_mut().enumerate() {
                            let j = (start as u32).wrapping_add((c * step) as u32);
                            let keep = bits(lanes, base.wrapping_add(j)) >= threshold;
                            *factor = if keep { scale } else { T::ZERO };
                        }
                    },
                ),
                Some(order) => {
                    let gaps: Vec<u32>;
                    let order = match step {
                        1 => &order[start..start + len],
                        _ => {
                            gaps = (0..len).map(|c| places.position(c) as u32).collect();
                            &gaps
                        }
                    };
                    simd(
                        #[inline(always)]
                        move || {
                            for (factor, &j) in part.iter_mut().zip(order) {
                                let keep = bits(lanes, base.wrapping_add(j)) >= threshold;
                                *factor = if keep { scale } else { T::ZERO };
                            }
                        },
                    );
                }
            }
        }
        true
    }
}
