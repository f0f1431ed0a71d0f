//! Signals, in a process of their own: this test binary, run again.
#![cfg(unix)]

use lra::measure::Stop;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::raise;
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
fn by_hand() {
    let stop = Stop::default();
    let seen = stop.clone();
    assert_eq!(seen.requested(), None);
    stop.request(SIGTERM);
    assert_eq!(seen.requested(), Some(SIGTERM));
}
