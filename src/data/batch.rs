//! Batches: padded token ids of some examples.

use super::Split;
use crate::config::Pad;
use crate::ops::{Ids, Mask};
use candle_core::Result;

/// Padded token ids of some examples with their labels.
#[derive(Debug, Clone)]
pub struct Batch {
    /// [b, n], 0 where padded.
    pub ids: Ids,
    pub mask: Mask,
    pub labels: Vec<u32>,
}

impl Batch {
    /// The examples at `indices`, cut to `length` tokens and padded on the right.
    pub fn gather(split: &Split, indices: &[usize], length: usize, pad: Pad) -> Result<Self> {
        let tokens = |&i: &usize| {
            let tokens = split.tokens(i, 0);
            &tokens[..tokens.len().min(length)]
        };
        let lengths: Vec<usize> = indices.iter().map(|i| tokens(i).len()).collect();
        let n = match pad {
            Pad::Length => length,
            Pad::Longest => lengths.iter().copied().max().unwrap_or(1).max(1),
        };
        let mut ids = vec![0u32; indices.len() * n];
        for (row, i) in ids.chunks_exact_mut(n).zip(indices) {
            for (id, &symbol) in row.iter_mut().zip(tokens(i)) {
                *id = u32::from(symbol) + split.first_id();
            }
        }
        Ok(Self {
            ids: Ids { ids: ids.into(), batch: indices.len(), n },
            mask: Mask::from_lengths(&lengths, n)?,
            labels: indices.iter().map(|&i| split.label(i)).collect(),
        })
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Tokens that are not padding.
    pub fn tokens(&self) -> usize {
        self.mask.count()
    }

    /// Examples `first..first + len`, padded as the whole batch is.
    pub fn narrow(&self, first: usize, len: usize) -> Result<Self> {
        let n = self.ids.n;
        Ok(Self {
            ids: Ids { ids: self.ids.ids[first * n..(first + len) * n].into(), batch: len, n },
            mask: self.mask.narrow(first, len)?,
            labels: self.labels[first..first + len].to_vec(),
        })
    }
}
