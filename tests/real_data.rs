//! What can be checked on real data, where `LRA_DATA` names a folder of it.

#[path = "common/skip.rs"]
mod skip;

use lra::config::Card;
use lra::data::{Places, Split};
use lra::progress::Progress;
use lra::tasks::{self, Dataset, image};
use skip::skip;
use std::path::{Path, PathBuf};

/// A folder with other tasks' files only: ListOps is generated, and the record's source
/// says so.
#[test]
fn listops_is_generated_where_the_folder_has_none() {
    let Some(official) = std::env::var_os("LRA_DATA") else {
        skip("LRA_DATA is not set");
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    let places = Places { official: Some(official.into()), cache: cache.path().into() };
    let options = "train = 20\nvalidation = 5\ntest = 5".parse().unwrap();
    let task = tasks::find("listops").unwrap();
    let data = task.load(&options, &places, &Progress::silent()).unwrap();
    assert_eq!((data.train.len(), data.source.as_str()), (20, "generated"));
}

/// The folder of real data, or a word that there is none.
fn real() -> Option<PathBuf> {
    let found = std::env::var_os("LRA_DATA").map(PathBuf::from);
    if found.is_none() {
        skip("LRA_DATA is not set");
    }
    found
}

fn load(task: &str, official: &Path, cache: &Path) -> Dataset {
    let places = Places { official: Some(official.into()), cache: cache.into() };
    let task = tasks::find(task).unwrap();
    let options = Card::of(task).unwrap().data;
    task.load(&options, &places, &Progress::silent()).unwrap()
}

fn count(split: &Split, label: u32) -> usize {
    (0..split.len()).filter(|&i| split.label(i) == label).count()
}

/// All of IMDB, from the folder and from the archive: 25,000 reviews each, half positive.
#[test]
fn all_reviews_are_read() {
    let Some(real) = real() else { return };
    let cache = tempfile::tempdir().unwrap();
    let data = load("text", &real, cache.path());
    assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (22_500, 2500, 25_000));
    assert_eq!(count(&data.test, 1), 12_500);
    assert_eq!(count(&data.train, 1) + count(&data.validation, 1), 12_500);
    // The held-out reviews are mixed: within 5 standard errors of half.
    assert!(count(&data.validation, 1).abs_diff(1250) < 125);
    // The first reviews of both classes of train, wherever the keys have put them.
    let splits = [&data.train, &data.validation];
    for start in
        [&b"Story of a man who has unnatural feelings for a pig"[..], b"Bromwell High is a"]
    {
        let starts = |split: &&Split| {
            (0..split.len()).filter(|&i| split.tokens(i, 0).starts_with(start)).count()
        };
        assert!(splits.iter().map(starts).sum::<usize>() >= 1);
    }
    let archive = real.join("aclImdb_v1.tar.gz");
    assert_eq!(load("text", &archive, cache.path()).checksum, data.checksum);
}

/// All of CIFAR-10, from the folder and from the archive.
#[test]
fn all_pictures_are_read() {
    let Some(real) = real() else { return };
    let cache = tempfile::tempdir().unwrap();
    let data = load("image", &real, cache.path());
    assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (45_000, 5000, 10_000));
    for class in 0..10 {
        assert_eq!(count(&data.test, class), 1000);
        assert_eq!(count(&data.train, class) + count(&data.validation, class), 5000);
    }
    let archive = real.join("cifar-10-binary.tar.gz");
    assert_eq!(load("image", &archive, cache.path()).checksum, data.checksum);
    // The first picture of the first batch, a frog: its gray begins so.
    let raw = std::fs::read(real.join("cifar-10-batches-bin/data_batch_1.bin")).unwrap();
    let gray: Vec<u8> =
        (0..1024).map(|i| image::gray(raw[1 + i], raw[1025 + i], raw[2049 + i])).collect();
    let splits = [&data.train, &data.validation];
    let found = splits.iter().flat_map(|s| (0..s.len()).map(move |i| (*s, i)));
    let mut found = found.filter(|(s, i)| s.tokens(*i, 0) == gray);
    assert!(found.any(|(s, i)| s.label(i) == u32::from(raw[0])));
    assert_eq!(raw[0], 6);
}

/// All pairs, both texts of each.
#[test]
fn all_pairs_are_read() {
    let Some(real) = real() else { return };
    let cache = tempfile::tempdir().unwrap();
    let data = load("retrieval", &real, cache.path());
    assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (10_000, 994, 1000));
    for (_, split) in data.splits() {
        assert_eq!(2 * count(split, 1), split.len());
        let texts = (0..split.len()).flat_map(|i| [split.tokens(i, 0), split.tokens(i, 1)]);
        assert!(texts.clone().all(|text| text.is_ascii() && !text.is_empty()));
        assert_eq!(texts.map(<[u8]>::len).max(), Some(4000));
    }
}
