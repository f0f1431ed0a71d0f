//! The feed-forward layer: two products, and between them one kernel each way.

use super::device::flat;
use super::node::node;
use super::rows::{Dropped, drop_backward, finish, gelu, gelu_backward, norm, norm_backward};
use crate::ops::FeedForward;
use candle_core::{DType, Result, Tensor};

/// Weights, flat and side by side: one operand, since an op has three at most.
pub(super) fn packed(weights: &[&Tensor]) -> Result<Tensor> {
    let flat = weights.iter().map(|w| w.flatten_all()).collect::<Result<Vec<_>>>()?;
    Tensor::cat(&flat, 0)
}

/// As [`crate::ops::feed_forward`]. Kept for the backward pass: the hidden layer before GELU.
pub(in crate::ops) fn feed_forward(x: &Tensor, how: &FeedForward) -> Result<Tensor> {
    let x = x.contiguous()?;
    let all = [how.norm.0, how.norm.1, how.up.0, how.up.1, how.down.0, how.down.1];
    let weights = packed(&all)?;
    let [norm_w, norm_b, up_w, up_b, down_w, down_b] = all.map(Tensor::detach);
    let (dtype, shape, eps) = (x.dtype(), x.shape().clone(), how.eps);
    let (up_w, down_w) = (up_w.to_dtype(dtype)?, down_w.to_dtype(dtype)?);
    let b = x.dim(0)?;
    let inner = Dropped::new(how.drop.0, b, &x)?;
    let outer = Dropped::new(how.drop.1, b, &x)?;

    let held = x.detach();
    let mut wide = x.dims().to_vec();
    if let Some(last) = wide.last_mut() {
        *last = up_w.dim(0)?;
    }
    let normed = norm(&held, (&norm_w, &norm_b), eps)?.into_tensor();
    let hidden = flat(&normed)?.matmul(&up_w.t()?)?.reshape(wide)?;
    drop(normed);
    let active = gelu(&hidden, &up_b, &inner)?;
    let y = flat(&active)?.matmul(&down_w.t()?)?.reshape(&shape)?;
    drop(active);
    let out = finish(&y, Some(&down_b), how.residual.then_some(&held), &outer)?;
    drop(y);

    let residual = how.residual;
    node("feed-forward", &[&x, &weights], out, move |_, g| {
        let (e, down_b) = drop_backward(g, &outer)?;
        let e = flat(&e)?;
        let da = e.matmul(&down_w)?.reshape(hidden.shape())?;
        let (active, dh, up_b) = gelu_backward(&hidden, &up_b, &da, &inner)?;
        drop(da);
        let down = e.t()?.matmul(&flat(&active)?)?.to_dtype(DType::F32)?;
        drop((active, e));
        let dh = flat(&dh)?;
        let normed = norm(&held, (&norm_w, &norm_b), eps)?.into_tensor();
        let up = dh.t()?.matmul(&flat(&normed)?)?.to_dtype(DType::F32)?;
        drop(normed);
        let dn = dh.matmul(&up_w)?.reshape(&shape)?;
        drop(dh);
        let (dx, dw, db) = norm_backward(&held, &norm_w, eps, &dn, residual.then_some(g))?;
        let slopes = packed(&[&dw, &db, &up, &up_b, &down, &down_b])?;
        Ok(vec![Some(dx), Some(slopes)])
    })
}
