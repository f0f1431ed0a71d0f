//! Retrieval: whether one paper cites another, both read byte by byte.
//!
//! Pairs from the ACL Anthology Network (Radev et al. 2013) in the form of the Long Range
//! Arena (arXiv:2011.04006): `new_aan_pairs.{train,eval,test}.tsv`. Each document is cut to
//! its first bytes, id = byte + 1, 0 = padding. There is nothing to generate them from.

mod reader;

use super::{Dataset, Places, Task, Verified, in_words, verify_again};
use crate::atomic::write_atomic;
use crate::config::section;
use crate::data::{About, SPLITS, Split, last_official, open_or_build};
use crate::error::{Error, IoContext, Result};
use crate::progress::Progress;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

pub use reader::{MAX_LINE, Reader, Row};

pub struct Retrieval;

/// Raised when the same files and options give other examples.
const VERSION: u32 = 1;

/// Train, validation, test.
pub const FILES: [&str; 3] =
    ["new_aan_pairs.train.tsv", "new_aan_pairs.eval.tsv", "new_aan_pairs.test.tsv"];

/// Where the release has them, seen from a folder that a user may name.
const NESTINGS: [&str; 5] =
    ["", "aan", "tsv_data", "lra_release/tsv_data", "lra_release/lra_release/tsv_data"];

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// Bytes kept of a document.
    max_length: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_length: 4000 }
    }
}

impl Task for Retrieval {
    fn name(&self) -> &'static str {
        "retrieval"
    }

    fn card(&self) -> &'static str {
        include_str!("../../../tasks/retrieval.toml")
    }

    fn load(&self, options: &toml::Table, places: &Places, progress: &Progress) -> Result<Dataset> {
        let options: Options = section("data", options)?;
        if options.max_length == 0 {
            return Err(Error::config("data.max_length", "expected at least 1, got 0"));
        }
        let wanted = json!(options);
        let (about, files) = match &places.official {
            Some(place) => {
                let files = locate(place)?;
                let source = folder_of(&files);
                let inputs = json!({ "files": identity(&files)?, "options": wanted });
                (About { task: self.name().into(), source, version: VERSION, inputs }, Some(files))
            }
            None => {
                let about = last_official(&places.cache, self.name(), VERSION, &wanted);
                (about.ok_or_else(|| missing(None))?, None)
            }
        };
        let splits = open_or_build(&places.cache, &about, progress, |to| {
            let files = files.as_ref().ok_or_else(|| missing(None))?;
            for (file, split) in files.iter().zip(SPLITS) {
                let length = file.metadata().at("read", file)?.len();
                let bar = progress.bar("retrieval", "bytes", length);
                let mut reader = Reader::open(file)?;
                let mut writer = to.writer(split, 2, 1)?;
                let mut read = 0;
                while let Some(row) = reader.next_row()? {
                    let cut = |text| {
                        &row.text(text)[..row.text(text).len().min(options.max_length as usize)]
                    };
                    writer.push(&[cut(0), cut(1)], row.label)?;
                    bar.advance(row.read - read);
                    read = row.read;
                }
                if writer.is_empty() {
                    return Err(Error::data(file, "an empty file; expected pairs of papers"));
                }
                writer.finish()?;
            }
            Ok(())
        })?;
        Ok(Dataset::new(about, splits, (257, 2, options.max_length as usize)))
    }

    fn text(&self, split: &Split, example: usize) -> String {
        let [a, b] = [0, 1].map(|part| in_words(split.tokens(example, part)));
        format!("{a} || {b}")
    }

    fn verify(
        &self,
        options: &toml::Table,
        places: &Places,
        progress: &Progress,
    ) -> Result<Verified> {
        verify_again(self, options, places, progress)
    }

    /// The five columns, with running numbers for the papers' names, which are not kept.
    fn export(&self, data: &Dataset, folder: &Path, progress: &Progress) -> Result<Vec<PathBuf>> {
        std::fs::create_dir_all(folder).at("create", folder)?;
        let total = data.splits().iter().map(|(_, split)| split.len() as u64).sum();
        let bar = progress.bar("export", "pairs", total);
        let mut written = Vec::new();
        for ((_, split), name) in data.splits().into_iter().zip(FILES) {
            let path = folder.join(name);
            write_atomic(&path, |out| {
                for i in 0..split.len() {
                    write!(out, "{}.0\t{}\t{}\t", split.label(i), 2 * i, 2 * i + 1)?;
                    out.write_all(split.tokens(i, 0))?;
                    out.write_all(b"\t")?;
                    out.write_all(split.tokens(i, 1))?;
                    out.write_all(b"\n")?;
                    bar.advance(1);
                }
                Ok(())
            })?;
            written.push(path);
        }
        Ok(written)
    }
}

/// The three files in `place` or where the release has them below it.
fn locate(place: &Path) -> Result<[PathBuf; 3]> {
    for nesting in NESTINGS {
        let files = FILES.map(|name| match nesting {
            "" => place.join(name),
            _ => place.join(nesting).join(name),
        });
        let there = files.each_ref().map(|file| file.is_file());
        if there == [true; 3] {
            return Ok(files);
        }
        let lost = files.iter().zip(there).find(|(_, there)| !there);
        if let (true, Some((lost, _))) = (there.contains(&true), lost) {
            let message = "missing, while others of the set are there; expected all three";
            return Err(Error::data(lost, message));
        }
    }
    Err(missing(Some(place)))
}

fn missing(place: Option<&Path>) -> Error {
    let looked = match place {
        Some(place) => format!("{} has none, nor has tsv_data/ in it", place.display()),
        None => "no folder was named".into(),
    };
    Error::data(
        place.unwrap_or(Path::new(FILES[0])),
        format!(
            "task retrieval needs {}: {looked}; get \
             https://storage.googleapis.com/long-range-arena/lra_release.gz (7.7 GB), unpack \
             tsv_data from it, and name that folder with --data-dir or LRA_DATA; pairs of your \
             own in this form do too: label, two names, two texts, separated by tabs",
            FILES.join(", ")
        ),
    )
}

/// Changes when a file does: sizes and times of last change.
fn identity(files: &[PathBuf; 3]) -> Result<Value> {
    let identity = |file: &PathBuf| {
        let about = file.metadata().at("read", file)?;
        let changed = about.modified().at("read", file)?.duration_since(UNIX_EPOCH);
        // Before 1970 counts as 1970.
        let nanoseconds = changed.unwrap_or_default().as_nanos().to_string();
        Ok(json!({ "bytes": about.len(), "changed": nanoseconds }))
    };
    Ok(Value::Array(files.iter().map(identity).collect::<Result<_>>()?))
}

/// The folder of the files, the same from wherever it is named.
fn folder_of(files: &[PathBuf; 3]) -> String {
    let folder = files[0].parent().unwrap_or(Path::new(""));
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf()).display().to_string()
}
