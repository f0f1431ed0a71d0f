//! Image: what a gray picture shows, pixel by pixel.
//!
//! CIFAR-10 (Krizhevsky 2009) as the Long Range Arena reads it (arXiv:2011.04006): gray, 32 x
//! 32 row by row, each gray value a token. LRA takes black for padding; here no pixel is.
//! LRA's 45,000/5,000 split follows the order of a TFDS build that cannot be made again from
//! the files; here it is a keyed permutation.

mod records;

use super::{Dataset, Places, Task, Wanted, damaged, find_source, hold_out};
use crate::atomic::write_atomic;
use crate::config::section;
use crate::data::{Examples, Split, open_or_build};
use crate::error::{IoContext, Result};
use crate::progress::Progress;
use crate::random::Key;
use records::{CIFAR, CLASSES, FILES, PIXELS, Picture, limit};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::{Path, PathBuf};

pub use records::gray;

pub struct Image;

/// Raised when the same files and options give other examples.
const VERSION: u32 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// Decides which pictures of train are held out.
    seed: u64,
    /// Pictures of train that are held out.
    validation: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 0, validation: 5000 }
    }
}

impl Task for Image {
    fn name(&self) -> &'static str {
        "image"
    }

    fn card(&self) -> &'static str {
        include_str!("../../../tasks/image.toml")
    }

    fn load(&self, options: &toml::Table, places: &Places, progress: &Progress) -> Result<Dataset> {
        let options: Options = section("data", options)?;
        let wanted = json!(options);
        let set = Wanted { task: self.name(), version: VERSION, set: &CIFAR, options: &wanted };
        let (about, source) = find_source(&set, places, &limit, progress)?;
        let splits = open_or_build(&places.cache, &about, progress, |to| {
            let source = source.as_ref().ok_or_else(|| damaged(&about))?;
            let [train, test] = records::read(source, progress)?;
            let key = Key::new(options.seed).named("image");
            let [validation, train] =
                hold_out(train, options.validation, "pictures", key.named("train"))?;
            let pack = |pictures: Vec<Picture>| {
                let mut examples = Examples::new(1, 0);
                pictures.iter().for_each(|p| examples.push(&[&p.pixels], p.label));
                examples
            };
            to.write(&[pack(train), pack(validation), pack(test)])
        })?;
        Ok(Dataset::new(about, splits, (256, CLASSES.len(), PIXELS)))
    }

    fn pictures(&self) -> bool {
        true
    }

    fn text(&self, split: &Split, example: usize) -> String {
        CLASSES.get(split.label(example) as usize).unwrap_or(&"?").to_string()
    }

    /// The official layout with three equal planes, whose gray is the picture again. The
    /// pictures of validation follow those of train, a fifth of all in each file.
    fn export(&self, data: &Dataset, folder: &Path, progress: &Progress) -> Result<Vec<PathBuf>> {
        let folder = folder.join(CIFAR.folder);
        std::fs::create_dir_all(&folder).at("create", &folder)?;
        let train: Vec<(&Split, usize)> = [&data.train, &data.validation]
            .into_iter()
            .flat_map(|split| (0..split.len()).map(move |i| (split, i)))
            .collect();
        let test: Vec<_> = (0..data.test.len()).map(|i| (&data.test, i)).collect();
        let bar = progress.bar("export", "pictures", (train.len() + test.len()) as u64);
        let mut parts: Vec<_> =
            train.chunks(train.len().div_ceil(FILES.len() - 1).max(1)).collect();
        parts.resize(FILES.len() - 1, &[]);
        parts.push(&test);
        let mut written = Vec::new();
        for (part, name) in parts.into_iter().zip(FILES) {
            let path = folder.join(name);
            write_atomic(&path, |out| {
                for (split, i) in part {
                    out.write_all(&[split.label(*i) as u8])?;
                    (0..3).try_for_each(|_| out.write_all(split.tokens(*i, 0)))?;
                    bar.advance(1);
                }
                Ok(())
            })?;
            written.push(path);
        }
        Ok(written)
    }
}
