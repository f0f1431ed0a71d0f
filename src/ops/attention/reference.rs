//! The composed face: dense scores, any device and float type.

use super::extra::Extra;
use super::pattern::LAST_RESORT;
use super::{Attend, Given};
use crate::ops::recorder::record;
use candle_core::{D, DType, Result, Tensor};

/// `q`, `k`, `v` as for [`super::attention`], with n x m tensors.
pub fn reference(q: &Tensor, k: &Tensor, v: &Tensor, how: &Attend) -> Result<Tensor> {
    composed(&Given { dot: Some((q, k)), v, extra: None }, how)
}

/// As [`super::attention_with`], with n x m tensors.
pub fn reference_with(
    dot: Option<(&Tensor, &Tensor)>,
    v: &Tensor,
    (kind, extra): (Extra, &Tensor),
    how: &Attend,
) -> Result<Tensor> {
    composed(&Given { dot, v, extra: Some((kind, extra)) }, how)
}

/// [b, n, h * width] -> [b, h, n, width].
fn split(x: &Tensor, h: usize) -> Result<Tensor> {
    let (b, n, a) = x.dims3()?;
    x.reshape((b, n, h, a / h))?.transpose(1, 2)?.contiguous()
}

pub(super) fn composed(x: &Given, how: &Attend) -> Result<Tensor> {
    let (b, n, m, h) = (how.mask.batch(), how.mask.n(), how.keys.n(), how.heads);
    let (own, device) = (x.v.dtype(), x.v.device());
    if own == DType::BF16 {
        // Sums over rows want more than eight bits.
        let exact = |x: &Tensor| x.to_dtype(DType::F32);
        let dot = x.dot.map(|(q, k)| Ok::<_, candle_core::Error>((exact(q)?, exact(k)?)));
        let (dot, v) = (dot.transpose()?, exact(x.v)?);
        let extra = x.extra.map(|(kind, extra)| Ok::<_, candle_core::Error>((kind, exact(extra)?)));
        let extra = extra.transpose()?;
        let given = Given {
            dot: dot.as_ref().map(|(q, k)| (q, k)),
            v: &v,
            extra: extra.as_ref().map(|(kind, extra)| (*kind, extra)),
        };
        return composed(&given, how)?.to_dtype(own);
    }
    let v = split(x.v, h)?;
    let dtype = v.dtype();
    let scores = scores(x, how)?.broadcast_as((b, h, n, m))?;

    // How often each pair is seen, and how often as a last resort: of all examples and heads
    // whose lists differ.
    let (by_head, by_example) = how.blocks.varies();
    let sorted = how.blocks.order().is_some();
    let blocks = how.blocks.on_host()?;
    let heads = if by_head || sorted { h } else { 1 };
    let examples = if by_example || sorted { b } else { 1 };
    let mut seen = vec![0f32; examples * heads * n * m];
    let mut last = vec![0f32; examples * heads * n * m];
    for (at, (seen, last)) in
        seen.chunks_exact_mut(n * m).zip(last.chunks_exact_mut(n * m)).enumerate()
    {
        blocks.visit(at / heads, at % heads, |i, j, resort| {
            seen[i * m + j] += 1.0;
            last[i * m + j] = f32::from(resort);
        });
    }
    let tensor = |x: Vec<f32>| {
        let x = Tensor::from_vec(x, (examples, heads, n, m), device)?.to_dtype(dtype)?;
        x.broadcast_as((b, h, n, m))
    };
    let keys = how.keys.tensor(dtype, device)?.reshape((b, 1, 1, m))?;
    let seen = tensor(seen)?.broadcast_mul(&keys)?;
    let allowed = seen.minimum(1.0)?;
    // Large and finite: a row without any valid key must not become NaN.
    let forbidden = ((allowed.ones_like()? - &allowed)? * -1e30)?;
    let resort = (tensor(last)? * -LAST_RESORT)?;
    let masked = ((((scores + resort)? * &allowed)?) + forbidden)?;

    let shifted = masked.broadcast_sub(&masked.max_keepdim(D::Minus1)?.detach())?;
    let e = (shifted.exp()? * &seen)?;
    // At least 1 where anything is allowed; the floor only keeps empty rows from 0/0, also
    // in the slope, where it is squared.
    let sum = e.sum_keepdim(D::Minus1)?.maximum(1e-15)?;
    let p = e.broadcast_div(&sum)?;
    record(|| Ok(p.clone()))?;
    let p = match how.dropout.p {
        0.0 => p,
        _ => (&p * how.dropout.mask(p.shape(), &p)?)?,
    };
    let queries = how.mask.tensor(dtype, device)?.reshape((b, 1, n, 1))?;
    let o = p.matmul(&v)?.broadcast_mul(&queries)?;
    o.transpose(1, 2)?.reshape((b, n, ()))
}

/// [b or 1, h, n, m].
fn scores(x: &Given, how: &Attend) -> Result<Tensor> {
    let (n, m, h) = (how.mask.n(), how.keys.n(), how.heads);
    let dot = match x.dot {
        Some((q, k)) => {
            let (q, k) = (split(q, h)?, split(k, h)?);
            Some(((q.matmul(&k.t()?.contiguous()?)? * how.scale)?, q))
        }
        None => None,
    };
    let Some((kind, extra)) = x.extra else {
        return dot
            .map(|(scores, _)| scores)
            .ok_or_else(|| candle_core::Error::Msg("attention: scores of nothing".into()));
    };
    let extra = if kind == Extra::Pairs { extra.clone() } else { split(extra, h)? };
    match (kind, dot) {
        (Extra::Keys, Some((scores, _))) => scores.broadcast_add(&extra.transpose(2, 3)?),
        (Extra::Keys, None) => extra.transpose(2, 3),
        (Extra::Pairs, Some((scores, _))) => scores.broadcast_add(&extra),
        (Extra::Pairs, None) => Ok(extra),
        (Extra::Distances { zero }, Some((scores, q))) => {
            let (distances, width) = (extra.dim(2)?, extra.dim(3)? - 1);
            let r = extra.narrow(3, 0, width)?.transpose(2, 3)?.contiguous()?;
            let c = extra.narrow(3, width, 1)?.transpose(2, 3)?;
            let all = q.broadcast_matmul(&r)?.broadcast_add(&c)?;
            let at = |i: usize, j: usize| (zero + i).saturating_sub(j % n).min(distances - 1);
            let met: Vec<u32> = (0..n).flat_map(|i| (0..m).map(move |j| at(i, j) as u32)).collect();
            let met = Tensor::from_vec(met, (1, 1, n, m), extra.device())?;
            let met = met.broadcast_as(scores.shape())?.contiguous()?;
            scores + (all.gather(&met, 3)? * how.scale)?
        }
        (Extra::Distances { .. }, None) => {
            candle_core::bail!("attention: distances need queries")
        }
    }
}
