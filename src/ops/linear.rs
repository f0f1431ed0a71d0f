//! Affine map of the last axis, `y = x Wᵀ + b`.
//!
//! Cost: `2 r i o` FLOPs forward for `r` rows, `i` inputs, `o` outputs; twice that
//! backward.

use super::cpu::{
    Mat, Real, contiguous, dtype, fused, gradient, product_of, read, simd, to_storage,
    transposed_product, with_real,
};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// `x` [.., i], `weight` [o, i], `bias` [o] -> [.., o].
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if super::cuda::serves(x) {
        return super::cuda::linear(x, weight, bias);
    }
    if !fused(x) {
        return reference(x, weight, bias);
    }
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    match bias {
        Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, Fused),
        None => x.apply_op2(&weight, Fused),
    }
}

/// The same, composed of Candle's ops.
pub fn reference(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (rows, mut shape) = rows_of(x.shape())?;
    let y = x.reshape((rows, weight.dim(1)?))?.matmul(&weight.t()?)?;
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    shape.push(weight.dim(0)?);
    y.reshape(shape)
}

/// Rows of the flattened matrix, and the leading dimensions.
fn rows_of(shape: &Shape) -> Result<(usize, Vec<usize>)> {
    let Some((_, lead)) = shape.dims().split_last() else { bail!("linear: a scalar has no axis") };
    Ok((lead.iter().product(), lead.to_vec()))
}

struct Fused;

impl Fused {
    fn forward<T: Real>(x: &[T], w: &[T], b: Option<&[T]>, rows: usize, out: usize) -> Vec<T> {
        let inner = w.len() / out.max(1);
        let (x, w) = (Mat::rows(x, rows, inner, inner), Mat::rows(w, out, inner, inner));
        let mut y = product_of(T::ONE, x, w.t());
        if let Some(b) = b {
            y.par_chunks_mut(out * 64).for_each(|chunk| {
                for row in chunk.chunks_exact_mut(out) {
                    row.iter_mut().zip(b).for_each(|(y, &b)| *y += b);
                }
            });
        }
        y
    }

    fn run(
        (sx, lx): (&CpuStorage, &Layout),
        (sw, lw): (&CpuStorage, &Layout),
        b: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, mut shape) = rows_of(lx.shape())?;
        let (out, inner) = lw.shape().dims2()?;
        if lx.dims().last() != Some(&inner) {
            bail!("linear: x {:?} does not fit weight {:?}", lx.shape(), lw.shape());
        }
        shape.push(out);
        let y = with_real!("linear", dtype(sx), T => {
            let b = b.map(|(s, l)| contiguous::<T>(s, l)).transpose()?;
            if b.is_some_and(|b| b.len() != out) {
                bail!("linear: the bias does not fit weight {:?}", lw.shape());
            }
            to_storage(Self::forward(contiguous(sx, lx)?, contiguous(sw, lw)?, b, rows, out))
        });
        Ok((y, shape.into()))
    }

    /// Gradients of x, weight and, where asked, bias.
    fn backward(
        x: &Tensor,
        w: &Tensor,
        g: &Tensor,
        with_bias: bool,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let g = g.contiguous()?;
        let (rows, _) = rows_of(x.shape())?;
        let (out, inner) = w.dims2()?;
        let (hx, hw, hg) = (read(x)?, read(w)?, read(&g)?);
        with_real!("linear: backward", x.dtype(), T => {
            let (xs, ws, gs) = (hx.slice::<T>()?, hw.slice::<T>()?, hg.slice::<T>()?);
            let (mx, mw) = (Mat::rows(xs, rows, inner, inner), Mat::rows(ws, out, inner, inner));
            let mg = Mat::rows(gs, rows, out, out);
            let dx = product_of(T::ONE, mg, mw);
            let mut dw = vec![T::ZERO; out * inner];
            transposed_product(&mut dw, false, mg, mx);
            let sums = |out| {
                let mut sums = vec![T::ZERO; out];
                add_column_sums(gs, &mut sums);
                Tensor::from_vec(sums, out, x.device())
            };
            let db = with_bias.then(|| sums(out)).transpose()?;
            Ok((gradient(dx, x)?, gradient(dw, w)?, db))
        })
    }
}

/// Adds the sums of the columns of a row-major matrix: partial sums over blocks of rows whose
/// number is fixed, so that the bytes do not depend on the number of threads.
pub(super) fn add_column_sums<T: Real>(data: &[T], total: &mut [T]) {
    let cols = total.len();
    let partial: Vec<Vec<T>> = data
        .par_chunks(cols * 512)
        .map(|block| {
            simd(
                #[inline(always)]
                move || {
                    let mut sums = vec![T::ZERO; cols];
                    for row in block.chunks_exact(cols) {
                        for (s, &x) in sums.iter_mut().zip(row) {
                            *s += x;
                        }
                    }
                    sums
                },
            )
        })
        .collect();
    for sums in &partial {
        for (t, &s) in total.iter_mut().zip(sums) {
            *t += s;
        }
    }
}

impl CustomOp2 for Fused {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Self::run((s1, l1), (s2, l2), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _y: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, dw, _) = Self::backward(x, w, g, false)?;
        Ok((dx, dw))
    }
}

impl CustomOp3 for Fused {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Self::run((s1, l1), (s2, l2), Some((s3, l3)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _b: &Tensor,
        _y: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        Self::backward(x, w, g, true)
    }
}
