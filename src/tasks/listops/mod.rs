//! ListOps: the value, 0 to 9, of nested list operations.
//!
//! Nangia and Bowman, "ListOps: A Diagnostic Dataset for Latent Tree Learning", 2018
//! (arXiv:1804.06028), in the long form of the Long Range Arena (arXiv:2011.04006):
//! expressions of 501 to 1999 tokens. The official files are read where they are given;
//! otherwise examples of the same distribution are generated from a seed.

mod bytes;
mod expression;
mod generate;
mod grow;
mod official;
mod options;
mod reader;
mod verify;
mod vocabulary;
mod writer;

pub use bytes::MAX_LINE;
pub use expression::{Evaluator, Fault, MAX_NESTING, Tally, evaluate};
pub use generate::{GENERATOR_VERSION, generate};
pub use official::FILES;
pub use options::Options;
pub use reader::{Reader, Row};
pub use vocabulary::{CLASSES, CLOSE, FIRST_ID, Operator, TOKENS, VOCABULARY, decode, symbol};
pub use writer::{parenthesise, write_header, write_row};

use super::{Dataset, Places, Task, Verified};
use crate::atomic::write_atomic;
use crate::data::{About, Split, Workshop, full_name, identity, open_or_build};
use crate::error::{Error, IoContext, Result};
use crate::progress::Progress;
use serde_json::json;
use std::path::{Path, PathBuf};

pub struct ListOps;

/// Raised when the official files or the same options give other examples.
const VERSION: u32 = 1;

impl Task for ListOps {
    fn name(&self) -> &'static str {
        "listops"
    }

    fn card(&self) -> &'static str {
        include_str!("../../../tasks/listops.toml")
    }

    fn load(&self, options: &toml::Table, places: &Places, progress: &Progress) -> Result<Dataset> {
        let options = Options::parse(options)?;
        let files = official_files(places, progress)?;
        let (about, splits) = match &files {
            Some(files) => {
                let about = about_official(files, &options)?;
                let build = |to: &Workshop| to.write(&official::read(files, &options, progress)?);
                let splits = open_or_build(&places.cache, &about, progress, build)?;
                (about, splits)
            }
            None => {
                let about = About {
                    task: self.name().into(),
                    source: "generated".into(),
                    version: VERSION,
                    inputs: json!({ "generator": GENERATOR_VERSION, "options": options }),
                };
                let build = |to: &Workshop| to.write(&generate(&options, progress)?);
                let splits = open_or_build(&places.cache, &about, progress, build)?;
                (about, splits)
            }
        };
        Ok(Dataset::new(about, splits, (VOCABULARY, CLASSES, options.max_length as usize)))
    }

    fn text(&self, split: &Split, example: usize) -> String {
        decode(split.tokens(example, 0))
    }

    /// Official files where they are given, the prepared data otherwise.
    fn verify(
        &self,
        options: &toml::Table,
        places: &Places,
        progress: &Progress,
    ) -> Result<Verified> {
        if let Some(files) = official_files(places, progress)? {
            let source = folder_of(&files);
            return Ok(Verified { source, files: verify::files(&files, progress)? });
        }
        let data = self.load(options, places, progress)?;
        let splits = [&data.train, &data.validation, &data.test];
        Ok(Verified { source: data.source, files: verify::splits(&splits, progress)? })
    }

    fn export(&self, data: &Dataset, folder: &Path, progress: &Progress) -> Result<Vec<PathBuf>> {
        let splits = [&data.train, &data.validation, &data.test];
        let total = splits.iter().map(|split| split.len() as u64).sum();
        let bar = progress.bar("export", "rows", total);
        std::fs::create_dir_all(folder).at("create", folder)?;
        let mut written = Vec::new();
        for (split, name) in splits.into_iter().zip(FILES) {
            let path = folder.join(name);
            if let Some(i) = (0..split.len()).find(|&i| evaluate(split.tokens(i, 0)).is_err()) {
                return Err(Error::data(
                    path,
                    format!(
                        "example {} was cut to {} tokens and is no whole expression; expected \
                         data.max_length to be larger",
                        i + 1,
                        split.tokens(i, 0).len()
                    ),
                ));
            }
            write_atomic(&path, |out| {
                let mut text = String::new();
                write_header(out)?;
                for i in 0..split.len() {
                    write_row(out, split.tokens(i, 0), split.label(i), &mut text)?;
                    bar.advance(1);
                }
                Ok(())
            })?;
            written.push(path);
        }
        Ok(written)
    }
}

/// The official files, if a folder was given and has them.
fn official_files(places: &Places, progress: &Progress) -> Result<Option<[PathBuf; 3]>> {
    let Some(folder) = &places.official else { return Ok(None) };
    let files = official::locate(folder)?;
    if files.is_none() {
        progress.say(&format!(
            "{}: no {}, here or in listops-1000/; ListOps is generated instead",
            folder.display(),
            FILES[0]
        ));
    }
    Ok(files)
}

fn about_official(files: &[PathBuf; 3], options: &Options) -> Result<About> {
    // Of the options, those that do not concern the generator.
    let Options { train, validation, test, max_length, .. } = options;
    Ok(About {
        task: "listops".into(),
        source: folder_of(files),
        version: VERSION,
        inputs: json!({
            "files": identity(files)?,
            "options": {
                "train": train, "validation": validation, "test": test, "max_length": max_length,
            },
        }),
    })
}

fn folder_of(files: &[PathBuf; 3]) -> String {
    full_name(files[0].parent().unwrap_or(Path::new("")))
}
