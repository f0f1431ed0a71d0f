//! `lra show attention`, `lra list models` and the plan of memory.

use std::path::Path;
use std::process::{Command, Output};

fn lra(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lra")).args(words).output().unwrap()
}

#[test]
fn every_attention_is_drawn() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("all");
    let out = out.to_str().unwrap();
    let said = lra(&["show", "attention", "--model", "all", "--n", "40", "--out", out]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let svg = std::fs::read_to_string(format!("{out}.svg")).unwrap();
    for title in ["Transformer-XL", "BigBird", "Reformer", "Sinkhorn Transformer", "Synthesizer"] {
        assert!(svg.contains(title), "{title}");
    }
    assert!(std::fs::read(format!("{out}.png")).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn mistakes_are_named() {
    for (words, part) in [
        (vec!["show", "attention"], "--model"),
        (vec!["show", "attention", "--model", "none"], "known are"),
        (vec!["show", "attention", "--model", "local", "--n", "0"], "expected 1 to"),
        (vec!["list", "models", "--task", "none"], "no task"),
        (vec!["list", "models", "--n", "0"], "expected 1 to"),
        (vec!["list", "models", "--n", "99999999"], "expected 1 to"),
        (
            vec![
                "show",
                "attention",
                "--model",
                "local",
                "--set",
                "model.heads=64",
                "--set",
                "model.layers=9",
            ],
            "at most 256",
        ),
    ] {
        let said = lra(&words);
        let error = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(2), "{words:?}: {error}");
        assert!(error.contains(part), "{words:?}: {error}");
    }
}

/// Logits for all pairs of Path-X fit into no machine of today: said before anything begins.
#[test]
fn what_does_not_fit_is_said_at_once() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("run");
    let set =
        ["data.train=20", "data.validation=2", "data.test=2", "model.heads=256", "model.qkv=256"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_lra"));
    command.args(["run", "--task", "pathx", "--model", "synthesizer", "--preset", "quick"]);
    command.args(set.iter().flat_map(|set| ["--set", set])).arg("--out").arg(&out);
    let said = command.env("LRA_CACHE", root.path()).env_remove("LRA_DATA").output().unwrap();
    let error = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(6), "{error}");
    assert!(error.contains("out of memory") && error.contains("GB"), "{error}");
    assert!(!Path::new(&out).exists());
}
