//! `lra`: the Long Range Arena in one binary.

pub mod atomic;
pub mod cli;
pub mod error;
pub mod progress;
pub mod random;
pub mod records;
pub mod report;

pub use error::{Error, Result};
