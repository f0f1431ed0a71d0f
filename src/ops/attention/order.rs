//! Positions of each example and head sorted anew, in one or several rounds.

#[cfg(feature = "cuda")]
use candle_core::{Device, Tensor};
use candle_core::{Result, bail};

/// For each round, example and head the positions in another order, those of tokens first.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    rounds: usize,
    batch: usize,
    heads: usize,
    n: usize,
    positions: Vec<u32>,
}

impl Order {
    /// `positions` [rounds, batch, heads, n], each row a permutation of `0..n`.
    pub fn new(
        positions: Vec<u32>,
        (rounds, batch, heads, n): (usize, usize, usize, usize),
    ) -> Result<Self> {
        if positions.len() != rounds * batch * heads * n || n == 0 {
            let shape = (rounds, batch, heads, n);
            bail!("order: {} positions, expected {shape:?} of them", positions.len());
        }
        let mut seen = vec![false; n];
        for row in positions.chunks_exact(n) {
            seen.fill(false);
            row.iter().filter(|&&p| (p as usize) < n).for_each(|&p| seen[p as usize] = true);
            if seen.contains(&false) {
                bail!("order: a row is no permutation of 0..{n}");
            }
        }
        Ok(Self { rounds, batch, heads, n, positions })
    }

    /// [rounds, batch, heads, n].
    #[cfg(feature = "cuda")]
    pub(in crate::ops) fn tensor(&self, device: &Device) -> Result<Tensor> {
        let shape = (self.rounds, self.batch, self.heads, self.n);
        Tensor::from_slice(&self.positions, shape, device)
    }

    pub fn n(&self) -> usize {
        self.n
    }

    pub(super) fn fits(&self, batch: usize, heads: usize) -> bool {
        (self.batch, self.heads) == (batch, heads)
    }

    /// The positions of one example and head in the order of a round.
    pub fn row(&self, round: usize, example: usize, head: usize) -> &[u32] {
        debug_assert!(round < self.rounds);
        let row = (round * self.batch + example) * self.heads + head;
        &self.positions[row * self.n..][..self.n]
    }
}
