//! Files that are not as they should be: file, place, expectation, remedy.

use super::{fault, names, pairs, pictures, reviews, write};
use std::fs;

fn says(message: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| message.contains(part)), "{message}\nlacks {parts:?}");
}

#[test]
fn missing_pairs_say_what_to_get_from_where() {
    let empty = tempfile::tempdir().unwrap();
    says(
        &fault("retrieval", empty.path()),
        &["new_aan_pairs.train.tsv", "lra_release", "tsv_data"],
    );
}

#[test]
fn faults_of_reviews() {
    let with = |name: &str, content: &[u8]| {
        let root = tempfile::tempdir().unwrap();
        reviews(root.path());
        write(&root.path().join("aclImdb").join(name), content);
        fault("text", root.path())
    };
    says(&with("train/pos/9_8.txt", b""), &["train/pos/9_8.txt", "empty", "unpack"]);
    for name in ["9.txt", "x_9.txt", "9_x.txt", "notes.md", "a\nb.txt"] {
        let shown = format!("train/pos/{}: expected a name", name.replace('\n', "\\n"));
        says(&with(&format!("train/pos/{name}"), b"x"), &[&shown, "<id>_<rating>.txt"]);
    }
    says(&with("test/neg/9_5.txt", b"x"), &["rating 5", "1 to 4"]);
    says(&with("train/pos/9_6.txt", b"x"), &["rating 6", "7 to 10"]);
    says(&with("test/neg/9_7.txt", b"x"), &["test/neg/9_7.txt", "rating 7", "1 to 4"]);
    says(&with("test/pos/9_11.txt", b"x"), &["rating 11", "7 to 10"]);
    says(&with("train/neg/5_1.txt", b"x"), &["train/neg", "two reviews have the id 5"]);
    let long = vec![b'x'; (1 << 20) + 1];
    says(&with("train/neg/9_1.txt", &long), &["9_1.txt", "1048577 bytes", "at most 1048576"]);
    let root = tempfile::tempdir().unwrap();
    reviews(root.path());
    fs::remove_dir_all(root.path().join("aclImdb/test/pos")).unwrap();
    says(&fault("text", root.path()), &["test/pos", "no reviews"]);
}

#[test]
fn faults_of_pictures() {
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let root = tempfile::tempdir().unwrap();
        pictures(root.path());
        let file = root.path().join("cifar-10-batches-bin/data_batch_2.bin");
        let mut bytes = fs::read(&file).unwrap();
        change(&mut bytes);
        fs::write(&file, bytes).unwrap();
        fault("image", root.path())
    };
    says(
        &with(&|bytes| bytes[3073] = 10),
        &["data_batch_2.bin", "record 2, byte 3073", "label 10", "0 to 9"],
    );
    says(
        &with(&|bytes| bytes.truncate(7000)),
        &["data_batch_2.bin: record 3 has 854 bytes", "expected 3073", "unpack"],
    );
    says(&with(&|bytes| bytes.clear()), &["data_batch_2.bin: record 1 has 0 bytes"]);
    for name in names() {
        let root = tempfile::tempdir().unwrap();
        pictures(root.path());
        fs::remove_file(root.path().join("cifar-10-batches-bin").join(&name)).unwrap();
        says(&fault("image", root.path()), &[&name, "missing", "all six files"]);
    }
    // A record more than an official file has.
    let root = tempfile::tempdir().unwrap();
    pictures(root.path());
    let file = root.path().join("cifar-10-batches-bin/data_batch_1.bin");
    fs::File::options().write(true).open(file).unwrap().set_len(30_733_073).unwrap();
    says(&fault("image", root.path()), &["batch_1.bin: 30733073 bytes", "at most 30730000"]);
}

#[test]
fn faults_of_pairs() {
    let with = |text: &[u8]| {
        let root = tempfile::tempdir().unwrap();
        pairs(root.path());
        fs::write(root.path().join("new_aan_pairs.eval.tsv"), text).unwrap();
        fault("retrieval", root.path())
    };
    let file = "new_aan_pairs.eval.tsv";
    says(&with(b""), &[file, "empty file"]);
    says(&with(b"1\ta\tb\tc\n"), &["eval.tsv:1:8", "text of column 5 is missing"]);
    says(&with(b"1\ta\tb\tc\td\n7\ta\tb\tc\td\n"), &["eval.tsv:2:1", "`7`", "0 or 1"]);
    let root = tempfile::tempdir().unwrap();
    pairs(root.path());
    fs::remove_file(root.path().join(file)).unwrap();
    says(&fault("retrieval", root.path()), &[file, "missing", "all three"]);
}

/// One line, exit code 3, and nothing outside of the cache.
#[test]
fn the_program_says_it_in_one_line_and_writes_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    reviews(root.path());
    write(&root.path().join("aclImdb/train/pos/9_8.txt"), b"");
    let list = || {
        let mut all: Vec<_> = walkdir::WalkDir::new(root.path())
            .into_iter()
            .map(|e| e.unwrap().into_path())
            .collect();
        all.retain(|path| !path.starts_with(root.path().join("cache")));
        all.sort();
        all
    };
    let before = list();
    let output = assert_cmd::Command::cargo_bin("lra")
        .unwrap()
        .env_remove("LRA_DATA")
        .env("LRA_CACHE", root.path().join("cache"))
        .current_dir(root.path())
        .args(["data", "prepare", "text", "--from", ".", "-q"])
        .assert()
        .code(3);
    let said = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    says(&said, &["9_8.txt", "empty"]);
    assert_eq!(list(), before);
}
