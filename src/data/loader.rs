//! Batches made ahead of their use, on a thread of their own.
//!
//! What a batch holds depends on the seed and its step alone, so a loader can be started
//! at any step, and whether one is used at all changes no number.

use super::{Batch, Order, Split};
use crate::config::Pad;
use crate::error::{Error, Result};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

/// Batches that may wait to be used.
const AHEAD: usize = 2;

/// The training batches of a run, in order.
pub struct Loader {
    split: Split,
    seed: u64,
    batch: usize,
    length: usize,
    pad: Pad,
    /// The step that the next received batch is of, and where it comes from.
    source: Option<(u64, Receiver<candle_core::Result<Batch>>)>,
    /// The batch of a step that was peeked at.
    held: Option<Batch>,
}

impl Loader {
    /// Batches of `batch` examples, cut to `length` tokens.
    pub fn new(split: Split, seed: u64, batch: usize, length: usize, pad: Pad) -> Self {
        Self { split, seed, batch, length, pad, source: None, held: None }
    }

    /// Whether [`Loader::batch`] would have to wait.
    pub fn is_late(&mut self, step: u64) -> Result<bool> {
        if self.held.is_some() && self.next() == Some(step) {
            return Ok(false);
        }
        self.held = None;
        let source = self.source(step)?;
        match source.try_recv() {
            Ok(batch) => {
                self.held = Some(batch?);
                Ok(false)
            }
            Err(TryRecvError::Empty) => Ok(true),
            Err(TryRecvError::Disconnected) => Err(ended()),
        }
    }

    /// The batch of a step, counted from 0.
    pub fn batch(&mut self, step: u64) -> Result<Batch> {
        let held = self.held.take().filter(|_| self.next() == Some(step));
        let batch = match held {
            Some(batch) => batch,
            None => self.source(step)?.recv().map_err(|_| ended())??,
        };
        if let Some((next, _)) = &mut self.source {
            *next += 1;
        }
        Ok(batch)
    }

    fn next(&self) -> Option<u64> {
        self.source.as_ref().map(|(next, _)| *next)
    }

    /// The thread's end whose next batch is that of `step`; a new one where there is none.
    fn source(&mut self, step: u64) -> Result<&Receiver<candle_core::Result<Batch>>> {
        if self.next() != Some(step) {
            self.source = None;
        }
        let source = match self.source.take() {
            Some(source) => source,
            None => (step, self.start(step)?),
        };
        Ok(&self.source.insert(source).1)
    }

    /// The thread ends once nobody listens.
    fn start(&self, first: u64) -> Result<Receiver<candle_core::Result<Batch>>> {
        let (sender, receiver) = sync_channel(AHEAD);
        let (split, length, pad) = (self.split.clone(), self.length, self.pad);
        let (mut order, batch) = (Order::new(self.seed, self.split.len()), self.batch);
        let work = move || {
            for step in first.. {
                let made = Batch::gather(&split, &order.batch(step, batch), length, pad);
                if sender.send(made).is_err() {
                    break;
                }
            }
        };
        let started = std::thread::Builder::new().name("batches".into()).spawn(work);
        let path = "the thread that makes batches".into();
        started.map_err(|source| Error::Io { action: "start", path, source })?;
        Ok(receiver)
    }
}

/// Only a panic ends the thread before its listener.
fn ended() -> Error {
    Error::Tensor(candle_core::Error::Msg("the thread that makes batches has ended".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Examples;

    fn split() -> Split {
        let mut examples = Examples::new(1, 1);
        (0..10u8).for_each(|i| examples.push(&[&vec![i; 1 + i as usize]], i.into()));
        Split::from_examples(&examples).unwrap()
    }

    /// In order, out of order and peeked at: the batch of a step is the same.
    #[test]
    fn the_batch_of_a_step_stands_alone() {
        let mut order = Order::new(5, 10);
        let labels: Vec<Vec<u32>> = (0..12)
            .map(|step| order.batch(step, 3).into_iter().map(|i| i as u32).collect())
            .collect();
        let mut loader = Loader::new(split(), 5, 3, 8, Pad::Longest);
        for step in [0, 1, 2, 7, 7, 8, 3, 11] {
            if step % 2 == 1 {
                while loader.is_late(step).unwrap() {
                    std::thread::yield_now();
                }
                assert!(!loader.is_late(step).unwrap());
            }
            assert_eq!(loader.batch(step).unwrap().labels, labels[step as usize], "{step}");
        }
    }

    #[test]
    fn a_held_batch_is_not_given_for_another_step() {
        let mut loader = Loader::new(split(), 5, 3, 8, Pad::Longest);
        while loader.is_late(4).unwrap() {
            std::thread::yield_now();
        }
        let expected = Loader::new(split(), 5, 3, 8, Pad::Longest).batch(6).unwrap();
        assert_eq!(loader.batch(6).unwrap().labels, expected.labels);
    }
}
