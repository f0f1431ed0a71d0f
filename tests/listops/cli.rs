//! `lra data`, as a person runs it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn lra(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lra"));
    command.env_clear().env("LRA_CACHE", folder.join("cache")).current_dir(folder);
    command.arg("data");
    command
}

/// Runs with small splits.
fn run(folder: &Path, verb: &str, more: &[&str]) -> Output {
    let mut command = lra(folder);
    command.args([verb, "listops"]).args(more);
    for set in ["data.train=30", "data.validation=10", "data.test=10"] {
        command.args(["--set", set]);
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn prepare_show_list_export_verify() {
    let folder = tempfile::tempdir().unwrap();
    let first = run(folder.path(), "prepare", &[]);
    assert!(first.status.success(), "{}", text(&first.stderr));
    assert!(text(&first.stderr).contains("prepared listops (30 + 10 + 10)"));
    let second = run(folder.path(), "prepare", &[]);
    assert_eq!((text(&second.stdout), text(&second.stderr)), (text(&first.stdout), String::new()));
    assert!(text(&first.stdout).contains("SHA-256"));
    let seeded = run(folder.path(), "prepare", &["--seed", "3"]);
    assert_ne!(text(&seeded.stdout), text(&first.stdout));

    let shown =
        text(&run(folder.path(), "show", &["--split", "test", "--index", "8", "-n9"]).stdout);
    assert_eq!(shown.lines().count(), 2);
    assert!(shown.starts_with("test[8] label ") && shown.contains(": ["), "{shown}");

    let list = text(&lra(folder.path()).arg("list").output().unwrap().stdout);
    assert!(list.contains("generated, 30 + 10 + 10 examples"), "{list}");
    let json = lra(folder.path()).args(["list", "--json"]).output().unwrap().stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json[0]["prepared"].as_array().unwrap().len(), 2);
    let path = text(&lra(folder.path()).arg("path").output().unwrap().stdout);
    assert_eq!(Path::new(path.trim_end()), folder.path().join("cache"));

    let exported = run(folder.path(), "export", &["out"]);
    assert_eq!(text(&exported.stdout).lines().count(), 3);
    for more in [&["--data-dir", "out"][..], &[]] {
        let verified = run(folder.path(), "verify", more);
        assert!(verified.status.success(), "{}", text(&verified.stderr));
        let out = text(&verified.stdout);
        assert_eq!(out.matches("every label right").count(), 3, "{out}");
        assert!(out.contains("30 examples"), "{out}");
    }
}

#[test]
fn ten_mismatches_are_shown_and_all_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    for name in ["basic_train.tsv", "basic_val.tsv", "basic_test.tsv"] {
        std::fs::write(out.join(name), format!("Source\tTarget\r\n{}", "7\t8\r\n".repeat(4)))
            .unwrap();
    }
    let verified = run(folder.path(), "verify", &["--data-dir", "out"]);
    let said = text(&verified.stderr);
    assert_eq!(verified.status.code(), Some(3));
    assert_eq!(verified.stdout, b"");
    assert_eq!(said.matches("the label is 8; the expression evaluates to 7\n").count(), 10);
    assert!(said.contains("... and 2 more\n"), "{said}");
    assert!(said.contains("error: out/basic_train.tsv:2:3: the label is 8"), "{said}");
    assert!(said.contains("the first of 12 mismatches in 12 examples"), "{said}");
    let loaded = run(folder.path(), "prepare", &["--data-dir", "out"]);
    let said = text(&loaded.stderr);
    assert!(loaded.status.success() && said.contains("12 labels disagree"), "{said}");
    assert!(said.contains("basic_train.tsv: 4 rows, fewer than data.train = 30"), "{said}");
}

#[test]
fn mistakes_are_named_and_have_their_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    for (more, code, part) in [
        (&["--set", "data.max_args=1"][..], 2, "`data.max_args`: 1 given; expected 2 to"),
        (&["--set", "data.max_arg=1"], 2, "`data.max_arg`: unknown; expected one of"),
        (&["--set", "data.seed=many"], 2, "`data.seed`: invalid type"),
        (&["--set", "seed"], 2, "--set seed; expected data.KEY=VALUE"),
        (&["--data-dir", "nowhere"], 2, "--data-dir names nowhere, which does not exist"),
        (&["--seed", "18446744073709551615"], 2, "expected at most 9223372036854775807"),
    ] {
        let output = run(folder.path(), "prepare", more);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.starts_with("error: ") && said.contains(part), "{said}");
    }
    let output = run(folder.path(), "show", &["--index", "30"]);
    assert!(text(&output.stderr).contains("--index 30; expected 0 to 29"));
    let output = lra(folder.path()).args(["show", "list\nops"]).output().unwrap();
    let said = text(&output.stderr);
    assert!(said.starts_with("error: no task `list\\nops`; known: listops, text, "), "{said}");
    assert_eq!(said.lines().count(), 1);
}

/// One line, however damaged; and the run goes on with what was built again.
#[test]
fn a_damaged_cache_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let first = run(folder.path(), "prepare", &[]);
    let task = folder.path().join("cache/listops");
    let prepared = std::fs::read_dir(task).unwrap().next().unwrap().unwrap().path();
    std::fs::write(prepared.join("test.packed"), b"LRAPACK").unwrap();
    let list = text(&lra(folder.path()).arg("list").output().unwrap().stdout);
    assert!(list.contains("test.packed: damaged: 7 bytes"), "{list}");
    let again = run(folder.path(), "prepare", &[]);
    let said = text(&again.stderr);
    assert!(again.status.success() && again.stdout == first.stdout);
    assert_eq!(said.matches("test.packed: damaged: 7 bytes").count(), 1, "{said}");
    assert!(said.contains("; preparing it again\n") && said.lines().count() == 2, "{said}");
}

#[test]
fn processes_that_prepare_the_same_at_once_end_well() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = lra(folder.path());
    command.args(["prepare", "listops", "--set", "data.train=500"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let running: Vec<_> = (0..4).map(|_| command.spawn().unwrap()).collect();
    let outputs: Vec<_> = running.into_iter().map(|c| c.wait_with_output().unwrap()).collect();
    for output in &outputs {
        assert!(output.status.success());
        assert_eq!(output.stdout, outputs[0].stdout);
    }
}

/// `lra data show listops -n 30 | head -1`: the reader leaves, nobody panics.
#[test]
fn a_closed_pipe_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), "prepare", &[]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = lra(folder.path());
    command.args(["show", "listops", "-n", "30", "--set", "data.train=30"]);
    command.args(["--set", "data.validation=10", "--set", "data.test=10"]);
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}
