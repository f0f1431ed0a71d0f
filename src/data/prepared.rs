//! Prepared data: a folder of the cache with one packed file per split.
//!
//! The folder's name is a hash of everything the examples depend on, so what is in it
//! is right or damaged, never out of date. Files are verified in full when opened and
//! written by renaming, so processes that prepare the same folder at once write the
//! same bytes and end well.

use super::{Examples, PACKED_VERSION, PackWriter, Split};
use crate::atomic::{is_leftover, write_atomic};
use crate::error::{Error, IoContext, Result};
use crate::progress::Progress;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Names of the splits, in the order they are kept everywhere.
pub const SPLITS: [&str; 3] = ["train", "validation", "test"];

/// What a prepared folder holds: `about.json`, for people and for `lra data list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    pub task: String,
    /// `generated`, or the path the official files were read from.
    pub source: String,
    pub version: u32,
    /// Everything else the examples depend on; with the above, what names the folder.
    pub inputs: serde_json::Value,
}

impl About {
    fn key(&self) -> String {
        // Field order is fixed, so equal inputs give equal text.
        let text = format!(
            "{}\0{}\0{}\0{PACKED_VERSION}\0{}",
            self.task, self.source, self.version, self.inputs
        );
        let hash = format!("{:x}", Sha256::digest(text));
        hash[..16].to_string()
    }
}

/// The folder in `cache` for data described by `about`.
pub fn prepared_folder(cache: &Path, about: &About) -> PathBuf {
    let kind = if about.source == "generated" { "generated" } else { "official" };
    cache.join(&about.task).join(format!("{kind}-{}", about.key()))
}

/// Where a build leaves its splits.
pub struct Workshop<'a> {
    folder: &'a Path,
}

impl Workshop<'_> {
    /// A writer for the split of this name (see [`SPLITS`]).
    pub fn writer(&self, split: &str, parts: usize, first_id: u32) -> Result<PackWriter> {
        PackWriter::create(&file(self.folder, split), parts, first_id)
    }

    /// Writes the splits of examples in memory: train, validation, test.
    pub fn write(&self, splits: &[Examples; 3]) -> Result<()> {
        for (examples, name) in splits.iter().zip(SPLITS) {
            let mut writer = self.writer(name, examples.parts(), examples.first_id())?;
            let mut parts = Vec::new();
            for i in 0..examples.len() {
                parts.clear();
                parts.extend((0..examples.parts()).map(|part| examples.tokens(i, part)));
                writer.push(&parts, examples.label(i))?;
            }
            writer.finish()?;
        }
        Ok(())
    }

    /// A folder for work in progress. It outlives a build that is interrupted, for the
    /// next one to go on from, and is removed when a build ends well.
    pub fn scratch(&self) -> Result<PathBuf> {
        let folder = scratch(self.folder);
        fs::create_dir_all(&folder).at("create", &folder)?;
        Ok(folder)
    }
}

fn scratch(folder: &Path) -> PathBuf {
    folder.join("scratch")
}

/// Opens the prepared splits (train, validation, test), or has `build` write them first.
pub fn open_or_build(
    cache: &Path,
    about: &About,
    progress: &Progress,
    build: impl FnOnce(&Workshop) -> Result<()>,
) -> Result<[Split; 3]> {
    let folder = prepared_folder(cache, about);
    match open(&folder) {
        Ok(splits) => return Ok(splits),
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
        Err(error @ Error::Data { .. }) => progress.say(&format!("{error}; preparing it again")),
        Err(error) => return Err(error),
    }
    let start = Instant::now();
    fs::create_dir_all(&folder)
        .at("keep prepared data (LRA_CACHE chooses another folder) in", &folder)?;
    remove_leftovers(&folder);
    build(&Workshop { folder: &folder })?;
    write_atomic(&folder.join("about.json"), |out| {
        serde_json::to_writer_pretty(&mut *out, about)?;
        out.write_all(b"\n")
    })?;
    let splits = open(&folder)?;
    // Whole now; what cannot be removed costs only space.
    let _ = fs::remove_dir_all(scratch(&folder));
    progress.say(&format!(
        "prepared {} ({}) in {:.1} s: {}",
        about.task,
        splits.each_ref().map(|s| s.len().to_string()).join(" + "),
        start.elapsed().as_secs_f64(),
        folder.display()
    ));
    Ok(splits)
}

fn file(folder: &Path, split: &str) -> PathBuf {
    folder.join(format!("{split}.packed"))
}

fn open(folder: &Path) -> Result<[Split; 3]> {
    let [train, validation, test] = SPLITS.map(|name| file(folder, name));
    Ok([Split::open(&train)?, Split::open(&validation)?, Split::open(&test)?])
}

/// SHA-256, hex, over the packed examples of all splits.
pub fn checksum(splits: &[Split; 3]) -> String {
    let mut hash = Sha256::new();
    splits.iter().for_each(|split| hash.update(split.digest()));
    format!("{:x}", hash.finalize())
}

/// Every prepared folder of `task` in `cache`, with its splits or why they cannot be used.
pub fn prepared(cache: &Path, task: &str) -> Vec<(PathBuf, About, Result<[Split; 3]>)> {
    let Ok(entries) = fs::read_dir(cache.join(task)) else { return Vec::new() };
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    let described = folders.into_iter().filter_map(|folder| {
        let text = fs::read(folder.join("about.json")).ok()?;
        let about = serde_json::from_slice(&text).ok()?;
        let splits = open(&folder);
        Some((folder, about, splits))
    });
    described.collect()
}

/// What was last prepared of a task from files, with the same version and `options` among
/// its inputs: for a run that is not told where the files are.
pub fn last_official(
    cache: &Path,
    task: &str,
    version: u32,
    options: &serde_json::Value,
) -> Option<About> {
    let entries = fs::read_dir(cache.join(task)).ok()?;
    let described = entries.flatten().filter_map(|entry| {
        let file = entry.path().join("about.json");
        let about: About = serde_json::from_slice(&fs::read(&file).ok()?).ok()?;
        let same = about.version == version && about.inputs["options"] == *options;
        // The key must still lead here: not a folder of another format, or moved by hand.
        let ours = prepared_folder(cache, &about) == entry.path();
        let when = file.metadata().and_then(|about| about.modified()).ok()?;
        (same && ours && about.source != "generated").then_some((when, about))
    });
    described.max_by_key(|(when, about)| (*when, about.key())).map(|(_, about)| about)
}

/// Removes what a killed process left half written. A day old, so that nothing which
/// another process is writing now is touched; failing to remove costs only space.
fn remove_leftovers(folder: &Path) {
    const OLD: Duration = Duration::from_secs(24 * 3600);
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let ours = is_leftover(&entry.file_name());
        let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
        if ours && age.is_some_and(|age| age > OLD) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The newest of the same version and options, whatever else lies there.
    #[test]
    fn what_was_prepared_last_is_found_again() {
        let cache = tempfile::tempdir().unwrap();
        let about = |source: &str, version, length| About {
            task: "text".into(),
            source: source.into(),
            version,
            inputs: json!({ "files": 1, "options": { "max_length": length } }),
        };
        let silent = Progress::silent();
        let splits = || [0, 1, 2].map(|_| Examples::new(1, 1));
        let prepare = |about: &About| {
            open_or_build(cache.path(), about, &silent, |to| to.write(&splits())).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        };
        let options = json!({ "max_length": 7 });
        let found = || last_official(cache.path(), "text", 1, &options);
        assert_eq!(found(), None);
        prepare(&about("/old", 1, 7));
        prepare(&about("/new", 1, 7));
        prepare(&about("/longer", 1, 8));
        prepare(&about("/later", 2, 7));
        prepare(&about("generated", 1, 7));
        fs::create_dir(cache.path().join("text/official-0")).unwrap();
        let file = serde_json::to_vec(&about("/moved", 1, 7)).unwrap();
        fs::write(cache.path().join("text/official-0/about.json"), file).unwrap();
        assert_eq!(found(), Some(about("/new", 1, 7)));
    }
}
