//! Evaluates every expression again and compares with its label.

use super::expression::evaluate;
use super::reader::Reader;
use crate::data::Split;
use crate::error::{Error, IoContext, Place, Result};
use crate::progress::{Bar, Progress};
use std::path::PathBuf;

/// Mismatches that are shown; all are counted.
const SHOWN: u64 = 10;

const MIB: u64 = 1 << 20;

/// The mismatches so far.
struct Mismatches<'a> {
    progress: &'a Progress,
    first: Option<(Place, String)>,
    count: u64,
}

impl Mismatches<'_> {
    fn add(&mut self, bar: &Bar, place: Place, label: u32, value: u8) {
        self.count += 1;
        if self.count > SHOWN {
            return;
        }
        let message = format!("the label is {label}; the expression evaluates to {value}");
        bar.say(&format!("{place}: {message}"));
        self.first.get_or_insert((place, message));
    }

    fn result(self, total: u64) -> Result<()> {
        let Some((place, message)) = self.first else { return Ok(()) };
        if self.count > SHOWN {
            self.progress.say(&format!("... and {} more", self.count - SHOWN));
        }
        let message = format!(
            "{message} (the first of {} mismatch{} in {total} examples)",
            self.count,
            if self.count == 1 { "" } else { "es" }
        );
        Err(Error::Data { place, message })
    }
}

/// Verifies official files in full; returns each with its number of rows.
pub fn files(files: &[PathBuf], progress: &Progress) -> Result<Vec<(PathBuf, u64)>> {
    let mut mismatches = Mismatches { progress, first: None, count: 0 };
    let mut counted = Vec::new();
    let mut symbols = Vec::new();
    for file in files {
        let mut reader = Reader::open(file)?;
        let size = file.metadata().at("read", file)?.len();
        let bar = progress.bar("verify", "MiB", size.div_ceil(MIB));
        let mut shown = 0;
        let mut rows = 0;
        while let Some(row) = reader.next(&mut symbols, 0)? {
            rows += 1;
            if reader.read() / MIB > shown {
                bar.advance(reader.read() / MIB - shown);
                shown = reader.read() / MIB;
            }
            if row.label != row.value {
                let (line, column) = (Some(row.line), Some(row.column));
                let place = Place { path: file.clone(), line, column };
                mismatches.add(&bar, place, u32::from(row.label), row.value);
            }
        }
        counted.push((file.clone(), rows));
    }
    mismatches.result(counted.iter().map(|(_, rows)| rows).sum())?;
    Ok(counted)
}

/// Verifies prepared splits. A packed file has no lines: the place is the file and
/// `line` the number of the example, from 1.
pub fn splits(splits: &[&Split], progress: &Progress) -> Result<Vec<(PathBuf, u64)>> {
    let total = splits.iter().map(|split| split.len() as u64).sum();
    let bar = progress.bar("verify", "examples", total);
    let mut mismatches = Mismatches { progress, first: None, count: 0 };
    let mut counted = Vec::new();
    for split in splits {
        let path = split.path().map(PathBuf::from).unwrap_or_default();
        for i in 0..split.len() {
            let place = Place { path: path.clone(), line: Some(i as u64 + 1), column: None };
            match evaluate(split.tokens(i, 0)) {
                Ok(value) if u32::from(value) == split.label(i) => {}
                Ok(value) => mismatches.add(&bar, place, split.label(i), value),
                Err(fault) => return Err(Error::Data { place, message: fault.to_string() }),
            }
            bar.advance(1);
        }
        counted.push((path, split.len() as u64));
    }
    mismatches.result(total)?;
    Ok(counted)
}
