//! `--threads` bounds every pool, Candle's own among them, whatever the environment says.
#![cfg(target_os = "linux")]

use super::{arguments, cache, folder};
use std::process::{Command, Stdio};

/// The most threads that a run had at once.
fn most(threads: &str) -> usize {
    let (_root, out) = folder();
    let mut child = Command::new(env!("CARGO_BIN_EXE_lra"))
        .args(arguments("transformer", 300, &out))
        .args(["--threads", threads])
        .env("LRA_CACHE", cache())
        .env("RAYON_NUM_THREADS", "9")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let tasks = format!("/proc/{}/task", child.id());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        most = most.max(std::fs::read_dir(&tasks).map_or(0, |list| list.count()));
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success());
    most
}

#[test]
fn every_pool_has_the_threads_it_was_given() {
    let (one, three) = (most("1"), most("3"));
    println!("threads of a run: {one} with --threads 1, {three} with --threads 3");
    // Of the program itself: the first, the training's, the loader's; and one in the pool.
    assert!(one <= 5, "{one}");
    assert!((one + 2..=one + 4).contains(&three), "{one} {three}");
}
