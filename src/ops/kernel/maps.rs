//! Feature maps of one head, and their slopes, for the fused face.

use super::features::{Kind, Side};
use crate::ops::cpu::{Mat, MatMut, Real, gemm, pair_sum, simd};

/// A feature map over rows of `width`.
#[derive(Clone, Copy)]
pub(super) enum Map<'a, T> {
    EluPlusOne,
    /// `w` [m, width], and the same turned.
    Random {
        kind: Kind,
        w: Mat<'a, T>,
        turned: Mat<'a, T>,
        eps: T,
    },
}

/// The constant that a positive or trigonometric feature's exponent is lowered by.
#[derive(Clone, Copy)]
pub(super) enum Stabiliser<T> {
    /// Each row's own.
    Own,
    /// One for all rows.
    Of(T),
}

/// Rows of one head: the first `count` positions, of which the valid ones matter.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, T> {
    pub data: &'a [T],
    pub count: usize,
    pub width: usize,
    pub stride: usize,
    pub valid: &'a [bool],
}

impl<'a, T: Real> Rows<'a, T> {
    pub(super) fn row(&self, i: usize) -> &'a [T] {
        &self.data[i * self.stride..][..self.width]
    }

    pub(super) fn mat(&self) -> Mat<'a, T> {
        Mat::rows(self.data, self.count, self.width, self.stride)
    }

    /// `count` rows from this one on, on their way to the cache.
    pub(super) fn block(&self, first: usize, count: usize) -> Self {
        let (data, valid) = (&self.data[first * self.stride..], &self.valid[first..]);
        let block = Self { data, valid, count, ..*self };
        block.mat().fetch();
        block
    }

    fn square(&self, i: usize) -> T {
        let row = self.row(i);
        simd(
            #[inline(always)]
            move || {
                pair_sum(
                    row,
                    row,
                    #[inline(always)]
                    |x, y| x * y,
                )
            },
        )
    }
}

/// Sixteen at a time: one after the other each comparison waits for the one before.
fn largest<T: Real>(row: &[T]) -> T {
    simd(
        #[inline(always)]
        move || {
            let mut lanes = [-T::INFINITY; 16];
            let (parts, rest) = row.as_chunks::<16>();
            for part in parts {
                lanes.iter_mut().zip(part).for_each(|(lane, &x)| *lane = x.larger(*lane));
            }
            lanes.iter().chain(rest).fold(-T::INFINITY, |a, &b| b.larger(a))
        },
    )
}

impl<T: Real> Map<'_, T> {
    /// Number of features of heads of `width`.
    pub(super) fn count(&self, width: usize) -> usize {
        match self {
            Self::EluPlusOne => width,
            Self::Random { kind: Kind::Trigonometric, w, .. } => 2 * w.count(),
            Self::Random { w, .. } => w.count(),
        }
    }

    /// width^(-1/4), what x is multiplied with.
    fn root(width: usize) -> T {
        T::of((width as f64).powf(-0.25))
    }

    /// What each feature of a stabilised sum has beside its exponential: it is the same for all
    /// stabilisers.
    pub(super) fn floor(&self) -> Option<T> {
        match *self {
            Self::Random { kind: Kind::Positive, w, eps, .. } => Some(eps * Self::norm(w.count())),
            _ => None,
        }
    }

    fn norm(m: usize) -> T {
        T::of((m as f64).powf(-0.5))
    }

    /// |x'|²/2 of row i.
    fn half(x: &Rows<'_, T>, i: usize) -> T {
        let root = Self::root(x.width);
        T::of(0.5) * root * root * x.square(i)
    }

    /// The features `f` [count, features] of the rows of x, as far as they need no stabiliser.
    pub(super) fn project(&self, x: &Rows<'_, T>, f: &mut Vec<T>) {
        let features = self.count(x.width);
        f.resize(x.count * features, T::ZERO);
        if let Self::Random { turned, w, .. } = *self {
            let mut f = MatMut::rows(f, x.count, w.count(), features);
            gemm(&mut f, false, Self::root(x.width), x.mat(), turned);
        }
    }

    /// The least stabiliser that keeps projected valid keys from overflowing; -inf without any.
    pub(super) fn stabiliser(&self, x: &Rows<'_, T>, f: &[T]) -> T {
        let valid = (0..x.count).filter(|&i| x.valid[i]);
        let m = self.count(x.width);
        let of = |i: usize| match self {
            Self::Random { kind: Kind::Positive, .. } => largest(&f[i * m..][..m]),
            Self::Random { kind: Kind::Trigonometric, .. } => Self::half(x, i),
            _ => T::ZERO,
        };
        valid.fold(-T::INFINITY, |top, i| of(i).larger(top))
    }

    /// Makes features of what `project` left. Without its floor a feature is its exponential
    /// alone.
    pub(super) fn finish(
        &self,
        x: &Rows<'_, T>,
        stabiliser: Stabiliser<T>,
        with_floor: bool,
        f: &mut [T],
    ) {
        let features = self.count(x.width);
        let Self::Random { kind, w, eps, .. } = *self else {
            for (i, f) in f.chunks_exact_mut(features).enumerate() {
                simd(
                    #[inline(always)]
                    move || {
                        for (f, &x) in f.iter_mut().zip(x.row(i)) {
                            *f = if x > T::ZERO { x + T::ONE } else { x.exp() };
                        }
                    },
                );
            }
            return;
        };
        let (m, norm) = (w.count(), Self::norm(w.count()));
        match kind {
            Kind::Relu => simd(
                #[inline(always)]
                move || f.iter_mut().for_each(|f| *f = f.larger(T::ZERO) + eps),
            ),
            Kind::Positive => {
                let eps = if with_floor { eps } else { T::ZERO };
                for (i, f) in f.chunks_exact_mut(m).enumerate() {
                    let top = match stabiliser {
                        Stabiliser::Own => largest(f),
                        Stabiliser::Of(top) => top,
                    };
                    let shift = Self::half(x, i) + top;
                    simd(
                        #[inline(always)]
                        move || f.iter_mut().for_each(|f| *f = ((*f - shift).exp() + eps) * norm),
                    );
                }
            }
            Kind::Trigonometric => {
                for (i, f) in f.chunks_exact_mut(features).enumerate() {
                    let size = match stabiliser {
                        Stabiliser::Own => norm,
                        Stabiliser::Of(top) => (Self::half(x, i) - top).exp() * norm,
                    };
                    let (cos, sin) = f.split_at_mut(m);
                    for (c, s) in cos.iter_mut().zip(sin) {
                        let angle = Real::to_f64(*c);
                        (*c, *s) = (T::of(angle.cos()) * size, T::of(angle.sin()) * size);
                    }
                }
            }
        }
    }

    /// Writes the gradients of the valid rows of x to `dx`, from the features' `g` [count,
    /// features], which is used up.
    pub(super) fn backward(
        &self,
        x: &Rows<'_, T>,
        side: Side,
        f: &[T],
        g: &mut [T],
        dx: &mut MatMut<'_, T>,
    ) {
        let features = self.count(x.width);
        let rows = || f.chunks_exact(features).enumerate();
        let Self::Random { kind, w, eps, .. } = *self else {
            for (i, f) in rows() {
                let (dx, g) = (dx.row_mut(i), &g[i * features..][..features]);
                simd(
                    #[inline(always)]
                    move || {
                        // The slope is 1 above zero and the feature, exp(x), below.
                        for (dx, (&f, &g)) in dx.iter_mut().zip(f.iter().zip(g)) {
                            *dx = if f > T::ONE { g } else { g * f };
                        }
                    },
                );
            }
            return;
        };
        let (m, root) = (w.count(), Self::root(x.width));
        let floor = eps * Self::norm(m);
        // What multiplies x beside the projection's share: the slope of |x'|²/2.
        let mut halves = vec![T::ZERO; x.count];
        for (i, f) in rows() {
            let g = &mut g[i * features..][..features];
            if !x.valid[i] {
                g.fill(T::ZERO);
                continue;
            }
            match kind {
                Kind::Relu => {
                    g.iter_mut().zip(f).for_each(|(g, &f)| *g = if f > eps { *g } else { T::ZERO });
                }
                Kind::Positive => {
                    halves[i] = -simd(
                        #[inline(always)]
                        move || {
                            g.iter_mut().zip(f).for_each(|(g, &f)| *g *= f - floor);
                            pair_sum(
                                g,
                                g,
                                #[inline(always)]
                                |g, _| g,
                            )
                        },
                    );
                }
                Kind::Trigonometric => {
                    let ((gc, gs), (cos, sin)) = (g.split_at_mut(m), f.split_at(m));
                    let mut half = T::ZERO;
                    for ((gc, gs), (&c, &s)) in gc.iter_mut().zip(gs).zip(cos.iter().zip(sin)) {
                        half += *gc * c + *gs * s;
                        *gc = *gs * c - *gc * s;
                    }
                    halves[i] = if side == Side::Key { half } else { T::ZERO };
                }
            }
        }
        gemm(dx, false, root, Mat::rows(g, x.count, m, features), w);
        for (i, &half) in halves.iter().enumerate() {
            let scale = root * root * half;
            dx.row_mut(i).iter_mut().zip(x.row(i)).for_each(|(d, &x)| *d += scale * x);
        }
    }
}
