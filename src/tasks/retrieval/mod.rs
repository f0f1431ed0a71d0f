//! Retrieval: whether one paper cites another, both read byte by byte.
//!
//! Pairs from the ACL Anthology Network (Radev et al. 2013) in the form of the Long Range
//! Arena (arXiv:2011.04006): `new_aan_pairs.{train,eval,test}.tsv`. Each document is cut to
//! its first bytes, id = byte + 1, 0 = padding. The splits are the official ones. There is
//! nothing to generate them from.

mod reader;

use super::{Dataset, Places, Task, in_words};
use crate::atomic::write_atomic;
use crate::config::section;
use crate::data::{
    About, SPLITS, Split, Workshop, full_name, identity, last_official, open_or_build,
};
use crate::error::{Error, IoContext, Result};
use crate::progress::Progress;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::{Path, PathBuf};

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
    /// The first so many pairs of a split; all of them where nothing is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    train: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_length: 4000, train: None, validation: None, test: None }
    }
}

impl Options {
    fn parse(table: &toml::Table) -> Result<Self> {
        let options: Self = section("data", table)?;
        let given = [
            ("data.max_length", Some(options.max_length)),
            ("data.train", options.train),
            ("data.validation", options.validation),
            ("data.test", options.test),
        ];
        match given.iter().find(|(_, value)| *value == Some(0)) {
            Some((key, _)) => Err(Error::config(*key, "expected at least 1, got 0")),
            None => Ok(options),
        }
    }

    /// Pairs taken at most, of each split.
    fn most(&self) -> [u64; 3] {
        [self.train, self.validation, self.test].map(|most| most.unwrap_or(u64::MAX))
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
        let options = Options::parse(options)?;
        let wanted = json!(options);
        let (about, files) = match &places.official {
            Some(place) => {
                let files = locate(place)?;
                let source = full_name(files[0].parent().unwrap_or(Path::new("")));
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
            prepare(files, &options, to, progress)
        })?;
        Ok(Dataset::new(about, splits, (257, 2, options.max_length as usize)))
    }

    fn text(&self, split: &Split, example: usize) -> String {
        let [a, b] = [0, 1].map(|part| in_words(split.tokens(example, part)));
        format!("{a} || {b}")
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

/// Packs the files row by row, so that memory does not grow with them.
fn prepare(
    files: &[PathBuf; 3],
    options: &Options,
    to: &Workshop,
    progress: &Progress,
) -> Result<()> {
    let kept = usize::try_from(options.max_length).unwrap_or(usize::MAX);
    for ((file, split), most) in files.iter().zip(SPLITS).zip(options.most()) {
        let length = file.metadata().at("read", file)?.len();
        let bar = progress.bar("retrieval", "bytes", length);
        let mut reader = Reader::open(file)?;
        let mut writer = to.writer(split, 2, 1)?;
        let (mut pairs, mut read) = (0, 0);
        while pairs < most
            && let Some(row) = reader.next_row()?
        {
            let [a, b] = [0, 1].map(|text| row.text(text)).map(|t| &t[..t.len().min(kept)]);
            writer.push(&[a, b], row.label)?;
            pairs += 1;
            bar.advance(row.read - read);
            read = row.read;
        }
        if pairs == 0 {
            return Err(Error::data(file, "an empty file; expected pairs of papers"));
        }
        if pairs < most && most < u64::MAX {
            bar.say(&format!(
                "{}: {pairs} pairs, fewer than data.{split} = {most}; all are used",
                file.display()
            ));
        }
        writer.finish()?;
    }
    Ok(())
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
            let message = "missing, while others of the set lie beside where it should be; \
                           task retrieval needs all three";
            return Err(Error::data(lost, format!("{message}. {HOW}")));
        }
    }
    Err(missing(Some(place)))
}

const HOW: &str = "Get https://storage.googleapis.com/long-range-arena/lra_release.gz (7.7 GB), \
                   unpack tsv_data from it, and name that folder with --data-dir or LRA_DATA; \
                   pairs of your own in this form do too: label (0 or 1), two names, two texts, \
                   separated by tabs, no header";

fn missing(place: Option<&Path>) -> Error {
    let looked = match place {
        Some(place) => {
            let below = NESTINGS[1..].join(", ");
            format!("looked for in {} and below it in {below}", place.display())
        }
        None => "no folder was named".into(),
    };
    Error::data(
        place.unwrap_or(Path::new(FILES[0])),
        format!("task retrieval needs {}: {looked}. {HOW}", FILES.join(", ")),
    )
}
