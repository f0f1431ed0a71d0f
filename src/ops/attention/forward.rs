//! Forward pass: one task per tile, part after part. What a query has from earlier parts is
//! merged with what it has from the next by their log-sum-exps.

use super::Attend;
use super::operands::{Field, Head, Slope};
use super::tiles::{Operands, Tile};
use crate::ops::cpu::{Mat, MatMut, Real, Shared, gemm, laid, simd, spread, turned, zeros};
use rayon::prelude::*;

/// Buffers of one thread.
#[derive(Default)]
pub(super) struct Scratch<T> {
    pub p: Vec<T>,
    pub ds: Vec<T>,
    pub out: Vec<T>,
    pub rows: Vec<T>,
    pub columns: Vec<T>,
    /// Of a row, what dropout multiplies its weights with.
    pub kept: Vec<T>,
    /// Keys and values of a head, turned.
    pub turned: [Vec<T>; 2],
    pub offsets: super::extra::Offsets<T>,
}

/// The output [b, n, h * dv] and the log-sum-exp of each row [b, h, n]; +inf for a row
/// without keys, which gives weights of zero in the backward pass.
pub(super) fn forward<T: Real>(how: &Attend, x: &Operands<'_, T>) -> (Vec<T>, Vec<f64>) {
    let d = x.d;
    let mut out = zeros(d.b * d.n * d.h * d.dv);
    let mut lse = vec![f64::NEG_INFINITY; d.b * d.h * d.n];
    let heads: Vec<Head> = (0..d.b).flat_map(|b| (0..d.h).map(move |h| (b, h))).collect();
    for round in 0..how.blocks.rounds() {
        let (outs, lses) = (Shared::new(&mut out), Shared::new(&mut lse));
        let field = Field::new(0, d.dv, d.h * d.dv, d.n, d.b);
        let outs = Slope { data: &outs, field };
        let tiles = |&head: &Head| {
            let part = how.blocks.parts(head).get(round);
            let tiles = part.map(|part| Tile::of::<T>(how, round, part, head));
            tiles.into_iter().flatten().map(move |tile| (head, tile))
        };
        let work: Vec<(Head, Tile)> = heads.iter().flat_map(tiles).collect();
        let keys = turned_keys(how, x, &work);
        spread(work.par_iter(), |scratch: &mut Scratch<T>, (head, tile)| {
            let turned = laid(&keys[head.0 * d.h + head.1], how.keys.n());
            let sums = scratch.weigh(how, x, tile, (*head, turned));
            let valid = how.mask.row(head.0);
            for (r, (lse, inverse)) in sums.into_iter().enumerate() {
                let i = tile.rows.position(r);
                if !valid[i] || lse == f64::NEG_INFINITY {
                    continue;
                }
                // SAFETY: queries of a part are disjoint, so (example, head, i) is this tile's.
                let (mut row, mut total) =
                    unsafe { (outs.row(*head, i), lses.view(d.row(*head, i), 1, 1, 1)) };
                let (row, total) = (row.row_mut(0), &mut total.row_mut(0)[0]);
                let new = &scratch.out[r * d.dv..][..d.dv];
                if *total == f64::NEG_INFINITY {
                    *total = lse;
                    row.iter_mut().zip(new).for_each(|(to, &x)| *to = x * inverse);
                } else {
                    let top = total.max(lse);
                    let sum = top + ((*total - top).exp() + (lse - top).exp()).ln();
                    let (old, add) = (T::of((*total - sum).exp()), T::of((lse - sum).exp()));
                    *total = sum;
                    let merge = |(to, &x): (&mut T, &T)| *to = *to * old + x * inverse * add;
                    row.iter_mut().zip(new).for_each(merge);
                }
            }
        });
    }
    lse.iter_mut().filter(|l| **l == f64::NEG_INFINITY).for_each(|l| *l = f64::INFINITY);
    (out, lse)
}

/// The keys of each example and head whose tiles see them often, turned; of others nothing.
fn turned_keys<T: Real>(how: &Attend, x: &Operands<'_, T>, work: &[(Head, Tile)]) -> Vec<Vec<T>> {
    let d = x.d;
    let mut all = vec![Vec::new(); d.b * d.h];
    let Some((_, k)) = &x.dot else { return all };
    let often: Vec<Head> = work
        .chunk_by(|a, b| a.0 == b.0)
        .filter(|tiles| Tile::see_often(how, tiles.iter().map(|(_, tile)| tile)))
        .map(|tiles| tiles[0].0)
        .collect();
    let turn = |&head: &Head| {
        let mut room = Vec::new();
        turned(k.in_place(head, (0..how.keys.n()).into()), &mut room);
        (head, room)
    };
    for ((b, h), room) in often.par_iter().map(turn).collect::<Vec<_>>() {
        all[b * d.h + h] = room;
    }
    all
}

impl<T: Real> Scratch<T> {
    /// Fills `out` [rows, dv] with the weighted values of a tile; returns each row's
    /// log-sum-exp, -inf where nothing is seen, and what its values are to be multiplied
    /// with.
    fn weigh(
        &mut self,
        how: &Attend,
        x: &Operands<'_, T>,
        tile: &Tile,
        (head, keys): (Head, Option<Mat<'_, T>>),
    ) -> Vec<(f64, T)> {
        let Self { p, out, rows, columns, kept, offsets, .. } = self;
        tile.scores(p, how, x, (head, keys), [rows, columns], offsets);
        let sums = tile.rows_mut(p).enumerate().map(|(r, row)| {
            let (max, sum) = simd(
                #[inline(always)]
                || exponentiate(row),
            );
            if tile.kept(kept, r, how, head) {
                let kept = &*kept;
                simd(
                    #[inline(always)]
                    move || row.iter_mut().zip(kept).for_each(|(p, &kept)| *p *= kept),
                );
            }
            // True for zero (nothing is seen) only: NaN goes on, so divergence stays visible.
            if sum == T::ZERO {
                (f64::NEG_INFINITY, T::ZERO)
            } else {
                (Real::to_f64(max) + Real::to_f64(sum.ln()), T::ONE / sum)
            }
        });
        let sums = sums.collect();
        let (count, dv) = (tile.rows.len(), x.d.dv);
        out.resize(count * dv, T::ZERO);
        let mut o = MatMut::rows(out, count, dv, dv);
        for (at, v) in tile.pieces(&x.v, head, columns) {
            gemm(&mut o, at > 0, T::ONE, tile.part(p, at, v.count()), v);
        }
        sums
    }
}

/// Replaces scores by exp(score - max); returns the maximum and the sum.
#[inline(always)]
fn exponentiate<T: Real>(row: &mut [T]) -> (T, T) {
    const LANES: usize = 16;
    let mut maxima = [-T::INFINITY; LANES];
    let mut chunks = row.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (max, &x) in maxima.iter_mut().zip(chunk) {
            *max = x.larger(*max);
        }
    }
    let rest = chunks.remainder().iter().copied();
    let max = maxima.into_iter().chain(rest).fold(-T::INFINITY, |a, b| b.larger(a));
    if max == -T::INFINITY {
        row.fill(T::ZERO);
        return (max, T::ZERO);
    }
    let mut sums = [T::ZERO; LANES];
    let mut chunks = row.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *x = (*x - max).exp();
            *sum += *x;
        }
    }
    for (sum, x) in sums.iter_mut().zip(chunks.into_remainder()) {
        *x = (*x - max).exp();
        *sum += *x;
    }
    (max, sums.into_iter().sum())
}
