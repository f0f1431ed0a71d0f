//! A run that is stopped and given again ends as one that is not.

use super::process::{rows, said, signal, start, until, wait};
use super::{arguments, folder, last_checkpoint, lra, result};
use std::time::{Duration, Instant};

/// A checkpoint, exit code 130 or 143, a record that says so; then the same end.
#[test]
fn asked_to_stop() {
    // Enough that the run is still at it when the signal comes, however busy the machine.
    let steps = 500;
    let (_root, whole) = folder();
    lra().args(arguments("linear", steps, &whole)).assert().success();
    for (number, code) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        let (_root, broken) = folder();
        let mut child = start("linear", steps, &broken, &[]);
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

/// A step that takes seconds and cannot be left in the middle: the first Ctrl-C waits for its
/// end, the second does not, and what was saved before goes on.
#[test]
fn a_second_interrupt_ends_at_once() {
    let (_root, out) = folder();
    let slow = [
        "data.min_length=700",
        "data.max_length=800",
        "data.validation=8",
        "data.test=8",
        "model.length=800",
        "model.width=256",
        "model.qkv=256",
        "model.feed_forward=1024",
        "train.batch=16",
        "train.checkpoint_every=1",
        "train.evaluate_every=3",
    ];
    let slow: Vec<&str> = slow.iter().flat_map(|set| ["--set", set]).collect();
    // All of a batch at once: a stop is heard between micro-batches.
    let slow = [&slow[..], &["--micro-batch", "16"]].concat();
    let mut child = start("transformer", 3, &out, &slow);
    let mut saved = |step: u64| {
        let path = out.join(format!("checkpoints/step-{step:07}.safetensors"));
        assert!(until(&mut child, Duration::from_millis(1), || path.exists()), "{}", said(&out));
        Instant::now()
    };
    let first = saved(1);
    let step = saved(2) - first;
    // Into the third step.
    std::thread::sleep(step / 4);
    signal(&child, libc::SIGINT);
    std::thread::sleep(step / 8);
    assert!(child.try_wait().unwrap().is_none(), "a step of {step:?} was not waited for");
    let asked = Instant::now();
    signal(&child, libc::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let took = asked.elapsed();
    assert!(took < step / 4, "{took:?} of a step of {step:?}");
    assert!(!rows(&out).contains("\"event\":\"end\""), "ended in order: {}", rows(&out));
    assert!(start("transformer", 3, &out, &slow).wait().unwrap().success(), "{}", said(&out));
    assert!(rows(&out).contains("\"from\":2}"), "{}", rows(&out));
    let record = lra::records::read_record(&out.join("record.json")).unwrap();
    assert_eq!((record.status, record.steps), (lra::records::Status::Done, 3));
}

/// Nor does it harm anything, whenever it comes.
#[test]
fn a_second_interrupt_harms_nothing() {
    let steps = 300;
    let (_root, whole) = folder();
    lra().args(arguments("linear", steps, &whole)).assert().success();
    let (_root, broken) = folder();
    for _ in 0..5 {
        let mut child = start("linear", steps, &broken, &[]);
        assert!(wait(&mut child, &broken, 5), "ended before it could be stopped");
        signal(&child, libc::SIGINT);
        signal(&child, libc::SIGINT);
        let asked = Instant::now();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert!(asked.elapsed() < Duration::from_secs(1));
    }
    lra().args(arguments("linear", steps, &broken)).assert().success();
    assert!(result(&whole) == result(&broken), "differs");
    assert!(last_checkpoint(&whole) == last_checkpoint(&broken));
}

/// The newest checkpoint was damaged while the run was not at work: the one before it is used,
/// which is said with the reason, and the end is the same.
#[test]
fn a_damaged_checkpoint_is_passed_over() {
    let steps = 400;
    let (_root, whole) = folder();
    lra().args(arguments("linear", steps, &whole)).assert().success();
    let (_root, broken) = folder();
    let mut child = start("linear", steps, &broken, &[]);
    assert!(wait(&mut child, &broken, 30), "ended before it could be stopped");
    signal(&child, libc::SIGTERM);
    child.wait().unwrap();
    let newest = last_checkpoint(&broken).0;
    let path = broken.join(format!("checkpoints/step-{newest:07}.safetensors"));
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut child = start("linear", steps, &broken, &[]);
    assert!(child.wait().unwrap().success());
    let said = said(&broken);
    let name = path.file_name().unwrap().to_str().unwrap();
    let why = |line: &&str| line.contains(name) && line.contains("checksum does not match");
    assert_eq!(said.lines().filter(why).count(), 1, "{said}");
    assert!(said.contains("passed over a checkpoint"), "{said}");
    assert!(result(&whole) == result(&broken), "differs");
}
