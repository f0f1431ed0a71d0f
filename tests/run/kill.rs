//! Runs that are killed and given again end in the bytes of those that are not: weights,
//! moments, metric rows. The models are a plain one, one that draws features anew every few
//! steps, and one that is reversible and hashes by chance.

use super::process::{rows, signal, start, until, wait};
use super::{arguments, folder, last_checkpoint, lra, result};
use lra::random::Key;
use rand::Rng;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

const MODELS: [(&str, &[&str]); 3] = [
    ("transformer", &[]),
    ("performer", &["--set", "attention.redraw=5"]),
    ("reformer", &["--set", "attention.chunk=8"]),
];

const THREADS: [&str; 3] = ["1", "2", "3"];

fn begin(model: &str, steps: u32, out: &Path, more: &[&str], sitting: usize) -> Child {
    let threads = ["--threads", THREADS[sitting % THREADS.len()]];
    start(model, steps, out, &[more, &threads].concat())
}

fn unbroken(model: &str, steps: u32, more: &[&str]) -> (tempfile::TempDir, std::path::PathBuf) {
    let (root, whole) = folder();
    lra().args(arguments(model, steps, &whole)).args(more).assert().success();
    (root, whole)
}

fn same(model: &str, whole: &Path, broken: &Path, kills: usize) {
    assert!(result(whole) == result(broken), "{model}: differs after {kills} kills");
    assert!(last_checkpoint(whole) == last_checkpoint(broken), "{model}: {kills} kills");
}

/// Whether a checkpoint is being written.
fn writing(out: &Path) -> bool {
    let list = std::fs::read_dir(out.join("checkpoints"));
    let mut names = list.into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.any(|name| name.to_string_lossy().ends_with(".tmp"))
}

/// Kills a run until it ends, or until it was killed so often, and counts the kills and those
/// that left half a checkpoint. Every `aimed`-th kill waits for a checkpoint that is being
/// written, the others for some events and a moment more.
fn kill_on(model: &str, steps: u32, more: &[&str], most: usize, aimed: usize) -> [usize; 2] {
    let (_root, whole) = unbroken(model, steps, more);
    let (_root, broken) = folder();
    let mut rng = Key::new(1).named(model).stream();
    let (mut kills, mut halves) = (0, 0);
    loop {
        let mut child = begin(model, steps, &broken, more, kills);
        let running = if kills >= most {
            // Enough: this one may end, however long it takes.
            false
        } else if kills % aimed == aimed - 1 {
            until(&mut child, Duration::ZERO, || writing(&broken))
        } else {
            // Right after start-up now and then, else a few events later.
            let running = wait(&mut child, &broken, rng.random_range(0..14));
            std::thread::sleep(Duration::from_micros(rng.random_range(0..3000)));
            running
        };
        if !running {
            assert!(child.wait().unwrap().success());
            break;
        }
        // A signal leaves a checkpoint of the very step; it may also come too late.
        let kind = [libc::SIGKILL, libc::SIGKILL, libc::SIGTERM, libc::SIGKILL, libc::SIGINT];
        signal(&child, if kills % aimed == aimed - 1 { libc::SIGKILL } else { kind[kills % 5] });
        child.wait().unwrap();
        halves += usize::from(writing(&broken));
        kills += 1;
        assert!(kills <= most + 1, "no progress over kills");
    }
    same(model, &whole, &broken, kills);
    [kills, halves]
}

#[test]
fn killed_at_any_moment() {
    for (model, more) in MODELS {
        let [kills, _] = kill_on(model, 60, more, 200, 4);
        assert!(kills >= 3, "{model}: only {kills} kills");
    }
}

/// A hundred kills, one of five while a checkpoint is being written.
#[test]
#[ignore = "minutes; run with --ignored"]
fn killed_a_hundred_times() {
    let mut total = [0, 0];
    for (i, (model, more)) in MODELS.into_iter().enumerate() {
        let most = if i == 0 { 34 } else { 33 };
        let [kills, halves] = kill_on(model, 1500, more, most, 4);
        println!("{model}: {kills} kills, {halves} of them left half a checkpoint");
        assert_eq!(kills, most);
        total = [total[0] + kills, total[1] + halves];
    }
    println!("{} of {} resumed to the same bytes; {} half checkpoints", total[0], 100, total[1]);
    assert_eq!(total[0], 100);
}

/// Killed after each step, with another number of threads each time.
#[test]
fn killed_after_every_step() {
    let steps = 8;
    for (model, more) in MODELS {
        let more = [more, &["--set", "train.checkpoint_every=1"]].concat();
        let (_root, whole) = unbroken(model, steps, &more);
        // A machine that is busy may let two steps pass before the kill; then it is tried anew.
        let broken = (0..10).find_map(|_| {
            let (root, broken) = folder();
            for step in 1..u64::from(steps) {
                let mut child = begin(model, steps, &broken, &more, step as usize);
                let checkpoint =
                    |step: u64| broken.join(format!("checkpoints/step-{step:07}.safetensors"));
                until(&mut child, Duration::ZERO, || checkpoint(step).exists());
                let _ = child.kill();
                child.wait().unwrap();
                if !checkpoint(step).exists() || broken.join("record.json").exists() {
                    return None;
                }
                // What was written between the step and the kill is as if it had not been.
                for later in step + 1..=u64::from(steps) {
                    let _ = std::fs::remove_file(checkpoint(later));
                }
            }
            Some((root, broken))
        });
        let (_root, broken) = broken.expect("a machine quiet enough to aim a kill at a step");
        lra().args(arguments(model, steps, &broken)).args(&more).assert().success();
        same(model, &whole, &broken, steps as usize - 1);
        for from in 1..steps {
            assert!(rows(&broken).contains(&format!("\"from\":{from}}}")), "{model}: {from}");
        }
    }
}
