//! Dropout (Srivastava et al. 2014) whose mask is a function of (key, example, element),
//! recomputed in the backward pass and never stored, and the residual sum fused with it.
//!
//! The mask of an example depends on its index in the full batch, not on its place in
//! a micro-batch, so splitting a batch changes nothing.

use super::cpu::{
    Real, contiguous, dtype, filled, fused, gradient, read, simd, to_storage, with_real,
};
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

    pub(super) fn reference(&self, x: &Tensor) -> Result<Tensor> {
        if self.p == 0.0 { Ok(x.clone()) } else { x * self.mask(x.shape(), x)? }
    }
}

/// `x` [b, ..] with elements dropped.
pub fn dropout(x: &Tensor, drop: Dropout) -> Result<Tensor> {
    if drop.p == 0.0 {
        return Ok(x.clone());
    }
    #[cfg(feature = "cuda")]
    if super::cuda::serves(x) {
        return super::cuda::add_dropout(None, x, drop);
    }
    if fused(x) { x.contiguous()?.apply_op1(Drop(drop)) } else { drop.reference(x) }
}

/// `x + dropout(y)`: the residual sum.
pub fn add_dropout(x: &Tensor, y: &Tensor, drop: Dropout) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if super::cuda::serves(x) {
        return super::cuda::add_dropout(Some(x), y, drop);
    }
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

struct Drop(Dropout);

struct Residual(Dropout);

/// Elements of one task: fixed only to keep tasks coarse; nothing is summed.
const BLOCK: usize = 1 << 14;

/// The mask of some neighbouring elements of an example.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    /// Index of the piece's first element in its example.
    pub first: u32,
    pub lanes: (u32, u32),
    pub threshold: u32,
}

impl Piece {
    /// Whether the i-th element of the piece stays.
    #[inline(always)]
    pub(super) fn keeps(&self, i: usize) -> bool {
        bits(self.lanes, self.first.wrapping_add(i as u32)) >= self.threshold
    }
}

/// `out = x mask`, or `y + x mask` where there is a y.
pub(super) fn masked<T: Real>(x: &[T], y: Option<&[T]>, examples: usize, drop: Dropout) -> Vec<T> {
    let each = (x.len() / examples.max(1)).max(1);
    let (threshold, scale) = (drop.threshold(), T::of(drop.scale()));
    // Where nothing is added the second operand is not looked at.
    let (add, y) = (y.is_some(), y.unwrap_or(x));
    // SAFETY: the pieces are all of the buffer, and each writes all its elements.
    unsafe {
        filled(x.len(), |out| {
            let examples = out.par_chunks_mut(each).zip(x.par_chunks(each).zip(y.par_chunks(each)));
            examples.enumerate().for_each(|(example, (out, (x, y)))| {
                let lanes = drop.lanes(example);
                let blocks = x.par_chunks(BLOCK).zip(y.par_chunks(BLOCK));
                let blocks = out.par_chunks_mut(BLOCK).zip(blocks).enumerate();
                blocks.for_each(|(block, (out, (x, y)))| {
                    let piece = Piece { first: (block * BLOCK) as u32, lanes, threshold };
                    simd(
                        #[inline(always)]
                        move || {
                            let all = out.iter_mut().zip(x.iter().zip(y));
                            if drop.p == 0.0 {
                                for (out, (&x, &y)) in all {
                                    out.write(if add { y + x } else { x });
                                }
                            } else {
                                for (i, (out, (&x, &y))) in all.enumerate() {
                                    let x = if piece.keeps(i) { x * scale } else { T::ZERO };
                                    out.write(if add { y + x } else { x });
                                }
                            }
                        },
                    );
                });
            });
        })
    }
}

/// `x mask`.
pub(super) fn dropped<T: Real>(x: &[T], examples: usize, drop: Dropout) -> Vec<T> {
    masked(x, None, examples, drop)
}

impl CustomOp1 for Drop {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let examples = l.dims().first().copied().unwrap_or(1);
        let y = with_real!("dropout", dtype(s), T => {
            to_storage(dropped(contiguous::<T>(s, l)?, examples, self.0))
        });
        Ok((y, l.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let g = g.contiguous()?;
        let examples = x.dims().first().copied().unwrap_or(1);
        let hg = read(&g)?;
        with_real!("dropout: backward", x.dtype(), T => {
            gradient(dropped(hg.slice::<T>()?, examples, self.0), x)
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
        let sum = with_real!("residual", dtype(sx), T => {
            let (x, y) = (contiguous::<T>(sx, lx)?, contiguous::<T>(sy, ly)?);
            to_storage(masked(y, Some(x), examples, self.0))
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
        let dy = with_real!("residual: backward", x.dtype(), T => {
            gradient(dropped(hg.slice::<T>()?, examples, self.0), x)?
        });
        Ok((Some(g.clone()), dy))
    }
}
