//! Models: the LRA encoder around an attention, from token ids to class scores.

mod backward;
mod block;
mod classifier;
mod embedding;
mod head;
mod maps;
mod memory;

pub(crate) use backward::Sums;
pub use classifier::Classifier;
