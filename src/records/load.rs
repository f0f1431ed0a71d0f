//! Finds and reads the records below some folders.
//!
//! One bad file never hides the good ones: it is skipped with a line that says what is wrong
//! and where. A run folder that holds a configuration and no record is a run that has not
//! finished, and is counted as such.

use super::{Evaluation, Event, Metrics, RECORD_VERSION, Record, read_events};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use walkdir::{DirEntry, WalkDir};

/// A record is kilobytes; a larger file is something else.
const MAX_BYTES: u64 = 64 << 20;

/// A record and the folder it was found in.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub folder: PathBuf,
    pub record: Record,
}

/// Which run a configuration is of: what a report needs of the `run` section.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunKey {
    pub preset: String,
    pub task: String,
    pub model: String,
    pub seed: u64,
}

/// A run folder without a record that can be read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unfinished {
    pub folder: PathBuf,
    /// There is a record, but a damaged one; why is among the skipped.
    pub damaged: bool,
    /// `None` where the configuration cannot be read.
    pub run: Option<RunKey>,
    /// What its events tell so far.
    #[serde(skip)]
    pub evaluations: Vec<Evaluation>,
}

#[derive(Debug, Default)]
pub struct Loaded {
    pub runs: Vec<Run>,
    pub unfinished: Vec<Unfinished>,
    /// One line for each file that could not be used: where and why.
    pub skipped: Vec<String>,
}

/// Reads every `record.json` below `dirs`, in the order of their paths. An entry of `dirs`
/// may also be a record itself, under any name.
pub fn load(dirs: &[PathBuf]) -> Result<Loaded> {
    let (mut loaded, mut seen) = (Loaded::default(), BTreeSet::new());
    for dir in dirs {
        if !dir.exists() {
            return Err(Error::data(dir, "there is no such folder"));
        }
        // Links are followed; walkdir reports a loop instead of walking it.
        for entry in WalkDir::new(dir).follow_links(true).sort_by_file_name() {
            match entry {
                Ok(entry) => visit(&entry, &mut seen, &mut loaded),
                Err(error) if error.loop_ancestor().is_some() => {}
                Err(error) => loaded.skipped.push(unreadable(&error)),
            }
        }
    }
    Ok(loaded)
}

fn visit(entry: &DirEntry, seen: &mut BTreeSet<PathBuf>, loaded: &mut Loaded) {
    let (path, folder) = (entry.path(), entry.path().parent().unwrap_or(Path::new("")));
    let is_record = entry.file_name() == RECORD_FILE || entry.depth() == 0;
    let is_config = entry.file_name() == "config.json" && !folder.join(RECORD_FILE).exists();
    if entry.file_type().is_dir() || !(is_record || is_config) {
        return;
    }
    // Reached twice, through a link or overlapping arguments, a run counts once.
    let identity = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    if !seen.insert(identity) {
        return;
    }
    let folder = folder.to_path_buf();
    if !is_record {
        let run = run_key(path);
        let evaluations = evaluations(&folder, &mut loaded.skipped);
        loaded.unfinished.push(Unfinished { folder, damaged: false, run, evaluations });
        return;
    }
    match read_record(path) {
        Ok(record) => loaded.runs.push(Run { folder, record }),
        Err(error) => {
            loaded.skipped.push(error.to_string());
            // The run took place: where its configuration says which it was, its seed is
            // missing from a mean, and the report can say so.
            if let Some(run) = run_key(&folder.join("config.json")) {
                let (run, evaluations) = (Some(run), evaluations(&folder, &mut loaded.skipped));
                loaded.unfinished.push(Unfinished { folder, damaged: true, run, evaluations });
            }
        }
    }
}

/// The evaluations of a run without a record, from its events.
fn evaluations(folder: &Path, skipped: &mut Vec<String>) -> Vec<Evaluation> {
    let path = folder.join("events.jsonl");
    let evaluation = |event| match event {
        Event::Evaluation { step, train_loss, loss, accuracy, examples } => {
            Some(Evaluation { step, train_loss, validation: Metrics { loss, accuracy, examples } })
        }
        _ => None,
    };
    match path.exists().then(|| read_events(&path)) {
        None => Vec::new(),
        Some(Ok(events)) => events.into_iter().filter_map(evaluation).collect(),
        Some(Err(error)) => {
            skipped.push(error.to_string());
            Vec::new()
        }
    }
}

fn run_key(config: &Path) -> Option<RunKey> {
    #[derive(Deserialize)]
    struct Config {
        run: RunKey,
    }
    let config: Config = serde_json::from_slice(&read(config).ok()?).ok()?;
    Some(config.run)
}

fn unreadable(error: &walkdir::Error) -> String {
    let path = error.path().map(|p| p.display().to_string()).unwrap_or_default();
    match error.io_error() {
        Some(io) => format!("{path}: {io}"),
        None => error.to_string(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let refuse = |message: String| Error::data(path, message);
    let metadata = fs::metadata(path).map_err(|error| refuse(error.to_string()))?;
    let length = metadata.len();
    // A pipe or a device by that name would block the reader or never end.
    if !metadata.is_file() {
        return Err(refuse("not a regular file".to_owned()));
    }
    if length > MAX_BYTES {
        return Err(refuse(format!("{length} bytes; a record has at most {MAX_BYTES}")));
    }
    fs::read(path).map_err(|error| refuse(error.to_string()))
}

/// The record's file in its run folder.
pub const RECORD_FILE: &str = "record.json";

/// Reads one record, and refuses one of a newer version or with an impossible accuracy.
pub fn read_record(path: &Path) -> Result<Record> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let bytes = read(path)?;
    // First on its own: a newer record may lack everything else this version expects.
    if let Ok(Version { version }) = serde_json::from_slice(&bytes)
        && version > RECORD_VERSION
    {
        let message = format!(
            "record version {version} is newer than this lra reads (up to {RECORD_VERSION}); \
             use the lra that wrote it, or a later one"
        );
        return Err(Error::data(path, message));
    }
    let record: Record = serde_json::from_slice(&bytes).map_err(|error| {
        let text = error.to_string();
        // serde_json ends its message with the place, which ours begins with.
        let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
        let message = format!("expected a run record, version {RECORD_VERSION}: {what}");
        Error::data_at(path, error.line() as u64, Some(error.column() as u64), message)
    })?;
    if let Some(metrics) = &record.final_metrics {
        for (split, found) in [("validation", metrics.validation), ("test", metrics.test)] {
            if !(0.0..=1.0).contains(&found.accuracy) {
                let (key, value) = (format!("final_metrics.{split}.accuracy"), found.accuracy);
                return Err(Error::data(path, format!("{key}: expected 0 to 1, found {value}")));
            }
        }
    }
    Ok(record)
}
