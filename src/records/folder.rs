//! The run folder:
//!
//! ```text
//! config.json          the resolved configuration; the folder belongs to it
//! events.jsonl         what happened, line by line
//! events.out.tfevents.lra   the same for TensorBoard, where that is asked for
//! checkpoints/         step-0000123.safetensors, ...
//! model.safetensors    the final weights
//! record.json          what reports read; its presence means that the run ended
//! lock                 held by the process at work
//! ```

use super::difference::differences;
use super::events::{EVENTS_FILE, Events, read_events};
use super::load::{RECORD_FILE, read_record};
use super::lock;
use super::record::Record;
use super::tensorboard::{BOARD_FILE, Board};
use crate::atomic::{is_leftover, read_whole, remove_leftovers, write_atomic, write_json};
use crate::error::{Error, IoContext, Result};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

const CONFIG: &str = "config.json";
const LOCK: &str = "lock";

/// A folder that this process holds until the value is dropped.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Takes the folder for a run of `config`, making it if it is not there.
    ///
    /// Refused: a folder that another process holds, one of another configuration, and one
    /// that holds something else. Nothing that stands there is changed then.
    pub fn open(path: impl Into<PathBuf>, config: &Value) -> Result<Self> {
        let path = path.into();
        if path.exists() && !path.is_dir() {
            return Err(Error::usage(format!(
                "{} is not a folder; choose another --out",
                path.display()
            )));
        }
        fs::create_dir_all(&path).at("create", &path)?;
        refuse_foreign(&path)?;
        let lock = lock::acquire(&path, LOCK)?;
        let folder = Self { path, _lock: lock };
        folder.settle(config)?;
        fs::create_dir_all(folder.checkpoints()).at("create", folder.checkpoints())?;
        remove_leftovers(&folder.path)?;
        remove_leftovers(&folder.checkpoints())?;
        Ok(folder)
    }

    /// Writes the configuration, or compares with the one that is there.
    fn settle(&self, config: &Value) -> Result<()> {
        let path = self.path.join(CONFIG);
        let mut text =
            serde_json::to_vec_pretty(config).map_err(std::io::Error::from).at("write", &path)?;
        text.push(b'\n');
        if !path.exists() {
            return write_atomic(&path, |out| out.write_all(&text));
        }
        let read = |bytes: &[u8]| -> Result<Value> {
            serde_json::from_slice(bytes).map_err(|e| {
                Error::data(
                    &path,
                    format!("not valid JSON ({e}); choose another --out, or remove the folder"),
                )
            })
        };
        // Ours makes the same way through text, so that only values are compared.
        let differences = differences(&read(&read_whole(&path)?)?, &read(&text)?);
        if differences.is_empty() {
            return Ok(());
        }
        Err(Error::usage(format!(
            "{} holds a run of another configuration:\n  {}\n\
             choose another --out, remove the folder, or give the configuration it was made with",
            self.path.display(),
            differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
        )))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    pub fn model(&self) -> PathBuf {
        self.path.join("model.safetensors")
    }

    /// The events, to continue after the checkpoint of `step`, whose last evaluation was at
    /// `evaluated`, or from the start.
    pub fn events(&self, step: Option<u64>, evaluated: Option<u64>) -> Result<Events> {
        let events = Events::open(self.path.join(EVENTS_FILE), step, evaluated)?;
        // Once begun it goes on, so that it never shows half a run.
        match self.board().exists() {
            true => events.shown(&self.board()),
            false => Ok(events),
        }
    }

    /// Shows what happened, and what will, in TensorBoard.
    pub fn show_board(&self) -> Result<()> {
        let path = self.path.join(EVENTS_FILE);
        let events = if path.exists() { read_events(&path)? } else { Vec::new() };
        Board::open(&self.board(), &events).map(|_| ())
    }

    fn board(&self) -> PathBuf {
        self.path.join(BOARD_FILE)
    }

    pub fn write_record(&self, record: &Record) -> Result<()> {
        write_json(&self.path.join(RECORD_FILE), record)
    }

    /// `None`: the run has not ended yet.
    pub fn read_record(&self) -> Result<Option<Record>> {
        let path = self.path.join(RECORD_FILE);
        path.exists().then(|| read_record(&path)).transpose()
    }
}

/// A folder without a configuration must be empty, but for what a run leaves that was killed
/// before it wrote one.
fn refuse_foreign(path: &Path) -> Result<()> {
    if path.join(CONFIG).exists() {
        return Ok(());
    }
    for entry in fs::read_dir(path).at("list", path)? {
        let entry = entry.at("list", path)?;
        let name = entry.file_name();
        // The lock is told from another's file of that name by its size.
        let lock = || entry.metadata().is_ok_and(|m| m.is_file() && m.len() <= lock::LONGEST);
        if !(is_leftover(&name) || (name == LOCK && lock())) {
            return Err(Error::usage(format!(
                "{} holds {:?} and no {CONFIG}, so it is not the folder of a run; \
                 choose another --out",
                path.display(),
                name
            )));
        }
    }
    Ok(())
}
