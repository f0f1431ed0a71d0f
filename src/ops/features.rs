//! Feature maps of kernelised attention.
//!
//! - [`elu_plus_one`]: elu(x) + 1 (Katharopoulos et al. 2020, equation 7).
//! - [`positive_features`]: FAVOR+ (Choromanski et al. 2021, equation 5 with lemma 1):
//!   `f(x) = (exp(w x' - |x'|²/2 - c) + eps) / sqrt(m)`, `x' = x / width^(1/4)`, for m
//!   rows w of a random matrix. c keeps the exponential below 1 and cancels in the
//!   attention's ratio (up to eps): for queries the row's largest `w x'`, for keys the
//!   largest over the valid keys of the head. It is a constant to the gradient.
//! - [`trigonometric_features`]: `exp(|x'|²/2 - c) [cos w x', sin w x'] / sqrt(m)` (the same
//!   paper's equation 4; Rahimi and Recht 2007), an estimate of the same kernel that may be
//!   negative. c is the query's own `|x'|²/2`, or the largest over the valid keys of the head.
//! - [`relu_features`]: `relu(w x') + eps`, the same paper's generalised attention.

use super::Mask;
use super::cpu::{
    Mat, Real, Shared, contiguous, dtype, fused, gemm, read, simd, to_storage, with_real,
};
use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// elu(x) + 1, computed as max(x, 0) + exp(min(x, 0)).
pub fn elu_plus_one(x: &Tensor) -> Result<Tensor> {
    if fused(x) { x.contiguous()?.apply_op1(EluPlusOne) } else { elu_plus_one_reference(x) }
}

/// The same, composed of Candle's ops.
pub fn elu_plus_one_reference(x: &Tensor) -> Result<Tensor> {
    x.relu()? + (x - x.relu()?)?.exp()?
}

/// How features are made of a [b, n, heads * width] tensor.
#[derive(Debug, Clone)]
pub struct Favor {
    pub heads: usize,
    /// Random matrix [m, width], shared by the heads; not trained.
    pub projection: Tensor,
    pub eps: f64,
    pub side: Side,
    pub mask: Mask,
}

/// Whose stabiliser is subtracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Query,
    Key,
}

/// `x` [b, n, heads * width] -> [b, n, heads * 2 m]. Composed of Candle's ops alone.
pub fn trigonometric_features(x: &Tensor, how: &Favor) -> Result<Tensor> {
    let (b, n, _) = x.dims3()?;
    let (m, width) = how.projection.dims2()?;
    let x = (x.reshape((b, n, how.heads, width))? * (width as f64).powf(-0.25))?;
    let dash =
        x.reshape(((), width))?.matmul(&how.projection.t()?)?.reshape((b, n, how.heads, m))?;
    let both = Tensor::cat(&[dash.cos()?, dash.sin()?], 3)?;
    let both = match how.side {
        Side::Query => both,
        Side::Key => {
            let half = (x.sqr()?.sum_keepdim(D::Minus1)? * 0.5)?;
            let valid = how.mask.tensor(x.dtype(), x.device())?.reshape((b, n, 1, 1))?;
            let top = half.broadcast_mul(&valid)?.max_keepdim(1)?.detach();
            // Padded keys may lie above the valid ones; they carry no weight.
            both.broadcast_mul(&half.broadcast_sub(&top)?.minimum(80.0)?.exp()?)?
        }
    };
    (both * (m as f64).powf(-0.5))?.reshape((b, n, how.heads * 2 * m))
}

/// `x` [b, n, heads * width] -> [b, n, heads * m].
pub fn positive_features(x: &Tensor, how: &Favor) -> Result<Tensor> {
    let width = how.projection.dim(1)?;
    if x.dim(2)? != how.heads * width || (how.mask.batch(), how.mask.n()) != (x.dim(0)?, x.dim(1)?)
    {
        bail!("positive_features: x {:?}, {} heads of width {width}", x.shape(), how.heads);
    }
    if fused(x) {
        let projection = how.projection.contiguous()?;
        x.contiguous()?.apply_op1(Positive { how: Favor { projection, ..how.clone() } })
    } else {
        positive_features_reference(x, how)
    }
}

/// The same, composed of Candle's ops.
pub fn positive_features_reference(x: &Tensor, how: &Favor) -> Result<Tensor> {
    let (b, n, _) = x.dims3()?;
    let (m, width) = how.projection.dims2()?;
    let x = (x.reshape((b, n, how.heads, width))? * (width as f64).powf(-0.25))?;
    let dash =
        x.reshape(((), width))?.matmul(&how.projection.t()?)?.reshape((b, n, how.heads, m))?;
    let half = (x.sqr()?.sum_keepdim(D::Minus1)? * 0.5)?;
    let stabiliser = match how.side {
        Side::Query => dash.max_keepdim(D::Minus1)?,
        Side::Key => {
            let valid = how.mask.tensor(x.dtype(), x.device())?.reshape((b, n, 1, 1))?;
            let hidden = ((valid.ones_like()? - &valid)? * -1e30)?;
            dash.broadcast_add(&hidden)?.max_keepdim(3)?.max_keepdim(1)?
        }
    };
    let exponent = dash.broadcast_sub(&half)?.broadcast_sub(&stabiliser.detach())?;
    // Padded rows may lie above the stabiliser of the valid ones; they carry no weight.
    let exponent = exponent.minimum(80.0)?;
    ((exponent.exp()? + how.eps)? * (m as f64).powf(-0.5))?.reshape((b, n, how.heads * m))
}

/// `relu(w x') + eps`, composed: one product and two element-wise passes.
pub fn relu_features(x: &Tensor, how: &Favor) -> Result<Tensor> {
    let (b, n, _) = x.dims3()?;
    let (m, width) = how.projection.dims2()?;
    let x = (x.reshape((b, n * how.heads, width))? * (width as f64).powf(-0.25))?;
    let dash = super::linear(&x, &how.projection, None)?;
    (dash.relu()? + how.eps)?.reshape((b, n, how.heads * m))
}

struct EluPlusOne;

fn map<T: Real>(len: usize, f: impl Fn(usize) -> T + Sync) -> Vec<T> {
    const BLOCK: usize = 1 << 14;
    let mut out = vec![T::ZERO; len];
    out.par_chunks_mut(BLOCK).enumerate().for_each(|(block, out)| {
        simd(
            #[inline(always)]
            || out.iter_mut().enumerate().for_each(|(i, o)| *o = f(block * BLOCK + i)),
        )
    });
    out
}

impl CustomOp1 for EluPlusOne {
    fn name(&self) -> &'static str {
        "elu-plus-one"
    }

    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = with_real!("features", dtype(s), T => {
            let x = contiguous::<T>(s, l)?;
            to_storage(map(x.len(), #[inline(always)] |i| {
                if x[i] > T::ZERO { x[i] + T::ONE } else { x[i].exp() }
            }))
        });
        Ok((y, l.shape().clone()))
    }

    /// The slope is 1 above zero and y itself, exp(x), below.
    fn bwd(&self, x: &Tensor, y: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let g = g.contiguous()?;
        let (hy, hg) = (read(y)?, read(&g)?);
        with_real!("features: backward", x.dtype(), T => {
            let (ys, gs) = (hy.slice::<T>()?, hg.slice::<T>()?);
            let dx = map(ys.len(), #[inline(always)] |i| {
                if ys[i] > T::ONE { gs[i] } else { gs[i] * ys[i] }
            });
            Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
        })
    }
}

struct Positive {
    how: Favor,
}

impl Positive {
    /// Sizes: positions, heads, features, width.
    fn dims(&self, x: &[usize]) -> Result<(usize, usize, usize, usize)> {
        let (m, width) = self.how.projection.dims2()?;
        Ok((x[1], self.how.heads, m, width))
    }

    fn forward<T: Real>(&self, x: &[T], w: &[T], dims: &[usize]) -> Result<Vec<T>> {
        let (n, h, m, width) = self.dims(dims)?;
        let mut out = vec![T::ZERO; dims[0] * n * h * m];
        let outs = Shared::new(&mut out);
        let root = T::of((width as f64).powf(-0.25));
        let (eps, norm) = (T::of(self.how.eps), T::of((m as f64).powf(-0.5)));
        let work: Vec<_> = (0..dims[0]).flat_map(|b| (0..h).map(move |h| (b, h))).collect();
        work.into_par_iter().for_each(|(b, head)| {
            let end = self.how.mask.end(b);
            let valid = self.how.mask.row(b);
            let x = &x[(b * n * h + head) * width..];
            // SAFETY: the task owns this example and head.
            let mut f = unsafe { outs.view((b * n * h + head) * m, end, m, h * m) };
            let w = Mat::rows(w, m, width, width);
            gemm(&mut f, false, root, Mat::rows(x, end, width, h * width), w.t(), false);
            let largest = |row: &[T]| row.iter().fold(-T::INFINITY, |a, &b| b.larger(a));
            let all = match self.how.side {
                Side::Query => T::ZERO,
                Side::Key => (0..end)
                    .filter(|&i| valid[i])
                    .fold(-T::INFINITY, |a, i| largest(f.row_mut(i)).larger(a)),
            };
            for i in 0..end {
                let square: T = x[i * h * width..][..width].iter().map(|&x| x * x).sum();
                let half = T::of(0.5) * root * root * square;
                let row = f.row_mut(i);
                let stabiliser = if self.how.side == Side::Query { largest(row) } else { all };
                let shift = half + stabiliser;
                simd(
                    #[inline(always)]
                    || row.iter_mut().for_each(|x| *x = ((*x - shift).exp() + eps) * norm),
                );
            }
        });
        Ok(out)
    }

    /// With e = (f / norm - eps) norm g: `dx = root (e w - rowsum(e) root x)`.
    fn backward<T: Real>(&self, [x, w, f, g]: [&[T]; 4], dims: &[usize]) -> Result<Vec<T>> {
        let (n, h, m, width) = self.dims(dims)?;
        let mut dx = vec![T::ZERO; x.len()];
        let outs = Shared::new(&mut dx);
        let root = T::of((width as f64).powf(-0.25));
        let floor = T::of(self.how.eps * (m as f64).powf(-0.5));
        let work: Vec<_> = (0..dims[0]).flat_map(|b| (0..h).map(move |h| (b, h))).collect();
        work.into_par_iter().for_each_init(Vec::new, |e: &mut Vec<T>, (b, head)| {
            let end = self.how.mask.end(b);
            let valid = self.how.mask.row(b);
            let first = b * n * h + head;
            e.clear();
            e.resize(end * m, T::ZERO);
            let mut sums = vec![T::ZERO; end];
            for i in (0..end).filter(|&i| valid[i]) {
                let at = (first + i * h) * m;
                let (f, g, e) = (&f[at..at + m], &g[at..at + m], &mut e[i * m..][..m]);
                simd(
                    #[inline(always)]
                    || {
                        e.iter_mut()
                            .zip(f.iter().zip(g))
                            .for_each(|(e, (&f, &g))| *e = (f - floor) * g)
                    },
                );
                sums[i] = e.iter().copied().sum();
            }
            // SAFETY: the task owns this example and head.
            let mut dx = unsafe { outs.view(first * width, end, width, h * width) };
            gemm(
                &mut dx,
                false,
                root,
                Mat::rows(e, end, m, m),
                Mat::rows(w, m, width, width),
                false,
            );
            for i in 0..end {
                let x = &x[(first + i * h) * width..][..width];
                let scale = root * root * sums[i];
                dx.row_mut(i).iter_mut().zip(x).for_each(|(d, &x)| *d -= scale * x);
            }
        });
        Ok(dx)
    }
}

impl CustomOp1 for Positive {
    fn name(&self) -> &'static str {
        "positive-features"
    }

    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, h, m, _) = self.dims(l.dims())?;
        let w = read(&self.how.projection)?;
        let f = with_real!("features", dtype(s), T => {
            to_storage(self.forward::<T>(contiguous(s, l)?, w.slice()?, l.dims())?)
        });
        Ok((f, (l.dims()[0], n, h * m).into()))
    }

    fn bwd(&self, x: &Tensor, f: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let g = g.contiguous()?;
        let w = read(&self.how.projection)?;
        let (hx, hf, hg) = (read(x)?, read(f)?, read(&g)?);
        with_real!("features: backward", x.dtype(), T => {
            let args = [hx.slice::<T>()?, w.slice()?, hf.slice()?, hg.slice()?];
            let dx = self.backward(args, x.dims())?;
            Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
        })
    }
}
