//! The composed face: dense scores, any device and float type.

use super::Attend;
use candle_core::{D, Result, Tensor};

/// As [`super::attention`], with n x n tensors.
pub fn reference(q: &Tensor, k: &Tensor, v: &Tensor, how: &Attend) -> Result<Tensor> {
    let (b, n, _) = q.dims3()?;
    let h = how.heads;
    let split = |x: &Tensor| {
        let width = x.dim(2)? / h;
        x.reshape((b, n, h, width))?.transpose(1, 2)?.contiguous()
    };
    let (q, k, v) = (split(q)?, split(k)?, split(v)?);
    let scores = (q.matmul(&k.t()?.contiguous()?)? * how.scale)?;

    let (dtype, device) = (scores.dtype(), scores.device());
    let valid = how.mask.tensor(dtype, device)?;
    let seen: Vec<f32> = how.blocks.dense().iter().map(|&s| f32::from(s)).collect();
    let seen = Tensor::from_vec(seen, (1, 1, n, n), device)?.to_dtype(dtype)?;
    let allowed = seen.broadcast_mul(&valid.reshape((b, 1, 1, n))?)?;
    let allowed = allowed.broadcast_as(scores.shape())?;
    // Large and finite: a row without any valid key must not become NaN.
    let forbidden = ((allowed.ones_like()? - &allowed)? * -1e30)?;
    let masked = ((scores * &allowed)? + forbidden)?;

    let shifted = masked.broadcast_sub(&masked.max_keepdim(D::Minus1)?.detach())?;
    let e = (shifted.exp()? * &allowed)?;
    // At least 1 where anything is allowed; the floor only keeps empty rows from 0/0, also
    // in the slope, where it is squared.
    let sum = e.sum_keepdim(D::Minus1)?.maximum(1e-15)?;
    let p = e.broadcast_div(&sum)?;
    let p = match how.dropout.p {
        0.0 => p,
        _ => (&p * how.dropout.mask(p.shape(), &p)?)?,
    };
    let o = p.matmul(&v)?.broadcast_mul(&valid.reshape((b, 1, n, 1))?)?;
    o.transpose(1, 2)?.reshape((b, n, ()))
}
