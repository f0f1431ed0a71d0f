//! Text, Image and Retrieval: their files, good ones and bad ones, in folders, in archives
//! that anybody may have made, and on servers. Fixtures are written here, in the published
//! forms.

mod archives;
mod bad;
mod cli;
mod fetch;
mod good;
mod pack;

use lra::data::{Places, Split};
use lra::progress::Progress;
use lra::tasks::{self, Dataset};
use std::fs;
use std::path::Path;

fn load(task: &str, official: &Path, cache: &Path, options: &str) -> lra::Result<Dataset> {
    let places = Places { official: Some(official.into()), cache: cache.into() };
    tasks::find(task)?.load(&options.parse().unwrap(), &places, &Progress::silent())
}

/// What `load` has against the files.
fn fault(task: &str, official: &Path) -> String {
    let cache = tempfile::tempdir().unwrap();
    let options = if task == "retrieval" { "" } else { "validation = 2" };
    let error = load(task, official, cache.path(), options).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    error.to_string()
}

fn examples(split: &Split) -> Vec<(Vec<u8>, u32)> {
    let mut all: Vec<_> =
        (0..split.len()).map(|i| (split.tokens(i, 0).to_vec(), split.label(i))).collect();
    all.sort();
    all
}

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Six reviews of each class and part, odd bytes among them, and a file that is none.
fn reviews(folder: &Path) {
    for part in ["train", "test"] {
        for (class, rating) in [("neg", 2), ("pos", 9)] {
            for id in 0..6u8 {
                let mut text = format!("{part} {class} {id}: caf\u{e9}").into_bytes();
                if id == 3 {
                    text = b"\xEF\xBB\xBFa\r\nb\0\xFF\xC3".to_vec();
                    text.extend([part.len() as u8, rating]);
                }
                let name = format!("aclImdb/{part}/{class}/{id}_{rating}.txt");
                write(&folder.join(name), &text);
            }
        }
    }
    write(&folder.join("aclImdb/README"), b"not a review");
}

/// Three records in each file; the n-th record of a file is gray of 10 n.
fn pictures(folder: &Path) {
    for (file, name) in names().into_iter().enumerate() {
        let mut bytes = Vec::new();
        for n in 0..3u8 {
            bytes.push((file as u8 + n) % 10);
            bytes.extend([10 * n; 3072]);
        }
        write(&folder.join("cifar-10-batches-bin").join(name), &bytes);
    }
}

fn names() -> Vec<String> {
    let train = (1..6).map(|i| format!("data_batch_{i}.bin"));
    train.chain(["test_batch.bin".to_string()]).collect()
}

fn pairs(folder: &Path) {
    for (name, count) in [("train", 4), ("eval", 2), ("test", 3)] {
        let rows: String = (0..count)
            .map(|i| format!("{}.0\tP{i}\tQ{i}\tfirst {name} {i}\tsecond {i}\n", i % 2))
            .collect();
        write(&folder.join(format!("new_aan_pairs.{name}.tsv")), rows.as_bytes());
    }
}
