//! A whole attention layer.

use super::attention::{self, Parts};
use super::device::{Fresh, flat};
use super::feed_forward::packed;
use super::kernel;
use super::node::node;
use super::rows::{Dropped, drop_backward, finish, norm, norm_backward};
use crate::ops::{Layer, Mixing};
use candle_core::{DType, Result, Tensor, bail};

/// What a mixing keeps for its backward pass.
enum Kept {
    Softmax(attention::Kept),
    Kernel(kernel::Kept),
}

/// What is attended, [b, n, a] of `qkv` [b, n, 3 a], and what is kept.
fn forward(qkv: &Tensor, mixing: &Mixing) -> Result<(Fresh, Kept)> {
    Ok(match mixing {
        Mixing::Softmax(attend) => {
            let (mixed, kept) = attention::forward(&Parts::joined(qkv, attend)?, attend)?;
            (mixed, Kept::Softmax(kept))
        }
        Mixing::Kernel(how) => {
            let (mixed, kept) = kernel::forward(qkv, how)?;
            (mixed, Kept::Kernel(kept))
        }
    })
}

/// The slope of `qkv`, from what was attended and its slope.
fn backward(
    qkv: &Tensor,
    mixing: &Mixing,
    kept: &Kept,
    (o, g): (&Tensor, &Tensor),
) -> Result<Tensor> {
    match (mixing, kept) {
        (Mixing::Softmax(attend), Kept::Softmax(kept)) => {
            let parts = Parts::joined(qkv, attend)?;
            Ok(attention::backward(&parts, attend, kept, (o, g))?.swap_remove(0))
        }
        (Mixing::Kernel(how), Kept::Kernel(kept)) => kernel::backward(qkv, how, kept, (o, g)),
        _ => bail!("attention layer: backward of another mixing"),
    }
}

/// As [`crate::ops::attention_layer`]. Kept for the backward pass: the projections, what was
/// attended, and two numbers of each row and head, or each head's state.
pub(in crate::ops) fn attention_layer(x: &Tensor, how: &Layer) -> Result<Tensor> {
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
    let (mixed, kept) = forward(&qkv, &how.mixing)?;
    let mixed = mixed.into_tensor();
    let y = flat(&mixed)?.matmul(&out_w.t()?)?.reshape(&shape)?;
    let out = finish(&y, None, how.residual.then_some(&held), &dropped)?;
    drop(y);

    let (residual, mixing) = (how.residual, how.mixing.clone());
    node("attention-layer", &[&x, &packed_weights], out, move |_, g| {
        let e = flat(&drop_backward(g, &dropped)?.0)?;
        let out = e.t()?.matmul(&flat(&mixed)?)?.to_dtype(DType::F32)?;
        let dm = e.matmul(&out_w)?.reshape(mixed.shape())?;
        drop(e);
        let dqkv = backward(&qkv, &mixing, &kept, (&mixed, &dm))?;
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
