//! A whole attention layer in one op, pre-norm: `y = x + drop(Wo attend(Wq n, Wk n, Wv n))`
//! with `n = norm(x)`, or the same without `x +`. What attends is a softmax over listed keys
//! or a kernel: both see queries, keys and values of the same positions.
//!
//! One op instead of five: queries, keys and values are one product, and the graph has one
//! edge where it had seven. Kept for the backward pass: the projections, what was attended,
//! and each row's log-sum-exp, or each head's state.

use super::attention::Joined;
use super::cpu::{
    Mat, Real, contiguous, dtype, fused, gradient, product, product_of, read, to_storage,
    transposed_product, with_real, zeros,
};
use super::dropout::{dropped, masked};
use super::kernel;
use super::layer_norm::{norm, norm_backward};
use super::{Attend, Dropout, Kernelised};
use super::{add_dropout, attention_joined, dropout, kernel_attention, layer_norm, linear};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, WithDType, bail};
use std::sync::Mutex;

/// What attends.
#[derive(Debug, Clone)]
pub enum Mixing {
    Softmax(Attend),
    Kernel(Kernelised),
}

/// An attention layer of width d and a columns of queries.
#[derive(Debug, Clone)]
pub struct Layer<'a> {
    /// Scale and shift of the norm, [d] each.
    pub norm: (&'a Tensor, &'a Tensor),
    pub eps: f64,
    /// Wq, Wk and Wv, [a, d] each.
    pub into: [&'a Tensor; 3],
    /// Wo [d, a].
    pub out: &'a Tensor,
    pub mixing: Mixing,
    /// Of the output.
    pub drop: Dropout,
    /// Whether `x` is added.
    pub residual: bool,
}

/// `x` [b, n, d] -> the same.
pub fn attention_layer(x: &Tensor, how: &Layer) -> Result<Tensor> {
    let ((_, n, d), (a, width)) = (x.dims3()?, how.into[0].dims2()?);
    let heads = match &how.mixing {
        Mixing::Softmax(attend) => attend.heads,
        Mixing::Kernel(kernel) => kernel.heads,
    };
    let alike = how.into.iter().all(|w| w.dims() == [a, d]);
    if width != d || !alike || how.out.dims() != [d, a] || heads == 0 || a % heads != 0 || n == 0 {
        let (into, out) = (how.into[0].shape(), how.out.shape());
        bail!("attention_layer: x {:?}, into {into:?}, out {out:?}, {heads} heads", x.shape());
    }
    #[cfg(feature = "cuda")]
    if how.mixing.on_cuda(x, a) {
        return super::cuda::attention_layer(x, how);
    }
    if !fused(x) {
        return reference(x, how);
    }
    let op = Fused {
        d,
        a,
        eps: how.eps,
        mixing: how.mixing.clone(),
        drop: how.drop,
        residual: how.residual,
        kept: Mutex::new(None),
    };
    op.mixing.check(x.dim(0)?, n, a)?;
    let [q, k, v] = how.into;
    let all = [how.norm.0, how.norm.1, q, k, v, how.out];
    let flat = all.iter().map(|w| w.flatten_all()).collect::<Result<Vec<_>>>()?;
    x.contiguous()?.apply_op2(&Tensor::cat(&flat, 0)?, op)
}

/// The same, composed of the ops it stands for.
pub fn reference(x: &Tensor, how: &Layer) -> Result<Tensor> {
    let normed = layer_norm(x, how.norm.0, how.norm.1, how.eps)?;
    let qkv = linear(&normed, &Tensor::cat(&how.into, 0)?, None)?;
    let mixed = match &how.mixing {
        Mixing::Softmax(attend) => attention_joined(&qkv, attend)?,
        Mixing::Kernel(kernel) => kernel_attention(&qkv, kernel)?,
    };
    let y = linear(&mixed, how.out, None)?;
    if how.residual { add_dropout(x, &y, how.drop) } else { dropout(&y, how.drop) }
}

impl Mixing {
    /// Whether CUDA kernels serve heads of a columns of queries beside `x`.
    #[cfg(feature = "cuda")]
    fn on_cuda(&self, x: &Tensor, a: usize) -> bool {
        if !super::cuda::norms(x) {
            return false;
        }
        match self {
            Self::Softmax(attend) => {
                super::cuda::attends(x, [a / attend.heads; 2], None, &attend.blocks)
            }
            Self::Kernel(how) => super::cuda::kernelises(x, how, a),
        }
    }

    fn check(&self, b: usize, n: usize, a: usize) -> Result<()> {
        match self {
            Self::Softmax(attend) => attend.check(b, n),
            Self::Kernel(kernelised) => kernelised.check(b, n, a),
        }
    }

    /// What is attended, and the sums over keys that the backward pass needs.
    fn forward<T: Real>(
        &self,
        qkv: &[T],
        sizes: (usize, usize, usize),
    ) -> Result<(Vec<T>, Vec<f64>)> {
        match self {
            Self::Softmax(attend) => Ok(Joined::new(attend, sizes).forward(qkv)),
            Self::Kernel(how) => kernel::forward(how, qkv, sizes),
        }
    }

    fn backward<T: Real>(
        &self,
        qkv: &[T],
        (o, sums): (&[T], &[f64]),
        g: &[T],
        sizes: (usize, usize, usize),
    ) -> Result<Vec<T>> {
        match self {
            Self::Softmax(attend) => Ok(Joined::new(attend, sizes).backward(qkv, (o, sums), g)),
            Self::Kernel(how) => kernel::backward(how, qkv, (o, sums), g, sizes),
        }
    }
}

struct Fused {
    d: usize,
    a: usize,
    eps: f64,
    mixing: Mixing,
    drop: Dropout,
    residual: bool,
    /// From the forward to the backward pass.
    kept: Mutex<Option<Kept<CpuStorage>>>,
}

/// Projections [rows, 3 a], what was attended [rows, a], and its sums over keys.
struct Kept<S> {
    qkv: S,
    mixed: S,
    sums: Vec<f64>,
}

impl Fused {
    /// Norm's scale and shift, Wq to Wv in one [3 a, d], and Wo.
    fn weights<'a, T>(&self, p: &'a [T]) -> [&'a [T]; 4] {
        let (norm_w, rest) = p.split_at(self.d);
        let (norm_b, rest) = rest.split_at(self.d);
        let (into, out) = rest.split_at(3 * self.a * self.d);
        [norm_w, norm_b, into, out]
    }

    fn normed<T: Real>(&self, x: &[T], p: &[T]) -> Vec<T> {
        let [w, b, ..] = self.weights(p);
        let mut normed = zeros(x.len());
        norm(x, (w, b), self.eps, &mut normed);
        normed
    }

    fn forward<T: Real>(
        &self,
        x: &[T],
        p: &[T],
        (b, n): (usize, usize),
    ) -> Result<(Vec<T>, Kept<Vec<T>>)> {
        let (d, a, rows) = (self.d, self.a, b * n);
        let [_, _, into, out] = self.weights(p);
        let normed = self.normed(x, p);
        let into = Mat::rows(into, 3 * a, d, d).t();
        let qkv = product_of(T::ONE, Mat::rows(&normed, rows, d, d), into);
        // Its room is the output's now.
        let mut y = normed;
        let (mixed, sums) = self.mixing.forward(&qkv, (b, n, a))?;
        let out = Mat::rows(out, d, a, a).t();
        product(&mut y, T::ONE, Mat::rows(&mixed, rows, a, a), out);
        let y = masked(&y, self.residual.then_some(x), b, self.drop);
        Ok((y, Kept { qkv, mixed, sums }))
    }

    /// With e = drop(g) and m what was attended: `dm = e Wo`, `dWo = eᵀ m`, `dn = dqkv W`,
    /// `dW = dqkvᵀ n`.
    fn backward<T: Real>(
        &self,
        (x, p, g): (&[T], &[T], &[T]),
        kept: Kept<Vec<T>>,
        (b, n): (usize, usize),
    ) -> Result<(Vec<T>, Vec<T>)> {
        let (d, a, rows) = (self.d, self.a, b * n);
        let [norm_w, _, into, out] = self.weights(p);
        let mut dp = vec![T::ZERO; p.len()];
        let (norm, rest) = dp.split_at_mut(2 * d);
        let (into_w, out_w) = rest.split_at_mut(3 * a * d);
        let dropped = (self.drop.p > 0.0).then(|| dropped(g, b, self.drop));
        let e = Mat::rows(dropped.as_deref().unwrap_or(g), rows, d, d);
        let mixed = Mat::rows(&kept.mixed, rows, a, a);
        transposed_product(out_w, false, e, mixed);
        let dm = product_of(T::ONE, e, Mat::rows(out, d, a, a));
        drop(dropped);
        let dqkv = self.mixing.backward(&kept.qkv, (&kept.mixed, &kept.sums), &dm, (b, n, a))?;
        drop((kept, dm));
        let normed = self.normed(x, p);
        let (dm, nm) = (Mat::rows(&dqkv, rows, 3 * a, 3 * a), Mat::rows(&normed, rows, d, d));
        transposed_product(into_w, false, dm, nm);
        // The norms' room is that of their gradients now.
        let mut dx = normed;
        product(&mut dx, T::ONE, dm, Mat::rows(into, 3 * a, d, d));
        let (dw, db) = norm.split_at_mut(d);
        norm_backward(x, norm_w, self.eps, &mut dx, self.residual.then_some(g), (dw, db));
        Ok((dx, dp))
    }
}

impl CustomOp2 for Fused {
    fn name(&self) -> &'static str {
        "attention-layer"
    }

    fn cpu_fwd(
        &self,
        sx: &CpuStorage,
        lx: &Layout,
        sp: &CpuStorage,
        lp: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (b, n, _) = lx.shape().dims3()?;
        with_real!("attention layer", dtype(sx), T => {
            let (x, p) = (contiguous::<T>(sx, lx)?, contiguous::<T>(sp, lp)?);
            let (y, Kept { qkv, mixed, sums }) = self.forward(x, p, (b, n))?;
            if let Ok(mut kept) = self.kept.lock() {
                *kept = Some(Kept { qkv: to_storage(qkv), mixed: to_storage(mixed), sums });
            }
            Ok((to_storage(y), lx.shape().clone()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        p: &Tensor,
        _y: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (b, n, _) = x.dims3()?;
        let g = g.contiguous()?;
        let (hx, hp, hg) = (read(x)?, read(p)?, read(&g)?);
        let kept = self.kept.lock().ok().and_then(|mut kept| kept.take());
        with_real!("attention layer: backward", x.dtype(), T => {
            let (xs, ps) = (hx.slice::<T>()?, hp.slice::<T>()?);
            let kept = match kept {
                Some(Kept { qkv, mixed, sums }) => Kept {
                    qkv: T::cpu_storage_data(qkv)?,
                    mixed: T::cpu_storage_data(mixed)?,
                    sums,
                },
                // A second backward pass through the same graph.
                None => self.forward(xs, ps, (b, n))?.1,
            };
            let (dx, dp) = self.backward((xs, ps, hg.slice()?), kept, (b, n))?;
            Ok((gradient(dx, x)?, gradient(dp, p)?))
        })
    }
}
