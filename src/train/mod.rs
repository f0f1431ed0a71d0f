//! Training: what it takes to stop anywhere and go on as if nothing had happened.

mod checkpoint;
mod tensors;

pub use checkpoint::{Checkpoint, latest, load, prune};
pub use tensors::{load_weights, save_weights};
