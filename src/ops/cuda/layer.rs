//! A whole attention layer.

use super::attention::{Parts, backward, forward};
use super::device::flat;
use super::feed_forward::packed;
use super::node::node;
use super::rows::{Dropped, drop_backward, finish, norm, norm_backward};
use crate::ops::{Attend, Layer};
use candle_core::{DType, Result, Tensor};

/// As [`crate::ops::attention_layer`], with a softmax. Kept for the backward pass: the
/// projections, what was attended, and two numbers of each row and head.
pub(in crate::ops) fn attention_layer(x: &Tensor, how: &Layer, attend: &Attend) -> Result<Tensor> {
    let x = x.contiguous()?;
    let [q, k, v] = how.into;
    let all = [how.norm.0, how.norm.1, q, k, v, how.out];
    let packed_weights = packed(&all)?;
    let [norm_w, norm_b, q, k, v, out_w] = all.map(Tensor::detach);
    let (dtype, shape, eps) = (x.dtype(), x.shape().clone(), how.eps);
    let into = Tensor::cat(&[q, k, v], 0)?.to_dtype(dtype)?;
    let out_w = out_w.to_dtype(dtype)?;
    let ((b, n, _), a) = (x.dims3()?, out_w.dim(1)?);
    let dropped = Dropped::new(how.drop, b, &x)?;

    let held = x.detach();
    let normed = norm(&held, (&norm_w, &norm_b), eps)?.into_tensor();
    let qkv = flat(&normed)?.matmul(&into.t()?)?.reshape((b, n, 3 * a))?;
    drop(normed);
    let parts = Parts::joined(&qkv, attend)?;
    let (mixed, kept) = forward(&parts, attend)?;
    let mixed = mixed.into_tensor();
    let y = flat(&mixed)?.matmul(&out_w.t()?)?.reshape(&shape)?;
    let out = finish(&y, None, how.residual.then_some(&held), &dropped)?;
    drop(y);

    let (residual, attend) = (how.residual, attend.clone());
    node("attention-layer", &[&x, &packed_weights], out, move |_, g| {
        let e = flat(&drop_backward(g, &dropped)?.0)?;
        let out = e.t()?.matmul(&flat(&mixed)?)?.to_dtype(DType::F32)?;
        let dm = e.matmul(&out_w)?.reshape(mixed.shape())?;
        drop(e);
        let parts = Parts::joined(&qkv, &attend)?;
        let dqkv = backward(&parts, &attend, &kept, (&mixed, &dm))?.swap_remove(0);
        drop(dm);
        let dqkv = flat(&dqkv)?;
        let normed = norm(&held, (&norm_w, &norm_b), eps)?.into_tensor();
        let into_w = dqkv.t()?.matmul(&flat(&normed)?)?.to_dtype(DType::F32)?;
        drop(normed);
        let dn = dqkv.matmul(&into)?.reshape(&shape)?;
        drop(dqkv);
        let (dx, dw, db) = norm_backward(&held, &norm_w, eps, &dn, residual.then_some(g))?;
        Ok(vec![Some(dx), Some(packed(&[&dw, &db, &into_w, &out])?)])
    })
}
