//! The two float types of the CPU faces, and vector functions over them.

use candle_core::{CpuStorage, WithDType};
use std::iter::Sum;
use std::ops::Neg;

/// f32 for speed, f64 for checking gradients by finite differences.
pub(crate) trait Real: WithDType + Default + Neg<Output = Self> + Sum {
    const ZERO: Self;
    const ONE: Self;
    const INFINITY: Self;
    fn of(x: f64) -> Self;
    fn to_f64(self) -> f64;
    /// e^x. For f32 a polynomial without branches (error below 2 ulp), so that loops
    /// over it vectorise; arguments below -87 give 0, those above 88 are cut off there.
    fn exp(self) -> Self;
    fn tanh(self) -> Self;
    fn ln(self) -> Self;
    fn sqrt(self) -> Self;
    /// The elements of a storage of this type.
    fn elements(storage: &mut CpuStorage) -> Option<&mut [Self]>;
    /// The larger of two; NaN if `self` is NaN.
    fn larger(self, other: Self) -> Self;
}

impl Real for f32 {
    fn elements(storage: &mut CpuStorage) -> Option<&mut [Self]> {
        match storage {
            CpuStorage::F32(data) => Some(data),
            _ => None,
        }
    }

    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const INFINITY: Self = f32::INFINITY;

    #[inline(always)]
    fn of(x: f64) -> Self {
        x as f32
    }

    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn exp(self) -> Self {
        // e^x = 2^k e^r with k = round(x / ln 2), |r| <= ln 2 / 2. Adding and subtracting
        // 1.5 * 2^23 rounds to an integer without leaving the float registers.
        const ROUND: f32 = 12_582_912.0;
        const LN2_HIGH: f32 = 0.693_359_4;
        const LN2_LOW: f32 = -2.121_944_4e-4;
        let x = if self > 88.0 { 88.0 } else { self };
        let vanishes = x < -87.0;
        let x = if vanishes { -87.0 } else { x };
        let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUND);
        let k = rounded - ROUND;
        let r = k.mul_add(-LN2_LOW, k.mul_add(-LN2_HIGH, x));
        // Taylor coefficients 1/i!: the remainder at |r| = 0.347 is r^8/8! < 6e-9.
        let mut p = 1.0 / 5040.0f32;
        for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            p = p.mul_add(r, c);
        }
        // The low mantissa bits of `rounded` are k in two's complement.
        let scale = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
        if vanishes { 0.0 } else { p * scale }
    }

    #[inline(always)]
    fn tanh(self) -> Self {
        1.0 - 2.0 / (Real::exp(2.0 * self) + 1.0)
    }

    fn ln(self) -> Self {
        f32::ln(self)
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }

    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        if self < other { other } else { self }
    }
}

impl Real for f64 {
    fn elements(storage: &mut CpuStorage) -> Option<&mut [Self]> {
        match storage {
            CpuStorage::F64(data) => Some(data),
            _ => None,
        }
    }

    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const INFINITY: Self = f64::INFINITY;

    #[inline(always)]
    fn of(x: f64) -> Self {
        x
    }

    fn to_f64(self) -> f64 {
        self
    }

    fn exp(self) -> Self {
        f64::exp(self)
    }

    fn tanh(self) -> Self {
        f64::tanh(self)
    }

    fn ln(self) -> Self {
        f64::ln(self)
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }

    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        if self < other { other } else { self }
    }
}

/// Sum of `f` over two rows in sixteen running sums, an order fixed here so that the
/// compiler may vectorise it.
#[inline(always)]
pub(crate) fn pair_sum<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> T {
    let mut lanes = [T::ZERO; 16];
    let (mut left, mut right) = (a.chunks_exact(16), b.chunks_exact(16));
    for (a, b) in (&mut left).zip(&mut right) {
        for (lane, (&a, &b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += f(a, b);
        }
    }
    let rest = left.remainder().iter().zip(right.remainder());
    for (lane, (&a, &b)) in lanes.iter_mut().zip(rest) {
        *lane += f(a, b);
    }
    lanes.into_iter().sum()
}

/// Runs `f` compiled for the widest vector instructions of this machine. `f` must be
/// `#[inline(always)]` all the way down for its loops to be vectorised so.
#[inline(always)]
pub(crate) fn simd<R>(f: impl FnOnce() -> R) -> R {
    struct Run<F>(F);
    impl<R, F: FnOnce() -> R> pulp::WithSimd for Run<F> {
        type Output = R;
        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, _simd: S) -> R {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Run(f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_ulp() {
        let mut worst = 0.0f64;
        for i in -870_000..880_000 {
            let x = i as f32 * 1e-4;
            let exact = (x as f64).exp();
            worst = worst.max(((Real::exp(x) as f64 - exact) / exact).abs());
        }
        assert!(worst < 2.0 * f32::EPSILON as f64, "{worst}");
        assert_eq!(Real::exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(Real::exp(-1e30f32), 0.0);
        assert!(Real::exp(f32::NAN).is_nan(), "divergence must stay visible");
    }

    #[test]
    fn tanh_is_close() {
        for i in -100_000..100_000 {
            let x = i as f32 * 1e-4;
            assert!((Real::tanh(x) as f64 - (x as f64).tanh()).abs() < 3e-7, "{x}");
        }
    }
}
