//! GELU in its tanh form (Hendrycks and Gimpel 2016), as in LRA, with dropout: rows that
//! [`super::feed_forward`] works on.

use super::cpu::{Real, simd};
use super::dropout::{Dropout, Piece};
use candle_core::{Result, Tensor};

/// GELU composed of Candle's ops. Spelled out: the backward pass of Candle's own has constants
/// of six digits.
pub(super) fn reference(x: &Tensor) -> Result<Tensor> {
    let inner = ((x + (x.powf(3.0)? * GELU.1)?)? * GELU.0)?;
    (x * 0.5)? * (inner.tanh()? + 1.0)?
}

/// sqrt(2/pi) and the cubic coefficient of the tanh form.
pub(super) const GELU: (f64, f64) = (0.797_884_560_802_865_4, 0.044715);

#[inline(always)]
fn gelu<T: Real>(x: T) -> T {
    gelu_both(x).0
}

/// GELU and its slope.
#[inline(always)]
fn gelu_both<T: Real>(x: T) -> (T, T) {
    let square = x * x;
    let tanh = (T::of(GELU.0) * x * (T::ONE + T::of(GELU.1) * square)).tanh();
    let inner = T::of(GELU.0) * (T::ONE + T::of(3.0 * GELU.1) * square);
    let half = T::of(0.5) * (T::ONE + tanh);
    (x * half, half + T::of(0.5) * x * (T::ONE - tanh * tanh) * inner)
}

/// Dropout of the rows of a [examples, each, width] tensor, one at a time.
#[derive(Clone, Copy)]
pub(super) struct Masked {
    drop: Dropout,
    each: usize,
    width: usize,
}

impl Masked {
    /// `each` rows of `width` in an example.
    pub(super) fn new(drop: Dropout, each: usize, width: usize) -> Self {
        Self { drop, each, width }
    }

    fn piece(&self, row: usize) -> Piece {
        let (example, at) = (row / self.each, row % self.each);
        let first = (at * self.width) as u32;
        Piece { first, lanes: self.drop.lanes(example), threshold: self.drop.threshold() }
    }

    /// `y = drop(y + bias)` of a row, plus `x` where there is one.
    pub(super) fn finish<T: Real>(&self, row: usize, y: &mut [T], bias: &[T], x: Option<&[T]>) {
        let (piece, scale) = (self.piece(row), T::of(self.drop.scale()));
        let (add, x) = (x.is_some(), x.unwrap_or(bias));
        simd(
            #[inline(always)]
            move || {
                let all = y.iter_mut().zip(bias.iter().zip(x));
                if self.drop.p == 0.0 {
                    for (y, (&bias, &x)) in all {
                        let value = *y + bias;
                        *y = if add { value + x } else { value };
                    }
                } else {
                    for (i, (y, (&bias, &x))) in all.enumerate() {
                        let value = (*y + bias) * scale;
                        let value = if piece.keeps(i) { value } else { T::ZERO };
                        *y = if add { value + x } else { value };
                    }
                }
            },
        );
    }

    /// `h = h + bias`, then `a = drop(gelu(h))`, of a row.
    pub(super) fn gelu<T: Real>(&self, row: usize, (a, h): (&mut [T], &mut [T]), bias: &[T]) {
        let (piece, scale) = (self.piece(row), T::of(self.drop.scale()));
        simd(
            #[inline(always)]
            move || {
                let all = a.iter_mut().zip(h.iter_mut().zip(bias));
                if self.drop.p == 0.0 {
                    for (a, (h, &bias)) in all {
                        *h += bias;
                        *a = gelu(*h);
                    }
                } else {
                    for (i, (a, (h, &bias))) in all.enumerate() {
                        *h += bias;
                        let value = gelu(*h) * scale;
                        *a = if piece.keeps(i) { value } else { T::ZERO };
                    }
                }
            },
        );
    }

    /// `a = drop(gelu(h))`, then `h = drop(da) gelu'(h)`, of a row.
    pub(super) fn gelu_backward<T: Real>(
        &self,
        row: usize,
        (a, h): (&mut [T], &mut [T]),
        da: &[T],
    ) {
        let (piece, scale) = (self.piece(row), T::of(self.drop.scale()));
        simd(
            #[inline(always)]
            move || {
                let all = a.iter_mut().zip(h.iter_mut().zip(da));
                if self.drop.p == 0.0 {
                    for (a, (h, &da)) in all {
                        let (value, slope) = gelu_both(*h);
                        (*a, *h) = (value, da * slope);
                    }
                } else {
                    for (i, (a, (h, &da))) in all.enumerate() {
                        let (value, slope) = gelu_both(*h);
                        let keep = if piece.keeps(i) { scale } else { T::ZERO };
                        (*a, *h) = (value * keep, da * slope * keep);
                    }
                }
            },
        );
    }
}
