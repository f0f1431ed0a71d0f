//! Retrieval: the files of pairs, the model of two documents, and the command line.

#[path = "../common/mod.rs"]
mod common;

mod cli;
mod faults;
mod files;
mod model;

use lra::data::{Places, Split};
use lra::progress::Progress;
use lra::tasks::retrieval::{FILES, Retrieval};
use lra::tasks::{Dataset, Task};
use std::path::Path;

/// Rows of each split: one ends in CR LF, one has a byte that is no UTF-8 and a NUL.
const ROWS: [&[u8]; 3] = [
    b"1.0\tP1\tP2\tabcdefgh\txyz\r\n0\tP1\tP3\tab\xFF\0cd\tz\n0.0\tP4\tP5\tq\tr\n",
    b"0\t7\t8\tone\ttwo\n1\t7\t9\tthree\tfour\n",
    b"1\t\t\tlast\tone\n",
];

fn write(folder: &Path, rows: [&[u8]; 3]) {
    std::fs::create_dir_all(folder).unwrap();
    for (name, rows) in FILES.iter().zip(rows) {
        std::fs::write(folder.join(name), rows).unwrap();
    }
}

/// Files in `folder`, or none named; the cache beside them.
fn places(root: &Path, folder: Option<&str>) -> Places {
    Places { official: folder.map(|f| root.join(f)), cache: root.join("cache") }
}

fn load(options: &str, places: &Places) -> lra::Result<Dataset> {
    Retrieval.load(&options.parse().unwrap(), places, &Progress::silent())
}

type Pair = (u32, Vec<u8>, Vec<u8>);

fn examples(split: &Split) -> Vec<Pair> {
    let text = |i, part| split.tokens(i, part).to_vec();
    (0..split.len()).map(|i| (split.label(i), text(i, 0), text(i, 1))).collect()
}
