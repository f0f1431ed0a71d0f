//! A run that is stopped and given again ends as one that is not.

use super::{arguments, cache, folder, last_checkpoint, lra, result};
use lra::random::Key;
use rand::Rng;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Starts a run and kills it once it has written `lines` events, or lets it end.
fn start(model: &str, steps: u32, out: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_lra"))
        .args(arguments(model, steps, out))
        .env("LRA_CACHE", cache())
        .env_remove("LRA_DATA")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn events(out: &Path) -> usize {
    std::fs::read_to_string(out.join("events.jsonl")).map_or(0, |text| text.lines().count())
}

/// Waits until the run has written `more` further events; false if it ended before.
fn wait(child: &mut Child, out: &Path, more: usize) -> bool {
    let (from, deadline) = (events(out), Instant::now() + Duration::from_secs(60));
    while child.try_wait().unwrap().is_none() {
        if events(out) >= from + more {
            return true;
        }
        assert!(Instant::now() < deadline, "the run does not go on");
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: kill(2) takes any pid; this is our child, not yet waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

#[test]
fn killed_at_any_moment() {
    let steps = 60;
    for model in ["transformer", "performer"] {
        let (_root, whole) = folder();
        lra().args(arguments(model, steps, &whole)).assert().success();
        let (_root, broken) = folder();
        let mut rng = Key::new(1).named(model).stream();
        let mut kills = 0;
        loop {
            let mut child = start(model, steps, &broken);
            // A kill right after start-up now and then, else a few events later.
            let more = rng.random_range(0..14);
            let running = wait(&mut child, &broken, more);
            std::thread::sleep(Duration::from_micros(rng.random_range(0..3000)));
            if !running {
                assert!(child.wait().unwrap().success());
                break;
            }
            // A signal leaves a checkpoint of the very step; it may also come too late.
            signal(&child, [libc::SIGKILL, libc::SIGTERM, libc::SIGINT][kills % 3]);
            child.wait().unwrap();
            kills += 1;
            assert!(kills < 200, "no progress over kills");
        }
        assert!(kills >= 3, "only {kills} kills");
        assert!(result(&whole) == result(&broken), "{model}: differs after {kills} kills");
        assert!(last_checkpoint(&whole) == last_checkpoint(&broken), "{model}");
    }
}

/// A checkpoint, exit code 130 or 143, a record that says so; then the same end.
#[test]
fn asked_to_stop() {
    // Enough that the run is still at it when the signal comes, however busy the machine.
    let steps = 500;
    let (_root, whole) = folder();
    lra().args(arguments("linear", steps, &whole)).assert().success();
    for (number, code) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        let (_root, broken) = folder();
        let mut child = start("linear", steps, &broken);
        assert!(wait(&mut child, &broken, 5), "ended before it could be stopped");
        signal(&child, number);
        let asked = Instant::now();
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(asked.elapsed() < Duration::from_secs(2));
        let record = lra::records::read_record(&broken.join("record.json")).unwrap();
        assert_eq!(record.status, lra::records::Status::Interrupted);
        let (step, _) = last_checkpoint(&broken);
        assert_eq!(step, record.steps, "the checkpoint is of the last step");
        lra().args(arguments("linear", steps, &broken)).assert().success();
        assert!(result(&whole) == result(&broken), "differs after signal {number}");
    }
}

/// Weights of the best validation are found again when they are not the last ones, and a
/// run that has ended is not run again.
#[test]
fn the_best_checkpoint_is_selected() {
    let (_root, out) = folder();
    let mut words = arguments("linear", 30, &out);
    words.extend(["--set", "train.selection=best-validation"].map(String::from));
    lra().args(&words).assert().success();
    let record = lra::records::read_record(&out.join("record.json")).unwrap();
    let metrics = record.final_metrics.clone().unwrap();
    let best = record.evaluations.iter().map(|e| e.validation.accuracy).fold(0.0, f64::max);
    assert_eq!(metrics.validation.accuracy, best);
    let first = record.evaluations.iter().find(|e| e.validation.accuracy == best).unwrap();
    assert_eq!(metrics.step, first.step);
    let before = std::fs::read(out.join("record.json")).unwrap();
    lra().args(&words).assert().success();
    assert_eq!(std::fs::read(out.join("record.json")).unwrap(), before);
}
