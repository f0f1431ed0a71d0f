//! What later versions are compared with, and its file.

use super::accuracy::Group;
use crate::atomic::{make_folder_of, read_whole, write_json};
use crate::bench::{Cell, Counted};
use crate::error::{Error, Result};
use crate::measure;
use crate::records::Environment;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Raised when a field changes meaning; a reader refuses a newer one.
pub const BASELINE_VERSION: u32 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Baseline {
    pub version: u32,
    /// The command that makes it again.
    pub command: String,
    pub environment: Environment,
    /// Instructions and caches that the figures were rounded by.
    pub cpu_kind: String,
    pub cells: Vec<Entry>,
    /// Runs to compare the accuracy of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<Group>,
}

/// A small cell and what it came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    pub cell: Cell,
    /// Steps counted, after those that warm up.
    pub steps: u64,
    pub parameters: u64,
    /// Floating point operations of a step, by the model's declared cost.
    pub flops: f64,
    pub counted: Counted,
    /// Steps in the time of a matrix product, of each round.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paces: Vec<f64>,
}

impl Entry {
    pub fn model(&self) -> &str {
        &self.cell.config.run.model
    }
}

impl Baseline {
    /// Whether f32 is rounded here as it was there.
    pub fn same_cpu(&self, here: &Environment) -> bool {
        self.environment.cpu == here.cpu && self.cpu_kind == measure::cpu_kind()
    }

    pub fn save(&self, path: &Path) -> Result<()> {
        make_folder_of(path)?;
        write_json(path, self)
    }

    pub fn load(path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let make = "make it with `lra baseline save`";
        if !path.exists() {
            return Err(Error::data(path, format!("there is no such baseline; {make}")));
        }
        let bytes = read_whole(path)?;
        if let Ok(Version { version }) = serde_json::from_slice(&bytes)
            && version > BASELINE_VERSION
        {
            let message = format!(
                "baseline version {version} is newer than this lra reads (up to \
                 {BASELINE_VERSION}); use the lra that wrote it, or make it anew"
            );
            return Err(Error::data(path, message));
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            let message = format!("expected a baseline of `lra baseline save`: {error}; {make}");
            Error::data_at(path, error.line() as u64, Some(error.column() as u64), message)
        })
    }
}
