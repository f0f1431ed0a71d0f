//! `lra sweep`: every cell once, whatever becomes of the others.

use super::{SMALL, lra};
use std::path::Path;

fn sweep(out: &Path, models: &str, more: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = lra();
    command.args(["sweep", "--tasks", "listops", "--models", models, "--steps", "2", "--out"]);
    command.arg(out).args(more);
    SMALL.iter().for_each(|set| {
        command.args(["--set", set]);
    });
    command.assert()
}

fn records(out: &Path) -> Vec<String> {
    let mut found: Vec<String> = std::fs::read_dir(out)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("record.json").exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    found.sort();
    found
}

#[test]
fn a_sweep_runs_every_cell_and_none_twice() {
    let out = tempfile::tempdir().unwrap();
    let more = ["--seeds", "0..2", "--jobs", "2", "--tensorboard"];
    let run = sweep(out.path(), "linear,local", &more).success();
    let said = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert_eq!(said.matches("test accuracy").count(), 4, "{said}");
    let expected = ["linear-quick-s0", "linear-quick-s1", "local-quick-s0", "local-quick-s1"];
    assert_eq!(records(out.path()), expected.map(|name| format!("listops-{name}")));
    assert!(out.path().join("listops-local-quick-s1/events.out.tfevents.lra").exists());
    let path = out.path().join("listops-local-quick-s1/record.json");
    let before = std::fs::metadata(&path).unwrap().modified().unwrap();
    let run = sweep(out.path(), "linear,local", &["--seeds", "0,1"]).success();
    let said = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(!said.contains("test accuracy"), "{said}");
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), before);
}

#[test]
fn a_cell_that_fails_stops_no_other() {
    let out = tempfile::tempdir().unwrap();
    // A folder of something else stands where the first run would go.
    let taken = out.path().join("listops-linear-quick-s0");
    std::fs::create_dir(&taken).unwrap();
    std::fs::write(taken.join("notes.txt"), "mine").unwrap();
    let run = sweep(out.path(), "linear,local", &[]).failure().code(1);
    let said = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(said.contains("1 of 2 runs failed"), "{said}");
    assert!(said.contains("linear on listops, seed 0"), "{said}");
    assert_eq!(records(out.path()), ["listops-local-quick-s0"]);
    assert_eq!(std::fs::read_to_string(taken.join("notes.txt")).unwrap(), "mine");
}

/// A sweep that is told to stop tells its runs, which keep what they have.
#[test]
fn a_stopped_sweep_stops_its_runs() {
    let out = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_lra"))
        .env("LRA_CACHE", super::cache())
        .args(["sweep", "--tasks", "listops", "--models", "linear,linear", "--steps", "100000"])
        .arg("--out")
        .arg(out.path())
        .args(SMALL.iter().flat_map(|set| ["--set", set]))
        .spawn()
        .unwrap();
    let folder = out.path().join("listops-linear-quick-s0");
    let events = || std::fs::read_to_string(folder.join("events.jsonl")).unwrap_or_default();
    for _ in 0..600 {
        if events().contains("\"event\":\"train\"") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    // SAFETY: a signal to a child that has not been waited for.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let said = events();
    assert!(said.contains("checkpoint") && said.contains("interrupted"), "{said}");
    assert!(!records(out.path()).is_empty());
    let record = std::fs::read_to_string(folder.join("record.json")).unwrap();
    assert!(record.contains("\"interrupted\""), "{record}");
}

#[test]
fn a_plan_runs_nothing() {
    let out = tempfile::tempdir().unwrap();
    let run = sweep(out.path(), "all", &["--dry-run"]).success();
    let said = String::from_utf8_lossy(&run.get_output().stdout).into_owned();
    assert_eq!(said.lines().filter(|line| line.contains(" GB")).count(), 12, "{said}");
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
}

#[test]
fn what_is_no_seed_is_refused() {
    let out = tempfile::tempdir().unwrap();
    for seeds in ["x", "3..1", "0..", "1;2", ""] {
        let run = sweep(out.path(), "linear", &["--seeds", seeds]).failure();
        let said = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        assert!(said.contains("expected numbers"), "{seeds}: {said}");
    }
}
