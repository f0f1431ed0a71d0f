//! Blocks of positions in an order that is a mixture (Tay et al. 2020, section 3.2): with P
//! from the sort, place r of sorted block I is the mean of the places r of all blocks J,
//! weighted with P[I, J] where they hold tokens:
//! `y[I, r] = sum_J P[I, J] real[J, r] x[J, r] / share[I, r]`,
//! `share[I, r] = sum_J P[I, J] real[J, r]`.
//!
//! What was sorted follows what it gives, in one tensor: the keys that Sinkhorn attention reads.
//! As two tensors they would be copied side by side, and their slopes apart and together again.

use super::Mask;
use super::cpu::{
    Mat, MatMut, Real, Shared, contiguous, dtype, fused, gemm, gradient, read, spread, to_storage,
    with_real, zeros,
};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// The least share: its square must be a number in f32, since it divides the slope.
const LEAST: f64 = 1e-15;

/// `x` [b, n, parts * heads * w] and `p` [b, heads, nb, nb], blocks of `size` -> [b, nb * size +
/// n, parts * heads * w], the sorted blocks and then x: keys and values, say, are two parts whose
/// heads are sorted alike.
pub fn sort_blocks(
    x: &Tensor,
    parts: usize,
    p: &Tensor,
    size: usize,
    mask: &Mask,
) -> Result<Tensor> {
    let ((b, n, a), (pb, h, nb, other)) = (x.dims3()?, p.dims4()?);
    let columns = parts * h;
    let fits = (pb, other, mask.batch(), mask.n()) == (b, nb, b, n);
    let fits = fits && columns > 0 && a % columns == 0;
    if !fits || size == 0 || n.div_ceil(size) != nb {
        bail!("sort_blocks: x {:?}, p {:?}, blocks of {size}", x.shape(), p.shape());
    }
    #[cfg(feature = "cuda")]
    if super::cuda::sorts_blocks(x, columns) {
        let p = p.to_dtype(candle_core::DType::F32)?;
        return super::cuda::sort_blocks(x, parts, &p, size, mask);
    }
    if fused(x) {
        x.contiguous()?.apply_op2(&p.contiguous()?, Fused { parts, size, mask: mask.clone() })
    } else {
        reference(x, parts, p, size, mask)
    }
}

/// The same, composed of Candle's ops.
pub fn reference(x: &Tensor, parts: usize, p: &Tensor, size: usize, mask: &Mask) -> Result<Tensor> {
    let p = Tensor::cat(&vec![p; parts], 1)?;
    let exact = p.clone();
    let p = p.to_dtype(x.dtype())?;
    let ((b, _, a), (_, h, nb, _)) = (x.dims3()?, p.dims4()?);
    let (w, own) = (a / h, x);
    let real = mask.tensor(x.dtype(), x.device())?.unsqueeze(2)?;
    let x = x.broadcast_mul(&real)?.pad_with_zeros(1, 0, nb * size - mask.n())?;
    let x = x.reshape((b, nb, size, h, w))?.permute((0, 3, 1, 2, 4))?;
    let mixed = p.matmul(&x.reshape((b, h, nb, size * w))?)?.reshape((b, h, nb, size, w))?;
    let shares = shares(&exact, size, mask)?.to_dtype(x.dtype())?;
    let mixed = mixed.broadcast_div(&shares.unsqueeze(4)?)?;
    Tensor::cat(&[&mixed.permute((0, 2, 3, 1, 4))?.reshape((b, nb * size, a))?, own], 1)
}

/// How much of each sorted place are tokens, [b, heads, nb, size].
pub fn shares(p: &Tensor, size: usize, mask: &Mask) -> Result<Tensor> {
    let (b, h, nb, _) = p.dims4()?;
    let real = mask.tensor(p.dtype(), p.device())?.pad_with_zeros(1, 0, nb * size - mask.n())?;
    let real = real.reshape((b, 1, nb, size))?.broadcast_as((b, h, nb, size))?.contiguous()?;
    p.matmul(&real)?.maximum(LEAST)
}

struct Fused {
    parts: usize,
    size: usize,
    mask: Mask,
}

/// Sizes of one call: examples, heads of P, those of x, their width, blocks.
#[derive(Clone, Copy)]
struct Dims {
    b: usize,
    sorts: usize,
    h: usize,
    w: usize,
    nb: usize,
}

/// Buffers of one thread.
#[derive(Default)]
struct Scratch<T> {
    /// Tokens in blocks, [nb, size * w], and which places hold any, [nb, size].
    x: Vec<T>,
    real: Vec<T>,
    y: Vec<T>,
    share: Vec<T>,
    dx: Vec<T>,
}

impl Fused {
    fn dims(&self, x: &[usize], p: &[usize]) -> Dims {
        let h = self.parts * p[1];
        Dims { b: x[0], sorts: p[1], h, w: x[2] / h, nb: p[2] }
    }

    /// Fills `x` and `real`, then `share` and the mixture `y`, not divided, of one head.
    fn mix<T: Real>(
        &self,
        scratch: &mut Scratch<T>,
        (x, p): (&[T], &[T]),
        d: Dims,
        at: (usize, usize),
    ) {
        let (Dims { h, w, nb, .. }, size, (b, head)) = (d, self.size, at);
        let Scratch { x: rows, real, y, share, .. } = scratch;
        let (n, valid) = (self.mask.n(), self.mask.row(b));
        rows.clear();
        rows.resize(nb * size * w, T::ZERO);
        real.clear();
        real.resize(nb * size, T::ZERO);
        for i in (0..n).filter(|&i| valid[i]) {
            rows[i * w..][..w].copy_from_slice(&x[((b * n + i) * h + head) * w..][..w]);
            real[i] = T::ONE;
        }
        let p = Mat::rows(&p[(b * d.sorts + head % d.sorts) * nb * nb..], nb, nb, nb);
        for (to, from, columns) in [(y, &*rows, size * w), (share, &*real, size)] {
            to.resize(nb * columns, T::ZERO);
            let out = &mut MatMut::rows(to, nb, columns, columns);
            gemm(out, false, T::ONE, p, Mat::rows(from, nb, columns, columns));
        }
        let least = T::of(LEAST);
        scratch.share.iter_mut().for_each(|s| *s = s.larger(least));
    }

    /// An example and a head of P, and through it of each part.
    fn work(d: Dims) -> Vec<(usize, usize)> {
        (0..d.b).flat_map(|b| (0..d.sorts).map(move |h| (b, h))).collect()
    }

    fn forward<T: Real>(&self, x: &[T], p: &[T], d: Dims) -> Vec<T> {
        let Dims { b, h, w, nb, sorts } = d;
        let (n, places) = (self.mask.n(), nb * self.size);
        let total = places + n;
        let mut out = zeros(b * total * h * w);
        out.par_chunks_mut(total * h * w).zip(x.par_chunks(n * h * w)).for_each(|(out, x)| {
            out[places * h * w..].copy_from_slice(x);
        });
        let outs = Shared::new(&mut out);
        spread(Self::work(d).into_par_iter(), |scratch: &mut Scratch<T>, (b, sort)| {
            for head in (sort..h).step_by(sorts) {
                self.mix(scratch, (x, p), d, (b, head));
                // SAFETY: the task owns these heads of its example.
                let mut to = unsafe { outs.view((b * total * h + head) * w, places, w, h * w) };
                for (i, (y, &share)) in scratch.y.chunks_exact(w).zip(&scratch.share).enumerate() {
                    to.row_mut(i).iter_mut().zip(y).for_each(|(to, &y)| *to = y / share);
                }
            }
        });
        out
    }

    /// With e = g / share: `dx = Pᵀ e` at tokens, and g of x itself; `dP = e xᵀ - (e . y / share) realᵀ`, the
    /// latter where the share is above its floor.
    fn backward<T: Real>(&self, (x, p, g): (&[T], &[T], &[T]), d: Dims) -> (Vec<T>, Vec<T>) {
        let Dims { h, w, nb, .. } = d;
        let (size, n, places) = (self.size, self.mask.n(), nb * self.size);
        let total = places + n;
        let (mut dx, mut dp) = (zeros(x.len()), zeros(p.len()));
        let (dxs, dps) = (Shared::new(&mut dx), Shared::new(&mut dp));
        spread(Self::work(d).into_par_iter(), |scratch: &mut Scratch<T>, (b, sort)| {
            let start = (b * d.sorts + sort) * nb * nb;
            // SAFETY: the task owns this P.
            let mut dp = unsafe { dps.view(start, nb, nb, nb) };
            for head in (sort..h).step_by(d.sorts) {
                self.mix(scratch, (x, p), d, (b, head));
                let Scratch { x: rows, real, y, share, dx } = scratch;
                let g = &g[(b * total * h + head) * w..];
                // e takes the place of y, the share's slope that of the share.
                for (i, (y, share)) in y.chunks_exact_mut(w).zip(share.iter_mut()).enumerate() {
                    let inverse = T::ONE / *share;
                    let mut dot = T::ZERO;
                    for (y, &g) in y.iter_mut().zip(&g[i * h * w..][..w]) {
                        let e = g * inverse;
                        dot += e * *y;
                        *y = e;
                    }
                    *share = if *share > T::of(LEAST) { -dot * inverse } else { T::ZERO };
                }
                let columns = size * w;
                let (e, s) = (Mat::rows(y, nb, columns, columns), Mat::rows(share, nb, size, size));
                gemm(&mut dp, true, T::ONE, e, Mat::rows(rows, nb, columns, columns).t());
                gemm(&mut dp, true, T::ONE, s, Mat::rows(real, nb, size, size).t());
                dx.resize(nb * columns, T::ZERO);
                let p = Mat::rows(&p[start..], nb, nb, nb).t();
                gemm(&mut MatMut::rows(dx, nb, columns, columns), false, T::ONE, p, e);
                // SAFETY: the task owns this head of its example.
                let mut to = unsafe { dxs.view((b * n * h + head) * w, n, w, h * w) };
                for (i, &valid) in self.mask.row(b).iter().enumerate() {
                    let (to, own) = (to.row_mut(i), &g[(places + i) * h * w..][..w]);
                    to.copy_from_slice(own);
                    if valid {
                        to.iter_mut().zip(&dx[i * w..]).for_each(|(to, &dx)| *to += dx);
                    }
                }
            }
        });
        (dx, dp)
    }
}

impl CustomOp2 for Fused {
    fn name(&self) -> &'static str {
        "sort-blocks"
    }

    fn cpu_fwd(
        &self,
        sx: &CpuStorage,
        lx: &Layout,
        sp: &CpuStorage,
        lp: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let d = self.dims(lx.dims(), lp.dims());
        let y = with_real!("sort of blocks", dtype(sx), T => {
            to_storage(self.forward::<T>(contiguous(sx, lx)?, contiguous(sp, lp)?, d))
        });
        Ok((y, (d.b, d.nb * self.size + self.mask.n(), d.h * d.w).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        p: &Tensor,
        _y: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let g = g.contiguous()?;
        let (hx, hp, hg) = (read(x)?, read(p)?, read(&g)?);
        let d = self.dims(x.dims(), p.dims());
        with_real!("sort of blocks: backward", x.dtype(), T => {
            let (dx, dp) = self.backward::<T>((hx.slice()?, hp.slice()?, hg.slice()?), d);
            Ok((gradient(dx, x)?, gradient(dp, p)?))
        })
    }
}
