//! `lra data show`: examples as a person reads them.

use super::super::out;
use super::sheet::{COLOURS, Sheet};
use crate::data::Split;
use crate::error::{Error, IoContext, Result};
use crate::printable;
use crate::tasks::{Dataset, Task};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct Which {
    #[arg(long, value_enum, default_value_t = SplitName::Train)]
    split: SplitName,
    /// The first example to show, from 0
    #[arg(long, default_value_t = 0)]
    index: usize,
    /// How many; 1 by default, and 64 where examples are pictures
    #[arg(short, long, value_name = "N")]
    number: Option<usize>,
    /// Where pictures are drawn; plots/data-<task>.png by default
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SplitName {
    Train,
    Validation,
    Test,
}

impl SplitName {
    fn of(self, data: &Dataset) -> (&'static str, &Split) {
        let [train, validation, test] = data.splits();
        match self {
            Self::Train => train,
            Self::Validation => validation,
            Self::Test => test,
        }
    }
}

/// Pictures of one sheet at most.
const PICTURES: usize = 10_000;

/// Prints the chosen examples, or draws them as one sheet sorted by label.
pub(super) fn show(task: &dyn Task, data: &Dataset, which: &Which) -> Result<()> {
    let (name, split) = which.split.of(data);
    if which.index >= split.len() {
        return Err(Error::usage(format!(
            "--index {}; expected 0 to {}: {name} has {} examples",
            which.index,
            split.len().saturating_sub(1),
            split.len()
        )));
    }
    if !task.pictures() && which.png.is_some() {
        return Err(Error::usage(format!("--png: examples of {} are text", task.name())));
    }
    let number = which.number.unwrap_or(if task.pictures() { 64 } else { 1 });
    let chosen = which.index..which.index.saturating_add(number).min(split.len());
    if task.pictures() {
        if chosen.len() > PICTURES {
            let message = format!("--number {number}; expected at most {PICTURES} pictures");
            return Err(Error::usage(message));
        }
        let usual = || Path::new("plots").join(format!("data-{}.png", task.name()));
        let path = which.png.clone().unwrap_or_else(usual);
        return draw(split, chosen, data.classes, name, &path);
    }
    out::print(|out| {
        for i in chosen {
            let length: usize = (0..split.parts()).map(|p| split.length(i, p)).sum();
            let (label, text) = (split.label(i), task.text(split, i));
            writeln!(out, "{name}[{i}] label {label} length {length}: {text}")?;
        }
        Ok(())
    })
}

fn draw(
    split: &Split,
    chosen: std::ops::Range<usize>,
    classes: usize,
    name: &str,
    path: &Path,
) -> Result<()> {
    let sheet = Sheet::new(split, chosen.clone(), classes);
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).at("create", folder)?;
    }
    crate::atomic::write_atomic(path, |out| sheet.write(out))?;
    out::print(|out| {
        let path = printable::line(&path.display().to_string());
        writeln!(out, "{path}: {name}[{}..{}], from the top:", chosen.start, chosen.end)?;
        for (label, count) in sheet.groups() {
            let colour = COLOURS[label % COLOURS.len()].0;
            writeln!(out, "  label {label}, {colour} frames: {count}")?;
        }
        Ok(())
    })
}
