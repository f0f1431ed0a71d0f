//! Checkpoints: all that a run needs to go on, to the bit.
//!
//! A checkpoint that was written is whole (temporary file, fsync, rename) and one that was
//! damaged later is noticed (a checksum over every byte); [`latest`] then falls back to the
//! newest that verifies. Randomness is keyed by the step, so it needs no place here.

use super::tensors::{Metadata, Tensors, read, verified, write};
use crate::error::{Error, IoContext, Result};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const STEP: &str = "step";
/// Keeps the caller's notes apart from our own.
const NOTE: &str = "note.";

#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Steps done.
    pub step: u64,
    /// `weights.<name>`, and the optimiser's `first.<name>` and `second.<name>`.
    pub tensors: BTreeMap<String, Tensor>,
    /// Counters that go on: the best validation so far, sums since the last evaluation,
    /// seconds by phase.
    pub notes: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Writes it into `folder`, over one of the same step, and returns its path.
    pub fn save(&self, folder: &Path) -> Result<PathBuf> {
        let mut metadata: Metadata =
            self.notes.iter().map(|(key, value)| (format!("{NOTE}{key}"), value.clone())).collect();
        metadata.insert(STEP.to_owned(), self.step.to_string());
        let path = folder.join(file_name(self.step));
        write(&path, &self.tensors, &metadata)?;
        Ok(path)
    }
}

/// Reads one checkpoint, verified.
pub fn load(path: &Path, device: &Device) -> Result<Checkpoint> {
    let (tensors, metadata): (Tensors, Metadata) = read(path, device)?;
    let step = metadata.get(STEP).and_then(|step| step.parse().ok());
    let step = step.ok_or_else(|| Error::Checkpoint {
        path: path.to_path_buf(),
        message: "whole, but not a checkpoint: it names no step".to_owned(),
    })?;
    let notes = metadata
        .into_iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(NOTE)?.to_owned(), value)))
        .collect();
    Ok(Checkpoint { step, tensors, notes })
}

/// The newest checkpoint of `folder` that verifies, and a line for each newer one that does
/// not. `None` where there is no checkpoint; an error where there are and none is usable.
pub fn latest(folder: &Path, device: &Device) -> Result<(Option<Checkpoint>, Vec<String>)> {
    let mut passed_over = Vec::new();
    for (step, path) in list(folder)?.into_iter().rev() {
        let reason = match load(&path, device) {
            Ok(found) if found.step == step => return Ok((Some(found), passed_over)),
            Ok(found) => format!("{}: holds step {}, not {step}", path.display(), found.step),
            // Not the file's fault, and an older file would not help.
            Err(error @ Error::Tensor(_)) => return Err(error),
            Err(error) => error.to_string(),
        };
        passed_over.push(format!("passed over a checkpoint: {reason}"));
    }
    if passed_over.is_empty() {
        return Ok((None, passed_over));
    }
    Err(Error::Checkpoint {
        path: folder.to_path_buf(),
        message: format!(
            "no checkpoint here is usable; remove the run's folder to start over\n  {}",
            passed_over.join("\n  ")
        ),
    })
}

/// Removes checkpoints older than the newest `keep_last` (at least one) that verify, except
/// those of the steps `keep`. One that does not verify is never counted as kept, so the only
/// good one stays whatever is damaged.
pub fn prune(folder: &Path, keep_last: usize, keep: &[u64]) -> Result<()> {
    let mut good = 0;
    for (step, path) in list(folder)?.into_iter().rev() {
        if good < keep_last.max(1) {
            good += usize::from(verified(&path).is_ok());
        } else if !keep.contains(&step) {
            fs::remove_file(&path).at("remove", &path)?;
        }
    }
    Ok(())
}

/// Where the checkpoint of a step is.
pub fn path(folder: &Path, step: u64) -> PathBuf {
    folder.join(file_name(step))
}

/// Seven digits sort by name as by step up to ten million; sorting here is by number.
fn file_name(step: u64) -> String {
    format!("step-{step:07}.safetensors")
}

/// Checkpoints by step, oldest first. Other files are none of ours.
fn list(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).at("list", folder)? {
        let entry = entry.at("list", folder)?;
        let name = entry.file_name();
        let step = name.to_str().and_then(|name| {
            let step = name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok()?;
            (file_name(step) == name).then_some(step)
        });
        found.extend(step.map(|step| (step, entry.path())));
    }
    found.sort();
    Ok(found)
}
