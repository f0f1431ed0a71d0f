//! `lra run` as a person gives it: whole runs on small data, in processes of their own.

mod bench;
mod configuration;
mod determinism;
mod disk;
mod hostile;
mod kill;
mod memory;
mod options;
mod output;
mod presets;
mod process;
mod resume;
mod show;
#[path = "../common/skip.rs"]
mod skip;
mod steady;
mod sweep;
mod tensorboard;
mod threads;

use assert_cmd::Command;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// One cache for all tests of this binary.
fn cache() -> &'static Path {
    static CACHE: OnceLock<tempfile::TempDir> = OnceLock::new();
    CACHE.get_or_init(|| tempfile::tempdir().unwrap()).path()
}

/// ListOps of 11 to 39 tokens, so that a run takes a second.
const SMALL: [&str; 12] = [
    "data.train=96",
    "data.validation=40",
    "data.test=40",
    "data.min_length=10",
    "data.max_length=40",
    "model.length=40",
    "model.width=16",
    "model.qkv=16",
    "model.feed_forward=16",
    "train.batch=8",
    "train.evaluate_every=4",
    "train.checkpoint_every=3",
];

/// `lra run` of a small run into `out`.
fn arguments(model: &str, steps: u32, out: &Path) -> Vec<String> {
    let mut words: Vec<String> =
        ["run", "--task", "listops", "--preset", "quick"].map(String::from).to_vec();
    words.extend(["--model".into(), model.into(), "--steps".into(), steps.to_string()]);
    words.extend(["--out".into(), out.to_str().unwrap().into()]);
    words.extend(SMALL.iter().flat_map(|set| ["--set".to_string(), set.to_string()]));
    words.extend(
        ["--set", "model.dropout=0.1", "--set", "model.attention_dropout=0.1"].map(String::from),
    );
    words
}

fn lra() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lra"));
    command.env("LRA_CACHE", cache()).env_remove("LRA_DATA").env("NO_COLOR", "1");
    command
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("run");
    (root, out)
}

/// The weights and the metric rows a run ended with: what must not depend on how it went.
fn result(out: &Path) -> (Vec<u8>, Vec<String>) {
    let weights = std::fs::read(out.join("model.safetensors")).unwrap();
    let events = std::fs::read_to_string(out.join("events.jsonl")).unwrap();
    let metric = |line: &&str| {
        line.contains("\"event\":\"train\"") || line.contains("\"event\":\"evaluation\"")
    };
    (weights, events.lines().filter(metric).map(String::from).collect())
}

/// The newest checkpoint's tensors and step; its notes hold times.
fn last_checkpoint(out: &Path) -> (u64, Vec<(String, Vec<f32>)>) {
    let device = candle_core::Device::Cpu;
    let (found, passed_over) = lra::train::latest(&out.join("checkpoints"), &device).unwrap();
    assert!(passed_over.is_empty(), "{passed_over:?}");
    let found = found.unwrap();
    let values = |t: &candle_core::Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    (found.step, found.tensors.iter().map(|(name, t)| (name.clone(), values(t))).collect())
}
