//! Softmax attention of query blocks over lists of key ranges:
//! `o_i = sum_j p_ij v_j` with `p_i = softmax over the listed, valid j of s q_i . k_j`.
//!
//! One primitive serves full, local and other block-sparse attentions: a variant says
//! which keys a block of queries sees, not how to multiply. Heads are interleaved in the
//! last axis, so nothing is transposed or copied. Padded keys get no weight; rows of
//! padded queries are zero, as are rows that see no valid key.
//!
//! The fused face keeps no n x n tensor: scores of a tile of query rows live in a
//! buffer that fits L2, the log-sum-exp of each row is saved and the
//! scores are computed again in the backward pass (Dao et al. 2022, algorithm 2 and 4,
//! without key tiles).
//!
//! Cost for e query-key pairs per head: forward 4 e h d_k FLOPs, backward 10 e h d_k.

mod backward;
mod blocks;
mod forward;
mod fused;
mod reference;
mod tiles;

pub use blocks::Blocks;
pub use reference::reference;

use super::cpu::fused as fits;
use super::{Dropout, Mask};
use candle_core::{Result, Tensor, bail};
use std::sync::Arc;

/// Everything about an attention but its operands.
#[derive(Debug, Clone)]
pub struct Attend {
    pub heads: usize,
    pub blocks: Arc<Blocks>,
    /// Validity of the positions, queries and keys alike.
    pub mask: Mask,
    /// Multiplies the scores; 1/sqrt(d_k) as a rule.
    pub scale: f64,
    /// Applied to the weights p.
    pub dropout: Dropout,
}

/// `q`, `k`, `v` [b, n, heads * width] -> [b, n, heads * width of v].
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, how: &Attend) -> Result<Tensor> {
    check(q, k, v, how)?;
    if fits(q) {
        let op = fused::Fused::new(how.clone());
        q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, op)
    } else {
        reference(q, k, v, how)
    }
}

fn check(q: &Tensor, k: &Tensor, v: &Tensor, how: &Attend) -> Result<()> {
    let ((b, n, a), (bk, m, ak), (bv, mv, av)) = (q.dims3()?, k.dims3()?, v.dims3()?);
    let h = how.heads;
    if b != bk || b != bv || a != ak || m != mv || h == 0 || a % h != 0 || av % h != 0 {
        bail!("attention: q {:?}, k {:?}, v {:?}, {h} heads", q.shape(), k.shape(), v.shape());
    }
    if how.mask.batch() != b || how.mask.n() != n || n != m || how.blocks.n() != n {
        let (mask, blocks) = (how.mask.n(), how.blocks.n());
        bail!("attention: mask over {mask} and blocks over {blocks} positions, {n} given");
    }
    Ok(())
}
