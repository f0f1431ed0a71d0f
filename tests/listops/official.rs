//! Official folders: found, read, written, refused.

use super::{examples, load, places, small, table};
use lra::data::Places;
use lra::progress::Progress;
use lra::tasks::Task;
use lra::tasks::listops::{FILES, ListOps, Options};
use std::fs;
use std::path::Path;

/// Generates a small dataset and exports it into `folder/inner`.
fn export(folder: &Path, inner: &str) -> lra::tasks::Dataset {
    let data = load(&small(), &places(folder)).unwrap();
    ListOps.export(&data, &folder.join(inner), &Progress::silent()).unwrap();
    data
}

fn official(folder: &Path) -> Places {
    Places { official: Some(folder.to_path_buf()), ..places(folder) }
}

#[test]
fn exported_files_read_back_as_the_same_examples() {
    let folder = tempfile::tempdir().unwrap();
    for nesting in
        ["", "listops-1000", "lra_release/listops-1000", "lra_release/lra_release/listops-1000"]
    {
        let top = folder.path().join(format!("top-{}", nesting.len()));
        let data = export(&top, nesting);
        let read = load(&small(), &official(&top)).unwrap();
        assert_eq!(read.checksum, data.checksum);
        assert!(read.source.ends_with(nesting) && read.source != "generated", "{}", read.source);
        for ((_, a), (_, b)) in data.splits().into_iter().zip(read.splits()) {
            assert_eq!(examples(a), examples(b));
        }
        let text = fs::read_to_string(top.join(nesting).join(FILES[1])).unwrap();
        assert!(text.starts_with("Source\tTarget\r\n( ( ") && text.ends_with("\r\n"));
        assert_eq!(text.matches("\r\n").count(), 41);
        assert_eq!(text.matches('\n').count(), 41);
    }
}

#[test]
fn some_but_not_all_files_is_an_error() {
    for (i, name) in FILES.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        export(folder.path(), "listops-1000");
        fs::remove_file(folder.path().join("listops-1000").join(name)).unwrap();
        let error = load(&small(), &official(folder.path())).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.exit_code(), 3);
        assert!(text.contains(&format!("{name}: missing, while")), "{text}");
        assert!(text.contains(FILES[(i + 1) % 3]) && text.contains(FILES[(i + 2) % 3]), "{text}");
    }
}

#[test]
fn a_folder_without_listops_generates() {
    let folder = tempfile::tempdir().unwrap();
    let data = load(&small(), &official(folder.path())).unwrap();
    assert_eq!(data.source, "generated");
}

#[test]
fn sizes_and_lengths_limit_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let data = export(folder.path(), "");
    let fewer = Options { train: 10, max_length: 600, ..small() };
    let read = load(&fewer, &official(folder.path())).unwrap();
    assert_eq!((read.train.len(), read.validation.len(), read.test.len()), (10, 40, 50));
    assert_eq!(read.train.max_tokens(), 600);
    for i in 0..10 {
        let whole = data.train.tokens(i, 0);
        assert_eq!(read.train.tokens(i, 0), &whole[..whole.len().min(600)]);
        assert_eq!(read.train.label(i), data.train.label(i));
    }
    // What was cut cannot be written again.
    let again = ListOps.export(&read, &folder.path().join("again"), &Progress::silent());
    let text = again.unwrap_err().to_string();
    assert!(text.contains("basic_train.tsv") && text.contains("cut to 600 tokens"), "{text}");
    // More than there are: all of them.
    let more = Options { train: 301, ..small() };
    assert_eq!(load(&more, &official(folder.path())).unwrap().train.len(), 300);
}

#[test]
fn changed_files_and_options_are_prepared_anew() {
    let folder = tempfile::tempdir().unwrap();
    export(folder.path(), "");
    let before = load(&small(), &official(folder.path())).unwrap();
    let test = folder.path().join(FILES[2]);
    let text = fs::read_to_string(&test).unwrap();
    fs::write(&test, format!("{text}7\t7\r\n")).unwrap();
    let options = Options { test: 51, ..small() };
    let after = load(&options, &official(folder.path())).unwrap();
    assert_eq!((after.test.len(), after.test.label(50)), (51, 7));
    assert_ne!(before.test.path(), after.test.path());

    // The same size, another time.
    let changed = text.replacen("]", "] ", 1).replacen("( ", "(", 1);
    assert_eq!(changed.len(), text.len());
    fs::write(&test, &text).unwrap();
    let one = load(&small(), &official(folder.path())).unwrap();
    fs::write(&test, &changed).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    fs::File::options().append(true).open(&test).unwrap().set_modified(later).unwrap();
    let two = load(&small(), &official(folder.path())).unwrap();
    assert_ne!(one.test.path(), two.test.path());
    assert_eq!(one.checksum, two.checksum);
}

#[test]
fn a_fault_in_a_file_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    export(folder.path(), "");
    let path = folder.path().join(FILES[1]);
    let text = fs::read_to_string(&path).unwrap();
    let half = &text[..text.len() / 2];
    for (bad, part) in [
        (half, ":2"),
        ("", ":1:1: an empty file"),
        ("Source\tTarget\r\n", ": no rows; expected some"),
        ("Source\tTarget\r\n7\tx\r\n", ":2:3: the label is `x`"),
    ] {
        fs::write(&path, bad).unwrap();
        let error = load(&small(), &official(folder.path())).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.exit_code(), 3, "{text}");
        assert!(text.contains(&format!("basic_val.tsv{part}")), "{text}");
    }
}

#[test]
fn verify_counts_all_mismatches_and_names_the_first() {
    let folder = tempfile::tempdir().unwrap();
    export(folder.path(), "");
    let places = official(folder.path());
    let verify = || ListOps.verify(&table(&small()), &places, &Progress::silent());
    let counts: Vec<u64> = verify().unwrap().files.iter().map(|(_, n)| *n).collect();
    assert_eq!(counts, [300, 40, 50]);

    let path = folder.path().join(FILES[1]);
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<String> = text.lines().map(String::from).collect();
    for line in &mut lines[5..20] {
        let label: u8 = line.pop().unwrap() as u8 - b'0';
        line.push(char::from(b'0' + (label + 1) % 10));
    }
    fs::write(&path, lines.join("\n")).unwrap();
    let error = verify().unwrap_err().to_string();
    let column = lines[5].len();
    assert!(error.contains(&format!("basic_val.tsv:6:{column}: the label is")), "{error}");
    assert!(error.contains("the first of 15 mismatches in 390 examples"), "{error}");
    // Loading keeps such labels: what to do about them is for a person to decide.
    let data = load(&small(), &places).unwrap();
    assert_eq!(data.validation.label(4), u32::from(lines[5].as_bytes()[column - 1] - b'0'));
}
