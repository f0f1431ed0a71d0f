//! `events.jsonl`: what happened, one JSON object per line, appended as it happens.
//!
//! Metric rows (`train`, `evaluation`) hold nothing that depends on the clock or the machine,
//! so a run that was killed and resumed leaves the same metric rows, byte for byte, as one
//! that was not. Times live in rows of their own (`speed`, `start`, `resumed`, `end`).
//!
//! On resuming from the checkpoint of step s, rows of later steps are dropped, since training
//! will write them again. Rows without a step (`start`, `resumed`, `end`) are the history of
//! the sittings and are always kept. This holds if rows up to step s are written, and
//! [`Events::sync`] has returned, before the checkpoint of step s is.

use super::appended::Appended;
use super::float::or_nan;
use super::record::Status;
use super::tensorboard::Board;
use crate::atomic::{read_whole, write_atomic};
use crate::error::{Error, IoContext, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The events' file in a run folder.
pub const EVENTS_FILE: &str = "events.jsonl";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A run began, on this version of the program.
    Start {
        at: String,
        lra: String,
    },
    /// A run continued after `from` steps.
    Resumed {
        at: String,
        lra: String,
        from: u64,
    },
    Train {
        step: u64,
        #[serde(deserialize_with = "or_nan")]
        loss: f64,
        lr: f64,
        #[serde(deserialize_with = "or_nan")]
        gradient_norm: f64,
    },
    Evaluation {
        step: u64,
        /// Mean since the previous evaluation.
        #[serde(deserialize_with = "or_nan")]
        train_loss: f64,
        #[serde(deserialize_with = "or_nan")]
        loss: f64,
        accuracy: f64,
        examples: u64,
    },
    Speed {
        step: u64,
        steps_per_second: f64,
        examples_per_second: f64,
        tokens_per_second: f64,
    },
    Checkpoint {
        step: u64,
    },
    End {
        at: String,
        status: Status,
        reason: Option<String>,
    },
}

/// What a row says about when it is from; other fields may be of a newer program.
#[derive(Deserialize)]
struct Row {
    event: String,
    step: Option<u64>,
}

/// The writer of the rows, and of their TensorBoard file where there is one.
pub struct Events {
    rows: Appended,
    board: Option<Board>,
}

impl Events {
    /// Opens `path` to append, after dropping a torn last line, the evaluations after the one
    /// of step `evaluated` and all other rows of steps after `step`; with `None`, all that have
    /// a step. The two differ where a run was stopped before the evaluation of its last step.
    pub(super) fn open(path: PathBuf, step: Option<u64>, evaluated: Option<u64>) -> Result<Self> {
        if path.exists() {
            let old = read_whole(&path)?;
            let mut kept = Vec::with_capacity(old.len());
            for (line, row) in rows::<Row>(&path, &old)? {
                let last = if row.event == "evaluation" { evaluated } else { step };
                if row.step.is_none_or(|at| last.is_some_and(|last| at <= last)) {
                    kept.extend_from_slice(line);
                }
            }
            if kept != old {
                write_atomic(&path, |out| out.write_all(&kept))?;
            }
        }
        Ok(Self { rows: Appended::open(path)?, board: None })
    }

    /// Writes every row, those before included, to a TensorBoard file too.
    pub(super) fn shown(mut self, board: &Path) -> Result<Self> {
        self.board = Some(Board::open(board, &read_events(self.rows.path())?)?);
        Ok(self)
    }

    /// Appends one row.
    pub fn write(&mut self, event: &Event) -> Result<()> {
        let line = serde_json::to_vec(event).map_err(std::io::Error::from);
        let mut line = line.at("write", self.rows.path())?;
        line.push(b'\n');
        self.rows.write(&line)?;
        self.board.as_mut().map_or(Ok(()), |board| board.write(event))
    }

    /// Returns once all rows are on disk.
    pub fn sync(&self) -> Result<()> {
        self.rows.sync()?;
        self.board.as_ref().map_or(Ok(()), Board::sync)
    }
}

/// Every event of a file, in order. A torn last line is passed over.
pub fn read_events(path: &Path) -> Result<Vec<Event>> {
    let bytes = read_whole(path)?;
    Ok(rows(path, &bytes)?.into_iter().map(|(_, event)| event).collect())
}

/// The lines of `bytes`, newline included, each with what it parses to. The last may be torn:
/// cut, or after a power failure full of zeros. Damage before it is not the work of a kill.
fn rows<'a, T: Deserialize<'a>>(path: &Path, bytes: &'a [u8]) -> Result<Vec<(&'a [u8], T)>> {
    let mut rows = Vec::new();
    let mut lines = bytes.split_inclusive(|&byte| byte == b'\n').enumerate().peekable();
    while let Some((i, line)) = lines.next() {
        match serde_json::from_slice(line) {
            Ok(row) if line.ends_with(b"\n") => rows.push((line, row)),
            Err(e) if lines.peek().is_some() => {
                let message = format!(
                    "damaged: expected one JSON event per line ({e}); remove this line to go on"
                );
                return Err(Error::data_at(path, i as u64 + 1, None, message));
            }
            _ => {}
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn train(step: u64, loss: f64) -> Event {
        Event::Train { step, loss, lr: 0.1 / step as f64, gradient_norm: 2.0 }
    }

    fn write(path: &Path, step: Option<u64>, events: &[Event]) {
        let mut out = Events::open(path.to_path_buf(), step, step).unwrap();
        events.iter().for_each(|event| out.write(event).unwrap());
        out.sync().unwrap();
    }

    fn sitting(from: Option<u64>) -> Event {
        let (at, lra) = ("2025-01-01T00:00:00Z".to_owned(), "0.1.0".to_owned());
        match from {
            None => Event::Start { at, lra },
            Some(from) => Event::Resumed { at, lra, from },
        }
    }

    #[test]
    fn every_kind_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let events = [
            sitting(None),
            sitting(Some(7)),
            train(3, 0.1 + 0.2),
            Event::Evaluation { step: 3, train_loss: 1.5, loss: 1e-9, accuracy: 0.5, examples: 9 },
            Event::Speed {
                step: 3,
                steps_per_second: 1.5,
                examples_per_second: 3.0,
                tokens_per_second: 1e6,
            },
            Event::Checkpoint { step: 3 },
            Event::End { at: "x".into(), status: Status::OutOfMemory, reason: Some("é\n".into()) },
        ];
        write(&path, None, &events);
        assert_eq!(read_events(&path).unwrap(), events);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), events.len());
        let row =
            r#"{"event":"train","step":3,"loss":0.30000000000000004,"lr":0.03333333333333333,"#;
        assert!(text.lines().any(|line| line.starts_with(row)), "{text}");
    }

    #[test]
    fn a_loss_that_is_no_number_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        write(&path, None, &[train(1, f64::NAN)]);
        let Event::Train { loss, .. } = read_events(&path).unwrap()[0] else { panic!() };
        assert!(loss.is_nan());
    }

    /// Stopped at step 4 before its evaluation, continued, evaluated, killed: the evaluation
    /// will be made again, and must not stand there twice.
    #[test]
    fn an_evaluation_that_the_checkpoint_does_not_know_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let at = |step| Event::Evaluation {
            step,
            train_loss: 1.5,
            loss: 1.0,
            accuracy: 0.5,
            examples: 9,
        };
        write(&path, None, &[train(2, 1.0), at(2), train(4, 1.0), at(4), train(5, 1.0)]);
        drop(Events::open(path.clone(), Some(4), Some(2)).unwrap());
        assert_eq!(read_events(&path).unwrap(), [train(2, 1.0), at(2), train(4, 1.0)]);
    }

    /// Broken at any byte and continued from the checkpoint of step 4, the metric rows are
    /// those of the unbroken run.
    #[test]
    fn broken_anywhere_and_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
        let metrics: Vec<_> = (1..=8).map(|step| train(step, 1.0 / step as f64)).collect();
        write(&whole, None, &[sitting(None)]);
        write(&whole, None, &metrics[..4]);
        let safe = fs::read(&whole).unwrap().len();
        write(&whole, Some(4), &metrics[4..]);
        let whole = fs::read(&whole).unwrap();
        for cut in safe..=whole.len() {
            fs::write(&broken, &whole[..cut]).unwrap();
            write(&broken, Some(4), &[sitting(Some(4))]);
            write(&broken, Some(4), &metrics[4..]);
            let text = fs::read_to_string(&broken).unwrap();
            let rows: String =
                text.split_inclusive('\n').filter(|row| !row.contains("resumed")).collect();
            assert_eq!(rows.as_bytes(), whole, "cut at {cut}");
            assert_eq!(text.lines().count(), 10);
        }
    }

    #[test]
    fn starting_over_keeps_the_sittings_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        write(&path, None, &[sitting(None), train(1, 1.0), Event::Checkpoint { step: 1 }]);
        write(&path, None, &[]);
        assert_eq!(read_events(&path).unwrap(), [sitting(None)]);
    }

    #[test]
    fn damage_inside_is_named_and_a_torn_end_is_not_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let row = "{\"event\":\"checkpoint\",\"step\":1}\n";
        for end in ["", "{", "{\"event\":\"check", "\0\0\0", "\0\0\n", "7", row.trim_end()] {
            fs::write(&path, format!("{row}{end}")).unwrap();
            assert_eq!(read_events(&path).unwrap(), [Event::Checkpoint { step: 1 }], "{end:?}");
            write(&path, Some(1), &[]);
            assert_eq!(fs::read_to_string(&path).unwrap(), row, "{end:?}");
        }
        for damage in ["\0", "7", "", "{\"step\":-1}"] {
            fs::write(&path, format!("{row}{damage}\n{row}")).unwrap();
            let error = Events::open(path.clone(), Some(1), Some(1)).err().unwrap();
            assert_eq!(error.exit_code(), 3);
            assert!(error.to_string().contains("events.jsonl:2: damaged"), "{error}");
        }
    }
}
