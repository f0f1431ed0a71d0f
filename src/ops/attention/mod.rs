//! Softmax attention of query blocks over lists of keys:
//! `o_i = sum_j p_ij v_j` with `p_i = softmax over the listed, valid j of s_ij` and
//! `s_ij = scale q_i . k_j`, plus a term for each pair or distance where one is given.
//!
//! One primitive serves full, local and other block-sparse attentions: a variant says
//! which keys a block of queries sees ([`Blocks`]), not how to multiply. Heads are
//! interleaved in the last axis, and lists may have a step, so nothing is transposed or
//! copied. Padded keys get no weight; rows of padded queries are zero, as are rows that see
//! no valid key.
//!
//! The fused face keeps no n x m tensor: scores of a tile of query rows live in a
//! buffer that fits L2, the log-sum-exp of each row is saved and the
//! scores are computed again in the backward pass (Dao et al. 2022, algorithm 2 and 4,
//! without key tiles).
//!
//! Cost for e query-key pairs per head: forward 4 e h d_k FLOPs, backward 10 e h d_k.

mod backward;
mod extra;
mod forward;
mod fused;
mod operands;
mod order;
mod pattern;
mod reference;
mod tiles;

pub use extra::Extra;
pub(super) use fused::Joined;
pub use order::Order;
pub use pattern::{Blocks, Entry, LAST_RESORT, Part, Rule, Span, blocks};
pub use reference::{reference, reference_with};

use super::cpu::fused as fits;
#[cfg(feature = "cuda")]
use super::cuda;
use super::{Dropout, Mask};
use candle_core::{Result, Tensor, bail};
use std::sync::Arc;

/// Everything about an attention but its operands.
#[derive(Debug, Clone)]
pub struct Attend {
    pub heads: usize,
    pub blocks: Arc<Blocks>,
    /// Validity of the queries.
    pub mask: Mask,
    /// Validity of the keys: the same mask, unless the keys are other positions.
    pub keys: Mask,
    /// Multiplies the scores; 1/sqrt(d_k) as a rule.
    pub scale: f64,
    /// Applied to the weights p.
    pub dropout: Dropout,
}

/// The operands of a call.
struct Given<'a> {
    dot: Option<(&'a Tensor, &'a Tensor)>,
    v: &'a Tensor,
    extra: Option<(Extra, &'a Tensor)>,
}

/// `q` [b, n, heads * width] and `kv` [b, m, 2 heads * width], keys and values side by side,
/// with an extra term in the scores or without -> [b, n, heads * width].
pub fn attention_kv(
    q: &Tensor,
    kv: &Tensor,
    extra: Option<(Extra, &Tensor)>,
    how: &Attend,
) -> Result<Tensor> {
    let (_, _, a) = q.dims3()?;
    if kv.dims3()?.2 != 2 * a {
        bail!("attention: q {:?}, keys and values {:?}", q.shape(), kv.shape());
    }
    let part = |i: usize| kv.narrow(2, i * a, a);
    // Views, for the sizes alone where the op takes both in one.
    let (k, v) = (part(0)?, part(1)?);
    let given = Given { dot: Some((q, &k)), v: &v, extra };
    check(&given, how)?;
    if fits(kv) {
        return fused::side_by_side(q, kv, extra, how);
    }
    #[cfg(feature = "cuda")]
    if cuda::attends(kv, [a / how.heads; 2], extra.map(|(kind, _)| kind), &how.blocks) {
        return cuda::attention(cuda::Parts::side_by_side(q, kv, extra, how)?, how);
    }
    let (k, v) = (k.contiguous()?, v.contiguous()?);
    reference::composed(&Given { dot: Some((q, &k)), v: &v, extra }, how)
}

/// `qkv` [b, n, 3 heads * width], queries, keys and values of the same positions side by side
/// -> [b, n, heads * width].
pub fn attention_joined(qkv: &Tensor, how: &Attend) -> Result<Tensor> {
    let (_, _, row) = qkv.dims3()?;
    if how.heads == 0 || row % (3 * how.heads) != 0 || row == 0 {
        bail!("attention: {:?} for queries, keys and values of {} heads", qkv.shape(), how.heads);
    }
    if fits(qkv) {
        return fused::joined(qkv, how);
    }
    #[cfg(feature = "cuda")]
    if cuda::attends(qkv, [row / 3 / how.heads; 2], None, &how.blocks) {
        return cuda::attention(cuda::Parts::joined(qkv, how)?, how);
    }
    let part = |i: usize| qkv.narrow(2, i * row / 3, row / 3)?.contiguous();
    attention(&part(0)?, &part(1)?, &part(2)?, how)
}

/// `q` [b, n, heads * width], `k` [b, m, heads * width], `v` [b, m, heads * width of v] ->
/// [b, n, heads * width of v].
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, how: &Attend) -> Result<Tensor> {
    run(&Given { dot: Some((q, k)), v, extra: None }, how)
}

/// The same with an extra term in the scores, or with nothing but it.
pub fn attention_with(
    dot: Option<(&Tensor, &Tensor)>,
    v: &Tensor,
    extra: (Extra, &Tensor),
    how: &Attend,
) -> Result<Tensor> {
    run(&Given { dot, v, extra: Some(extra) }, how)
}

impl Attend {
    /// Whether masks and blocks are over b examples and m keys.
    pub(in crate::ops) fn check(&self, b: usize, m: usize) -> Result<()> {
        let (mask, keys, blocks) = (&self.mask, &self.keys, &self.blocks);
        if (mask.batch(), keys.batch()) != (b, b)
            || (keys.n(), blocks.n(), blocks.m()) != (m, mask.n(), m)
            || !blocks.fits(b, self.heads)
        {
            let (of, over) = ((mask.n(), keys.n()), (blocks.n(), blocks.m()));
            bail!("attention: masks over {of:?} and blocks over {over:?}, {b} x {m} keys");
        }
        Ok(())
    }
}

fn run(x: &Given, how: &Attend) -> Result<Tensor> {
    check(x, how)?;
    if fits(x.v) {
        return fused::fused(x, how);
    }
    #[cfg(feature = "cuda")]
    {
        let (h, kind) = (how.heads, x.extra.map(|(kind, _)| kind));
        let width = x.dot.map_or(Ok(0), |(q, _)| q.dim(2))? / h;
        let widths = [width, x.v.dim(2)? / h];
        if cuda::attends(x.v, widths, kind, &how.blocks) {
            let parts = match (x.dot, x.extra) {
                (Some((q, k)), None) => cuda::Parts::apart(q, k, x.v, how)?,
                (Some((q, k)), extra) => {
                    cuda::Parts::side_by_side(q, &Tensor::cat(&[k, x.v], 2)?, extra, how)?
                }
                (None, Some(extra)) => cuda::Parts::without_dot(x.v, extra, how)?,
                (None, None) => bail!("attention: scores of nothing"),
            };
            return cuda::attention(parts, how);
        }
        if let (Some((q, k)), None) = (x.dot, x.extra)
            && cuda::few(x.v, widths, how)
        {
            return cuda::attention_of_few(q, k, x.v, how);
        }
    }
    reference::composed(x, how)
}

fn check(x: &Given, how: &Attend) -> Result<()> {
    let (b, m, av) = x.v.dims3()?;
    let (h, n) = (how.heads, how.mask.n());
    if h == 0 || av % h != 0 {
        bail!("attention: v {:?}, {h} heads", x.v.shape());
    }
    how.check(b, m)?;
    let width = match x.dot {
        Some((q, k)) => {
            let a = q.dim(2)?;
            if q.dims() != [b, n, a] || k.dims() != [b, m, a] || a % h != 0 {
                bail!("attention: q {:?}, k {:?}, v {:?}", q.shape(), k.shape(), x.v.shape());
            }
            a / h
        }
        None => 0,
    };
    match x.extra {
        None => Ok(()),
        Some((Extra::Pairs, e)) => match e.dims() {
            &[be, he, ne, me] if (be == 1 || be == b) && (he, ne, me) == (h, n, m) => Ok(()),
            dims => bail!("attention: {dims:?} terms for {h} heads of {n} x {m} pairs"),
        },
        Some((Extra::Keys, e)) => match e.dims() {
            &[be, keys, row] if (be == 1 || be == b) && keys == m && row == h => Ok(()),
            dims => bail!("attention: {dims:?} terms for {m} keys of {h} heads"),
        },
        Some((Extra::Distances { .. }, e)) => match e.dims() {
            &[1, _, row] if row == h * (width + 1) && x.dot.is_some() => Ok(()),
            dims => bail!("attention: {dims:?} terms for distances of {h} heads of {width}"),
        },
    }
}
