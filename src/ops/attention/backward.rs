//! Backward pass: one task per example and head, which owns its columns of all three
//! gradients. With weights p, dropout mask m, output o and its gradient g:
//! `dv = (p m)ᵀ g`, `ds = p ((g vᵀ) m - rowsum(g o))`, `dq = s ds k`, `dk = s dsᵀ q`.

use super::Attend;
use super::tiles::{Dims, Tile, rows, rows_mut};
use crate::ops::cpu::{Mat, Real, Shared, gemm, simd};
use rayon::prelude::*;

/// Buffers of one task.
struct Scratch<T> {
    p: Vec<T>,
    ds: Vec<T>,
    g: Vec<T>,
}

/// Gradients of q, k and v, from `[q, k, v, o, g]` and the rows' log-sum-exp.
pub(super) fn backward<T: Real>(
    how: &Attend,
    args: [&[T]; 5],
    lse: &[f64],
    d: Dims,
) -> [Vec<T>; 3] {
    let mut grads = [0, 1, 2].map(|i| vec![T::ZERO; args[i].len()]);
    let [dq, dk, dv] = &mut grads;
    let outs = [Shared::new(dq), Shared::new(dk), Shared::new(dv)];
    let work: Vec<(usize, usize)> = (0..d.b).flat_map(|b| (0..d.h).map(move |h| (b, h))).collect();
    let scratch = || Scratch { p: Vec::new(), ds: Vec::new(), g: Vec::new() };
    work.par_iter().for_each_init(scratch, |scratch, &head| {
        for tile in Tile::of::<T>(how, head.0) {
            let lse = &lse[d.row(head, tile.rows.start)..][..tile.rows.len()];
            scratch.weights(how, &tile, args, lse, d, head);
            scratch.accumulate(how, &tile, args, &outs, d, head);
        }
    });
    grads
}

impl<T: Real> Scratch<T> {
    /// Fills `p` (weights, dropped), `ds` (score gradients) and `g` (output gradients).
    fn weights(
        &mut self,
        how: &Attend,
        tile: &Tile,
        [q, k, v, o, g]: [&[T]; 5],
        lse: &[f64],
        d: Dims,
        head: (usize, usize),
    ) {
        let (count, keys) = (tile.rows.len(), tile.keys);
        self.p.resize(count * keys, T::ZERO);
        self.ds.resize(count * keys, T::ZERO);
        self.g.clear();
        let valid = how.mask.row(head.0);
        for i in tile.rows.clone() {
            let row = &g[d.at(head, i, d.dv)..][..d.dv];
            self.g.extend(row.iter().map(|&x| if valid[i] { x } else { T::ZERO }));
        }
        let q = rows(q, d, head, &tile.rows, d.dk);
        tile.product(&mut self.p, how.scale, q, |range| rows(k, d, head, range, d.dk));
        tile.forbid_padding(&mut self.p, how, head.0);
        let g = Mat::rows(&self.g, count, d.dv, d.dv);
        tile.product(&mut self.ds, 1.0, g, |range| rows(v, d, head, range, d.dv));
        tile.drop_weights(&mut self.ds, how, head);
        for (r, i) in tile.rows.clone().enumerate() {
            let o = &o[d.at(head, i, d.dv)..][..d.dv];
            let dot: T = o.iter().zip(&self.g[r * d.dv..]).map(|(&o, &g)| o * g).sum();
            let (p, ds) = (&mut self.p[r * keys..][..keys], &mut self.ds[r * keys..][..keys]);
            let lse = T::of(lse[r]);
            simd(
                #[inline(always)]
                || {
                    for (p, ds) in p.iter_mut().zip(ds) {
                        *p = (*p - lse).exp();
                        *ds = *p * (*ds - dot);
                    }
                },
            );
        }
        tile.drop_weights(&mut self.p, how, head);
    }

    /// Adds the tile's share to the gradients.
    fn accumulate(
        &self,
        how: &Attend,
        tile: &Tile,
        [q, k, ..]: [&[T]; 5],
        [dq, dk, dv]: &[Shared<'_, T>; 3],
        d: Dims,
        head: (usize, usize),
    ) {
        let (count, scale) = (tile.rows.len(), T::of(how.scale));
        let g = Mat::rows(&self.g, count, d.dv, d.dv);
        let q = rows(q, d, head, &tile.rows, d.dk);
        for (at, range) in tile.columns() {
            let p = Mat::rows(&self.p[at..], count, range.len(), tile.keys);
            let ds = Mat::rows(&self.ds[at..], count, range.len(), tile.keys);
            // SAFETY: the task owns this example and head; one view at a time each.
            let (mut dq, mut dk, mut dv) = unsafe {
                (
                    rows_mut(dq, d, head, &tile.rows, d.dk),
                    rows_mut(dk, d, head, range, d.dk),
                    rows_mut(dv, d, head, range, d.dv),
                )
            };
            gemm(&mut dv, true, T::ONE, p.t(), g, false);
            gemm(&mut dq, true, scale, ds, rows(k, d, head, range, d.dk), false);
            gemm(&mut dk, true, scale, ds.t(), q, false);
        }
    }
}
