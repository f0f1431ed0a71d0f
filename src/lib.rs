//! `lra`: the Long Range Arena in one binary.

pub mod error;
pub mod ops;
pub mod progress;
pub mod random;
pub mod records;

pub use error::{Error, Result};
