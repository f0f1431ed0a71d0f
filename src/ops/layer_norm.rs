//! Layer normalisation over the last axis (Ba, Kiros, Hinton 2016):
//! `y = (x - mean) / sqrt(var + eps) * weight + bias`, biased variance.
//!
//! Candle's own `layer_norm` has no backward pass; this one has. Mean and reciprocal
//! deviation are recomputed in the backward pass rather than kept.

use super::cpu::{Real, contiguous, dtype, fused, read, simd, to_storage, with_real};
use candle_core::{CpuStorage, CustomOp3, D, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Rows handled by one task: fixed, so that sums over rows do not depend on threads.
const BLOCK: usize = 256;

/// `x` [.., d], `weight` [d], `bias` [d] -> [.., d].
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    if !fused(x) {
        return reference(x, weight, bias, eps);
    }
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, Fused { eps })
}

/// The same, composed of Candle's ops.
pub fn reference(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
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
    let mean = sum(
        row.len(),
        #[inline(always)]
        |i| row[i],
    ) / count;
    let variance = sum(
        row.len(),
        #[inline(always)]
        |i| (row[i] - mean) * (row[i] - mean),
    ) / count;
    (mean, T::ONE / (variance + eps).sqrt())
}

/// Sum of `f` over `0..n` in sixteen running sums, an order fixed here so that the
/// compiler may vectorise it.
#[inline(always)]
fn sum<T: Real>(n: usize, f: impl Fn(usize) -> T) -> T {
    let mut lanes = [T::ZERO; 16];
    let whole = n / 16 * 16;
    for first in (0..whole).step_by(16) {
        for (i, lane) in lanes.iter_mut().enumerate() {
            *lane += f(first + i);
        }
    }
    for i in whole..n {
        lanes[i - whole] += f(i);
    }
    lanes.into_iter().sum()
}

impl Fused {
    fn forward<T: Real>(&self, x: &[T], w: &[T], b: &[T]) -> Vec<T> {
        let (d, eps) = (w.len(), T::of(self.eps));
        let mut y = vec![T::ZERO; x.len()];
        y.par_chunks_mut(d * BLOCK).zip(x.par_chunks(d * BLOCK)).for_each(|(y, x)| {
            simd(
                #[inline(always)]
                || {
                    for (y, x) in y.chunks_exact_mut(d).zip(x.chunks_exact(d)) {
                        let (mean, scale) = moments(x, eps);
                        for i in 0..d {
                            y[i] = (x[i] - mean) * scale * w[i] + b[i];
                        }
                    }
                },
            )
        });
        y
    }

    /// dx = scale * (h - mean(h) - u mean(h u)) with u = (x - mean) * scale, h = g w.
    fn backward<T: Real>(&self, x: &[T], w: &[T], g: &[T]) -> (Vec<T>, Vec<T>, Vec<T>) {
        let (d, eps) = (w.len(), T::of(self.eps));
        let count = T::of(d as f64);
        let mut dx = vec![T::ZERO; x.len()];
        let partial: Vec<(Vec<T>, Vec<T>)> = dx
            .par_chunks_mut(d * BLOCK)
            .zip(x.par_chunks(d * BLOCK).zip(g.par_chunks(d * BLOCK)))
            .map(|(dx, (x, g))| {
                simd(
                    #[inline(always)]
                    || {
                        let (mut dw, mut db) = (vec![T::ZERO; d], vec![T::ZERO; d]);
                        let rows = x.chunks_exact(d).zip(g.chunks_exact(d));
                        for (dx, (x, g)) in dx.chunks_exact_mut(d).zip(rows) {
                            let (mean, scale) = moments(x, eps);
                            for i in 0..d {
                                let unit = (x[i] - mean) * scale;
                                dw[i] += g[i] * unit;
                                db[i] += g[i];
                                dx[i] = unit;
                            }
                            let h_mean = sum(
                                d,
                                #[inline(always)]
                                |i| g[i] * w[i],
                            ) / count;
                            let hu_mean = sum(
                                d,
                                #[inline(always)]
                                |i| g[i] * w[i] * dx[i],
                            ) / count;
                            for i in 0..d {
                                dx[i] = scale * (g[i] * w[i] - h_mean - dx[i] * hu_mean);
                            }
                        }
                        (dw, db)
                    },
                )
            })
            .collect();
        let (mut dw, mut db) = (vec![T::ZERO; d], vec![T::ZERO; d]);
        for (w, b) in &partial {
            for i in 0..d {
                dw[i] += w[i];
                db[i] += b[i];
            }
        }
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
            let at = |v: Vec<T>, like: &Tensor| Tensor::from_vec(v, like.shape(), like.device());
            Ok((Some(at(dx, x)?), Some(at(dw, w)?), Some(at(db, b)?)))
        })
    }
}
