//! Kernelised attention (Katharopoulos et al. 2020, equation 5): with features f,
//! `o_i = f(q_i)ᵀ S / (f(q_i)ᵀ z + eps)`, `S = sum_j f(k_j) v_jᵀ`, `z = sum_j f(k_j)`,
//! sums over valid keys. Rows of padded queries are zero.
//!
//! Cost per head of feature width m and value width w, for n positions: `4 n m w` FLOPs
//! forward, twice that backward; nothing of size n x n.

use super::Mask;
use super::cpu::{
    Mat, MatMut, Real, Shared, contiguous, dtype, fused, gemm, read, to_storage, with_real,
};
use super::recorder::record;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Everything about a kernelised attention but its operands.
#[derive(Debug, Clone)]
pub struct Kernelised {
    pub heads: usize,
    pub mask: Mask,
    /// Added to the denominator.
    pub eps: f64,
}

/// Features `fq`, `fk` [b, n, heads * m] and `v` [b, n, heads * w] -> [b, n, heads * w].
pub fn kernel_attention(fq: &Tensor, fk: &Tensor, v: &Tensor, how: &Kernelised) -> Result<Tensor> {
    let ((b, n, a), (h, m)) = (fq.dims3()?, (how.heads, &how.mask));
    let fits = fk.dims() == [b, n, a] && v.dims3()?.0 == b && v.dims3()?.1 == n;
    if !fits || h == 0 || a % h != 0 || v.dim(2)? % h != 0 || (m.batch(), m.n()) != (b, n) {
        let shapes = (fq.shape(), fk.shape(), v.shape());
        bail!("kernel_attention: {shapes:?}, {h} heads, mask [{}, {}]", m.batch(), m.n());
    }
    if fused(fq) {
        let op = Fused { how: how.clone() };
        fq.contiguous()?.apply_op3(&fk.contiguous()?, &v.contiguous()?, op)
    } else {
        reference(fq, fk, v, how)
    }
}

/// The same, composed of Candle's ops.
pub fn reference(fq: &Tensor, fk: &Tensor, v: &Tensor, how: &Kernelised) -> Result<Tensor> {
    let (b, n, _) = fq.dims3()?;
    let split = |x: &Tensor| {
        x.reshape((b, n, how.heads, x.dim(2)? / how.heads))?.transpose(1, 2)?.contiguous()
    };
    let valid = how.mask.tensor(fq.dtype(), fq.device())?.reshape((b, 1, n, 1))?;
    let (fq, fk, v) = (split(fq)?, split(fk)?.broadcast_mul(&valid)?, split(v)?);
    let s = fk.t()?.contiguous()?.matmul(&v)?;
    let z = fk.sum_keepdim(2)?;
    let denominator = (fq.broadcast_mul(&z)?.sum_keepdim(3)? + how.eps)?;
    // Padded queries are divided by 1 instead, and then zeroed.
    let denominator = (denominator.broadcast_mul(&valid)?
        + (1.0 - &valid)?.broadcast_as(denominator.shape())?)?;
    record(|| fq.matmul(&fk.t()?.contiguous()?)?.broadcast_div(&denominator))?;
    let o = fq.matmul(&s)?.broadcast_div(&denominator)?.broadcast_mul(&valid)?;
    o.transpose(1, 2)?.reshape((b, n, ()))
}

struct Fused {
    how: Kernelised,
}

/// Sizes of one call: positions, heads, feature width, value width.
#[derive(Clone, Copy)]
struct Dims {
    n: usize,
    h: usize,
    m: usize,
    w: usize,
}

/// One example and head: how many positions count, and copies of what padding inside
/// them must not enter.
struct Head<'a, T> {
    end: usize,
    fq: Mat<'a, T>,
    fk: Mat<'a, T>,
    v: Mat<'a, T>,
    fk_rows: &'a [T],
    valid: &'a [bool],
    d: Dims,
}

impl<'a, T: Real> Head<'a, T> {
    fn new(how: &'a Kernelised, [fq, fk, v]: [&'a [T]; 3], d: Dims, b: usize, h: usize) -> Self {
        let end = how.mask.end(b);
        let (sm, sw) = (d.h * d.m, d.h * d.w);
        let (am, aw) = (b * d.n * sm + h * d.m, b * d.n * sw + h * d.w);
        Self {
            end,
            fq: Mat::rows(&fq[am..], end, d.m, sm),
            fk: Mat::rows(&fk[am..], end, d.m, sm),
            v: Mat::rows(&v[aw..], end, d.w, sw),
            fk_rows: &fk[am..],
            valid: how.mask.row(b),
            d,
        }
    }

    /// S [m, w] and z [m]. Padded keys inside the sequence are taken out again.
    fn state(&self) -> (Vec<T>, Vec<T>) {
        let Dims { h, m, w, .. } = self.d;
        let mut s = vec![T::ZERO; m * w];
        let mut z = vec![T::ZERO; m];
        let stride = h * m;
        if self.valid[..self.end].iter().all(|&v| v) {
            gemm(&mut MatMut::rows(&mut s, m, w, w), false, T::ONE, self.fk.t(), self.v, false);
        } else {
            let mut kept = vec![T::ZERO; self.end * m];
            for j in (0..self.end).filter(|&j| self.valid[j]) {
                kept[j * m..][..m].copy_from_slice(&self.fk_rows[j * stride..][..m]);
            }
            let kept = Mat::rows(&kept, self.end, m, m);
            gemm(&mut MatMut::rows(&mut s, m, w, w), false, T::ONE, kept.t(), self.v, false);
        }
        for j in (0..self.end).filter(|&j| self.valid[j]) {
            let row = &self.fk_rows[j * stride..][..m];
            z.iter_mut().zip(row).for_each(|(z, &f)| *z += f);
        }
        (s, z)
    }

    /// Numerators [end, w] and denominators [end].
    fn ratio(&self, s: &[T], z: &[T], eps: f64) -> (Vec<T>, Vec<T>) {
        let Dims { m, w, .. } = self.d;
        let mut numerator = vec![T::ZERO; self.end * w];
        let out = &mut MatMut::rows(&mut numerator, self.end, w, w);
        gemm(out, false, T::ONE, self.fq, Mat::rows(s, m, w, w), false);
        let mut denominator = vec![T::ZERO; self.end];
        let out = &mut MatMut::rows(&mut denominator, self.end, 1, 1);
        gemm(out, false, T::ONE, self.fq, Mat::rows(z, m, 1, 1), false);
        denominator.iter_mut().for_each(|x| *x += T::of(eps));
        (numerator, denominator)
    }
}

impl Fused {
    fn work(&self, b: usize) -> Vec<(usize, usize)> {
        (0..b).flat_map(|b| (0..self.how.heads).map(move |h| (b, h))).collect()
    }

    fn forward<T: Real>(&self, args: [&[T]; 3], b: usize, d: Dims) -> Vec<T> {
        let mut out = vec![T::ZERO; args[2].len()];
        let outs = Shared::new(&mut out);
        self.work(b).into_par_iter().for_each(|(b, h)| {
            let head = Head::new(&self.how, args, d, b, h);
            let (s, z) = head.state();
            let (numerator, denominator) = head.ratio(&s, &z, self.how.eps);
            let start = b * d.n * d.h * d.w + h * d.w;
            // SAFETY: the task owns this example and head.
            let mut o = unsafe { outs.view(start, head.end, d.w, d.h * d.w) };
            for i in (0..head.end).filter(|&i| head.valid[i]) {
                let scale = T::ONE / denominator[i];
                let from = &numerator[i * d.w..][..d.w];
                o.row_mut(i).iter_mut().zip(from).for_each(|(o, &x)| *o = x * scale);
            }
        });
        out
    }

    /// With e = g / denominator and t = -(g . o) / denominator per valid row:
    /// `dfq = e Sᵀ + t zᵀ`, `dS = fqᵀ e`, `dz = fqᵀ t`, `dfk = v dSᵀ + dz`, `dv = fk dS`.
    fn backward<T: Real>(&self, args: [&[T]; 3], g: &[T], b: usize, d: Dims) -> [Vec<T>; 3] {
        let mut grads = [0, 1, 2].map(|i| vec![T::ZERO; args[i].len()]);
        let [dfq, dfk, dv] = &mut grads;
        let outs = [Shared::new(dfq), Shared::new(dfk), Shared::new(dv)];
        let Dims { m, w, .. } = d;
        self.work(b).into_par_iter().for_each(|(b, h)| {
            let head = Head::new(&self.how, args, d, b, h);
            let end = head.end;
            let (s, z) = head.state();
            let (numerator, denominator) = head.ratio(&s, &z, self.how.eps);
            let (start_m, start_w) = ((b * d.n * d.h + h) * m, (b * d.n * d.h + h) * w);
            let (mut e, mut t) = (vec![T::ZERO; end * w], vec![T::ZERO; end]);
            for i in (0..end).filter(|&i| head.valid[i]) {
                let scale = T::ONE / denominator[i];
                let (g, e) = (&g[start_w + i * d.h * w..][..w], &mut e[i * w..][..w]);
                let mut dot = T::ZERO;
                for c in 0..w {
                    e[c] = g[c] * scale;
                    dot += e[c] * numerator[i * w + c] * scale;
                }
                t[i] = -dot;
            }
            let (em, tm) = (Mat::rows(&e, end, w, w), Mat::rows(&t, end, 1, 1));
            let (sm, zm) = (Mat::rows(&s, m, w, w), Mat::rows(&z, m, 1, 1));
            // SAFETY: the task owns this example and head of all three gradients.
            let (mut dfq, mut dfk, mut dv) = unsafe {
                (
                    outs[0].view(start_m, end, m, d.h * m),
                    outs[1].view(start_m, end, m, d.h * m),
                    outs[2].view(start_w, end, w, d.h * w),
                )
            };
            gemm(&mut dfq, false, T::ONE, em, sm.t(), false);
            gemm(&mut dfq, true, T::ONE, tm, zm.t(), false);
            let (mut ds, mut dz) = (vec![T::ZERO; m * w], vec![T::ZERO; m]);
            gemm(&mut MatMut::rows(&mut ds, m, w, w), false, T::ONE, head.fq.t(), em, false);
            gemm(&mut MatMut::rows(&mut dz, m, 1, 1), false, T::ONE, head.fq.t(), tm, false);
            gemm(&mut dfk, false, T::ONE, head.v, Mat::rows(&ds, m, w, w).t(), false);
            gemm(&mut dv, false, T::ONE, head.fk, Mat::rows(&ds, m, w, w), false);
            for j in 0..end {
                if head.valid[j] {
                    dfk.row_mut(j).iter_mut().zip(&dz).for_each(|(f, &z)| *f += z);
                } else {
                    dfk.row_mut(j).fill(T::ZERO);
                    dv.row_mut(j).fill(T::ZERO);
                }
            }
        });
        grads
    }

    fn dims(&self, f: &[usize], v: &[usize]) -> Dims {
        let h = self.how.heads;
        Dims { n: f[1], h, m: f[2] / h, w: v[2] / h }
    }
}

impl CustomOp3 for Fused {
    fn name(&self) -> &'static str {
        "kernel-attention"
    }

    fn cpu_fwd(
        &self,
        sq: &CpuStorage,
        lq: &Layout,
        sk: &CpuStorage,
        lk: &Layout,
        sv: &CpuStorage,
        lv: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let d = self.dims(lq.dims(), lv.dims());
        let out = with_real!("kernel attention", dtype(sq), T => to_storage(self.forward::<T>(
            [contiguous(sq, lq)?, contiguous(sk, lk)?, contiguous(sv, lv)?], lq.dims()[0], d,
        )));
        Ok((out, lv.shape().clone()))
    }

    fn bwd(
        &self,
        fq: &Tensor,
        fk: &Tensor,
        v: &Tensor,
        _o: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let g = g.contiguous()?;
        let d = self.dims(fq.dims(), v.dims());
        let (hq, hk, hv, hg) = (read(fq)?, read(fk)?, read(v)?, read(&g)?);
        with_real!("kernel attention: backward", fq.dtype(), T => {
            let args = [hq.slice::<T>()?, hk.slice()?, hv.slice()?];
            let [dq, dk, dv] = self.backward(args, hg.slice()?, fq.dim(0)?, d);
            let at = |x: Vec<T>, like: &Tensor| Tensor::from_vec(x, like.shape(), like.device());
            Ok((Some(at(dq, fq)?), Some(at(dk, fk)?), Some(at(dv, v)?)))
        })
    }
}
