//! Results of `lra bench`, read and told: the paper's Table 2, growth with length, and ratios
//! to a peer.

mod growth;
mod ratios;
mod tables;

pub use growth::table as growth;
pub use growth::{Growth, Series, growth as growths, lost, power};
pub use ratios::ratios;
pub use tables::{speed, tables};

use crate::bench::{Results, Row};
use crate::error::{Error, Result};
use crate::records::RECORD_FILE;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// A file of results.
#[derive(Debug, Clone)]
pub struct File {
    /// As it was found, for people.
    pub name: String,
    pub results: Results,
}

impl File {
    pub fn machine(&self) -> String {
        tables::machine(&self.results)
    }

    pub fn groups(&self) -> tables::Groups<'_> {
        tables::groups(&self.results)
    }

    pub fn drift(&self) -> Option<String> {
        tables::drift(&self.results)
    }
}

/// The results below `dirs`, in the order of their paths, and a line for each file of results
/// that cannot be read. What `lra bench` writes is told by its content: it has any name.
pub fn load(dirs: &[PathBuf]) -> (Vec<File>, Vec<String>) {
    let (mut files, mut skipped, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for dir in dirs {
        // A run's folder holds many files, and none of results.
        let walk = WalkDir::new(dir).follow_links(true).sort_by_file_name().into_iter();
        let walk = walk.filter_entry(|entry| !entry.path().join(RECORD_FILE).exists());
        for entry in walk.flatten().filter(|entry| entry.file_type().is_file()) {
            let is_json = entry.path().extension().is_some_and(|ending| ending == "json");
            let identity = std::fs::canonicalize(entry.path());
            if !is_json || !identity.is_ok_and(|path| seen.insert(path)) {
                continue;
            }
            match read(entry.path()) {
                Ok(Some(results)) => {
                    files.push(File { name: entry.path().display().to_string(), results });
                }
                Ok(None) => {}
                Err(error) => skipped.push(error.to_string()),
            }
        }
    }
    (files, skipped)
}

/// A file of results may be large, for its windows: not this large.
const MOST_BYTES: u64 = 64 << 20;

/// `None` for JSON of another kind.
fn read(path: &Path) -> Result<Option<Results>> {
    let length = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(None) };
    if length > MOST_BYTES || !text.contains("\"ceiling\"") {
        return Ok(None);
    }
    let refuse = |error: serde_json::Error| {
        let (line, column) = (error.line() as u64, error.column() as u64);
        let message = format!("expected results of `lra bench`: {error}");
        Error::data_at(path, line, Some(column), message)
    };
    serde_json::from_str(&text).map(Some).map_err(refuse)
}

/// The ratios to a peer of all files, where there are any.
pub fn ratios_of(files: &[File]) -> Option<String> {
    let peers: Vec<Results> =
        files.iter().map(|file| &file.results).filter(has_peers).cloned().collect();
    ratios(&peers)
}

fn has_peers(results: &&Results) -> bool {
    results.rows.iter().any(|row: &Row| !row.peers.is_empty())
}
