//! Ten thousand steps hold what a hundred held.
#![cfg(target_os = "linux")]

use super::folder;
use super::process::{command, rows, status, until};
use std::time::Duration;

#[test]
fn memory_and_open_files_do_not_grow() {
    let steps = 10_000;
    let (_root, out) = folder();
    let tiny = ["model.width=8", "model.qkv=8", "model.feed_forward=8", "model.layers=1"];
    let rare = ["train.batch=2", "train.evaluate_every=500", "train.checkpoint_every=500"];
    let sets: Vec<&str> = tiny.iter().chain(&rare).flat_map(|set| ["--set", set]).collect();
    // A huge page is 2 MB at once, and a thread may take its first late: whole small tasks
    // seldom leave it any.
    let mut command = command("linear", steps, &out, &sets);
    let mut child = command.env("MIMALLOC_ALLOW_THP", "0").spawn().unwrap();
    let pid = child.id();
    let length = || std::fs::metadata(out.join("events.jsonl")).map_or(0, |m| m.len());
    let held = || {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |list| list.count());
        (status(pid, "VmRSS").unwrap_or(0), files)
    };
    let mut samples = Vec::new();
    let mut next = 0;
    // A row has about as many bytes whatever its step; the first tenth warms up, with an
    // evaluation and a checkpoint in it.
    until(&mut child, Duration::from_millis(20), || {
        let row = rows(&out).lines().nth(1).map_or(u64::MAX, |row| row.len() as u64);
        let step = length() / row.max(1);
        if step >= next {
            samples.push((step, held()));
            next = step + u64::from(steps) / 40;
        }
        false
    });
    assert!(child.wait().unwrap().success());
    let samples: Vec<_> = samples.into_iter().filter(|(step, _)| *step > 1000).collect();
    println!("{samples:?}");
    assert!(samples.len() >= 10, "{} samples", samples.len());
    let (_, (memory, files)) = samples[0];
    for (step, (now, open)) in &samples {
        // The kernel counts pages by batches of each thread; a row of 100 bytes that leaked
        // would come to a megabyte.
        assert!(now.saturating_sub(memory) < 1 << 20, "{memory} bytes, {now} at step {step}");
        assert!(open.abs_diff(files) <= 1, "{files} files, {open} at step {step}");
    }
}
