//! The fused face: one task per example and head, which computes the head's features, uses
//! them and forgets them.

use super::Kernelised;
use super::features::{Features, Side};
use super::maps::{Map, Rows};
use crate::ops::cpu::{
    Mat, MatMut, Real, Shared, contiguous, dtype, gemm, gradient, pair_sum, read, simd, to_storage,
    with_real, zeros,
};
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

pub(super) fn fused(qkv: &Tensor, how: &Kernelised) -> Result<Tensor> {
    qkv.contiguous()?.apply_op1(Fused { how: how.clone() })
}

/// What is attended, for ops that hold more than that. Sizes are examples, positions, and
/// columns of queries.
pub(in crate::ops) fn forward<T: Real>(
    how: &Kernelised,
    qkv: &[T],
    (b, n, a): (usize, usize, usize),
) -> Result<Vec<T>> {
    Fused { how: how.clone() }.forward(qkv, Dims { b, n, h: how.heads, w: a / how.heads })
}

/// The gradient of `qkv`, from what was attended and its gradient.
pub(in crate::ops) fn backward<T: Real>(
    how: &Kernelised,
    qkv: &[T],
    (o, g): (&[T], &[T]),
    (b, n, a): (usize, usize, usize),
) -> Result<Vec<T>> {
    Fused { how: how.clone() }.backward(qkv, (o, g), Dims { b, n, h: how.heads, w: a / how.heads })
}

struct Fused {
    how: Kernelised,
}

/// Sizes of one call: positions, heads and their width.
#[derive(Clone, Copy)]
struct Dims {
    b: usize,
    n: usize,
    h: usize,
    w: usize,
}

/// Buffers of one thread.
#[derive(Default)]
struct Scratch<T> {
    fq: Vec<T>,
    fk: Vec<T>,
    g: Vec<T>,
    e: Vec<T>,
    numerator: Vec<T>,
}

/// One example and head.
struct Head<'a, T> {
    q: Rows<'a, T>,
    k: Rows<'a, T>,
    v: Rows<'a, T>,
    map: Map<'a, T>,
    eps: T,
}

/// What all queries of a head see: S [features, w] and z [features].
struct State<T> {
    s: Vec<T>,
    z: Vec<T>,
}

#[inline(always)]
fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    pair_sum(
        a,
        b,
        #[inline(always)]
        |a, b| a * b,
    )
}

/// `to += scale x`
#[inline(always)]
fn add<T: Real>(to: &mut [T], scale: T, x: &[T]) {
    to.iter_mut().zip(x).for_each(|(to, &x)| *to += scale * x);
}

impl<T: Real> Head<'_, T> {
    fn features(&self) -> usize {
        self.map.count(self.q.width)
    }

    /// Features of queries and keys, those of padded keys zero, and the state.
    fn prepare(&self, scratch: &mut Scratch<T>) -> State<T> {
        let (m, w, end) = (self.features(), self.v.width, self.k.count);
        self.map.forward(&self.q, Side::Query, &mut scratch.fq);
        self.map.forward(&self.k, Side::Key, &mut scratch.fk);
        let fk = &mut scratch.fk;
        let (mut s, mut z) = (vec![T::ZERO; m * w], vec![T::ZERO; m]);
        for (row, &valid) in fk.chunks_exact_mut(m).zip(self.k.valid) {
            if valid {
                simd(
                    #[inline(always)]
                    || add(&mut z, T::ONE, row),
                );
            } else {
                row.fill(T::ZERO);
            }
        }
        let (fk, out) = (Mat::rows(fk, end, m, m), &mut MatMut::rows(&mut s, m, w, w));
        gemm(out, false, T::ONE, fk.t(), self.v.mat());
        State { s, z }
    }

    /// One over each query's denominator.
    fn inverse(&self, state: &State<T>, fq: &[T]) -> Vec<T> {
        let inverse = fq.chunks_exact(self.features()).map(|row| {
            let sum = simd(
                #[inline(always)]
                || dot(row, &state.z),
            );
            T::ONE / (sum + self.eps)
        });
        inverse.collect()
    }

    fn forward(&self, scratch: &mut Scratch<T>, o: &mut MatMut<'_, T>) {
        let state = self.prepare(scratch);
        let (m, w, end) = (self.features(), self.v.width, self.q.count);
        let Scratch { fq, numerator, .. } = scratch;
        numerator.resize(end * w, T::ZERO);
        let out = &mut MatMut::rows(numerator, end, w, w);
        gemm(out, false, T::ONE, Mat::rows(fq, end, m, m), Mat::rows(&state.s, m, w, w));
        let inverse = self.inverse(&state, fq);
        for (i, &scale) in inverse.iter().enumerate().filter(|&(i, _)| self.q.valid[i]) {
            let from = &numerator[i * w..][..w];
            o.row_mut(i).iter_mut().zip(from).for_each(|(o, &x)| *o = x * scale);
        }
    }

    /// With e = g / denominator and t = -(g . o) / denominator per valid row:
    /// `dfq = e Sᵀ + t zᵀ`, `dS = fqᵀ e`, `dz = fqᵀ t`, `dfk = v dSᵀ + dz`, `dv = fk dS`.
    fn backward(
        &self,
        scratch: &mut Scratch<T>,
        (o, g_out): (Rows<'_, T>, Rows<'_, T>),
        [dq, dk, dv]: [&mut MatMut<'_, T>; 3],
    ) {
        let state = self.prepare(scratch);
        let (m, w, end) = (self.features(), self.v.width, self.q.count);
        let Scratch { fq, fk, g, e, .. } = scratch;
        let inverse = self.inverse(&state, fq);
        e.clear();
        e.resize(end * w, T::ZERO);
        let mut t = vec![T::ZERO; end];
        for (i, &scale) in inverse.iter().enumerate().filter(|&(i, _)| self.q.valid[i]) {
            let e = &mut e[i * w..][..w];
            add(e, scale, g_out.row(i));
            t[i] = -dot(e, o.row(i));
        }
        let (em, sm) = (Mat::rows(e, end, w, w), Mat::rows(&state.s, m, w, w));
        g.resize(end * m, T::ZERO);
        gemm(&mut MatMut::rows(g, end, m, m), false, T::ONE, em, sm.t());
        let mut dz = vec![T::ZERO; m];
        for ((g, fq), &t) in g.chunks_exact_mut(m).zip(fq.chunks_exact(m)).zip(&t) {
            simd(
                #[inline(always)]
                || {
                    add(g, t, &state.z);
                    add(&mut dz, t, fq);
                },
            );
        }
        self.map.backward(&self.q, Side::Query, fq, g, dq);
        let mut ds = vec![T::ZERO; m * w];
        let fq = Mat::rows(fq, end, m, m);
        gemm(&mut MatMut::rows(&mut ds, m, w, w), false, T::ONE, fq.t(), em);
        let ds = Mat::rows(&ds, m, w, w);
        gemm(&mut MatMut::rows(g, end, m, m), false, T::ONE, self.v.mat(), ds.t());
        simd(
            #[inline(always)]
            || g.chunks_exact_mut(m).for_each(|g| add(g, T::ONE, &dz)),
        );
        gemm(dv, false, T::ONE, Mat::rows(fk, end, m, m), ds);
        self.map.backward(&self.k, Side::Key, fk, g, dk);
        for i in (0..end).filter(|&i| !self.k.valid[i]) {
            [&mut *dq, &mut *dk, &mut *dv].into_iter().for_each(|d| d.row_mut(i).fill(T::ZERO));
        }
    }
}

impl Fused {
    fn dims(&self, qkv: &[usize]) -> Dims {
        let h = self.how.heads;
        Dims { b: qkv[0], n: qkv[1], h, w: qkv[2] / (3 * h) }
    }

    /// The projection in the operands' type.
    fn projection<T: Real>(&self) -> Result<Vec<T>> {
        let Features::Random { projection, .. } = &self.how.features else { return Ok(Vec::new()) };
        let projection = projection.to_dtype(DType::F64)?.contiguous()?;
        let held = read(&projection)?;
        Ok(held.slice::<f64>()?.iter().map(|&x| T::of(x)).collect())
    }

    fn head<'a, T: Real>(
        &'a self,
        qkv: &'a [T],
        w: &'a [T],
        d: Dims,
        (b, h): (usize, usize),
    ) -> Head<'a, T> {
        let (end, valid) = (self.how.mask.end(b), self.how.mask.row(b));
        let (row, start) = (d.h * d.w, b * d.n * 3 * d.h * d.w + h * d.w);
        let rows = |part: usize| Rows {
            data: &qkv[start + part * row..],
            count: end,
            width: d.w,
            stride: 3 * row,
            valid,
        };
        let map = match &self.how.features {
            Features::EluPlusOne => Map::EluPlusOne,
            Features::Random { kind, eps, .. } => {
                Map::Random { kind: *kind, w, m: w.len() / d.w, eps: T::of(*eps) }
            }
        };
        Head { q: rows(0), k: rows(1), v: rows(2), map, eps: T::of(self.how.eps) }
    }

    fn work(d: Dims) -> Vec<(usize, usize)> {
        (0..d.b).flat_map(|b| (0..d.h).map(move |h| (b, h))).collect()
    }

    fn forward<T: Real>(&self, qkv: &[T], d: Dims) -> Result<Vec<T>> {
        let w = self.projection()?;
        let mut out = zeros(d.b * d.n * d.h * d.w);
        let outs = Shared::new(&mut out);
        Self::work(d).into_par_iter().for_each_init(Scratch::default, |scratch, (b, h)| {
            let head = self.head(qkv, &w, d, (b, h));
            let start = b * d.n * d.h * d.w + h * d.w;
            // SAFETY: the task owns this example and head.
            let mut o = unsafe { outs.view(start, head.q.count, d.w, d.h * d.w) };
            head.forward(scratch, &mut o);
        });
        Ok(out)
    }

    fn backward<T: Real>(&self, qkv: &[T], (o, g): (&[T], &[T]), d: Dims) -> Result<Vec<T>> {
        let w = self.projection()?;
        let mut grad = zeros(qkv.len());
        let outs = Shared::new(&mut grad);
        let row = d.h * d.w;
        Self::work(d).into_par_iter().for_each_init(Scratch::default, |scratch, (b, h)| {
            let head = self.head(qkv, &w, d, (b, h));
            let (count, valid) = (head.q.count, head.q.valid);
            let at = b * d.n * row + h * d.w;
            let [o, g] = [o, g].map(|all| {
                let data = &all[at..];
                Rows { data, count, width: d.w, stride: row, valid }
            });
            let start = b * d.n * 3 * row + h * d.w;
            // SAFETY: the task owns this example and head of all three gradients.
            let [mut dq, mut dk, mut dv] =
                [0, 1, 2].map(|part| unsafe { outs.view(start + part * row, count, d.w, 3 * row) });
            head.backward(scratch, (o, g), [&mut dq, &mut dk, &mut dv]);
        });
        Ok(grad)
    }
}

impl CustomOp1 for Fused {
    fn name(&self) -> &'static str {
        "kernel-attention"
    }

    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let d = self.dims(l.dims());
        let out = with_real!("kernel attention", dtype(s), T => {
            to_storage(self.forward::<T>(contiguous(s, l)?, d)?)
        });
        Ok((out, (d.b, d.n, d.h * d.w).into()))
    }

    fn bwd(&self, qkv: &Tensor, o: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let g = g.contiguous()?;
        let d = self.dims(qkv.dims());
        let (held, ho, hg) = (read(qkv)?, read(o)?, read(&g)?);
        with_real!("kernel attention: backward", qkv.dtype(), T => {
            gradient(self.backward::<T>(held.slice()?, (ho.slice()?, hg.slice()?), d)?, qkv)
        })
    }
}
