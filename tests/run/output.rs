//! What a run prints and leaves.

use super::{arguments, folder, last_checkpoint, lra};
use lra::records::{Status, read_record};

#[test]
fn the_record_is_complete() {
    let (_root, out) = folder();
    let output = lra().args(arguments("performer", 30, &out)).arg("--json").assert().success();
    let printed: serde_json::Value =
        serde_json::from_slice(&output.get_output().stdout).expect("--json prints one document");
    let on_disk = std::fs::read_to_string(out.join("record.json")).unwrap();
    assert_eq!(printed, serde_json::from_str::<serde_json::Value>(&on_disk).unwrap());
    let record = read_record(&out.join("record.json")).unwrap();
    assert_eq!(record.status, Status::Done);
    assert_eq!((record.task.as_str(), record.model.as_str()), ("listops", "performer"));
    assert_eq!((record.preset.as_str(), record.seed, record.steps), ("quick", 0, 30));
    assert_eq!(record.evaluations.len(), 8, "at 4, 8, .. 28 and at the end");
    assert_eq!(record.config["attention"]["orthogonal"], true, "defaults are in the config");
    let metrics = record.final_metrics.unwrap();
    assert_eq!((metrics.step, metrics.test.examples), (30, 40));
    let speed = record.speed.unwrap();
    assert!(speed.steps_per_second > 0.0 && speed.tokens_per_second > speed.examples_per_second);
    let memory = record.memory;
    assert_eq!(memory.parameters, record.parameters * 4);
    assert_eq!(memory.optimiser, record.parameters * 8);
    assert!(memory.peak_live.unwrap() > memory.parameters + memory.optimiser);
    assert!(record.wall.train > 0.0 && record.wall.evaluate > 0.0);
    assert!(record.wall.total >= record.wall.train + record.wall.evaluate);
    assert_eq!(record.data.checksum.len(), 64);
    assert!(record.data.majority > 0.0 && record.data.majority < 1.0);
    let environment = record.environment;
    assert!(!environment.cpu.is_empty() && environment.finished >= environment.started);
    for file in ["config.json", "events.jsonl", "model.safetensors", "checkpoints"] {
        assert!(out.join(file).exists(), "{file}");
    }
}

/// The counting allocator sees the same peak whenever the same run is made on one thread.
#[test]
fn peak_memory_repeats() {
    let peak = || {
        let (_root, out) = folder();
        lra().args(arguments("local", 6, &out)).args(["--threads", "1"]).assert().success();
        read_record(&out.join("record.json")).unwrap().memory.peak_live.unwrap() as f64
    };
    let (a, b) = (peak(), peak());
    // Paths of temporary folders and the clock's digits differ by some bytes.
    assert!((a - b).abs() / a < 0.01, "{a} {b}");
}

#[test]
fn lines_without_a_terminal_and_silence_when_asked() {
    let (_root, out) = folder();
    let output = lra().args(arguments("local", 6, &out)).assert().success();
    let error = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(error.lines().next().unwrap().starts_with("preset quick:"), "{error}");
    assert!(error.contains("step 4: train loss"), "{error}");
    assert!(!error.contains('\u{1b}') && !error.contains('\r'), "no terminal codes: {error}");
    let printed = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert!(printed.contains("test accuracy") && printed.contains("record.json"), "{printed}");

    let (_root, out) = folder();
    let output = lra().arg("-q").args(arguments("local", 6, &out)).assert().success();
    assert!(output.get_output().stderr.is_empty());
}

/// NaN or infinity ends the run at that step; the record says so and names the tensor, the
/// checkpoint before it stays, and nothing is kept as a result.
#[test]
fn divergence_is_recorded() {
    let (_root, out) = folder();
    let mut words = arguments("transformer", 30, &out);
    let sets = ["train.learning_rate=1e30", "train.warmup=0", "train.clip=0"];
    for set in sets.into_iter().chain(["train.checkpoint_every=1"]) {
        words.extend(["--set".to_string(), set.to_string()]);
    }
    let output = lra().args(&words).assert().code(5);
    let error = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    let last = error.lines().last().unwrap().to_owned();
    let record = read_record(&out.join("record.json")).unwrap();
    assert_eq!(record.status, Status::Diverged);
    let reason = record.reason.unwrap();
    assert_eq!(last, format!("error: {reason}"));
    let place = format!("training diverged at step {}: ", record.steps + 1);
    assert!(reason.starts_with(&place) && reason.matches('`').count() == 2, "{reason}");
    assert!(record.final_metrics.is_none() && !out.join("model.safetensors").exists());
    let (step, tensors) = last_checkpoint(&out);
    assert_eq!(step, record.steps);
    let finite = |(_, values): &(String, Vec<f32>)| values.iter().all(|v| v.is_finite());
    assert!(step > 0 && tensors.iter().all(finite));
    // Given again it says the same.
    let output = lra().args(&words).assert().code(5);
    let error = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert_eq!(error.lines().last(), Some(&last[..]));
}

#[test]
fn lists_and_completions_print() {
    for words in [vec!["list"], vec!["list", "models"], vec!["list", "--json"]] {
        let output = lra().args(&words).assert().success();
        let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
        assert!(text.contains("performer"), "{words:?}: {text}");
    }
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = lra().args(["completions", shell]).assert().success();
        assert!(!output.get_output().stdout.is_empty());
    }
}
