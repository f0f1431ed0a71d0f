//! Tiles of query rows, and what both passes do with one.

use super::Attend;
use crate::ops::cpu::{Mat, MatMut, Real, Shared, gemm, simd};
use crate::random::bits;
use std::ops::Range;

/// Size of a score buffer: half of a usual L2 cache.
const TILE_BYTES: usize = 1 << 19;

/// Sizes of one call: examples, positions, heads, and the width of a head of q and k
/// and of v.
#[derive(Clone, Copy)]
pub(super) struct Dims {
    pub b: usize,
    pub n: usize,
    pub h: usize,
    pub dk: usize,
    pub dv: usize,
}

impl Dims {
    pub(super) fn new(how: &Attend, q: &[usize], v: &[usize]) -> Self {
        let h = how.heads;
        Self { b: q[0], n: q[1], h, dk: q[2] / h, dv: v[2] / h }
    }

    /// Offset of row `i` of a head in a [b, n, h * width] buffer.
    pub(super) fn at(&self, (b, h): (usize, usize), i: usize, width: usize) -> usize {
        (b * self.n + i) * self.h * width + h * width
    }

    /// Offset of row `i` in a [b, h, n] buffer.
    pub(super) fn row(&self, (b, h): (usize, usize), i: usize) -> usize {
        (b * self.h + h) * self.n + i
    }
}

/// Rows of one head of a [b, n, h * width] buffer.
pub(super) fn rows<'a, T>(
    data: &'a [T],
    d: Dims,
    head: (usize, usize),
    range: &Range<usize>,
    width: usize,
) -> Mat<'a, T> {
    Mat::rows(&data[d.at(head, range.start, width)..], range.len(), width, d.h * width)
}

/// The same for writing.
///
/// # Safety
/// No row of this head in the range may be in another view that is alive.
pub(super) unsafe fn rows_mut<'s, T>(
    data: &'s Shared<'_, T>,
    d: Dims,
    head: (usize, usize),
    range: &Range<usize>,
    width: usize,
) -> MatMut<'s, T> {
    // SAFETY: passed on to the caller.
    unsafe { data.view(d.at(head, range.start, width), range.len(), width, d.h * width) }
}

/// A tile of query rows and the keys it sees, up to the example's last valid one.
pub(super) struct Tile {
    pub rows: Range<usize>,
    pub ranges: Vec<Range<usize>>,
    pub keys: usize,
}

impl Tile {
    /// The tiles of an example that hold any valid query and key.
    pub(super) fn of<T>(how: &Attend, example: usize) -> Vec<Self> {
        let end = how.mask.end(example);
        let mut tiles = Vec::new();
        for (queries, ranges) in how.blocks.iter() {
            let clip = |r: &Range<usize>| r.start..r.end.min(end);
            let ranges: Vec<_> = ranges.iter().map(clip).filter(|r| !r.is_empty()).collect();
            let keys: usize = ranges.iter().map(Range::len).sum();
            if keys == 0 {
                continue;
            }
            let last = queries.end.min(end);
            let step = (TILE_BYTES / (size_of::<T>() * keys)).clamp(16, 256);
            for first in (queries.start..last).step_by(step) {
                let rows = first..(first + step).min(last);
                tiles.push(Self { rows, ranges: ranges.clone(), keys });
            }
        }
        tiles
    }

    /// Key ranges with the column each starts at.
    pub(super) fn columns(&self) -> impl Iterator<Item = (usize, &Range<usize>)> {
        self.ranges.iter().scan(0, |next, range| {
            let at = *next;
            *next += range.len();
            Some((at, range))
        })
    }

    /// `s` [rows, keys] = `scale * a bᵀ` with `a` [rows, width] and `b(range)` [len, width].
    pub(super) fn product<'a, T: Real>(
        &self,
        s: &mut [T],
        scale: f64,
        a: Mat<'_, T>,
        b: impl Fn(&Range<usize>) -> Mat<'a, T>,
    ) {
        let s = Shared::new(s);
        for (at, range) in self.columns() {
            // SAFETY: one view at a time.
            let mut out = unsafe { s.view(at, self.rows.len(), range.len(), self.keys) };
            gemm(&mut out, false, T::of(scale), a, b(range).t(), false);
        }
    }

    /// Sets the scores of padded keys to -inf.
    pub(super) fn forbid_padding<T: Real>(&self, s: &mut [T], how: &Attend, example: usize) {
        if how.mask.is_prefix() {
            return; // the ranges end with the example
        }
        let valid = how.mask.row(example);
        let keys = self.ranges.iter().cloned().flatten();
        let padded: Vec<usize> =
            keys.enumerate().filter(|&(_, j)| !valid[j]).map(|(at, _)| at).collect();
        for row in s.chunks_exact_mut(self.keys) {
            padded.iter().for_each(|&at| row[at] = -T::INFINITY);
        }
    }

    /// Multiplies each weight with its dropout mask.
    pub(super) fn drop_weights<T: Real>(&self, p: &mut [T], how: &Attend, head: (usize, usize)) {
        let (drop, n) = (how.dropout, how.mask.n());
        if drop.p == 0.0 {
            return;
        }
        let (lanes, threshold, scale) = (drop.lanes(head.0), drop.threshold(), T::of(drop.scale()));
        for (row, i) in p.chunks_exact_mut(self.keys).zip(self.rows.clone()) {
            // The element's index in the example's [heads, n, n] weights, modulo 2^32.
            let base = ((head.1 * n + i) * n) as u32;
            for (at, range) in self.columns() {
                let first = base.wrapping_add(range.start as u32);
                let part = &mut row[at..at + range.len()];
                simd(
                    #[inline(always)]
                    || {
                        for (c, p) in part.iter_mut().enumerate() {
                            let keep = bits(lanes, first.wrapping_add(c as u32)) >= threshold;
                            *p = if keep { *p * scale } else { T::ZERO };
                        }
                    },
                );
            }
        }
    }
}
