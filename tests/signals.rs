//! Signals, in a process of their own: this test binary, run again.
#![cfg(unix)]

use candle_core::{DType, Device, Tensor};
use lra::measure::Stop;
use lra::train::save_weights;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::raise;
use std::collections::BTreeMap;
use std::process::Command;

/// Runs the test `name` of this file alone, in a child, and returns its exit code.
fn child(name: &str, mode: &str) -> Option<i32> {
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new(this);
    command.args(["--exact", name, "--ignored", "--nocapture"]).env("LRA_TEST_SIGNALS", mode);
    command.output().unwrap().status.code()
}

#[test]
#[ignore = "is the child of the other test"]
fn raises() {
    let Ok(mode) = std::env::var("LRA_TEST_SIGNALS") else { return };
    let stop = Stop::install().unwrap();
    assert_eq!(stop.requested(), None);
    for (i, letter) in mode.chars().enumerate() {
        let signal = if letter == 'i' { SIGINT } else { SIGTERM };
        raise(signal).unwrap();
        assert_eq!(stop.requested(), Some(signal), "signal {i}");
    }
    std::process::exit(77);
}

#[test]
fn one_asks_and_a_second_interrupt_ends() {
    // 77: alive after the last signal, each reported.
    for (mode, code) in
        [("i", 77), ("t", 77), ("tt", 77), ("ii", 130), ("ti", 130), ("it", 77), ("iti", 130)]
    {
        assert_eq!(child("raises", mode), Some(code), "{mode}");
    }
}

#[test]
#[ignore = "is the child of the next test"]
fn writes_too_much() {
    let Ok(path) = std::env::var("LRA_TEST_LIMIT") else { return };
    let _stop = Stop::install().unwrap();
    let tensor = Tensor::zeros(1 << 20, DType::F32, &Device::Cpu).unwrap();
    let tensors = BTreeMap::from([("weights.a".to_owned(), tensor)]);
    let error = save_weights(path.as_ref(), &tensors, &BTreeMap::new()).unwrap_err();
    println!("{error}");
    std::process::exit(error.exit_code().into());
}

#[test]
fn a_file_size_limit_is_an_error_of_the_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, "old").unwrap();
    let child = Command::new("sh")
        .args(["-c", "ulimit -f 1024 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "writes_too_much", "--ignored", "--nocapture"])
        .env("LRA_TEST_LIMIT", &path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    assert_eq!(child.status.code(), Some(10), "{said}");
    assert!(said.contains("cannot write") && said.contains("File too large"), "{said}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn by_hand() {
    let stop = Stop::default();
    let seen = stop.clone();
    assert_eq!(seen.requested(), None);
    stop.request(SIGTERM);
    assert_eq!(seen.requested(), Some(SIGTERM));
}
