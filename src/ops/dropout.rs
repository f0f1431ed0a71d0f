//! Dropout (Srivastava et al. 2014) whose mask is a function of (key, example, element),
//! recomputed in the backward pass and never stored, and the element-wise ops fused
//! with it: GELU and the residual sum.
//!
//! The mask of an example depends on its index in the full batch, not on its place in
//! a micro-batch, so splitting a batch changes nothing.

use super::cpu::{Real, contiguous, dtype, fused, read, simd, to_storage, with_real};
use crate::random::{Key, bits};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// Which elements are dropped: probability, key, and the index in the full batch of the
/// first example (first row of the leading axis) of the tensor it is applied to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    pub p: f64,
    pub key: Key,
    pub first_example: u64,
}

impl Dropout {
    /// Drops nothing.
    pub const NONE: Self = Self { p: 0.0, key: Key::new(0), first_example: 0 };

    /// The 32-bit hash must be at least this for an element to stay.
    pub(crate) fn threshold(&self) -> u32 {
        (self.p * 4_294_967_296.0) as u32
    }

    /// What the elements that stay are multiplied with.
    pub(crate) fn scale(&self) -> f64 {
        1.0 / (1.0 - self.p)
    }

    pub(crate) fn lanes(&self, example: usize) -> (u32, u32) {
        self.key.index(self.first_example + example as u64).lanes()
    }

    /// The mask as a tensor: 0 or 1/(1-p). For the composed references.
    pub(crate) fn mask(&self, shape: &Shape, like: &Tensor) -> Result<Tensor> {
        let examples = shape.dims().first().copied().unwrap_or(1);
        let each = shape.elem_count() / examples.max(1);
        let (threshold, scale) = (self.threshold(), self.scale());
        let mut mask = Vec::with_capacity(shape.elem_count());
        for example in 0..examples {
            let lanes = self.lanes(example);
            let keep = |i| if bits(lanes, i) >= threshold { scale } else { 0.0 };
            mask.extend((0..each as u32).map(keep));
        }
        Tensor::from_vec(mask, shape, like.device())?.to_dtype(like.dtype())
    }

    fn reference(&self, x: &Tensor) -> Result<Tensor> {
        if self.p == 0.0 { Ok(x.clone()) } else { x * self.mask(x.shape(), x)? }
    }
}

/// `x` [b, ..] with elements dropped.
pub fn dropout(x: &Tensor, drop: Dropout) -> Result<Tensor> {
    if drop.p == 0.0 {
        return Ok(x.clone());
    }
    if fused(x) { x.contiguous()?.apply_op1(Elementwise::Dropout(drop)) } else { drop.reference(x) }
}

/// `dropout(gelu(x))`, GELU in its tanh form (Hendrycks and Gimpel 2016), as in LRA.
pub fn gelu_dropout(x: &Tensor, drop: Dropout) -> Result<Tensor> {
    if fused(x) {
        x.contiguous()?.apply_op1(Elementwise::Gelu(drop))
    } else {
        gelu_dropout_reference(x, drop)
    }
}

/// The same, composed of Candle's ops.
pub fn gelu_dropout_reference(x: &Tensor, drop: Dropout) -> Result<Tensor> {
    // Spelled out: the backward pass of Candle's own `gelu` has constants of six digits.
    let inner = ((x + (x.powf(3.0)? * GELU.1)?)? * GELU.0)?;
    drop.reference(&((x * 0.5)? * (inner.tanh()? + 1.0)?)?)
}

/// `x + dropout(y)`: the residual sum.
pub fn add_dropout(x: &Tensor, y: &Tensor, drop: Dropout) -> Result<Tensor> {
    if fused(x) {
        x.contiguous()?.apply_op2(&y.contiguous()?, Residual(drop))
    } else {
        add_dropout_reference(x, y, drop)
    }
}

/// The same, composed of Candle's ops.
pub fn add_dropout_reference(x: &Tensor, y: &Tensor, drop: Dropout) -> Result<Tensor> {
    x + drop.reference(y)?
}

enum Elementwise {
    Dropout(Dropout),
    Gelu(Dropout),
}

struct Residual(Dropout);

/// Elements of one task: fixed only to keep tasks coarse; nothing is summed.
const BLOCK: usize = 1 << 14;

/// `out[i] = f(i) * mask(i)`, in parallel over blocks of each example.
fn masked<T: Real>(
    len: usize,
    examples: usize,
    drop: Dropout,
    f: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let each = (len / examples.max(1)).max(1);
    let (threshold, scale) = (drop.threshold(), T::of(drop.scale()));
    let mut out = vec![T::ZERO; len];
    out.par_chunks_mut(each).enumerate().for_each(|(example, out)| {
        let lanes = drop.lanes(example);
        out.par_chunks_mut(BLOCK).enumerate().for_each(|(block, out)| {
            let first = block * BLOCK;
            simd(
                #[inline(always)]
                || {
                    if drop.p == 0.0 {
                        for (i, out) in out.iter_mut().enumerate() {
                            *out = f(example * each + first + i);
                        }
                        return;
                    }
                    for (i, out) in out.iter_mut().enumerate() {
                        let keep = bits(lanes, (first + i) as u32) >= threshold;
                        let value = f(example * each + first + i) * scale;
                        *out = if keep { value } else { T::ZERO };
                    }
                },
            );
        });
    });
    out
}

/// sqrt(2/pi) and the cubic coefficient of the tanh form.
const GELU: (f64, f64) = (0.797_884_560_802_865_4, 0.044715);

#[inline(always)]
fn gelu<T: Real>(x: T) -> T {
    let inner = T::of(GELU.0) * (x + T::of(GELU.1) * x * x * x);
    T::of(0.5) * x * (T::ONE + inner.tanh())
}

#[inline(always)]
fn gelu_slope<T: Real>(x: T) -> T {
    let tanh = (T::of(GELU.0) * (x + T::of(GELU.1) * x * x * x)).tanh();
    let inner = T::of(GELU.0) * (T::ONE + T::of(3.0 * GELU.1) * x * x);
    T::of(0.5) * (T::ONE + tanh) + T::of(0.5) * x * (T::ONE - tanh * tanh) * inner
}

impl CustomOp1 for Elementwise {
    fn name(&self) -> &'static str {
        match self {
            Self::Dropout(_) => "dropout",
            Self::Gelu(_) => "gelu-dropout",
        }
    }

    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let examples = l.dims().first().copied().unwrap_or(1);
        let y = with_real!(dtype(s), T => {
            let x = contiguous::<T>(s, l)?;
            to_storage(match self {
                Self::Dropout(drop) => masked(x.len(), examples, *drop, #[inline(always)] |i| x[i]),
                Self::Gelu(drop) => masked(x.len(), examples, *drop, #[inline(always)] |i| gelu(x[i])),
            })
        });
        Ok((y, l.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let g = g.contiguous()?;
        let examples = x.dims().first().copied().unwrap_or(1);
        let (hx, hg) = (read(x)?, read(&g)?);
        with_real!(x.dtype(), T => {
            let (xs, gs) = (hx.slice::<T>()?, hg.slice::<T>()?);
            let dx = match self {
                Self::Dropout(drop) => {
                    masked(gs.len(), examples, *drop, #[inline(always)] |i| gs[i])
                }
                Self::Gelu(drop) => masked(gs.len(), examples, *drop, #[inline(always)] |i| {
                    gs[i] * gelu_slope(xs[i])
                }),
            };
            Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
        })
    }
}

impl CustomOp2 for Residual {
    fn name(&self) -> &'static str {
        "add-dropout"
    }

    fn cpu_fwd(
        &self,
        sx: &CpuStorage,
        lx: &Layout,
        sy: &CpuStorage,
        ly: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        if lx.shape() != ly.shape() {
            candle_core::bail!("add_dropout: shapes {:?} and {:?}", lx.shape(), ly.shape());
        }
        let examples = lx.dims().first().copied().unwrap_or(1);
        let sum = with_real!(dtype(sx), T => {
            let (x, y) = (contiguous::<T>(sx, lx)?, contiguous::<T>(sy, ly)?);
            let mut sum = masked(y.len(), examples, self.0, #[inline(always)] |i| y[i]);
            sum.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK)).for_each(|(sum, x)| {
                simd(#[inline(always)] || {
                    for (s, &x) in sum.iter_mut().zip(x) {
                        *s += x;
                    }
                })
            });
            to_storage(sum)
        });
        Ok((sum, lx.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _y: &Tensor,
        _sum: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        if self.0.p == 0.0 {
            return Ok((Some(g.clone()), Some(g.clone())));
        }
        let g = g.contiguous()?;
        let examples = x.dims().first().copied().unwrap_or(1);
        let hg = read(&g)?;
        let dy = with_real!(x.dtype(), T => {
            let gs = hg.slice::<T>()?;
            let dy = masked(gs.len(), examples, self.0, #[inline(always)] |i| gs[i]);
            Tensor::from_vec(dy, x.shape(), x.device())?
        });
        Ok((Some(g.clone()), Some(dy)))
    }
}
