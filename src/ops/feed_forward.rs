//! A whole feed-forward layer in one op (Vaswani et al. 2017, section 3.3, pre-norm):
//! `y = x + drop(W2 drop(gelu(W1 norm(x) + b1)) + b2)`, or the same without `x +`.
//!
//! One op instead of six: what lies between is kept in the cache, of a row of the hidden layer
//! only the value before GELU is kept for the backward pass, and the graph has one edge where
//! it had seven.

use super::cpu::{
    Mat, MatMut, Real, contiguous, dtype, filled, fused, gemm, gemm_in, gradient, piece, read,
    right, spread, to_storage, transposed_product, with_real, zeros,
};
use super::dropout::{Dropout, dropped};
use super::gelu::{self, Masked};
use super::layer_norm::{norm_backward, norm_rows};
use super::linear::add_column_sums;
use super::{add_dropout, dropout, layer_norm, linear};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::sync::Mutex;

/// Weights of a feed-forward layer of width d and hidden width m.
#[derive(Debug, Clone, Copy)]
pub struct FeedForward<'a> {
    /// Scale and shift of the norm, [d] each.
    pub norm: (&'a Tensor, &'a Tensor),
    pub eps: f64,
    /// [m, d] and [m].
    pub up: (&'a Tensor, &'a Tensor),
    /// [d, m] and [d].
    pub down: (&'a Tensor, &'a Tensor),
    /// Of the hidden layer and of the output.
    pub drop: (Dropout, Dropout),
    /// Whether `x` is added.
    pub residual: bool,
}

/// `x` [b, n, d] -> the same.
pub fn feed_forward(x: &Tensor, how: &FeedForward) -> Result<Tensor> {
    let ((m, d), last) = (how.up.0.dims2()?, x.dims().last().copied().unwrap_or(0));
    if last != d || how.down.0.dims() != [d, m] || x.elem_count() == 0 {
        bail!("feed_forward: x {:?}, up [{m}, {d}], down {:?}", x.shape(), how.down.0.shape());
    }
    #[cfg(feature = "cuda")]
    if super::cuda::norms(x) {
        return super::cuda::feed_forward(x, how);
    }
    if !fused(x) {
        return reference(x, how);
    }
    let all = [how.norm.0, how.norm.1, how.up.0, how.up.1, how.down.0, how.down.1];
    let flat = all.iter().map(|w| w.flatten_all()).collect::<Result<Vec<_>>>()?;
    let FeedForward { eps, drop, residual, .. } = *how;
    let op = Fused { d, m, eps, drop, residual, hidden: Mutex::new(None) };
    x.contiguous()?.apply_op2(&Tensor::cat(&flat, 0)?, op)
}

/// The same, composed of the ops it stands for.
pub fn reference(x: &Tensor, how: &FeedForward) -> Result<Tensor> {
    let normed = layer_norm(x, how.norm.0, how.norm.1, how.eps)?;
    let hidden = linear(&normed, how.up.0, Some(how.up.1))?;
    let active = how.drop.0.reference(&gelu::reference(&hidden)?)?;
    let y = linear(&active, how.down.0, Some(how.down.1))?;
    if how.residual { add_dropout(x, &y, how.drop.1) } else { dropout(&y, how.drop.1) }
}

struct Fused {
    d: usize,
    m: usize,
    eps: f64,
    drop: (Dropout, Dropout),
    residual: bool,
    /// The hidden layer before GELU, from the forward to the backward pass.
    hidden: Mutex<Option<CpuStorage>>,
}

/// Weights in the order they are packed.
#[derive(Clone, Copy)]
struct Weights<'a, T> {
    norm: (&'a [T], &'a [T]),
    up: (&'a [T], &'a [T]),
    down: (&'a [T], &'a [T]),
}

/// Rows whose part of the weights' gradients is summed at a time: enough that packing them for
/// the product is paid back, few enough that their hidden rows stay in the last cache. A
/// function of the sizes alone.
fn slab(m: usize) -> usize {
    ((1 << 21) / m.max(1)).clamp(256, 1 << 14)
}

/// Values held while the backward pass works on so many rows, beside its operands and results:
/// of a slab the hidden rows and the norms, and each thread's slopes of hidden rows.
pub(crate) fn working(rows: usize, (d, m): (usize, usize), threads: usize) -> usize {
    rows.min(slab(m)) * (m + d) + threads * piece(rows) * m
}

/// Rows of one thread.
#[derive(Default)]
struct Scratch<T> {
    normed: Vec<T>,
    active: Vec<T>,
    da: Vec<T>,
}

impl Fused {
    fn weights<'a, T>(&self, p: &'a [T]) -> Weights<'a, T> {
        let (d, m) = (self.d, self.m);
        let (norm_w, rest) = p.split_at(d);
        let (norm_b, rest) = rest.split_at(d);
        let (up_w, rest) = rest.split_at(m * d);
        let (up_b, rest) = rest.split_at(m);
        let (down_w, down_b) = rest.split_at(d * m);
        Weights { norm: (norm_w, norm_b), up: (up_w, up_b), down: (down_w, down_b) }
    }

    /// The output, and the hidden layer before GELU. Each task takes its rows all the way, so
    /// that they stay in its cache.
    fn forward<T: Real>(&self, x: &[T], p: &[T], each: usize) -> (Vec<T>, Vec<T>) {
        let (d, m, w) = (self.d, self.m, self.weights(p));
        let rows = x.len() / d;
        let (inner, outer) = (Masked::new(self.drop.0, each, m), Masked::new(self.drop.1, each, d));
        let (mut up, mut down) = (Vec::new(), Vec::new());
        let up = right(Mat::rows(w.up.0, m, d, d).t(), rows, &mut up);
        let down = right(Mat::rows(w.down.0, d, m, m).t(), rows, &mut down);
        let size = piece(rows);
        let mut y = zeros(x.len());
        let pieces = y.par_chunks_mut(size * d).zip(x.par_chunks(size * d)).enumerate();
        let work = |hidden: &mut [MaybeUninit<T>]| {
            let pieces = pieces.zip(hidden.par_chunks_mut(size * m));
            spread(pieces, |scratch: &mut Scratch<T>, ((i, (y, x)), hidden)| {
                let (Scratch { normed, active, .. }, count) = (scratch, x.len() / d);
                normed.resize(x.len(), T::ZERO);
                norm_rows(x, w.norm, self.eps, normed);
                let hidden = gemm_in(hidden, T::ONE, Mat::rows(normed, count, d, d), up);
                active.resize(count * m, T::ZERO);
                let rows = active.chunks_exact_mut(m).zip(hidden.chunks_exact_mut(m));
                for (r, (a, h)) in rows.enumerate() {
                    inner.gelu(i * size + r, (a, h), w.up.1);
                }
                let active = Mat::rows(active, count, m, m);
                gemm(&mut MatMut::rows(y, count, d, d), false, T::ONE, active, down);
                for (r, (y, x)) in y.chunks_exact_mut(d).zip(x.chunks_exact(d)).enumerate() {
                    outer.finish(i * size + r, y, w.down.1, self.residual.then_some(x));
                }
            });
        };
        // SAFETY: the pieces are all of the hidden layer, each written by its product.
        let hidden = unsafe { filled(rows * m, work) };
        (y, hidden)
    }

    /// Gradients of x and of the packed weights, from the output's `g`. With h the hidden
    /// layer, a = drop(gelu(h)) and e = drop(g): `da = e W2`, `dW2 = eᵀ a`, `dh = da gelu'(h)`,
    /// `dW1 = dhᵀ norm(x)`, `dnorm = dh W1`.
    fn backward<T: Real>(
        &self,
        (x, p, g): (&[T], &[T], &[T]),
        mut hidden: Vec<T>,
        each: usize,
    ) -> (Vec<T>, Vec<T>) {
        let (d, m, w) = (self.d, self.m, self.weights(p));
        let mut dp = vec![T::ZERO; p.len()];
        let (norm, rest) = dp.split_at_mut(2 * d);
        let (up_w, rest) = rest.split_at_mut(m * d);
        let (up_b, rest) = rest.split_at_mut(m);
        let (down_w, down_b) = rest.split_at_mut(d * m);
        let mut dx = zeros(x.len());
        let most = slab(m).min(x.len() / d);
        let (mut normed, mut active) = (zeros(most * d), zeros(most * m));
        let inner = Masked::new(self.drop.0, each, m);
        let examples = x.len() / d / each;
        let dropped = (self.drop.1.p > 0.0).then(|| dropped(g, examples, self.drop.1));
        let e = dropped.as_deref().unwrap_or(g);
        let (up, down) = (Mat::rows(w.up.0, m, d, d), Mat::rows(w.down.0, d, m, m));
        let size = slab(m);
        let slabs = dx.chunks_mut(size * d).zip(hidden.chunks_mut(size * m));
        let slabs = slabs.zip(x.chunks(size * d).zip(g.chunks(size * d)).zip(e.chunks(size * d)));
        for (i, ((dx, h), ((x, g), e))) in slabs.enumerate() {
            let (count, first) = (x.len() / d, i * size);
            let (normed, active) = (&mut normed[..count * d], &mut active[..count * m]);
            let size = piece(count);
            let pieces = active.par_chunks_mut(size * m).zip(h.par_chunks_mut(size * m));
            let pieces = pieces.zip(dx.par_chunks_mut(size * d).zip(e.par_chunks(size * d)));
            let pieces = pieces.zip(normed.par_chunks_mut(size * d).zip(x.par_chunks(size * d)));
            let pieces = pieces.enumerate();
            spread(pieces, |scratch: &mut Scratch<T>, (i, ((ah, (dx, e)), (normed, x)))| {
                let ((a, h), count, first) = (ah, x.len() / d, first + i * size);
                let da = &mut scratch.da;
                da.resize(count * m, T::ZERO);
                let e = Mat::rows(e, count, d, d);
                gemm(&mut MatMut::rows(da, count, m, m), false, T::ONE, e, down);
                // dh takes the place of h.
                let rows = a.chunks_exact_mut(m).zip(h.chunks_exact_mut(m)).zip(da.chunks_exact(m));
                for (r, ((a, h), da)) in rows.enumerate() {
                    inner.gelu_backward(first + r, (a, h), da);
                }
                let h = Mat::rows(h, count, m, m);
                gemm(&mut MatMut::rows(dx, count, d, d), false, T::ONE, h, up);
                norm_rows(x, w.norm, self.eps, normed);
            });
            let (hm, am) = (Mat::rows(h, count, m, m), Mat::rows(active, count, m, m));
            let (em, nm) = (Mat::rows(e, count, d, d), Mat::rows(normed, count, d, d));
            transposed_product(down_w, i > 0, em, am);
            transposed_product(up_w, i > 0, hm, nm);
            add_column_sums(e, down_b);
            add_column_sums(h, up_b);
            let (norm_w, norm_b) = norm.split_at_mut(d);
            let add = self.residual.then_some(g);
            norm_backward(x, w.norm.0, self.eps, dx, add, (norm_w, norm_b));
        }
        (dx, dp)
    }
}

/// Rows of an example of this shape.
fn each(shape: &Shape) -> usize {
    let dims = shape.dims();
    dims[1..dims.len() - 1].iter().product::<usize>().max(1)
}

impl CustomOp2 for Fused {
    fn name(&self) -> &'static str {
        "feed-forward"
    }

    fn cpu_fwd(
        &self,
        sx: &CpuStorage,
        lx: &Layout,
        sp: &CpuStorage,
        lp: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        with_real!("feed-forward", dtype(sx), T => {
            let (x, p) = (contiguous::<T>(sx, lx)?, contiguous::<T>(sp, lp)?);
            let (y, hidden) = self.forward(x, p, each(lx.shape()));
            if let Ok(mut kept) = self.hidden.lock() {
                *kept = Some(to_storage(hidden));
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
        let g = g.contiguous()?;
        let (hx, hp, hg) = (read(x)?, read(p)?, read(&g)?);
        let kept = self.hidden.lock().ok().and_then(|mut kept| kept.take());
        with_real!("feed-forward: backward", x.dtype(), T => {
            let (xs, ps) = (hx.slice::<T>()?, hp.slice::<T>()?);
            let hidden = match kept {
                Some(storage) => T::cpu_storage_data(storage)?,
                // A second backward pass through the same graph.
                None => self.forward(xs, ps, each(x.shape())).1,
            };
            let (dx, dp) = self.backward((xs, ps, hg.slice()?), hidden, each(x.shape()));
            Ok((gradient(dx, x)?, gradient(dp, p)?))
        })
    }
}
