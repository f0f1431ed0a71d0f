//! Positions of each example and head sorted anew, in one or several rounds.

use crate::ops::Mask;
use candle_core::{Device, Result, Tensor, bail};
use rayon::prelude::*;

/// For each round, example and head the positions in another order, those of tokens first.
#[derive(Debug, Clone)]
pub struct Order {
    rounds: usize,
    batch: usize,
    heads: usize,
    n: usize,
    positions: Positions,
}

/// [rounds, batch, heads, n], where they are used.
#[derive(Debug, Clone)]
enum Positions {
    Host(Vec<u32>),
    #[cfg(feature = "cuda")]
    Device(Tensor),
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
        Ok(Self { rounds, batch, heads, n, positions: Positions::Host(positions) })
    }

    /// Positions sorted by (bucket, position), padding behind by position, of `buckets` [rounds, batch, heads, n]
    /// below `count`, u32. On a GPU they stay there, which only its own face reads.
    pub fn by_bucket(buckets: &Tensor, count: usize, mask: &Mask) -> Result<Self> {
        let (rounds, batch, heads, n) = buckets.dims4()?;
        if (mask.batch(), mask.n()) != (batch, n) || count == 0 {
            let mask = (mask.batch(), mask.n());
            bail!("order: {:?} of {count} buckets, mask {mask:?}", buckets.shape());
        }
        #[cfg(feature = "cuda")]
        if buckets.device().is_cuda() && !crate::ops::cpu::is_composed() {
            let sorted = crate::ops::cuda::sort_buckets(&buckets.contiguous()?, count, mask)?;
            return Ok(Self { rounds, batch, heads, n, positions: Positions::Device(sorted) });
        }
        let buckets = buckets.flatten_all()?.to_vec1::<u32>()?;
        let mut positions: Vec<u32> = (0..buckets.len()).map(|i| (i % n) as u32).collect();
        let rows = positions.par_chunks_exact_mut(n).zip(buckets.par_chunks_exact(n));
        rows.enumerate().for_each(|(row, (positions, buckets))| {
            let valid = mask.row(row / heads % batch);
            positions.sort_unstable_by_key(|&p| match valid[p as usize] {
                true => (buckets[p as usize], p),
                false => (u32::MAX, p),
            });
        });
        Self::new(positions, (rounds, batch, heads, n))
    }

    /// [rounds, batch, heads, n].
    pub fn tensor(&self, device: &Device) -> Result<Tensor> {
        match &self.positions {
            Positions::Host(positions) => {
                let shape = (self.rounds, self.batch, self.heads, self.n);
                Tensor::from_slice(positions, shape, device)
            }
            #[cfg(feature = "cuda")]
            Positions::Device(positions) => positions.to_device(device),
        }
    }

    /// The same where a row can be read.
    pub(super) fn on_host(&self) -> Result<Self> {
        let positions = match &self.positions {
            Positions::Host(positions) => positions.clone(),
            #[cfg(feature = "cuda")]
            Positions::Device(positions) => positions.flatten_all()?.to_vec1::<u32>()?,
        };
        Ok(Self { positions: Positions::Host(positions), ..*self })
    }

    pub fn n(&self) -> usize {
        self.n
    }

    pub(super) fn fits(&self, batch: usize, heads: usize) -> bool {
        (self.batch, self.heads) == (batch, heads)
    }

    /// The positions of one example and head in the order of a round; none where they are on a
    /// device.
    pub fn row(&self, round: usize, example: usize, head: usize) -> &[u32] {
        debug_assert!(round < self.rounds);
        let row = (round * self.batch + example) * self.heads + head;
        match &self.positions {
            Positions::Host(positions) => &positions[row * self.n..][..self.n],
            #[cfg(feature = "cuda")]
            Positions::Device(_) => &[],
        }
    }
}
