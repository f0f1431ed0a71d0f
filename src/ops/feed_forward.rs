//! A whole feed-forward layer in one op (Vaswani et al. 2017, section 3.3, pre-norm):
//! `y = x + drop(W2 drop(gelu(W1 norm(x) + b1)) + b2)`, or the same without `x +`.
//!
//! One op instead of six: what lies between is kept in the cache, of a row of the hidden layer
//! only the value before GELU is kept for the backward pass, and the graph has one edge where
//! it had seven.

use super::cpu::{
    Mat, Real, contiguous, dtype, filled, fused, gradient, product, product_in, read, to_storage,
    transposed_product, with_real, zeros,
};
use super::dropout::{Dropout, dropped};
use super::gelu::{self, Masked};
use super::layer_norm::{norm, norm_backward};
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

/// Rows worked on at a time: enough that packing the weights for a product is paid back, few
/// enough that their hidden rows stay in the last cache. A function of the sizes alone.
pub(crate) fn slab(m: usize) -> usize {
    ((1 << 21) / m.max(1)).clamp(256, 1 << 14)
}

/// Rows of one task of an element-wise pass.
const ROWS: usize = 64;

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

    fn normed<T: Real>(&self, x: &[T], w: &Weights<T>, normed: &mut Vec<T>) {
        normed.resize(x.len(), T::ZERO);
        norm(x, w.norm, self.eps, normed);
    }

    /// The output, and the hidden layer before GELU.
    fn forward<T: Real>(&self, x: &[T], p: &[T], each: usize) -> (Vec<T>, Vec<T>) {
        let (d, m, w) = (self.d, self.m, self.weights(p));
        let rows = x.len() / d;
        let (inner, outer) = (Masked::new(self.drop.0, each, m), Masked::new(self.drop.1, each, d));
        let (mut normed, mut active) = (Vec::new(), Vec::new());
        let size = slab(m);
        let mut y = zeros(x.len());
        let slabs = y.chunks_mut(size * d).zip(x.chunks(size * d)).enumerate();
        let work = |hidden: &mut [MaybeUninit<T>]| {
            for ((i, (y, x)), hidden) in slabs.zip(hidden.chunks_mut(size * m)) {
                let (count, first) = (x.len() / d, i * size);
                self.normed(x, &w, &mut normed);
                let up = Mat::rows(w.up.0, m, d, d).t();
                let hidden = product_in(hidden, T::ONE, Mat::rows(&normed, count, d, d), up);
                active.resize(count * m, T::ZERO);
                let blocks = active.par_chunks_mut(ROWS * m).zip(hidden.par_chunks_mut(ROWS * m));
                blocks.enumerate().for_each(|(block, (active, hidden))| {
                    let rows = active.chunks_exact_mut(m).zip(hidden.chunks_exact_mut(m));
                    for (r, (a, h)) in rows.enumerate() {
                        inner.gelu(first + block * ROWS + r, (a, h), w.up.1);
                    }
                });
                let down = Mat::rows(w.down.0, d, m, m).t();
                product(y, T::ONE, Mat::rows(&active, count, m, m), down);
                let blocks = y.par_chunks_mut(ROWS * d).zip(x.par_chunks(ROWS * d)).enumerate();
                blocks.for_each(|(block, (y, x))| {
                    for (r, (y, x)) in y.chunks_exact_mut(d).zip(x.chunks_exact(d)).enumerate() {
                        let x = self.residual.then_some(x);
                        outer.finish(first + block * ROWS + r, y, w.down.1, x);
                    }
                });
            }
        };
        // SAFETY: the slabs are all of the hidden layer, each written by its product.
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
        let (mut normed, mut active, mut da) = (Vec::new(), Vec::new(), Vec::new());
        let inner = Masked::new(self.drop.0, each, m);
        let examples = x.len() / d / each;
        let dropped = (self.drop.1.p > 0.0).then(|| dropped(g, examples, self.drop.1));
        let e = dropped.as_deref().unwrap_or(g);
        let size = slab(m);
        let slabs = dx.chunks_mut(size * d).zip(hidden.chunks_mut(size * m));
        let slabs = slabs.zip(x.chunks(size * d).zip(g.chunks(size * d)).zip(e.chunks(size * d)));
        for (i, ((dx, h), ((x, g), e))) in slabs.enumerate() {
            let (count, first) = (x.len() / d, i * size);
            da.resize(count * m, T::ZERO);
            active.resize(count * m, T::ZERO);
            let em = Mat::rows(e, count, d, d);
            product(&mut da, T::ONE, em, Mat::rows(w.down.0, d, m, m));
            // dh takes the place of h.
            let blocks = active.par_chunks_mut(ROWS * m).zip(h.par_chunks_mut(ROWS * m));
            blocks.zip(da.par_chunks(ROWS * m)).enumerate().for_each(|(block, ((a, h), da))| {
                let rows = a.chunks_exact_mut(m).zip(h.chunks_exact_mut(m)).zip(da.chunks_exact(m));
                for (r, ((a, h), da)) in rows.enumerate() {
                    inner.gelu_backward(first + block * ROWS + r, (a, h), da);
                }
            });
            let (hm, am) = (Mat::rows(h, count, m, m), Mat::rows(&active, count, m, m));
            self.normed(x, &w, &mut normed);
            let nm = Mat::rows(&normed, count, d, d);
            product(dx, T::ONE, hm, Mat::rows(w.up.0, m, d, d));
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
