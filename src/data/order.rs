//! The order of examples.

use crate::random::Key;
use rand::Rng;

/// The order of training examples: a fresh permutation each epoch, from keys alone, so
/// that the batch of any step is known without those before it.
pub struct Order {
    key: Key,
    examples: usize,
    epoch: Option<(u64, Vec<u32>)>,
}

impl Order {
    pub fn new(seed: u64, examples: usize) -> Self {
        Self { key: Key::new(seed).named("order"), examples, epoch: None }
    }

    /// Indices of the batch that trains step `step` (counted from 0). Batches run across
    /// the ends of epochs, so all are full.
    pub fn batch(&mut self, step: u64, batch: usize) -> Vec<usize> {
        let first = step * batch as u64;
        (first..first + batch as u64).map(|at| self.at(at)).collect()
    }

    fn at(&mut self, at: u64) -> usize {
        let (epoch, place) = (at / self.examples as u64, (at % self.examples as u64) as usize);
        match &self.epoch {
            Some((current, order)) if *current == epoch => order[place] as usize,
            _ => {
                let order = permutation(self.key.index(epoch), self.examples);
                let found = order[place] as usize;
                self.epoch = Some((epoch, order));
                found
            }
        }
    }
}

/// The items in a keyed order, cut in two: the first `count`, and the others.
pub fn deal<T>(items: Vec<T>, count: usize, key: Key) -> [Vec<T>; 2] {
    let order = permutation(key, items.len());
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    let mut dealt = order.into_iter().filter_map(|i| items[i as usize].take());
    let first = dealt.by_ref().take(count).collect();
    [first, dealt.collect()]
}

/// A uniform permutation of `0..n` (Fisher and Yates).
fn permutation(key: Key, n: usize) -> Vec<u32> {
    let mut rng = key.stream();
    let mut order: Vec<u32> = (0..n as u32).collect();
    for i in (1..n).rev() {
        order.swap(i, rng.random_range(0..=i));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dealt_items_are_all_there_once() {
        let [first, others] = deal((0..100).collect(), 30, Key::new(1));
        assert_eq!((first.len(), others.len()), (30, 70));
        let mut all = [first.clone(), others].concat();
        assert!(!all.is_sorted());
        all.sort();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert_eq!(deal((0..100).collect(), 30, Key::new(1))[0], first);
        assert_ne!(deal((0..100).collect(), 30, Key::new(2))[0], first);
    }

    #[test]
    fn every_epoch_sees_every_example_once_and_any_batch_stands_alone() {
        let mut order = Order::new(3, 10);
        let all: Vec<usize> = (0..10).flat_map(|step| order.batch(step, 3)).collect();
        for epoch in all.chunks_exact(10) {
            let mut seen = epoch.to_vec();
            seen.sort();
            assert_eq!(seen, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(all[..10], all[10..20]);
        assert_eq!(Order::new(3, 10).batch(7, 3), all[21..24]);
        assert_ne!(Order::new(4, 10).batch(7, 3), all[21..24]);
    }
}
