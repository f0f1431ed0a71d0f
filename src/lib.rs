//! `lra`: the Long Range Arena in one binary.

pub mod atomic;
pub mod attention;
pub mod cli;
pub mod config;
pub mod data;
pub mod error;
pub mod layers;
pub mod measure;
pub mod models;
pub mod ops;
pub mod progress;
pub mod random;
pub mod records;
pub mod report;
pub mod tasks;
pub mod train;

pub use error::{Error, Result};
