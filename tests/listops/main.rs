//! ListOps and the data room, from outside.

mod cache;
mod cli;
mod distribution;
mod generation;
mod official;
mod reader;

use lra::data::{Places, Split};
use lra::progress::Progress;
use lra::tasks::listops::{ListOps, Options};
use lra::tasks::{Dataset, Task};
use std::path::Path;

/// A cache in `folder` and no official files.
fn places(folder: &Path) -> Places {
    Places { official: None, cache: folder.join("cache") }
}

/// A small dataset in the arena's sizes of trees.
fn small() -> Options {
    Options { train: 300, validation: 40, test: 50, ..Options::default() }
}

fn table(options: &Options) -> toml::Table {
    toml::Table::try_from(options).unwrap()
}

fn load(options: &Options, places: &Places) -> lra::Result<Dataset> {
    ListOps.load(&table(options), places, &Progress::silent())
}

fn examples(split: &Split) -> Vec<(Vec<u8>, u32)> {
    (0..split.len()).map(|i| (split.tokens(i, 0).to_vec(), split.label(i))).collect()
}
