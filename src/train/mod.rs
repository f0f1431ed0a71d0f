//! Training: from batches and a model to weights, events and a record.
//!
//! - `session`: one run from its configuration to its record
//! - `trainer`: the loop, its checkpoints and its end
//! - `step`: one update; `gradient`: loss and gradients of a batch, in micro-batches
//! - `optimiser`, `schedule`: AdamW with open state, and LRA's learning rates
//! - `evaluate`: loss and accuracy over a split
//! - `state`, `checkpoint`, `tensors`: what is kept of a run that is stopped, and its files

mod checkpoint;
mod evaluate;
mod gradient;
mod optimiser;
mod plan;
mod schedule;
mod session;
mod state;
mod step;
mod tensors;
mod trainer;

pub use checkpoint::{Checkpoint, latest, load, prune};
pub use evaluate::evaluate;
pub use gradient::{Gradients, gradients, score};
pub use optimiser::{AdamW, Moments};
pub use plan::{Plan, check_memory, plan, receptive_field};
pub use schedule::learning_rate;
pub use session::{Setting, build, micro_batch, on_large_stack, run};
pub use step::{Step, step};
pub use tensors::{load_weights, save_weights};
