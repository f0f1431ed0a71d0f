//! `lra`: the Long Range Arena in one binary.

pub mod atomic;
pub mod error;
pub mod measure;
pub mod progress;
pub mod random;
pub mod records;
pub mod train;

pub use error::{Error, Result};
