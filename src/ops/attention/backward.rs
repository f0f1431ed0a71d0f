//! Backward pass: one task per example and head, which owns its columns of all gradients.
//! With weights p, dropout mask m, output o and its gradient g:
//! `dv = (p m)ᵀ g`, `ds = p ((g vᵀ) m - rowsum(g o))`, `dq = s ds k`, `dk = s dsᵀ q`.

use super::Attend;
use super::forward::Scratch;
use super::operands::{Head, Operand, Slope};
use super::tiles::{Operands, Tile};
use crate::ops::cpu::{Mat, Real, laid, pair_sum, simd, spread, turned};
use rayon::prelude::*;

/// The gradients of all operands.
#[derive(Clone, Copy)]
pub(super) struct Slopes<'s, T> {
    pub dot: Option<(Slope<'s, T>, Slope<'s, T>)>,
    pub v: Slope<'s, T>,
    pub extra: Option<Slope<'s, T>>,
}

/// What the forward pass gave, and the gradient of its output.
#[derive(Clone, Copy)]
pub(super) struct Output<'a, T> {
    pub o: Operand<'a, T>,
    pub g: Operand<'a, T>,
    pub lse: &'a [f64],
}

/// Adds to the gradients. With `together` the examples of a head are one task's, since their
/// extra operand is the same.
pub(super) fn backward<T: Real>(
    how: &Attend,
    x: &Operands<'_, T>,
    y: &Output<'_, T>,
    slopes: &Slopes<'_, T>,
    together: bool,
) {
    let d = x.d;
    let heads = |b| (0..d.h).map(move |h| vec![(b, h)]);
    let work: Vec<Vec<Head>> = match together {
        true => (0..d.h).map(|h| (0..d.b).map(|b| (b, h)).collect()).collect(),
        false => (0..d.b).flat_map(heads).collect(),
    };
    spread(work.par_iter(), |scratch: &mut Scratch<T>, group| {
        for &head in group {
            let parts = how.blocks.parts(head).iter().enumerate();
            let tiles = parts.flat_map(|(round, part)| Tile::of::<T>(how, round, part, head));
            let tiles: Vec<Tile> = tiles.collect();
            let mut rooms = std::mem::take(&mut scratch.turned);
            rooms.iter_mut().for_each(Vec::clear);
            let m = how.keys.n();
            if Tile::see_often(how, tiles.iter()) {
                let [keys, values] = &mut rooms;
                if let Some((_, k)) = &x.dot {
                    turned(k.in_place(head, (0..m).into()), keys);
                }
                turned(x.v.in_place(head, (0..m).into()), values);
            }
            let rows = [laid(&rooms[0], m), laid(&rooms[1], m)];
            for tile in &tiles {
                scratch.weights(how, x, y, tile, (head, rows));
                scratch.accumulate(how, x, slopes, tile, head);
            }
            scratch.turned = rooms;
        }
    });
}

impl<T: Real> Scratch<T> {
    /// Fills `p` (weights, dropped), `ds` (score gradients) and `out` (output gradients). Keys
    /// and values may be given turned, too.
    fn weights(
        &mut self,
        how: &Attend,
        x: &Operands<'_, T>,
        y: &Output<'_, T>,
        tile: &Tile,
        (head, [keys, values]): (Head, [Option<Mat<'_, T>>; 2]),
    ) {
        let Self { p, ds, out, rows, columns, kept, offsets, .. } = self;
        let (count, dv) = (tile.rows.len(), x.d.dv);
        ds.resize(count * tile.stride, T::ZERO);
        out.clear();
        let valid = how.mask.row(head.0);
        for i in (0..count).map(|r| tile.rows.position(r)) {
            match valid[i] {
                true => out.extend_from_slice(y.g.row(head, i)),
                false => out.resize(out.len() + dv, T::ZERO),
            }
        }
        tile.scores(p, how, x, (head, keys), [rows, columns], offsets);
        let v = (&x.v, values);
        tile.product(ds, 1.0, Mat::rows(out, count, dv, dv), v, head, columns);
        for (r, (p, ds)) in tile.rows_mut(p).zip(tile.rows_mut(ds)).enumerate() {
            let i = tile.rows.position(r);
            let (o, g) = (y.o.row(head, i), &out[r * dv..][..dv]);
            let lse = T::of(y.lse[x.d.row(head, i)]);
            let kept = tile.kept(kept, r, how, head).then_some(&*kept);
            simd(
                #[inline(always)]
                move || {
                    let dot = pair_sum(
                        o,
                        g,
                        #[inline(always)]
                        |o, g| o * g,
                    );
                    let slopes = p.iter_mut().zip(ds);
                    match kept {
                        Some(kept) => {
                            for ((p, ds), &kept) in slopes.zip(kept) {
                                let weight = (*p - lse).exp();
                                *ds = weight * (*ds * kept - dot);
                                *p = weight * kept;
                            }
                        }
                        None => {
                            for (p, ds) in slopes {
                                *p = (*p - lse).exp();
                                *ds = *p * (*ds - dot);
                            }
                        }
                    }
                },
            );
        }
    }

    /// Adds the tile's share to the gradients.
    fn accumulate(
        &mut self,
        how: &Attend,
        x: &Operands<'_, T>,
        slopes: &Slopes<'_, T>,
        tile: &Tile,
        head: Head,
    ) {
        let Self { p, ds, out, rows, columns, offsets, .. } = self;
        let (count, dv, scale) = (tile.rows.len(), x.d.dv, T::of(how.scale));
        let g = Mat::rows(out, count, dv, dv);
        let q = x.dot.map(|(q, _)| q.rows(head, tile.rows, rows));
        // SAFETY: the task owns this head of its examples; one view at a time each.
        unsafe { tile.add(&slopes.v, head, T::ONE, (p, g), columns) };
        if let (Some((_, k)), Some((dq, dk)), Some(q)) = (x.dot, slopes.dot, q) {
            // SAFETY: as above.
            unsafe { tile.add(&dk, head, scale, (ds, q), columns) };
            let mut collected = Vec::new();
            for (at, k) in tile.pieces(&k, head, columns) {
                let ds = tile.part(ds, at, k.count());
                // SAFETY: as above.
                unsafe { dq.add(head, tile.rows, scale, (ds, k), &mut collected) };
            }
        }
        if let (Some(terms), Some(dx)) = (&x.extra, &slopes.extra) {
            let q = q.unwrap_or(Mat::rows(&[], 0, 0, 0));
            let dq = slopes.dot.as_ref().map(|(dq, _)| dq);
            // SAFETY: as above; where examples share the operand they are one task.
            unsafe { terms.backward(ds, tile, q, how.scale, head, offsets, (dx, dq)) };
        }
    }
}
