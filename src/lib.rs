//! `lra`: the Long Range Arena in one binary.
//!
//! Data flows one way, and nothing is imported against it:
//!
//! ```text
//! cli -> config -> tasks -> data -> models (attention -> layers -> ops) -> train
//!     -> records -> report / check
//! ```
//!
//! - [`cli`]: one verb, one file; [`cli::main`] is the whole program for a [`attention::Registry`]
//! - [`config`]: task card, preset and `--set` to one checked configuration
//! - [`tasks`]: what is to be classified: generators, loaders
//! - [`data`]: packed examples, prepared folders, batches and their order
//! - [`ops`]: differentiable operations, each composed and fused, on a CPU and with CUDA
//! - [`layers`]: ops with weights, and the context a forward pass reads
//! - [`attention`]: one file per variant, and the registry
//! - [`models`]: the encoder around an attention
//! - [`train`]: loop, optimiser, checkpoints
//! - [`bench`]: training steps per second of many cells, beside a peer where there is one
//! - [`check`]: the regression gate: counters, speed and accuracy against a baseline
//! - [`measure`]: speed, memory, machine, signals
//! - [`records`]: the record of a run, its folder, statistics
//! - [`report`]: tables, charts, a page to search and parts of documents, from records alone
//! - [`random`]: keyed streams, the only source of randomness
//! - [`device`]: CPU or GPU, by name
//! - [`error`]: errors and exit codes; [`progress`]: bars and lines; [`atomic`]: whole files

pub mod atomic;
pub mod attention;
pub mod bench;
pub mod check;
pub mod cli;
pub mod config;
pub mod data;
pub mod device;
pub mod error;
pub mod layers;
pub mod measure;
pub mod models;
pub mod ops;
mod printable;
pub mod progress;
pub mod random;
pub mod records;
pub mod report;
pub mod tasks;
pub mod testing;
pub mod train;

pub use error::{Error, Result};
