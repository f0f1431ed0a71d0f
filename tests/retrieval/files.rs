//! What the files become.

use super::{ROWS, examples, load, places, write};
use lra::config::Sizes;
use lra::progress::Progress;
use lra::tasks::Task;
use lra::tasks::retrieval::{FILES, Retrieval};

#[test]
fn pairs_are_read_wherever_the_release_has_them() {
    let root = tempfile::tempdir().unwrap();
    let mut checksums = Vec::new();
    let nestings =
        ["", "aan", "tsv_data", "lra_release/tsv_data", "lra_release/lra_release/tsv_data"];
    for (i, nesting) in nestings.into_iter().enumerate() {
        let folder = format!("data{i}");
        write(&root.path().join(&folder).join(nesting), ROWS);
        let data = load("", &places(root.path(), Some(&folder))).unwrap();
        let train = [
            (1, b"abcdefgh".to_vec(), b"xyz".to_vec()),
            (0, b"ab\xFF\0cd".to_vec(), b"z".to_vec()),
            (0, b"q".to_vec(), b"r".to_vec()),
        ];
        assert_eq!(examples(&data.train), train, "{nesting}");
        let validation =
            [(0, b"one".to_vec(), b"two".to_vec()), (1, b"three".to_vec(), b"four".to_vec())];
        assert_eq!(examples(&data.validation), validation);
        assert_eq!(examples(&data.test), [(1, b"last".to_vec(), b"one".to_vec())]);
        assert_eq!(data.sizes(), Sizes { vocabulary: 257, classes: 2, parts: 2 });
        assert_eq!((data.train.first_id(), data.max_length), (1, 4000));
        checksums.push(data.checksum);
    }
    assert!(checksums.iter().all(|c| *c == checksums[0]));
}

#[test]
fn documents_are_cut_and_splits_are_limited() {
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join("data"), ROWS);
    let places = places(root.path(), Some("data"));
    let data = load("max_length = 3\ntrain = 2\nvalidation = 1\ntest = 9", &places).unwrap();
    let train = [(1, b"abc".to_vec(), b"xyz".to_vec()), (0, b"ab\xFF".to_vec(), b"z".to_vec())];
    assert_eq!(examples(&data.train), train);
    assert_eq!((data.validation.len(), data.test.len(), data.max_length), (1, 1, 3));
}

/// One line, with nothing in it that a terminal would act on.
#[test]
fn both_documents_are_shown() {
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join("data"), ROWS);
    let data = load("", &places(root.path(), Some("data"))).unwrap();
    assert_eq!(Retrieval.text(&data.train, 1), "ab\u{FFFD}\\u{0}cd || z");
}

/// A folder once named need not be named again; a changed file makes other data.
#[test]
fn what_was_prepared_is_used_until_a_file_changes() {
    let root = tempfile::tempdir().unwrap();
    let (named, unnamed) = (places(root.path(), Some("data")), places(root.path(), None));
    write(&root.path().join("data"), ROWS);
    let first = load("", &named).unwrap();
    let found = load("", &unnamed).unwrap();
    assert_eq!((&found.checksum, found.train.path()), (&first.checksum, first.train.path()));
    assert!(load("max_length = 9", &unnamed).is_err(), "never prepared");

    write(&root.path().join("data"), [ROWS[0], ROWS[1], b"0\t\t\tlast\tother\n"]);
    let error = Retrieval
        .verify(&toml::Table::new(), &unnamed, &Progress::silent())
        .expect_err("the file has changed");
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("prepare it anew"), "{error}");
    let second = load("", &named).unwrap();
    assert_ne!(second.checksum, first.checksum);
    let verified = Retrieval.verify(&toml::Table::new(), &named, &Progress::silent()).unwrap();
    let counts: Vec<u64> = verified.files.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [3, 2, 1]);
}

#[test]
fn what_is_exported_reads_as_the_same() {
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join("data"), ROWS);
    let data = load("", &places(root.path(), Some("data"))).unwrap();
    let out = root.path().join("out");
    let written = Retrieval.export(&data, &out, &Progress::silent()).unwrap();
    assert_eq!(written, FILES.map(|name| out.join(name)));
    let validation = std::fs::read(&written[1]).unwrap();
    assert_eq!(validation, b"0.0\t0\t1\tone\ttwo\n1.0\t2\t3\tthree\tfour\n");
    let again = load("", &places(root.path(), Some("out"))).unwrap();
    assert_eq!(again.checksum, data.checksum);
}
