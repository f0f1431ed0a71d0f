//! Tasks: what is to be classified. One file (or folder) per task, one line here.

pub mod listops;

pub use crate::data::Places;

use crate::data::Split;
use crate::error::{Error, Result};
use crate::progress::Progress;
use std::path::{Path, PathBuf};

/// One of the arena's tasks.
pub trait Task: Send + Sync {
    /// As in `--task`.
    fn name(&self) -> &'static str;

    /// The task's card: description, data keys and presets, as TOML.
    fn card(&self) -> &'static str;

    /// Reads, generates or opens the prepared data. `options` is the `[data]` table of
    /// the resolved configuration; an unknown key in it is an error that names the key.
    fn load(&self, options: &toml::Table, places: &Places, progress: &Progress) -> Result<Dataset>;

    /// Whether examples are square gray images, a byte a pixel.
    fn pictures(&self) -> bool {
        false
    }

    /// An example as a person reads it, on one line.
    fn text(&self, split: &Split, example: usize) -> String;

    /// Holds the data against the task's own rule. The first mismatches are said
    /// through `progress`; any at all is an error that names the first and counts them.
    fn verify(
        &self,
        options: &toml::Table,
        places: &Places,
        progress: &Progress,
    ) -> Result<Verified>;

    /// Writes `data` into `folder` in the official form; returns the files.
    fn export(&self, data: &Dataset, folder: &Path, progress: &Progress) -> Result<Vec<PathBuf>>;
}

/// A task's examples, ready to be batched.
#[derive(Debug, Clone)]
pub struct Dataset {
    pub train: Split,
    pub validation: Split,
    pub test: Split,
    /// Number of distinct token ids, padding (0) included.
    pub vocabulary: usize,
    pub classes: usize,
    /// No example is longer, in tokens.
    pub max_length: usize,
    /// `generated`, or the path the official files were read from.
    pub source: String,
    /// Changes whenever the examples do.
    pub version: u32,
    /// SHA-256, hex, over the prepared examples of all splits.
    pub checksum: String,
}

impl Dataset {
    /// The splits with their names, in the order of [`crate::data::SPLITS`].
    pub fn splits(&self) -> [(&'static str, &Split); 3] {
        [("train", &self.train), ("validation", &self.validation), ("test", &self.test)]
    }
}

/// What [`Task::verify`] went through without finding a mismatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// `generated`, or the path the official files were read from.
    pub source: String,
    /// Each file and the number of its examples.
    pub files: Vec<(PathBuf, u64)>,
}

/// Every task, in the paper's order.
pub fn all() -> &'static [&'static dyn Task] {
    &[&listops::ListOps]
}

/// The task of this name.
pub fn find(name: &str) -> Result<&'static dyn Task> {
    all().iter().copied().find(|task| task.name() == name).ok_or_else(|| {
        let known: Vec<_> = all().iter().map(|task| task.name()).collect();
        Error::usage(format!("no task `{}`; known: {}", name.escape_debug(), known.join(", ")))
    })
}
