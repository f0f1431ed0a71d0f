//! The events of a run for TensorBoard: `events.out.tfevents.lra` in the run folder.
//!
//! `events.jsonl` is what counts; this file shows the same rows. Opened, it is made anew of the
//! rows that are there, whole, so a run that was killed and goes on shows each step once.

mod frame;
mod message;

use super::appended::Appended;
use super::events::Event;
use super::metrics::scalars;
use crate::atomic::{read_whole, write_atomic};
use crate::error::Result;
use frame::{frame, frames};
use message::{Summary, Value};
use prost::Message;
use std::collections::HashMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// TensorBoard takes every file whose name holds `tfevents`.
pub(super) const BOARD_FILE: &str = "events.out.tfevents.lra";

pub(super) struct Board(Appended);

impl Board {
    /// Makes the file of what happened, each row at the time that it had there, and goes on.
    pub fn open(path: &Path, events: &[Event]) -> Result<Self> {
        let old = if path.exists() { read_whole(path)? } else { Vec::new() };
        let old: Vec<_> =
            frames(&old).into_iter().filter_map(|data| message::Event::decode(data).ok()).collect();
        let times: HashMap<_, f64> =
            old.iter().map(|event| (place(event), event.wall_time)).collect();
        let mut time = old.first().map_or_else(now, |event| event.wall_time);
        let head = message::Event {
            wall_time: time,
            file_version: Some("brain.Event:2".to_owned()),
            ..message::Event::default()
        };
        let mut bytes = frame(&head.encode_to_vec());
        for mut row in events.iter().filter_map(|event| shown(event, 0.0)) {
            time = times.get(&place(&row)).copied().unwrap_or(time);
            row.wall_time = time;
            bytes.extend(frame(&row.encode_to_vec()));
        }
        write_atomic(path, |out| out.write_all(&bytes))?;
        Ok(Self(Appended::open(path.to_path_buf())?))
    }

    pub fn write(&mut self, event: &Event) -> Result<()> {
        match shown(event, now()) {
            Some(row) => self.0.write(&frame(&row.encode_to_vec())),
            None => Ok(()),
        }
    }

    pub fn sync(&self) -> Result<()> {
        self.0.sync()
    }
}

/// What tells an event from the others of its file.
fn place(event: &message::Event) -> (i64, String) {
    let first = event.summary.as_ref().and_then(|summary| summary.value.first());
    (event.step, first.map_or_else(String::new, |value| value.tag.clone()))
}

fn shown(event: &Event, wall_time: f64) -> Option<message::Event> {
    let (step, scalars) = scalars(event)?;
    let value =
        |(tag, value): (&str, f64)| Value { tag: tag.to_owned(), simple_value: Some(value as f32) };
    let summary = Some(Summary { value: scalars.into_iter().map(value).collect() });
    Some(message::Event { wall_time, step: step as i64, file_version: None, summary })
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn train(step: u64) -> Event {
        Event::Train { step, loss: 0.5, lr: 0.25, gradient_norm: 2.0 }
    }

    fn read(path: &Path) -> Vec<message::Event> {
        let bytes = std::fs::read(path).unwrap();
        let events = frames(&bytes).into_iter().map(|data| message::Event::decode(data).unwrap());
        events.collect()
    }

    #[test]
    fn rows_keep_their_times_when_the_file_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(BOARD_FILE);
        let mut board = Board::open(&path, &[]).unwrap();
        let rows = [train(1), Event::Checkpoint { step: 1 }, train(2), train(3)];
        rows.iter().for_each(|row| board.write(row).unwrap());
        let whole = read(&path);
        assert_eq!(whole[0].file_version.as_deref(), Some("brain.Event:2"));
        assert_eq!(whole.iter().map(|event| event.step).collect::<Vec<_>>(), [0, 1, 2, 3]);
        // Torn in the last row, and back to the checkpoint of step 1.
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        let mut board = Board::open(&path, &rows[..2]).unwrap();
        assert_eq!(read(&path), whole[..2]);
        rows[2..].iter().for_each(|row| board.write(row).unwrap());
        let again = read(&path);
        assert_eq!(again.len(), 4);
        assert_eq!(again[..2], whole[..2]);
        assert!(again.iter().zip(&whole).all(|(a, b)| a.summary == b.summary && a.step == b.step));
    }

    #[test]
    fn scalars_have_their_names() {
        let event = shown(&train(7), 3.0).unwrap();
        let values: Vec<_> = event.summary.unwrap().value;
        let named = |tag: &str| values.iter().find(|v| v.tag == tag).unwrap().simple_value;
        assert_eq!(named("train/loss"), Some(0.5));
        assert_eq!(named("train/learning_rate"), Some(0.25));
        assert!(shown(&Event::Checkpoint { step: 1 }, 0.0).is_none());
    }
}
