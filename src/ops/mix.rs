//! Mixtures of positions with learned weights: `y[b, j] = sum_i w[i, j] x[b, i]` over the valid
//! positions i (Wang et al. 2020, equation 7, where w is E or F).

use super::Mask;
use super::cpu::{
    Mat, Real, Shared, contiguous, dtype, fused, gemm, gradient, read, spread, to_storage,
    with_real, zeros,
};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// `x` [b, n, d], `weights` [at least n, k] -> [b, k, d].
pub fn mix(x: &Tensor, weights: &Tensor, mask: &Mask) -> Result<Tensor> {
    let ((b, n, _), (longest, _)) = (x.dims3()?, weights.dims2()?);
    if longest < n || (mask.batch(), mask.n()) != (b, n) {
        let mask = (mask.batch(), mask.n());
        bail!("mix: x {:?}, weights {:?}, mask {mask:?}", x.shape(), weights.shape());
    }
    #[cfg(feature = "cuda")]
    if super::cuda::serves(x) {
        return super::cuda::mix(x, weights, mask);
    }
    if fused(x) {
        x.contiguous()?.apply_op2(&weights.contiguous()?, Fused { mask: mask.clone() })
    } else {
        reference(x, weights, mask)
    }
}

/// The same, composed of Candle's ops.
pub fn reference(x: &Tensor, weights: &Tensor, mask: &Mask) -> Result<Tensor> {
    let (b, n, _) = x.dims3()?;
    let x = x.broadcast_mul(&mask.tensor(x.dtype(), x.device())?.unsqueeze(2)?)?;
    let weights = weights.narrow(0, 0, n)?.to_dtype(x.dtype())?.t()?.contiguous()?;
    let k = weights.dim(0)?;
    weights.unsqueeze(0)?.broadcast_as((b, k, n))?.contiguous()?.matmul(&x)
}

struct Fused {
    mask: Mask,
}

/// Columns, or rows, of one task.
const BLOCK: usize = 64;

impl Fused {
    /// The rows of an example up to its last valid one, others zero, in `scratch` where some
    /// are not valid.
    fn rows<'a, T: Real>(
        &self,
        x: &'a [T],
        b: usize,
        d: usize,
        scratch: &'a mut Vec<T>,
    ) -> &'a [T] {
        let (valid, end) = (self.mask.row(b), self.mask.end(b));
        let x = &x[b * self.mask.n() * d..][..end * d];
        if valid[..end].iter().all(|&v| v) {
            return x;
        }
        scratch.clear();
        scratch.extend_from_slice(x);
        for (row, _) in scratch.chunks_exact_mut(d).zip(valid).filter(|(_, valid)| !**valid) {
            row.fill(T::ZERO);
        }
        scratch
    }

    fn forward<T: Real>(&self, x: &[T], w: &[T], (d, k): (usize, usize)) -> Vec<T> {
        let mut y = vec![T::ZERO; self.mask.batch() * k * d];
        let out = Shared::new(&mut y);
        let starts = |b| (0..d).step_by(BLOCK).map(move |start| (b, start));
        let work: Vec<_> = (0..self.mask.batch()).flat_map(starts).collect();
        spread(work.into_par_iter(), |scratch: &mut Vec<T>, (b, start)| {
            let (end, width) = (self.mask.end(b), BLOCK.min(d - start));
            if end == 0 {
                return;
            }
            let rows = self.rows(x, b, d, scratch);
            // SAFETY: the task owns these columns of its example.
            let mut y = unsafe { out.view(b * k * d + start, k, width, d) };
            let x = Mat::rows(&rows[start..], end, width, d);
            gemm(&mut y, false, T::ONE, Mat::rows(w, end, k, k).t(), x);
        });
        y
    }

    /// `dx = w dy` on valid rows, `dw = sum over examples of x dyᵀ`.
    fn backward<T: Real>(
        &self,
        (x, w, g): (&[T], &[T], &[T]),
        (d, k): (usize, usize),
    ) -> (Vec<T>, Vec<T>) {
        let (mut dx, mut dw) = (zeros(x.len()), zeros(w.len()));
        let n = self.mask.n();
        let (dxs, dws) = (Shared::new(&mut dx), Shared::new(&mut dw));
        let starts: Vec<usize> = (0..n).step_by(BLOCK).collect();
        spread(starts.into_par_iter(), |scratch: &mut Vec<T>, start| {
            for b in 0..self.mask.batch() {
                let count = BLOCK.min(self.mask.end(b).saturating_sub(start));
                if count == 0 {
                    continue;
                }
                let g = Mat::rows(&g[b * k * d..], k, d, d);
                // SAFETY: the task owns these positions of all examples.
                let (mut dx, mut dw) = unsafe {
                    (dxs.view((b * n + start) * d, count, d, d), dws.view(start * k, count, k, k))
                };
                gemm(&mut dx, false, T::ONE, Mat::rows(&w[start * k..], count, k, k), g);
                let rows = self.rows(x, b, d, scratch);
                let x = Mat::rows(&rows[start * d..], count, d, d);
                gemm(&mut dw, true, T::ONE, x, g.t());
                let valid = &self.mask.row(b)[start..start + count];
                for (i, _) in valid.iter().enumerate().filter(|(_, valid)| !**valid) {
                    dx.row_mut(i).fill(T::ZERO);
                }
            }
        });
        (dx, dw)
    }
}

impl CustomOp2 for Fused {
    fn name(&self) -> &'static str {
        "mix"
    }

    fn cpu_fwd(
        &self,
        sx: &CpuStorage,
        lx: &Layout,
        sw: &CpuStorage,
        lw: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((b, _, d), (_, k)) = (lx.shape().dims3()?, lw.shape().dims2()?);
        let y = with_real!("mix", dtype(sx), T => {
            to_storage(self.forward::<T>(contiguous(sx, lx)?, contiguous(sw, lw)?, (d, k)))
        });
        Ok((y, (b, k, d).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _y: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let g = g.contiguous()?;
        let (hx, hw, hg) = (read(x)?, read(w)?, read(&g)?);
        let sizes = (x.dim(2)?, w.dim(1)?);
        with_real!("mix: backward", x.dtype(), T => {
            let (dx, dw) = self.backward::<T>((hx.slice()?, hw.slice()?, hg.slice()?), sizes);
            Ok((gradient(dx, x)?, gradient(dw, w)?))
        })
    }
}
