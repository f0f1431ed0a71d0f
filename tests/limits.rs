//! A write that the system cuts short, as a full disk does: a limit on the size of files, in
//! a process of its own.
#![cfg(unix)]

use candle_core::{DType, Device, Tensor};
use lra::measure::Stop;
use lra::records::{Event, RunFolder, read_events};
use lra::train::save_weights;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Runs a test of this file under a limit of half a mebibyte or one, as the shell counts.
/// Returns the exit code and what it said.
fn limited(name: &str, path: &Path) -> (Option<i32>, String) {
    let child = Command::new("sh")
        .args(["-c", "ulimit -f 1024 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env("LRA_TEST_LIMIT", path)
        .output()
        .unwrap();
    (child.status.code(), String::from_utf8_lossy(&child.stdout).into_owned())
}

#[test]
#[ignore = "is the child of the next test"]
fn saves_too_much() {
    let Ok(path) = std::env::var("LRA_TEST_LIMIT") else { return };
    let _stop = Stop::install().unwrap();
    let tensor = Tensor::zeros(1 << 20, DType::F32, &Device::Cpu).unwrap();
    let tensors = BTreeMap::from([("weights.a".to_owned(), tensor)]);
    let error = save_weights(path.as_ref(), &tensors, &BTreeMap::new()).unwrap_err();
    println!("{error}");
    std::process::exit(error.exit_code().into());
}

#[test]
fn a_cut_save_is_an_error_and_the_old_file_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, "old").unwrap();
    let (code, said) = limited("saves_too_much", &path);
    assert_eq!(code, Some(10), "{said}");
    assert!(said.contains("cannot write") && said.contains("File too large"), "{said}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
#[ignore = "is the child of the next test"]
fn logs_too_much() {
    let Ok(path) = std::env::var("LRA_TEST_LIMIT") else { return };
    let _stop = Stop::install().unwrap();
    let folder = RunFolder::open(path, &serde_json::json!({})).unwrap();
    let mut events = folder.events(None, None).unwrap();
    let failed = (0..1 << 20).find_map(|step| events.write(&Event::Checkpoint { step }).err());
    std::process::exit(failed.unwrap().exit_code().into());
}

#[test]
fn a_cut_row_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = limited("logs_too_much", folder.path());
    assert_eq!(code, Some(10), "{said}");
    let path = folder.path().join("events.jsonl");
    assert!(std::fs::read(&path).unwrap().ends_with(b"}\n"));
    let events = read_events(&path).unwrap();
    assert!(events.len() > 1000);
    assert_eq!(events.last(), Some(&Event::Checkpoint { step: events.len() as u64 - 1 }));
}
