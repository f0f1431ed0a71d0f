//! Text: whether a film review is positive, byte by byte.
//!
//! Maas et al., "Learning Word Vectors for Sentiment Analysis", 2011 (IMDB), as the Long
//! Range Arena reads it (arXiv:2011.04006): raw bytes, case and markup left as they are,
//! id = byte + 1, 0 = padding. LRA validates on the test split; here a tenth of train is
//! held out by a keyed permutation, and test is looked at once.

mod reviews;

use super::{Dataset, Places, Task, Wanted, damaged, find_source, hold_out, in_words};
use crate::atomic::write_atomic;
use crate::config::section;
use crate::data::{Examples, Split, deal, open_or_build};
use crate::error::{Error, IoContext, Result};
use crate::progress::Progress;
use crate::random::Key;
use reviews::{IMDB, limit};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::{Path, PathBuf};

pub struct Text;

/// Raised when the same files and options give other examples.
const VERSION: u32 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// Decides which reviews of train are held out.
    seed: u64,
    /// Reviews of train that are held out.
    validation: u64,
    /// Bytes kept of a review.
    max_length: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 0, validation: 2500, max_length: 4000 }
    }
}

impl Task for Text {
    fn name(&self) -> &'static str {
        "text"
    }

    fn card(&self) -> &'static str {
        include_str!("../../../tasks/text.toml")
    }

    fn load(&self, options: &toml::Table, places: &Places, progress: &Progress) -> Result<Dataset> {
        let options: Options = section("data", options)?;
        if options.max_length == 0 {
            return Err(Error::config("data.max_length", "expected at least 1, got 0"));
        }
        let wanted = json!(options);
        let set = Wanted { task: self.name(), version: VERSION, set: &IMDB, options: &wanted };
        let (about, source) = find_source(&set, places, &limit, progress)?;
        let splits = open_or_build(&places.cache, &about, progress, |to| {
            let source = source.as_ref().ok_or_else(|| damaged(&about))?;
            let [train, test] = reviews::read(source, progress)?;
            let key = Key::new(options.seed).named("text");
            let [validation, train] =
                hold_out(train, options.validation, "reviews", key.named("train"))?;
            let [test, _] = deal(test, usize::MAX, key.named("test"));
            let pack = |reviews: Vec<reviews::Review>| {
                let mut examples = Examples::new(1, 1);
                for review in reviews {
                    let kept = review.bytes.len().min(options.max_length as usize);
                    examples.push(&[&review.bytes[..kept]], review.label);
                }
                examples
            };
            to.write(&[pack(train), pack(validation), pack(test)])
        })?;
        let sizes = (257, 2, options.max_length as usize);
        Ok(Dataset::new(about, splits, sizes))
    }

    fn text(&self, split: &Split, example: usize) -> String {
        in_words(split.tokens(example, 0))
    }

    /// The official layout, with running numbers and the ratings 1 and 10: the set's own are
    /// not kept. Reviews are as long as they were kept.
    fn export(&self, data: &Dataset, folder: &Path, progress: &Progress) -> Result<Vec<PathBuf>> {
        let total = data.splits().iter().map(|(_, split)| split.len() as u64).sum();
        let bar = progress.bar("export", "reviews", total);
        let mut written = Vec::new();
        for (part, splits) in
            [("train", vec![&data.train, &data.validation]), ("test", vec![&data.test])]
        {
            let mut number = 0;
            for (class, rating) in [("neg", 1), ("pos", 10)] {
                let folder = folder.join(IMDB.folder).join(part).join(class);
                std::fs::create_dir_all(&folder).at("create", &folder)?;
                for split in &splits {
                    for i in (0..split.len()).filter(|&i| (split.label(i) == 1) == (class == "pos"))
                    {
                        let path = folder.join(format!("{number}_{rating}.txt"));
                        write_atomic(&path, |out| out.write_all(split.tokens(i, 0)))?;
                        number += 1;
                        bar.advance(1);
                    }
                }
                written.push(folder);
            }
        }
        Ok(written)
    }
}
