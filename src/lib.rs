//! `lra`: the Long Range Arena in one binary.

pub mod attention;
pub mod config;
pub mod error;
pub mod layers;
pub mod models;
pub mod ops;
pub mod progress;
pub mod random;
pub mod records;

pub use error::{Error, Result};
