//! Forward pass: one task per tile.

use super::Attend;
use super::tiles::{Dims, Tile, rows, rows_mut};
use crate::ops::cpu::{Mat, Real, Shared, gemm, simd};
use rayon::prelude::*;

/// The output [b, n, h * dv] and the log-sum-exp of each row [b, h, n]; +inf for a row
/// without keys, which gives weights of zero in the backward pass.
pub(super) fn forward<T: Real>(how: &Attend, [q, k, v]: [&[T]; 3], d: Dims) -> (Vec<T>, Vec<f64>) {
    let mut out = vec![T::ZERO; d.b * d.n * d.h * d.dv];
    let mut lse = vec![f64::INFINITY; d.b * d.h * d.n];
    let (outs, lses) = (Shared::new(&mut out), Shared::new(&mut lse));
    let heads = (0..d.b).flat_map(|b| (0..d.h).map(move |h| (b, h)));
    let work: Vec<((usize, usize), Tile)> = heads
        .flat_map(|head| Tile::of::<T>(how, head.0).into_iter().map(move |tile| (head, tile)))
        .collect();
    work.par_iter().for_each_init(Vec::new, |s: &mut Vec<T>, (head, tile)| {
        let (head, count) = (*head, tile.rows.len());
        s.resize(count * tile.keys, T::ZERO);
        let q = rows(q, d, head, &tile.rows, d.dk);
        tile.product(s, how.scale, q, |range| rows(k, d, head, range, d.dk));
        tile.forbid_padding(s, how, head.0);

        // SAFETY: tiles are disjoint in (example, head, rows).
        let mut o = unsafe { rows_mut(&outs, d, head, &tile.rows, d.dv) };
        // SAFETY: as above.
        let mut l = unsafe { lses.view(d.row(head, tile.rows.start), 1, count, count) };
        let mut inverse = vec![T::ZERO; count];
        let each = s.chunks_exact_mut(tile.keys).zip(l.row_mut(0)).zip(&mut inverse);
        for ((row, lse), inverse) in each {
            let (max, sum) = simd(
                #[inline(always)]
                || exponentiate(row),
            );
            // False for zero (no valid key) only: NaN goes on, so divergence stays visible.
            if sum != T::ZERO {
                *lse = Real::to_f64(max + sum.ln());
                *inverse = T::ONE / sum;
            }
        }
        tile.drop_weights(s, how, head);
        for (at, range) in tile.columns() {
            let p = Mat::rows(&s[at..], count, range.len(), tile.keys);
            gemm(&mut o, at > 0, T::ONE, p, rows(v, d, head, range, d.dv), false);
        }
        let valid = &how.mask.row(head.0)[tile.rows.clone()];
        for (i, (&scale, &valid)) in inverse.iter().zip(valid).enumerate() {
            let row = o.row_mut(i);
            if valid {
                row.iter_mut().for_each(|x| *x *= scale);
            } else {
                row.fill(T::ZERO);
            }
        }
    });
    (out, lse)
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
