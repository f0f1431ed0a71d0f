//! Kernelised attention (Katharopoulos et al. 2020, equation 5): with features f,
//! `o_i = f(q_i)ᵀ S / (f(q_i)ᵀ z + eps)`, `S = sum_j f(k_j) v_jᵀ`, `z = sum_j f(k_j)`,
//! sums over valid keys. Rows of padded queries are zero.
//!
//! One primitive serves the linear Transformer and Performer: a variant names its feature map
//! ([`Features`]). The fused face computes features a block of rows at a time and keeps none of
//! them.
//!
//! Cost per head of m features and width w, for n positions: `4 n m w` FLOPs forward besides
//! the features, twice that backward; nothing of size n x n.

mod features;
mod fused;
mod maps;

pub use features::{Features, Kind, Side, features};
pub(crate) use fused::held;
pub(super) use fused::{backward, forward};

use super::Mask;
use super::cpu::fused as fits;
#[cfg(feature = "cuda")]
use super::cuda;
use super::recorder::record;
use candle_core::{DType, Result, Tensor, bail};

/// Everything about a kernelised attention but its operands.
#[derive(Debug, Clone)]
pub struct Kernelised {
    pub heads: usize,
    pub mask: Mask,
    pub features: Features,
    /// Added to the denominator.
    pub eps: f64,
}

impl Kernelised {
    /// Whether this is for b examples of n positions and a columns of queries.
    pub(super) fn check(&self, b: usize, n: usize, a: usize) -> Result<()> {
        let mask = (self.mask.batch(), self.mask.n());
        if self.heads == 0 || !a.is_multiple_of(self.heads) || mask != (b, n) {
            bail!("kernel_attention: [{b}, {n}, {a}], {} heads, mask {mask:?}", self.heads);
        }
        match &self.features {
            Features::Random { projection, .. } if projection.dim(1)? != a / self.heads => {
                let width = a / self.heads;
                bail!("kernel_attention: projection {:?}, heads of {width}", projection.shape())
            }
            _ => Ok(()),
        }
    }
}

/// `qkv` [b, n, 3 heads * w], queries, keys and values side by side -> [b, n, heads * w].
pub fn kernel_attention(qkv: &Tensor, how: &Kernelised) -> Result<Tensor> {
    let (b, n, row) = qkv.dims3()?;
    if row == 0 || row % 3 != 0 {
        bail!("kernel_attention: {:?} for queries, keys and values", qkv.shape());
    }
    how.check(b, n, row / 3)?;
    if fits(qkv) {
        return fused::fused(qkv, how);
    }
    #[cfg(feature = "cuda")]
    if cuda::kernelises(qkv, how, row / 3) {
        return cuda::kernel_attention(qkv, how);
    }
    reference(qkv, how)
}

/// The same, composed of Candle's ops.
pub fn reference(qkv: &Tensor, how: &Kernelised) -> Result<Tensor> {
    let ((b, n, row), dtype) = (qkv.dims3()?, qkv.dtype());
    // Features and their sums want more than eight bits.
    let exact = if dtype == DType::BF16 { DType::F32 } else { dtype };
    let qkv = &qkv.to_dtype(exact)?;
    let part = |i: usize| qkv.narrow(2, i * row / 3, row / 3)?.contiguous();
    let map = |x: Tensor, side| features(&x, how, side);
    let split = |x: &Tensor| {
        x.reshape((b, n, how.heads, x.dim(2)? / how.heads))?.transpose(1, 2)?.contiguous()
    };
    let (fq, fk, v) = (map(part(0)?, Side::Query)?, map(part(1)?, Side::Key)?, part(2)?);
    let valid = how.mask.tensor(qkv.dtype(), qkv.device())?.reshape((b, 1, n, 1))?;
    let (fq, fk, v) = (split(&fq)?, split(&fk)?.broadcast_mul(&valid)?, split(&v)?);
    let s = fk.t()?.contiguous()?.matmul(&v)?;
    let z = fk.sum_keepdim(2)?;
    let denominator = (fq.broadcast_mul(&z)?.sum_keepdim(3)? + how.eps)?;
    // Padded queries are divided by 1 instead, and then zeroed.
    let denominator = (denominator.broadcast_mul(&valid)?
        + (1.0 - &valid)?.broadcast_as(denominator.shape())?)?;
    record(|| fq.matmul(&fk.t()?.contiguous()?)?.broadcast_div(&denominator))?;
    let o = fq.matmul(&s)?.broadcast_div(&denominator)?.broadcast_mul(&valid)?;
    o.transpose(1, 2)?.reshape((b, n, ()))?.to_dtype(dtype)
}
