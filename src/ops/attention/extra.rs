//! What scores have besides `scale q . k`: a term for each pair, key or distance.

use super::operands::{Head, Operand, Slope};
use super::tiles::{Columns, Tile};
use crate::ops::cpu::{Mat, MatMut, Real, gemm, simd};

/// How the extra operand enters the scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// `e_ij` of a [b or 1, heads, n, m] operand, not scaled.
    Pairs,
    /// `e_j` of a [b or 1, m, heads] operand, not scaled.
    Keys,
    /// `scale (q_i . r_p + c_p)` with `p = zero + i - (j mod n)`, of a [1, distances,
    /// heads * (width + 1)] operand whose head has r in its first columns and c in its last.
    /// Keys beyond n are copies of the n positions. Places have no step and no order.
    Distances { zero: usize },
}

/// The extra operand of a call over `n` queries.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a, T> {
    pub kind: Extra,
    pub x: Operand<'a, T>,
    pub n: usize,
}

/// Buffers of the distances' term.
#[derive(Default)]
pub(super) struct Offsets<T> {
    /// A value for each query and distance of a tile.
    products: Vec<T>,
    constants: Vec<T>,
}

/// The distances at which a tile's rows meet some of its columns: row r and column c at
/// `first + r + keys - 1 - c`, `count` in all.
struct Met {
    first: usize,
    keys: usize,
    count: usize,
}

impl Met {
    fn new(tile: &Tile, columns: &Columns, zero: usize, n: usize) -> Self {
        let (i, j, keys) =
            (tile.rows.span.start, columns.places.span.start % n, columns.places.len());
        Self { first: zero + i + 1 - (j + keys), keys, count: tile.rows.len() + keys - 1 }
    }
}

impl<'a, T: Real> Terms<'a, T> {
    /// r of these distances, [count, width].
    fn positions(&self, head: Head, met: &Met) -> Mat<'a, T> {
        let field = self.x.field;
        let data = &self.x.data[field.at(head, met.first)..];
        Mat::rows(data, met.count, field.width - 1, field.row)
    }

    /// Adds the terms to the scores [rows, keys] of a tile whose queries are `q`.
    pub(super) fn add(
        &self,
        s: &mut [T],
        tile: &Tile,
        q: Mat<'_, T>,
        scale: f64,
        head: Head,
        offsets: &mut Offsets<T>,
    ) {
        for columns in &tile.columns {
            let (at, keys) = (columns.at, columns.places.len());
            let rows = tile.rows_mut(s).map(|row| &mut row[at..][..keys]);
            match self.kind {
                Extra::Pairs => {
                    for (r, row) in rows.enumerate() {
                        let terms = self.x.row(head, tile.rows.position(r));
                        match columns.places.side_by_side() {
                            Some(places) => {
                                row.iter_mut().zip(&terms[places]).for_each(|(s, &x)| *s += x);
                            }
                            None => {
                                for (c, s) in row.iter_mut().enumerate() {
                                    *s += terms[columns.places.position(c)];
                                }
                            }
                        }
                    }
                }
                Extra::Keys => {
                    let constants = &mut offsets.constants;
                    constants.clear();
                    let term = |c| self.x.row(head, columns.places.position(c))[0];
                    constants.extend((0..keys).map(term));
                    for row in rows {
                        row.iter_mut().zip(&*constants).for_each(|(s, &c)| *s += c);
                    }
                }
                Extra::Distances { zero } => {
                    let met = Met::new(tile, columns, zero, self.n);
                    let Offsets { products, constants } = &mut *offsets;
                    products.resize(tile.rows.len() * met.count, T::ZERO);
                    let mut out = MatMut::rows(products, tile.rows.len(), met.count, met.count);
                    gemm(&mut out, false, T::of(scale), q, self.positions(head, &met).t());
                    let last = self.x.field.width - 1;
                    let constant = |p| T::of(scale) * self.x.row(head, p)[last];
                    constants.clear();
                    constants.extend((met.first..met.first + met.count).map(constant));
                    for (r, row) in rows.enumerate() {
                        let products = &products[r * met.count + r..][..met.keys];
                        let constants = &constants[r..][..met.keys];
                        simd(
                            #[inline(always)]
                            move || {
                                let terms = products.iter().zip(constants).rev();
                                row.iter_mut().zip(terms).for_each(|(s, (&p, &c))| *s += p + c);
                            },
                        );
                    }
                }
            }
        }
    }

    /// Adds the gradients of the terms, and through them of the queries, from the scores'
    /// `ds` [rows, keys].
    ///
    /// # Safety
    /// No other task may touch the rows of this head that the tile touches.
    #[allow(clippy::too_many_arguments, reason = "what the forward pass has, and two slopes")]
    pub(super) unsafe fn backward(
        &self,
        ds: &[T],
        tile: &Tile,
        q: Mat<'_, T>,
        scale: f64,
        head: Head,
        offsets: &mut Offsets<T>,
        (dx, dq): (&Slope<'_, T>, Option<&Slope<'_, T>>),
    ) {
        for columns in &tile.columns {
            let (at, keys) = (columns.at, columns.places.len());
            let rows = tile.rows_of(ds).map(|row| &row[at..][..keys]);
            match self.kind {
                Extra::Pairs => {
                    for (r, row) in rows.enumerate() {
                        // SAFETY: passed on to the caller.
                        let mut terms = unsafe { dx.row(head, tile.rows.position(r)) };
                        let terms = terms.row_mut(0);
                        match columns.places.side_by_side() {
                            Some(places) => {
                                terms[places].iter_mut().zip(row).for_each(|(to, &ds)| *to += ds);
                            }
                            None => {
                                for (c, &ds) in row.iter().enumerate() {
                                    terms[columns.places.position(c)] += ds;
                                }
                            }
                        }
                    }
                }
                Extra::Keys => {
                    let sums = &mut offsets.constants;
                    sums.clear();
                    sums.resize(keys, T::ZERO);
                    for row in rows {
                        sums.iter_mut().zip(row).for_each(|(sum, &ds)| *sum += ds);
                    }
                    for (c, &sum) in sums.iter().enumerate() {
                        // SAFETY: passed on to the caller.
                        let mut term = unsafe { dx.row(head, columns.places.position(c)) };
                        term.row_mut(0)[0] += sum;
                    }
                }
                Extra::Distances { zero } => {
                    let met = Met::new(tile, columns, zero, self.n);
                    let (count, scale) = (met.count, T::of(scale));
                    let products = &mut offsets.products;
                    products.clear();
                    products.resize(tile.rows.len() * count, T::ZERO);
                    for (r, row) in rows.enumerate() {
                        let met = &mut products[r * count + r..][..keys];
                        simd(
                            #[inline(always)]
                            move || met.iter_mut().rev().zip(row).for_each(|(to, &ds)| *to = ds),
                        );
                    }
                    let by_distance = Mat::rows(products, tile.rows.len(), count, count);
                    let positions = self.positions(head, &met);
                    if let Some(dq) = dq {
                        let product = (by_distance, positions);
                        // SAFETY: passed on to the caller; places have no order.
                        unsafe { dq.add(head, tile.rows, scale, product, &mut Vec::new()) };
                    }
                    let (start, width) = (dx.field.at(head, met.first), dx.field.width - 1);
                    // SAFETY: passed on to the caller; the last column is written below.
                    let mut dr = unsafe { dx.data.view(start, count, width, dx.field.row) };
                    gemm(&mut dr, true, scale, by_distance.t(), q);
                    let sums = &mut offsets.constants;
                    sums.clear();
                    sums.resize(count, T::ZERO);
                    for row in products.chunks_exact(count) {
                        let sums = &mut *sums;
                        simd(
                            #[inline(always)]
                            move || sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x),
                        );
                    }
                    for (p, &sum) in sums.iter().enumerate() {
                        // SAFETY: as above.
                        let mut row = unsafe { dx.row(head, met.first + p) };
                        row.row_mut(0)[width] += scale * sum;
                    }
                }
            }
        }
    }
}
