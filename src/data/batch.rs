//! Batches: padded token ids of some examples.

use super::Split;
use crate::config::Pad;
use crate::ops::{Ids, Mask};
use candle_core::Result;

/// Padded token ids of some examples with their labels. An example of p parts has p rows,
/// one after the other.
#[derive(Debug, Clone)]
pub struct Batch {
    /// [b p, n], 0 where padded.
    pub ids: Ids,
    pub mask: Mask,
    /// Of each example.
    pub labels: Vec<u32>,
    /// Rows of an example, p.
    pub parts: usize,
}

impl Batch {
    /// The examples at `indices`, cut to `length` tokens and padded on the right.
    pub fn gather(split: &Split, indices: &[usize], length: usize, pad: Pad) -> Result<Self> {
        let parts = split.parts();
        let rows: Vec<(usize, usize)> =
            indices.iter().flat_map(|&i| (0..parts).map(move |part| (i, part))).collect();
        let lengths: Vec<usize> =
            rows.iter().map(|&(i, part)| split.length(i, part).min(length)).collect();
        let n = match pad {
            Pad::Length => length,
            Pad::Longest => lengths.iter().copied().max().unwrap_or(1).max(1),
        };
        let mut ids = vec![0u32; rows.len() * n];
        for (row, &(i, part)) in ids.chunks_exact_mut(n).zip(&rows) {
            for (id, &symbol) in row.iter_mut().zip(split.tokens(i, part)) {
                *id = u32::from(symbol) + split.first_id();
            }
        }
        Ok(Self {
            ids: Ids { ids: ids.into(), batch: rows.len(), n },
            mask: Mask::from_lengths(&lengths, n)?,
            labels: indices.iter().map(|&i| split.label(i)).collect(),
            parts,
        })
    }

    /// Examples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Tokens that are not padding, of all parts.
    pub fn tokens(&self) -> usize {
        self.mask.count()
    }

    /// Examples `first..first + len`, padded as the whole batch is.
    pub fn narrow(&self, first: usize, len: usize) -> Result<Self> {
        let (n, row, rows) = (self.ids.n, first * self.parts, len * self.parts);
        Ok(Self {
            ids: Ids { ids: self.ids.ids[row * n..(row + rows) * n].into(), batch: rows, n },
            mask: self.mask.narrow(row, rows)?,
            labels: self.labels[first..first + len].to_vec(),
            parts: self.parts,
        })
    }

    /// The index of an example's first row, which keys its dropout.
    pub fn row(&self, example: usize) -> u64 {
        (example * self.parts) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Examples;

    /// Parts of an example lie together, and a narrowed batch is a part of the whole.
    #[test]
    fn examples_of_two_parts_have_two_rows() {
        let mut examples = Examples::new(2, 1);
        for i in 0..3u8 {
            examples.push(&[&[i; 4], &[10 + i; 2]], i.into());
        }
        let split = Split::from_examples(&examples).unwrap();
        let batch = Batch::gather(&split, &[2, 0, 1], 3, Pad::Longest).unwrap();
        assert_eq!((batch.ids.batch, batch.ids.n, batch.len(), batch.tokens()), (6, 3, 3, 15));
        assert_eq!(&batch.ids.ids[..12], &[3, 3, 3, 13, 13, 0, 1, 1, 1, 11, 11, 0]);
        let part = batch.narrow(1, 2).unwrap();
        assert_eq!(&part.ids.ids[..], &batch.ids.ids[6..]);
        assert_eq!((part.labels, batch.row(1), part.mask.count()), (vec![0, 1], 2, 10));
    }
}
