//! A whole feed-forward layer in one op (Vaswani et al. 2017, section 3.3, pre-norm):
//! `y = x + drop(W2 drop(gelu(W1 norm(x) + b1)) + b2)`, or the same without `x +`.
//!
//! One op instead of six: what lies between is kept in the cache, of a row of the hidden layer
//! only the value before GELU is kept for the backward pass, and the graph has one edge where
//! it had seven.

use super::cpu::{Mat, MatMut, Real, contiguous, dtype, fused, gemm, read, to_storage, with_real};
use super::dropout::Dropout;
use super::gelu::{self, Masked};
use super::layer_norm::{norm_backward, norm_rows};
use super::linear::column_sums;
use super::{add_dropout, dropout, layer_norm, linear};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::prelude::*;
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

/// Rows of a task: enough that packing the weights for a product is paid back, few enough
/// that their hidden rows stay in the second-level cache. A function of the sizes alone.
fn block(rows: usize, m: usize) -> usize {
    ((1 << 18) / m.max(1)).clamp(32, 256).min(rows.div_ceil(4).max(32))
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

    /// Hidden rows of `x` [rows, d], before GELU.
    fn up<T: Real>(&self, x: &[T], w: &Weights<T>, normed: &mut Vec<T>, out: &mut MatMut<'_, T>) {
        let (d, m, rows) = (self.d, self.m, x.len() / self.d);
        normed.resize(x.len(), T::ZERO);
        norm_rows(x, w.norm.0, w.norm.1, self.eps, normed);
        for r in 0..rows {
            out.row_mut(r).copy_from_slice(w.up.1);
        }
        let w = Mat::rows(w.up.0, m, d, d).t();
        gemm(out, true, T::ONE, Mat::rows(normed, rows, d, d), w, false);
    }

    /// The output, and the hidden layer.
    fn forward<T: Real>(&self, x: &[T], p: &[T], each: usize) -> (Vec<T>, Vec<T>) {
        let (d, m, w) = (self.d, self.m, self.weights(p));
        let rows = x.len() / d;
        let size = block(rows, m);
        let mut hidden = vec![T::ZERO; rows * m];
        let mut y = vec![T::ZERO; x.len()];
        let blocks = y
            .par_chunks_mut(size * d)
            .zip(hidden.par_chunks_mut(size * m))
            .zip(x.par_chunks(size * d))
            .enumerate();
        let scratch = || (Vec::new(), Vec::new());
        blocks.for_each_init(scratch, |(normed, active), (i, ((y, hidden), x))| {
            let (count, first) = (x.len() / d, i * size);
            self.up(x, &w, normed, &mut MatMut::rows(hidden, count, m, m));
            active.resize(count * m, T::ZERO);
            let masked = Masked::new(self.drop.0, each, m);
            for r in 0..count {
                let (to, from) = (&mut active[r * m..][..m], &hidden[r * m..][..m]);
                masked.gelu(first + r, to, from);
            }
            for y in y.chunks_exact_mut(d) {
                y.copy_from_slice(w.down.1);
            }
            let down = Mat::rows(w.down.0, d, m, m).t();
            let mut out = MatMut::rows(y, count, d, d);
            gemm(&mut out, true, T::ONE, Mat::rows(active, count, m, m), down, false);
            let masked = Masked::new(self.drop.1, each, d);
            for (r, (y, x)) in y.chunks_exact_mut(d).zip(x.chunks_exact(d)).enumerate() {
                masked.in_place(first + r, y);
                if self.residual {
                    y.iter_mut().zip(x).for_each(|(y, &x)| *y += x);
                }
            }
        });
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
        let rows = x.len() / d;
        let size = block(rows, m);
        let mut dp = vec![T::ZERO; p.len()];
        let (norm, rest) = dp.split_at_mut(2 * d);
        let (up_w, rest) = rest.split_at_mut(m * d);
        let (up_b, rest) = rest.split_at_mut(m);
        let (down_w, down_b) = rest.split_at_mut(d * m);
        let mut active = vec![T::ZERO; rows * m];
        // Norms of x, and then their gradients.
        let mut normed = vec![T::ZERO; x.len()];
        let mut dropped = if self.drop.1.p > 0.0 { vec![T::ZERO; g.len()] } else { Vec::new() };
        let mut dx = vec![T::ZERO; x.len()];
        if self.drop.1.p > 0.0 {
            let blocks = dropped.par_chunks_mut(size * d).zip(g.par_chunks(size * d)).enumerate();
            blocks.for_each(|(i, (to, g))| {
                let masked = Masked::new(self.drop.1, each, d);
                for (r, (to, g)) in to.chunks_exact_mut(d).zip(g.chunks_exact(d)).enumerate() {
                    to.copy_from_slice(g);
                    masked.in_place(i * size + r, to);
                }
            });
        }
        let e = if self.drop.1.p > 0.0 { &dropped[..] } else { g };
        // dh takes the place of h; dx holds dnorm until the norm's own pass.
        let blocks = hidden
            .par_chunks_mut(size * m)
            .zip(active.par_chunks_mut(size * m))
            .zip(normed.par_chunks_mut(size * d).zip(dx.par_chunks_mut(size * d)))
            .zip(e.par_chunks(size * d).zip(x.par_chunks(size * d)))
            .enumerate();
        blocks.for_each_init(Vec::new, |da, (i, (((h, a), (normed, dnorm)), (e, x)))| {
            let (count, first) = (x.len() / d, i * size);
            da.resize(count * m, T::ZERO);
            let down = Mat::rows(w.down.0, d, m, m);
            let mut out = MatMut::rows(da, count, m, m);
            gemm(&mut out, false, T::ONE, Mat::rows(e, count, d, d), down, false);
            let masked = Masked::new(self.drop.0, each, m);
            for r in 0..count {
                let (a, h) = (&mut a[r * m..][..m], &mut h[r * m..][..m]);
                let da = &da[r * m..][..m];
                masked.gelu_backward(first + r, (a, h), da);
            }
            norm_rows(x, w.norm.0, w.norm.1, self.eps, normed);
            let up = Mat::rows(w.up.0, m, d, d);
            let mut out = MatMut::rows(dnorm, count, d, d);
            gemm(&mut out, false, T::ONE, Mat::rows(h, count, m, m), up, false);
        });
        let product = |to: &mut [T], a: (&[T], usize), b: (&[T], usize)| {
            let (a_, b_) = (Mat::rows(a.0, rows, a.1, a.1), Mat::rows(b.0, rows, b.1, b.1));
            gemm(&mut MatMut::rows(to, a.1, b.1, b.1), false, T::ONE, a_.t(), b_, true);
        };
        product(down_w, (e, d), (&active, m));
        drop(active);
        product(up_w, (&hidden, m), (&normed, d));
        down_b.copy_from_slice(&column_sums(e, d));
        up_b.copy_from_slice(&column_sums(&hidden, m));
        drop(hidden);
        let (norm_w, norm_b) = norm.split_at_mut(d);
        let add = self.residual.then_some(g);
        norm_backward(x, w.norm.0, self.eps, &mut dx, add, (norm_w, norm_b));
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
            Ok((
                Some(Tensor::from_vec(dx, x.shape(), x.device())?),
                Some(Tensor::from_vec(dp, p.shape(), p.device())?),
            ))
        })
    }
}
