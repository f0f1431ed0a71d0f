//! Documents with tables and pictures that the report puts in, between comments:
//!
//! ```text
//! <!-- lra:accuracy quick -->
//! what stands here is replaced
//! <!-- /lra -->
//! ```
//!
//! What stands in a fenced block, as this does, is left alone.

mod marker;
mod part;

use super::aggregate::Report;
use super::{File, files};
use crate::atomic::{read_whole, write_atomic};
use crate::error::{Error, Result};
use marker::{Marked, marked};
use part::content;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A document as it is and as it should be.
#[derive(Debug)]
pub struct Document {
    path: PathBuf,
    text: String,
    /// Pictures beside it that are not those of the report.
    pictures: Vec<(PathBuf, Vec<u8>)>,
    stale: Vec<String>,
    parts: usize,
}

/// What the parts are made of: the pictures are drawn when the first is asked for.
struct Source<'a> {
    report: &'a Report,
    drawn: OnceLock<Vec<File>>,
}

impl Source<'_> {
    fn drawn(&self) -> Result<&[File]> {
        if self.drawn.get().is_none() {
            // Set by nobody else: this runs on one thread.
            let _ = self.drawn.set(files(self.report)?);
        }
        Ok(self.drawn.get().map(Vec::as_slice).unwrap_or_default())
    }
}

impl Document {
    pub fn read(path: &Path, report: &Report) -> Result<Self> {
        let bytes = read_whole(path)?;
        let old = String::from_utf8(bytes)
            .map_err(|_| Error::data(path, "expected text in UTF-8; no marker is looked for"))?;
        let marked = marked(&old).map_err(|(line, what)| Error::data_at(path, line, None, what))?;
        if marked.is_empty() {
            let message = format!("no marker; {}", part::how());
            return Err(Error::data(path, message));
        }
        let source = Source { report, drawn: OnceLock::new() };
        let mut document = Self {
            path: path.to_path_buf(),
            text: String::with_capacity(old.len()),
            pictures: Vec::new(),
            stale: Vec::new(),
            parts: marked.len(),
        };
        let mut from = 0;
        for part in &marked {
            let fresh = content(&source, &part.words)
                .map_err(|what| what.at(path, part.line, &part.words.join(" ")))?;
            document.text.push_str(&old[from..part.body.start]);
            document.text.push_str(&fresh.text);
            from = part.body.end;
            document.compare(part, &old[part.body.clone()], fresh);
        }
        document.text.push_str(&old[from..]);
        Ok(document)
    }

    fn compare(&mut self, part: &Marked, old: &str, fresh: part::Content) {
        let mut is_stale = old != fresh.text;
        if let Some((name, bytes)) = fresh.picture {
            let picture = self.path.parent().unwrap_or(Path::new("")).join(name);
            if std::fs::read(&picture).ok().as_deref() != Some(&bytes) {
                is_stale = true;
                self.pictures.push((picture, bytes));
            }
        }
        if is_stale {
            self.stale.push(format!("`{}` (line {})", part.words.join(" "), part.line));
        }
    }

    /// What is not as these records have it. `command` is what mends it.
    pub fn check(&self, command: &str) -> Result<()> {
        if self.stale.is_empty() {
            return Ok(());
        }
        let (path, parts) = (self.path.clone(), self.stale.join(", "));
        Err(Error::Stale { path, parts, command: command.to_owned() })
    }

    /// Writes the document and its pictures where they differ, and says what it did.
    pub fn write(&self) -> Result<String> {
        for (path, bytes) in &self.pictures {
            write_atomic(path, |to| to.write_all(bytes))?;
        }
        if !self.stale.is_empty() {
            write_atomic(&self.path, |to| to.write_all(self.text.as_bytes()))?;
        }
        Ok(self.told())
    }

    /// `README.md: 1 of 4 parts changed: ...`.
    fn told(&self) -> String {
        let (path, of) = (self.path.display(), self.parts);
        match self.stale.len() {
            0 => format!("{path}: nothing changed, parts: {of}"),
            n => format!("{path}: parts changed: {n} of {of}: {}", self.stale.join(", ")),
        }
    }
}
