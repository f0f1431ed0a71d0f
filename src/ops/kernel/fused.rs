//! The fused face: one task per example and head, which computes the features of a block of
//! rows, uses them and forgets them. What it keeps of a head between the passes is the sums over
//! its keys.

use super::Kernelised;
use super::features::{Features, Side};
use super::maps::{Map, Rows, Stabiliser};
use crate::ops::cpu::{
    Mat, MatMut, Real, Shared, contiguous, dtype, gemm, gradient, laid, pair_sum, read, simd,
    spread, to_storage, turned, with_real, zeros,
};
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::sync::OnceLock;

pub(super) fn fused(qkv: &Tensor, how: &Kernelised) -> Result<Tensor> {
    qkv.contiguous()?.apply_op1(Fused::new(how))
}

/// What is attended, for ops that hold more than that, and the states of its heads. Sizes are
/// examples, positions, and columns of queries.
pub(in crate::ops) fn forward<T: Real>(
    how: &Kernelised,
    qkv: &[T],
    (b, n, a): (usize, usize, usize),
) -> Result<(Vec<T>, Vec<f64>)> {
    Fused::new(how).forward(qkv, Dims { b, n, h: how.heads, w: a / how.heads })
}

/// The gradient of `qkv`, from what was attended and its gradient.
pub(in crate::ops) fn backward<T: Real>(
    how: &Kernelised,
    qkv: &[T],
    (o, states): (&[T], &[f64]),
    g: &[T],
    (b, n, a): (usize, usize, usize),
) -> Result<Vec<T>> {
    Fused::new(how).backward(qkv, (o, states), g, Dims { b, n, h: how.heads, w: a / how.heads })
}

struct Fused {
    how: Kernelised,
    /// Written by the forward pass, read by the backward pass.
    states: OnceLock<Vec<f64>>,
}

/// Sizes of one call: positions, heads and their width.
#[derive(Clone, Copy)]
struct Dims {
    b: usize,
    n: usize,
    h: usize,
    w: usize,
}

/// Buffers of one thread: of a block of rows each, but for the last, which is S or its slope,
/// turned.
#[derive(Default)]
struct Scratch<T> {
    f: Vec<T>,
    g: Vec<T>,
    e: Vec<T>,
    numerator: Vec<T>,
    turned: Vec<T>,
}

/// One example and head.
struct Head<'a, T> {
    q: Rows<'a, T>,
    k: Rows<'a, T>,
    v: Rows<'a, T>,
    map: Map<'a, T>,
    eps: T,
}

/// What all queries of a head see: Sᵀ [w, features] and z [features], and the stabiliser of the
/// keys' features.
struct State<T> {
    s: Vec<T>,
    z: Vec<T>,
    stabiliser: T,
}

/// Rows of a block: their features stay in the second cache.
fn block(features: usize) -> usize {
    ((1 << 16) / features.max(1)).clamp(64, 1024)
}

/// Values that are held beside the operands: of a head's state between the passes, and by a
/// thread, its blocks and the state with its slope.
pub(crate) fn held(n: usize, features: usize, w: usize) -> (usize, usize) {
    let (rows, state) = (n.min(block(features)), features * (w + 1) + 1);
    (state, rows * 2 * (features + w) + 3 * state)
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

/// Adds rows of `f` [count, features] to `z`, each times its weight.
fn add_rows<T: Real>(z: &mut [T], f: &[T], weights: impl Iterator<Item = T>) {
    for (row, weight) in f.chunks_exact(z.len()).zip(weights) {
        let z = &mut *z;
        simd(
            #[inline(always)]
            move || add(z, weight, row),
        );
    }
}

impl<T: Real> State<T> {
    fn flat(self) -> impl Iterator<Item = f64> {
        let all = self.s.into_iter().chain(self.z).chain([self.stabiliser]);
        all.map(Real::to_f64)
    }

    fn of(flat: &[f64], features: usize) -> Self {
        let values = |x: &[f64]| x.iter().map(|&x| T::of(x)).collect::<Vec<T>>();
        let (s, rest) = flat.split_at(flat.len() - features - 1);
        let stabiliser = T::of(rest[features]);
        Self { s: values(s), z: values(&rest[..features]), stabiliser }
    }
}

impl<'a, T: Real> Head<'a, T> {
    fn features(&self) -> usize {
        self.map.count(self.q.width)
    }

    /// The first rows of blocks, and how many they have.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + use<T> {
        let (size, end) = (block(self.features()), self.k.count);
        (0..end).step_by(size).map(move |first| (first, size.min(end - first)))
    }

    /// Sums over the valid keys, a block at a time: what was summed is scaled when a block
    /// needs a larger stabiliser.
    fn state(&self, f: &mut Vec<T>) -> State<T> {
        let (m, w) = (self.features(), self.v.width);
        let (mut s, mut z) = (vec![T::ZERO; m * w], vec![T::ZERO; m]);
        let (mut stabiliser, floor) = (-T::INFINITY, self.map.floor());
        // Sums of the valid values, and how many there are: what the floor is multiplied with.
        let (mut values, mut count) = (vec![T::ZERO; w], 0);
        for (first, rows) in self.blocks() {
            let (k, v) = (self.k.block(first, rows), self.v.block(first, rows));
            let valid = || (0..rows).filter(|&i| k.valid[i]);
            if valid().next().is_none() {
                continue;
            }
            self.map.project(&k, f);
            let top = self.map.stabiliser(&k, f);
            if top > stabiliser {
                let scale = (stabiliser - top).exp();
                s.iter_mut().chain(&mut z).for_each(|x| *x *= scale);
                stabiliser = top;
            }
            self.map.finish(&k, Stabiliser::Of(stabiliser), false, f);
            let padded = f.chunks_exact_mut(m).zip(k.valid).filter(|(_, valid)| !**valid);
            padded.for_each(|(row, _)| row.fill(T::ZERO));
            add_rows(&mut z, f, std::iter::repeat(T::ONE));
            if floor.is_some() {
                valid().for_each(|i| add(&mut values, T::ONE, v.row(i)));
                count += valid().count();
            }
            let to = &mut MatMut::rows(&mut s, w, m, m);
            gemm(to, true, T::ONE, v.mat().t(), Mat::rows(f, rows, m, m));
        }
        if let Some(floor) = floor {
            z.iter_mut().for_each(|z| *z += floor * T::of(count as f64));
            for (row, &value) in s.chunks_exact_mut(m).zip(&values) {
                row.iter_mut().for_each(|s| *s += floor * value);
            }
        }
        State { s, z, stabiliser }
    }

    /// Features of a block of queries, and one over each one's denominator.
    fn queries(&self, q: &Rows<'_, T>, state: &State<T>, f: &mut Vec<T>) -> Vec<T> {
        self.map.project(q, f);
        self.map.finish(q, Stabiliser::Own, true, f);
        let inverse = f.chunks_exact(self.features()).map(|row| {
            let sum = simd(
                #[inline(always)]
                || dot(row, &state.z),
            );
            T::ONE / (sum + self.eps)
        });
        inverse.collect()
    }

    fn forward(&self, scratch: &mut Scratch<T>, o: &mut MatMut<'_, T>) -> State<T> {
        let Scratch { f, numerator, turned: room, .. } = scratch;
        let state = self.state(f);
        let (m, w) = (self.features(), self.v.width);
        let s = turned(Mat::rows(&state.s, w, m, m), room);
        for (first, rows) in self.blocks() {
            let q = self.q.block(first, rows);
            let inverse = self.queries(&q, &state, f);
            numerator.resize(rows * w, T::ZERO);
            let out = &mut MatMut::rows(numerator, rows, w, w);
            gemm(out, false, T::ONE, Mat::rows(f, rows, m, m), s);
            for (i, &scale) in inverse.iter().enumerate().filter(|&(i, _)| q.valid[i]) {
                let from = &numerator[i * w..][..w];
                o.row_mut(first + i).iter_mut().zip(from).for_each(|(o, &x)| *o = x * scale);
            }
        }
        state
    }

    /// With e = g / denominator and t = -(g . o) / denominator per valid row:
    /// `dfq = e Sᵀ + t zᵀ`, `dS = fqᵀ e`, `dz = fqᵀ t`, `dfk = v dSᵀ + dz`, `dv = fk dS`.
    fn backward(
        &self,
        scratch: &mut Scratch<T>,
        state: &State<T>,
        (o, g_out): (Rows<'_, T>, Rows<'_, T>),
        [dq, dk, dv]: [&mut MatMut<'_, T>; 3],
    ) {
        let (m, w) = (self.features(), self.v.width);
        let Scratch { f, g, e, turned: room, .. } = scratch;
        let (mut ds, mut dz) = (vec![T::ZERO; m * w], vec![T::ZERO; m]);
        let s = Mat::rows(&state.s, w, m, m);
        for (first, rows) in self.blocks() {
            let q = self.q.block(first, rows);
            let (o, g_out) = (o.block(first, rows), g_out.block(first, rows));
            let inverse = self.queries(&q, state, f);
            e.clear();
            e.resize(rows * w, T::ZERO);
            let mut t = vec![T::ZERO; rows];
            for (i, &scale) in inverse.iter().enumerate().filter(|&(i, _)| q.valid[i]) {
                let e = &mut e[i * w..][..w];
                add(e, scale, g_out.row(i));
                t[i] = -dot(e, o.row(i));
            }
            let e = Mat::rows(e, rows, w, w);
            g.resize(rows * m, T::ZERO);
            gemm(&mut MatMut::rows(g, rows, m, m), false, T::ONE, e, s);
            for (g, &t) in g.chunks_exact_mut(m).zip(&t) {
                simd(
                    #[inline(always)]
                    move || add(g, t, &state.z),
                );
            }
            add_rows(&mut dz, f, t.iter().copied());
            let to = &mut MatMut::rows(&mut ds, w, m, m);
            gemm(to, true, T::ONE, e.t(), Mat::rows(f, rows, m, m));
            self.map.backward(&q, Side::Query, f, g, &mut dq.beginning(first, rows));
        }
        let ds = Mat::rows(&ds, w, m, m);
        let by_feature = turned(ds, room);
        for (first, rows) in self.blocks() {
            let (k, v) = (self.k.block(first, rows), self.v.block(first, rows));
            self.map.project(&k, f);
            self.map.finish(&k, Stabiliser::Of(state.stabiliser), true, f);
            g.resize(rows * m, T::ZERO);
            gemm(&mut MatMut::rows(g, rows, m, m), false, T::ONE, v.mat(), ds);
            for g in g.chunks_exact_mut(m) {
                let dz = &dz;
                simd(
                    #[inline(always)]
                    move || add(g, T::ONE, dz),
                );
            }
            let features = Mat::rows(f, rows, m, m);
            gemm(&mut dv.beginning(first, rows), false, T::ONE, features, by_feature);
            self.map.backward(&k, Side::Key, f, g, &mut dk.beginning(first, rows));
            for i in (0..rows).filter(|&i| !k.valid[i]) {
                let rows = [&mut *dq, &mut *dk, &mut *dv];
                rows.into_iter().for_each(|d| d.row_mut(first + i).fill(T::ZERO));
            }
        }
    }
}

impl Fused {
    fn new(how: &Kernelised) -> Self {
        Self { how: how.clone(), states: OnceLock::new() }
    }

    fn dims(&self, qkv: &[usize]) -> Dims {
        let h = self.how.heads;
        Dims { b: qkv[0], n: qkv[1], h, w: qkv[2] / (3 * h) }
    }

    /// The projection in the operands' type, and the same turned; neither without one.
    fn projection<T: Real>(&self) -> Result<[Vec<T>; 2]> {
        let Features::Random { projection, .. } = &self.how.features else {
            return Ok([Vec::new(), Vec::new()]);
        };
        let (m, width) = projection.dims2()?;
        let projection = projection.to_dtype(DType::F64)?.contiguous()?;
        let held = read(&projection)?;
        let w: Vec<T> = held.slice::<f64>()?.iter().map(|&x| T::of(x)).collect();
        let mut room = Vec::new();
        turned(Mat::rows(&w, m, width, width), &mut room);
        Ok([w, room])
    }

    fn head<'a, T: Real>(
        &'a self,
        qkv: &'a [T],
        [w, room]: &'a [Vec<T>; 2],
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
        let m = w.len() / d.w.max(1);
        let map = match (&self.how.features, laid(room, m)) {
            (Features::Random { kind, eps, .. }, Some(turned)) => {
                Map::Random { kind: *kind, w: Mat::rows(w, m, d.w, d.w), turned, eps: T::of(*eps) }
            }
            _ => Map::EluPlusOne,
        };
        Head { q: rows(0), k: rows(1), v: rows(2), map, eps: T::of(self.how.eps) }
    }

    fn work(d: Dims) -> Vec<(usize, usize)> {
        (0..d.b).flat_map(|b| (0..d.h).map(move |h| (b, h))).collect()
    }

    /// What is attended, and each head's state, one after the other.
    fn forward<T: Real>(&self, qkv: &[T], d: Dims) -> Result<(Vec<T>, Vec<f64>)> {
        let projection = self.projection()?;
        let mut out = zeros(d.b * d.n * d.h * d.w);
        let outs = Shared::new(&mut out);
        let attend = |scratch: &mut Scratch<T>, (b, h)| {
            let head = self.head(qkv, &projection, d, (b, h));
            let start = b * d.n * d.h * d.w + h * d.w;
            // SAFETY: the task owns this example and head.
            let mut o = unsafe { outs.view(start, head.q.count, d.w, d.h * d.w) };
            head.forward(scratch, &mut o).flat().collect()
        };
        let states: Vec<Vec<f64>> = spread(Self::work(d).into_par_iter(), attend);
        Ok((out, states.concat()))
    }

    fn backward<T: Real>(
        &self,
        qkv: &[T],
        (o, states): (&[T], &[f64]),
        g: &[T],
        d: Dims,
    ) -> Result<Vec<T>> {
        let projection = self.projection()?;
        let mut grad = zeros(qkv.len());
        let outs = Shared::new(&mut grad);
        let (row, state) = (d.h * d.w, states.len() / (d.b * d.h).max(1));
        let work = Self::work(d).into_par_iter().enumerate();
        spread(work, |scratch: &mut Scratch<T>, (i, (b, h))| {
            let head = self.head(qkv, &projection, d, (b, h));
            let state = State::of(&states[i * state..][..state], head.features());
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
            head.backward(scratch, &state, (o, g), [&mut dq, &mut dk, &mut dv]);
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
            let (out, states) = self.forward::<T>(contiguous(s, l)?, d)?;
            let _ = self.states.set(states); // a second forward pass gives the same values
            to_storage(out)
        });
        Ok((out, (d.b, d.n, d.h * d.w).into()))
    }

    fn bwd(&self, qkv: &Tensor, o: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let Some(states) = self.states.get() else {
            bail!("kernel attention: backward before forward")
        };
        let g = g.contiguous()?;
        let d = self.dims(qkv.dims());
        let (held, ho, hg) = (read(qkv)?, read(o)?, read(&g)?);
        with_real!("kernel attention: backward", qkv.dtype(), T => {
            let o = (ho.slice()?, states.as_slice());
            gradient(self.backward::<T>(held.slice()?, o, hg.slice()?, d)?, qkv)
        })
    }
}
