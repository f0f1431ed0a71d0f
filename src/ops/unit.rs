//! Heads scaled to length one, as Reformer's keys are (Kitaev et al. 2020, section 2):
//! `y = x / |x|`. Shorter than 1e-6, as padding may be, they are divided by 1e-6 instead.

use super::cpu::{
    Real, contiguous, dtype, fused, gradient, read, simd, to_storage, with_real, zeros,
};
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// The least square of a length.
const LEAST: f64 = 1e-12;

/// `x` [b, n, heads * width] -> the same.
pub fn unit_heads(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (_, _, a) = x.dims3()?;
    if heads == 0 || a == 0 || a % heads != 0 {
        bail!("unit_heads: {:?}, {heads} heads", x.shape());
    }
    if fused(x) {
        x.contiguous()?.apply_op1(Fused { width: a / heads })
    } else {
        reference(x, heads)
    }
}

/// The same, composed of Candle's ops.
pub fn reference(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (b, n, a) = x.dims3()?;
    let exact = if x.dtype() == DType::BF16 { DType::F32 } else { x.dtype() };
    let rows = x.to_dtype(exact)?.reshape((b, n, heads, a / heads))?;
    let length = rows.sqr()?.sum_keepdim(3)?.maximum(LEAST)?.sqrt()?;
    rows.broadcast_div(&length)?.reshape((b, n, a))?.to_dtype(x.dtype())
}

struct Fused {
    width: usize,
}

/// Heads of one task.
const ROWS: usize = 256;

impl Fused {
    fn forward<T: Real>(&self, x: &[T]) -> Vec<T> {
        let (w, mut y) = (self.width, zeros(x.len()));
        let blocks = y.par_chunks_mut(ROWS * w).zip(x.par_chunks(ROWS * w));
        blocks.for_each(|(y, x)| {
            simd(
                #[inline(always)]
                move || {
                    for (y, x) in y.chunks_exact_mut(w).zip(x.chunks_exact(w)) {
                        let square: T = x.iter().map(|&x| x * x).sum();
                        let inverse = T::ONE / square.larger(T::of(LEAST)).sqrt();
                        y.iter_mut().zip(x).for_each(|(y, &x)| *y = x * inverse);
                    }
                },
            );
        });
        y
    }

    /// `dx = (g - y (y . g)) / |x|`, and `g / 1e-6` where that was the divisor.
    fn backward<T: Real>(&self, x: &[T], g: &[T]) -> Vec<T> {
        let (w, mut dx) = (self.width, zeros(x.len()));
        let blocks = dx.par_chunks_mut(ROWS * w);
        let blocks = blocks.zip(x.par_chunks(ROWS * w).zip(g.par_chunks(ROWS * w)));
        blocks.for_each(|(dx, (x, g))| {
            simd(
                #[inline(always)]
                move || {
                    let rows = dx.chunks_exact_mut(w).zip(x.chunks_exact(w).zip(g.chunks_exact(w)));
                    for (dx, (x, g)) in rows {
                        let square: T = x.iter().map(|&x| x * x).sum();
                        let dot: T = x.iter().zip(g).map(|(&x, &g)| x * g).sum();
                        let inverse = T::ONE / square.larger(T::of(LEAST)).sqrt();
                        let share = if square > T::of(LEAST) { dot / square } else { T::ZERO };
                        for (dx, (&x, &g)) in dx.iter_mut().zip(x.iter().zip(g)) {
                            *dx = (g - x * share) * inverse;
                        }
                    }
                },
            );
        });
        dx
    }
}

impl CustomOp1 for Fused {
    fn name(&self) -> &'static str {
        "unit-heads"
    }

    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = with_real!("unit heads", dtype(s), T => {
            to_storage(self.forward::<T>(contiguous(s, l)?))
        });
        Ok((y, l.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let g = g.contiguous()?;
        let (hx, hg) = (read(x)?, read(&g)?);
        with_real!("unit heads: backward", x.dtype(), T => {
            gradient(self.backward::<T>(hx.slice()?, hg.slice()?), x)
        })
    }
}
