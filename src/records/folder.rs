//! The run folder:
//!
//! ```text
//! config.json          the resolved configuration; the folder belongs to it
//! events.jsonl         what happened, line by line
//! events.out.tfevents.lra   the same for TensorBoard, where that is asked for
//! checkpoints/         step-0000123.safetensors, ...
//! model.safetensors    the final weights
//! record.json          what reports read; its presence means that the run ended
//! draft.json           the record as far as the start knows it; gone when the run ends
//! lock                 held by the process at work
//! ```

use super::difference::differences;
use super::events::{EVENTS_FILE, Event, Events, read_events};
use super::load::{RECORD_FILE, read_record};
use super::lock;
use super::record::{Evaluation, Metrics, Record, Status};
use super::tensorboard::{BOARD_FILE, Board};
use crate::atomic::{is_leftover, read_whole, remove_leftovers, write_json};
use crate::error::{Error, IoContext, Result};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

const CONFIG: &str = "config.json";
const DRAFT: &str = "draft.json";
const LOCK: &str = "lock";

/// A folder that this process holds until the value is dropped.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// An error if another process holds the folder of this path: what would be refused in the
    /// end is refused at once.
    pub fn check_free(path: &Path) -> Result<()> {
        lock::check(path, LOCK)
    }

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
        if !path.exists() {
            return write_json(&path, config);
        }
        let text = serde_json::to_vec(config).map_err(std::io::Error::from).at("write", &path)?;
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
        write_record(&self.path, record)
    }

    /// Keeps what is known of the record before the run has ended.
    pub fn write_draft(&self, draft: &Record) -> Result<()> {
        write_json(&self.path.join(DRAFT), draft)
    }

    /// `None`: the run has not ended yet.
    pub fn read_record(&self) -> Result<Option<Record>> {
        let path = self.path.join(RECORD_FILE);
        path.exists().then(|| read_record(&path)).transpose()
    }
}

/// Bytes that the newest rows of a run are within.
const TAIL: u64 = 1 << 13;

/// The newest step that the run of a folder has noted, while it is at work or after.
pub fn last_step(folder: &Path) -> Option<u64> {
    let mut file = File::open(folder.join(EVENTS_FILE)).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail).ok()?;
    // The first line is cut, and the last may be: what does not parse is passed over.
    tail.split(|&byte| byte == b'\n').rev().find_map(|line| match serde_json::from_slice::<Event>(
        line,
    )
    .ok()?
    {
        Event::Train { step, .. } => Some(step),
        _ => None,
    })
}

/// The record of a run that was ended before it could write one itself, from what it had
/// noted. Returns whether there was anything to write it from.
pub fn finish_draft(folder: &Path, status: Status, reason: &str) -> Result<bool> {
    let path = folder.join(DRAFT);
    if !path.exists() {
        return Ok(false);
    }
    let mut record = read_record(&path)?;
    (record.status, record.reason) = (status, Some(reason.to_owned()));
    for event in read_events(&folder.join(EVENTS_FILE))? {
        match event {
            Event::Train { step, .. } => record.steps = step,
            Event::Evaluation { step, train_loss, loss, accuracy, examples } => {
                let validation = Metrics { loss, accuracy, examples };
                record.evaluations.push(Evaluation { step, train_loss, validation });
            }
            _ => {}
        }
    }
    write_record(folder, &record)?;
    Ok(true)
}

fn write_record(folder: &Path, record: &Record) -> Result<()> {
    write_json(&folder.join(RECORD_FILE), record)?;
    match fs::remove_file(folder.join(DRAFT)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).at("remove a draft of", folder)
        }
        _ => Ok(()),
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
