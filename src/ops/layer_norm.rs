//! Layer normalisation over the last axis (Ba, Kiros, Hinton 2016):
//! `y = (x - mean) / sqrt(var + eps) * weight + bias`, biased variance.
//!
//! Candle's own `layer_norm` has no backward pass; this one has. Mean and reciprocal
//! deviation are recomputed in the backward pass rather than kept.

use super::cpu::{
    Real, contiguous, dtype, fused, gradient, pair_sum, read, simd, to_storage, with_real, zeros,
};
use candle_core::{CpuStorage, CustomOp3, D, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Rows handled by one task: fixed, so that sums over rows do not depend on threads.
const BLOCK: usize = 256;

/// `x` [.., d], `weight` [d], `bias` [d] -> [.., d].
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if super::cuda::norms(x) {
        return super::cuda::layer_norm(x, weight, bias, eps);
    }
    if !fused(x) {
        return reference(x, weight, bias, eps);
    }
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, Fused { eps })
}

/// The same, composed of Candle's ops.
pub fn reference(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    if x.dtype() == DType::BF16 {
        // The weights are f32, and sums over rows want more than eight bits.
        return reference(&x.to_dtype(DType::F32)?, weight, bias, eps)?.to_dtype(DType::BF16);
    }
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let unit = centred.broadcast_div(&(variance + eps)?.sqrt()?)?;
    unit.broadcast_mul(weight)?.broadcast_add(bias)
}

struct Fused {
    eps: f64,
}

/// Mean and reciprocal deviation of a row.
#[inline(always)]
fn moments<T: Real>(row: &[T], eps: T) -> (T, T) {
    let count = T::of(row.len() as f64);
    let mean = pair_sum(
        row,
        row,
        #[inline(always)]
        |x, _| x,
    ) / count;
    let variance = pair_sum(
        row,
        row,
        #[inline(always)]
        |x, _| (x - mean) * (x - mean),
    ) / count;
    (mean, T::ONE / (variance + eps).sqrt())
}

/// Norms of all rows of `x`, on all threads.
pub(super) fn norm<T: Real>(x: &[T], (w, b): (&[T], &[T]), eps: f64, y: &mut [T]) {
    let size = w.len() * BLOCK;
    let blocks = y.par_chunks_mut(size).zip(x.par_chunks(size));
    blocks.for_each(|(y, x)| norm_rows(x, (w, b), eps, y));
}

/// Norms of the rows of `x`, on this thread.
pub(super) fn norm_rows<T: Real>(x: &[T], (w, b): (&[T], &[T]), eps: f64, y: &mut [T]) {
    let (d, eps) = (w.len(), T::of(eps));
    simd(
        #[inline(always)]
        move || {
            for (y, x) in y.chunks_exact_mut(d).zip(x.chunks_exact(d)) {
                let (mean, scale) = moments(x, eps);
                for ((y, &x), (&w, &b)) in y.iter_mut().zip(x).zip(w.iter().zip(b)) {
                    *y = (x - mean) * scale * w + b;
                }
            }
        },
    );
}

/// From the gradient of the norms of `x` to that of `x`, in place: `scale * (h - mean(h) - u
/// mean(h u))` with u = (x - mean) * scale, h = g w; plus `add`, where there is some. Adds to
/// the gradients of weight and bias.
pub(super) fn norm_backward<T: Real>(
    x: &[T],
    w: &[T],
    eps: f64,
    g: &mut [T],
    add: Option<&[T]>,
    (dw, db): (&mut [T], &mut [T]),
) {
    let (d, eps) = (w.len(), T::of(eps));
    let count = T::of(d as f64);
    let blocks = g.par_chunks_mut(d * BLOCK).zip(x.par_chunks(d * BLOCK)).enumerate();
    let partial = blocks.map(|(block, (g, x))| {
        let add = add.map(|add| &add[block * d * BLOCK..][..g.len()]);
        simd(
            #[inline(always)]
            move || {
                let (mut dw, mut db) = (vec![T::ZERO; d], vec![T::ZERO; d]);
                let mut unit = vec![T::ZERO; d];
                for (r, (g, x)) in g.chunks_exact_mut(d).zip(x.chunks_exact(d)).enumerate() {
                    let (mean, scale) = moments(x, eps);
                    for ((u, &x), (&g, (dw, db))) in
                        unit.iter_mut().zip(x).zip(g.iter().zip(dw.iter_mut().zip(&mut db)))
                    {
                        *u = (x - mean) * scale;
                        *dw += g * *u;
                        *db += g;
                    }
                    g.iter_mut().zip(w).for_each(|(g, &w)| *g *= w);
                    let h_mean = pair_sum(
                        g,
                        g,
                        #[inline(always)]
                        |h, _| h,
                    ) / count;
                    let hu_mean = pair_sum(
                        g,
                        &unit,
                        #[inline(always)]
                        |h, u| h * u,
                    ) / count;
                    for (g, &u) in g.iter_mut().zip(&unit) {
                        *g = scale * (*g - h_mean - u * hu_mean);
                    }
                    if let Some(add) = add {
                        g.iter_mut().zip(&add[r * d..]).for_each(|(g, &add)| *g += add);
                    }
                }
                (dw, db)
            },
        )
    });
    for (w, b) in &partial.collect::<Vec<_>>() {
        dw.iter_mut().zip(w).for_each(|(to, &x)| *to += x);
        db.iter_mut().zip(b).for_each(|(to, &x)| *to += x);
    }
}

impl Fused {
    fn forward<T: Real>(&self, x: &[T], w: &[T], b: &[T]) -> Vec<T> {
        let mut y = zeros(x.len());
        norm(x, (w, b), self.eps, &mut y);
        y
    }

    fn backward<T: Real>(&self, x: &[T], w: &[T], g: &[T]) -> (Vec<T>, Vec<T>, Vec<T>) {
        let (mut dx, mut dw, mut db) = (g.to_vec(), vec![T::ZERO; w.len()], vec![T::ZERO; w.len()]);
        norm_backward(x, w, self.eps, &mut dx, None, (&mut dw, &mut db));
        (dx, dw, db)
    }
}

impl CustomOp3 for Fused {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        sx: &CpuStorage,
        lx: &Layout,
        sw: &CpuStorage,
        lw: &Layout,
        sb: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let d = lw.shape().dims1()?;
        if d == 0 || lx.dims().last() != Some(&d) || lb.shape().dims1()? != d {
            bail!("layer_norm: x {:?} does not fit weight [{d}]", lx.shape());
        }
        let y = with_real!("layer norm", dtype(sx), T => to_storage(self.forward::<T>(
            contiguous(sx, lx)?, contiguous(sw, lw)?, contiguous(sb, lb)?,
        )));
        Ok((y, lx.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let g = g.contiguous()?;
        let (hx, hw, hg) = (read(x)?, read(w)?, read(&g)?);
        with_real!("layer norm: backward", x.dtype(), T => {
            let (dx, dw, db) = self.backward::<T>(hx.slice()?, hw.slice()?, hg.slice()?);
            Ok((gradient(dx, x)?, gradient(dw, w)?, gradient(db, b)?))
        })
    }
}
