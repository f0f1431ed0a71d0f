//! `lra` on pairs, as a person runs it.

use super::write;
use lra::records::{Status, read_record};
use std::path::Path;
use std::process::{Command, Output};

/// Documents of 16 bytes or more; the label says whether both begin with the same letter.
fn rows(count: usize, salt: usize) -> Vec<u8> {
    let row = |i: usize| {
        let (a, label) = (b'a' + (i * 7 + salt) as u8 % 20, i % 2);
        let b = if label == 1 { a } else { a + 1 };
        let [a, b] = [a, b].map(|c| char::from(c).to_string().repeat(16 + i % 3));
        format!("{label}.0\tA{i}\tB{i}\t{a}\t{b}\n")
    };
    (0..count).map(row).collect::<String>().into_bytes()
}

const SMALL: [&str; 16] = [
    "data.max_length=16",
    "model.length=16",
    "model.layers=1",
    "model.width=16",
    "model.qkv=16",
    "model.heads=2",
    "model.feed_forward=16",
    "model.dropout=0.1",
    "model.attention_dropout=0.1",
    "model.pooling=first",
    "model.pair=interaction",
    "train.batch=8",
    "train.evaluate_every=40",
    "train.evaluate_examples=0",
    "train.checkpoint_every=30",
    "train.pad=longest",
];

fn run(root: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lra"));
    command.env("LRA_CACHE", root.join("cache")).env_remove("LRA_DATA").env("NO_COLOR", "1");
    command.args(["run", "--task", "retrieval", "--model", "transformer", "--preset", "quick"]);
    command.arg("--out").arg(root.join("out"));
    command.args(SMALL.iter().flat_map(|set| ["--set", set])).args(words);
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn prepared() -> (tempfile::TempDir, String) {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    write(&data, [&rows(60, 0), &rows(20, 1), &rows(30, 2)]);
    let data = data.to_str().unwrap().to_string();
    (root, data)
}

/// A whole run; its meters count examples as pairs, and tokens of both documents.
#[test]
fn a_run_of_pairs_leaves_its_record() {
    let (root, data) = prepared();
    let output = run(root.path(), &["--data-dir", &data, "--steps", "80"]);
    assert!(output.status.success(), "{}", said(&output));
    let record = read_record(&root.path().join("out/record.json")).unwrap();
    assert_eq!((record.status, record.task.as_str()), (Status::Done, "retrieval"));
    assert_eq!((record.data.train, record.data.validation, record.data.test), (60, 20, 30));
    assert_eq!((record.data.classes, record.data.majority), (2, 0.5));
    assert_eq!(record.config["model"]["pair"], "interaction");
    assert_eq!(record.final_metrics.unwrap().test.examples, 30);
    let speed = record.speed.unwrap();
    let per_step = speed.examples_per_second / speed.steps_per_second;
    let per_example = speed.tokens_per_second / speed.examples_per_second;
    assert!((per_step - 8.0).abs() < 1e-9, "{per_step} examples a step");
    assert!((per_example - 32.0).abs() < 1e-9, "{per_example} tokens an example");
}

#[test]
fn mistakes_are_named_and_leave_no_run() {
    let (root, data) = prepared();
    for (words, code, parts) in [
        (vec![], 3, ["new_aan_pairs.train.tsv", "lra_release.gz"]),
        (vec!["--data-dir", &data, "--set", "model.pooling=cls"], 2, ["`model.pooling`", "mean"]),
        (vec!["--data-dir", &data, "--set", "model.pair=both"], 2, ["`model.pair`", "`both`"]),
        (vec!["--data-dir", &data, "--set", "model.length=17"], 2, ["`model.length`", "of 16"]),
    ] {
        let output = run(root.path(), &[&["--steps", "2"][..], &words].concat());
        let error = said(&output);
        assert_eq!(output.status.code(), Some(code), "{error}");
        let last = error.lines().last().unwrap();
        assert!(parts.iter().all(|part| last.contains(part)), "{words:?}: {error}");
        assert!(!root.path().join("out").exists(), "{words:?} left a folder");
    }
}
