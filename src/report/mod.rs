//! From records on disk to tables and pictures.
//!
//! `aggregate` turns records into one section per preset; an exporter turns the whole report
//! into files, in memory. A new format is one small file with an `export` function, and one
//! line in `EXPORTERS`. `page` tells the same as one HTML file, and `splice` puts tables and
//! pictures into documents. Nothing here knows of training, and nothing depends on the date: the
//! same records give the same bytes.
//!
//! Two rules hold everywhere. What is missing is shown as missing, and what failed as failed:
//! no mean is of survivors alone. And what is not comparable (presets, machines, data) is
//! never put into one number; where a group mixes them, a note says so.

mod accuracy_csv;
mod aggregate;
mod average;
mod averages_csv;
pub mod bench;
mod bench_csv;
mod bubble;
mod cell;
pub(crate) mod chart;
mod compare;
mod curves;
pub(crate) mod escape;
mod growth;
mod latex;
mod markdown;
mod names;
mod notes;
mod page;
mod parameters;
mod published;
mod runs_csv;
pub(crate) mod seeds;
mod speed;
mod speed_csv;
mod splice;
mod tables;
mod wandb;

pub use aggregate::{Report, Row, Section, Task};
pub use average::Average;
pub use cell::{Cell, Outcome};
pub use compare::{Comparison, Metric, Side, compare};
pub use markdown::terminal;
pub use page::page;
pub use published::{Line, Published};
pub use speed::{Machine, Meter, SpeedRow};
pub use splice::Document;
pub use tables::Table;
pub use wandb::history;

use crate::atomic::write_atomic;
use crate::error::{Error, IoContext, Result};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where a file belongs; `--out` and `--plots` say where that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Results,
    Plots,
}

/// A file of the report, not yet written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub room: Room,
    pub name: String,
    pub bytes: Vec<u8>,
}

type Exporter = fn(&Report) -> Result<Vec<File>>;

const EXPORTERS: [Exporter; 11] = [
    runs_csv::export,
    accuracy_csv::export,
    averages_csv::export,
    speed_csv::export,
    bench_csv::export,
    markdown::export,
    latex::export,
    bubble::export,
    curves::export,
    growth::export,
    parameters::export,
];

/// Every file of the report, in memory.
pub fn files(report: &Report) -> Result<Vec<File>> {
    let exported: Vec<Vec<File>> =
        EXPORTERS.par_iter().map(|export| export(report)).collect::<Result<_>>()?;
    Ok(exported.into_iter().flatten().collect())
}

/// Writes each file whole or not at all, and says where it went.
pub fn write(files: &[File], results: &Path, plots: &Path) -> Result<Vec<PathBuf>> {
    for folder in [results, plots] {
        std::fs::create_dir_all(folder).at("create", folder)?;
    }
    let mut written = Vec::new();
    for file in files {
        let folder = if file.room == Room::Results { results } else { plots };
        let path = folder.join(&file.name);
        write_atomic(&path, |to| to.write_all(&file.bytes))?;
        written.push(path);
    }
    Ok(written)
}

/// Names of files that have been given away, so that two presets whose names come to one on
/// disk do not overwrite each other.
#[derive(Debug, Default)]
struct Names(BTreeSet<String>);

impl Names {
    /// `stem-preset`, with a number where that is taken; without an ending.
    fn free(&mut self, stem: &str, preset: &str) -> String {
        let stem = format!("{stem}-{}", escape::file_name(preset));
        let mut name = stem.clone();
        let mut next = 2;
        while !self.0.insert(name.to_lowercase()) {
            name = format!("{stem}-{next}");
            next += 1;
        }
        name
    }
}

/// A CSV file in the results folder. Fields are escaped already.
fn csv_file(
    name: &str,
    header: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
) -> Result<Vec<File>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Into memory, with rows of one length: neither can fail, yet a message beats a panic.
    let failed = |error: &dyn std::fmt::Display| Error::usage(format!("{name}: {error}"));
    writer.write_record(header).map_err(|error| failed(&error))?;
    for row in rows {
        writer.write_record(row).map_err(|error| failed(&error))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(&error))?;
    Ok(vec![File { room: Room::Results, name: name.to_owned(), bytes }])
}

/// A field that may be absent.
fn optional<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}
