//! Which keys each block of queries sees.

use std::ops::Range;

/// Disjoint, ascending query blocks that cover `0..n`, each with the ascending, disjoint
/// key ranges it sees.
#[derive(Debug, Clone, PartialEq)]
pub struct Blocks {
    n: usize,
    list: Vec<(Range<usize>, Vec<Range<usize>>)>,
}

impl Blocks {
    /// Every query sees every key.
    pub fn full(n: usize) -> Self {
        Self::local(n, n)
    }

    /// Contiguous blocks of `size` positions that see themselves only.
    pub fn local(n: usize, size: usize) -> Self {
        let size = size.max(1);
        let block = |first: usize| first..(first + size).min(n);
        let list = (0..n).step_by(size).map(|i| (block(i), vec![block(i)])).collect();
        Self { n, list }
    }

    pub fn n(&self) -> usize {
        self.n
    }

    pub fn iter(&self) -> impl Iterator<Item = &(Range<usize>, Vec<Range<usize>>)> {
        self.list.iter()
    }

    /// Query-key pairs.
    pub fn pairs(&self) -> usize {
        let keys = |ranges: &[Range<usize>]| ranges.iter().map(Range::len).sum::<usize>();
        self.list.iter().map(|(queries, ranges)| queries.len() * keys(ranges)).sum()
    }

    /// The support as an n x n matrix, row-major: whether query i sees key j.
    pub fn dense(&self) -> Vec<bool> {
        let mut seen = vec![false; self.n * self.n];
        for (queries, ranges) in &self.list {
            for i in queries.clone() {
                for range in ranges {
                    seen[i * self.n..][range.clone()].fill(true);
                }
            }
        }
        seen
    }
}
