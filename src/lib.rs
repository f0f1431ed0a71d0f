//! `lra`: the Long Range Arena in one binary.

pub mod atomic;
pub mod error;
pub mod progress;
pub mod random;
pub mod records;

pub use error::{Error, Result};
