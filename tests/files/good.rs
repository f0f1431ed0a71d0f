//! What is read of whole files.

use super::{examples, load, pairs, pictures, reviews};
use lra::data::Places;
use lra::progress::Progress;
use lra::tasks;
use std::fs;

#[test]
fn reviews_are_bytes_and_a_keyed_part_of_train_is_held_out() {
    let (root, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    reviews(root.path());
    let load = |options| load("text", root.path(), cache.path(), options).unwrap();
    let data = load("validation = 3");
    assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (9, 3, 12));
    assert_eq!((data.vocabulary, data.classes, data.train.first_id()), (257, 2, 1));
    let test = examples(&data.test);
    // Invalid UTF-8, NUL, CR LF and a byte order mark are bytes like others.
    assert!(test.contains(&(b"\xEF\xBB\xBFa\r\nb\0\xFF\xC3\x04\x09".to_vec(), 1)));
    assert!(test.contains(&("test neg 0: caf\u{e9}".as_bytes().to_vec(), 0)));
    let mut train = [examples(&data.train), examples(&data.validation)].concat();
    train.sort();
    assert_eq!(train.iter().filter(|(text, _)| text.starts_with(b"train")).count(), 10);
    // Hidden files, as file managers leave them, are none of the set's.
    fs::write(root.path().join("aclImdb/train/pos/.DS_Store"), b"x").unwrap();
    assert_eq!(load("validation = 3").checksum, data.checksum);
    // Another key holds out others; test stays; a length cuts.
    let other = load("validation = 3\nseed = 1");
    assert_ne!(examples(&other.validation), examples(&data.validation));
    assert_eq!(examples(&other.test), test);
    assert_eq!(load("validation = 3\nmax_length = 5").train.max_tokens(), 5);
}

#[test]
fn pictures_are_gray_and_no_pixel_is_padding() {
    let (root, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    pictures(root.path());
    let data = load("image", root.path(), cache.path(), "validation = 4").unwrap();
    assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (11, 4, 3));
    assert_eq!((data.vocabulary, data.classes, data.train.first_id()), (256, 10, 0));
    let test = [(vec![0; 1024], 5), (vec![10; 1024], 6), (vec![20; 1024], 7)];
    assert_eq!(examples(&data.test), test);
}

#[test]
fn pairs_have_two_texts_each_cut_to_its_length() {
    let (root, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    pairs(&root.path().join("tsv_data"));
    let data = load("retrieval", root.path(), cache.path(), "max_length = 9").unwrap();
    assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (4, 2, 3));
    assert_eq!((data.train.parts(), data.train.first_id()), (2, 1));
    assert_eq!(data.test.tokens(1, 0), b"first tes");
    assert_eq!((data.test.tokens(1, 1), data.test.label(1)), (&b"second 1"[..], 1));
}

/// Once prepared, the files need not be named again, nor be there.
#[test]
fn what_is_prepared_is_found_without_its_files() {
    let cache = tempfile::tempdir().unwrap();
    for (task, fill) in [("text", reviews as fn(&_)), ("image", pictures), ("retrieval", pairs)] {
        let root = tempfile::tempdir().unwrap();
        fill(root.path());
        let options = if task == "retrieval" { "" } else { "validation = 2" };
        let first = load(task, root.path(), cache.path(), options).unwrap();
        drop(root);
        let places = Places { official: None, cache: cache.path().into() };
        let found = tasks::find(task).unwrap();
        let again = found.load(&options.parse().unwrap(), &places, &Progress::silent()).unwrap();
        assert_eq!((again.checksum, again.source), (first.checksum, first.source));
    }
}

/// Single precision, in the order of the planes, as TensorFlow computes it. In double the sum
/// differs by less than 1e-4: wherever it is not that close to a whole number, both agree.
#[test]
fn gray_follows_the_formula() {
    let mut near = 0;
    for rgb in (0..1u32 << 24).step_by(251) {
        let [_, r, g, b] = rgb.to_be_bytes();
        let unit = |byte: u8| f64::from(byte) / 255.0;
        let sum = (0.2989 * unit(r) + 0.587 * unit(g) + 0.114 * unit(b)) * 255.5;
        if (sum - sum.round()).abs() < 1e-4 {
            near += 1;
        } else {
            assert_eq!(tasks::image::gray(r, g, b), sum as u8, "{r} {g} {b}");
        }
    }
    assert!(near < 100, "{near}");
}

/// What is exported is read back as it was.
#[test]
fn exports_are_read_back() {
    for (task, fill) in [("text", reviews as fn(&_)), ("image", pictures), ("retrieval", pairs)] {
        let (root, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fill(root.path());
        let options = if task == "retrieval" { "" } else { "validation = 2" };
        let data = load(task, root.path(), cache.path(), options).unwrap();
        let out = root.path().join("out");
        let written = tasks::find(task).unwrap().export(&data, &out, &Progress::silent()).unwrap();
        assert!(written.iter().all(|path| path.starts_with(&out)));
        let again = load(task, &out, cache.path(), options).unwrap();
        assert_eq!(examples(&again.test), examples(&data.test), "{task}");
        let all = |data: &lra::tasks::Dataset| {
            let mut all = [examples(&data.train), examples(&data.validation)].concat();
            all.sort();
            all
        };
        assert_eq!(all(&again), all(&data), "{task}");
    }
}

/// A damaged cache is never used: it is made again from the files, or refused without them.
#[test]
fn a_damaged_cache_is_made_again_or_refused() {
    let (root, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    reviews(root.path());
    let first = load("text", root.path(), cache.path(), "validation = 2").unwrap();
    let file = first.train.path().unwrap().to_path_buf();
    let good = fs::read(&file).unwrap();
    let mut bad = good.clone();
    bad[40] ^= 1;
    fs::write(&file, &bad).unwrap();
    let places = Places { official: None, cache: cache.path().into() };
    let task = tasks::find("text").unwrap();
    let options = "validation = 2".parse().unwrap();
    let error = task.load(&options, &places, &Progress::silent()).unwrap_err();
    assert!(error.exit_code() == 3 && error.to_string().contains("--data-dir"), "{error}");
    assert_eq!(fs::read(&file).unwrap(), bad);
    load("text", root.path(), cache.path(), "validation = 2").unwrap();
    assert_eq!(fs::read(&file).unwrap(), good);
}

#[test]
fn changed_files_are_read_anew_and_verification_notices_them() {
    let (root, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    pictures(root.path());
    let first = load("image", root.path(), cache.path(), "validation = 2").unwrap();
    let places = Places { official: Some(root.path().into()), cache: cache.path().into() };
    let task = tasks::find("image").unwrap();
    let options = "validation = 2".parse().unwrap();
    let verified = task.verify(&options, &places, &Progress::silent()).unwrap();
    assert_eq!(verified.files.iter().map(|(_, count)| count).sum::<u64>(), 18);
    let file = root.path().join("cifar-10-batches-bin/data_batch_1.bin");
    let mut bytes = fs::read(&file).unwrap();
    bytes.extend_from_within(..3073);
    fs::write(&file, bytes).unwrap();
    let second = load("image", root.path(), cache.path(), "validation = 2").unwrap();
    assert_ne!(second.checksum, first.checksum);
    assert_eq!(second.train.len(), first.train.len() + 1);
    // What is prepared, without the files named, against files that have changed since.
    let found = lra::data::Places { official: None, cache: cache.path().into() };
    fs::write(&file, fs::read(&file).unwrap().split_at(3073).0).unwrap();
    let error = task.verify(&options, &found, &Progress::silent()).unwrap_err().to_string();
    assert!(error.contains("SHA-256"), "{error}");
    drop(root);
    let error = task.verify(&options, &found, &Progress::silent()).unwrap_err().to_string();
    assert!(error.contains("is no longer there"), "{error}");
}
