//! Mixtures of positions with learned weights: products of cuBLAS's over all examples.

use super::device::Fresh;
use super::node::node;
use crate::ops::Mask;
use candle_core::{DType, Result, Tensor};

/// As [`crate::ops::mix()`].
pub(in crate::ops) fn mix(x: &Tensor, weights: &Tensor, mask: &Mask) -> Result<Tensor> {
    let x = x.contiguous()?;
    let ((b, n, d), (longest, k)) = (x.dims3()?, weights.dims2()?);
    let valid = match mask.count() == b * n {
        true => None,
        false => Some(mask.tensor(x.dtype(), x.device())?.unsqueeze(2)?),
    };
    let masked = |x: Tensor| match &valid {
        Some(valid) => x.broadcast_mul(valid),
        None => Ok(x),
    };
    let w = weights.detach().narrow(0, 0, n)?.to_dtype(x.dtype())?.contiguous()?;
    let rows = masked(x.detach())?;
    let y = Fresh::product(&w.t()?.unsqueeze(0)?.broadcast_as((b, k, n))?, &rows)?;
    let (wide, valid) = (weights.dtype(), valid.clone());
    node("mix", &[&x, weights], y, move |_, g| {
        let dx = Fresh::product(&w.unsqueeze(0)?.broadcast_as((b, n, k))?, g)?.into_tensor();
        let dx = match &valid {
            Some(valid) => dx.broadcast_mul(valid)?,
            None => dx,
        };
        // One sum over all examples and columns.
        let rows = rows.transpose(0, 1)?.contiguous()?.reshape((n, b * d))?;
        let g = g.transpose(1, 2)?.contiguous()?.reshape((b * d, k))?;
        let dw = Fresh::product(&rows, &g)?.into_tensor().to_dtype(DType::F32)?;
        let dw = dw.pad_with_zeros(0, 0, longest - n)?.to_dtype(wide)?;
        Ok(vec![Some(dx), Some(dw)])
    })
}
