//! Runs that have not the memory: said before they start where that can be known, and else
//! the end of that run alone.
#![cfg(target_os = "linux")]

use super::process::{limit, rows, said, start, status, until};
use super::{SMALL, arguments, cache, folder, lra};
use lra::records::{Status, read_record};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Under a limit on the address space, in bytes.
fn within(limit: u64, words: &[String]) -> std::process::Output {
    let line = format!("ulimit -v {} && exec \"$0\" \"$@\"", limit / 1024);
    Command::new("sh")
        .args(["-c", &line, env!("CARGO_BIN_EXE_lra")])
        .args(words)
        .env("LRA_CACHE", cache())
        .env_remove("LRA_DATA")
        .output()
        .unwrap()
}

/// What does not fit is said before anything is made, with the micro-batch that does.
#[test]
fn what_would_fit_is_named_before_the_start() {
    let (_root, out) = folder();
    let mut words = arguments("transformer", 1, &out);
    let large = ["model.width=512", "model.qkv=512", "model.feed_forward=2048", "train.batch=96"];
    words.extend(large.iter().flat_map(|set| ["--set".to_string(), set.to_string()]));
    // The training's stack alone reserves 1 GiB of addresses, the allocator another.
    let most = 5 << 29;
    let micro = |count: &str| [&words[..], &["--micro-batch".into(), count.into()]].concat();
    let output = within(most, &micro("96"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(!out.exists(), "a run that cannot be made left a folder");
    let fits = said.split("--micro-batch ").last().and_then(|rest| rest.split(' ').next());
    let fits: u32 = fits.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{said}"));
    assert!((1..96).contains(&fits), "{said}");
    let output = within(most, &micro(&fits.to_string()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "--micro-batch {fits}: {said}");
}

/// It is said before data are made, which takes Path-X an hour.
#[test]
fn what_cannot_fit_makes_no_data() {
    let (root, out) = folder();
    let cache = root.path().join("cache");
    let words = ["run", "--model", "synthesizer", "--task", "pathx", "--preset", "paper"];
    let huge = ["--set", "model.layers=64", "--micro-batch", "512", "--out"];
    let mut command = lra();
    command.env("LRA_CACHE", &cache).args(words).args(huge).arg(&out).assert().code(6);
    assert!(!cache.exists() && !out.exists());
}

/// Memory that cannot be had in the middle of a step: code 6, and a record that says so.
#[test]
fn running_out_ends_in_a_record() {
    let (_root, out) = folder();
    let large = ["model.width=256", "model.qkv=256", "model.feed_forward=2048", "model.layers=24"];
    let sets: Vec<&str> = large.iter().flat_map(|set| ["--set", set]).collect();
    let more = [&sets[..], &["--set", "train.batch=96", "--micro-batch", "96"]].concat();
    let mut child = start("transformer", 50, &out, &more);
    let began = until(&mut child, Duration::ZERO, || rows(&out).contains("\"start\""));
    assert!(began, "{}", said(&out));
    // In the middle of the first step, when every thread has its stack.
    let pid = child.id();
    let resident = || status(pid, "VmRSS").unwrap_or(0);
    let before = resident();
    let grown = until(&mut child, Duration::ZERO, || resident() > before + (100 << 20));
    assert!(grown, "{}", said(&out));
    // No further page of data, as where the machine has none.
    let now = status(child.id(), "VmData").unwrap();
    limit(&child, libc::RLIMIT_DATA, now);
    limit(&child, libc::RLIMIT_AS, status(child.id(), "VmSize").unwrap());
    let code = child.wait().unwrap().code();
    let said = said(&out);
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains("out of memory") && said.contains("--micro-batch"), "{said}");
    let record = read_record(&out.join("record.json")).unwrap();
    assert_eq!(record.status, Status::OutOfMemory);
    assert!(record.reason.unwrap().contains("cannot be had"));
}

/// The system kills one run of a sweep, as it does where memory is short: the others go on,
/// and its record says what happened.
#[test]
fn a_killed_run_does_not_end_its_sweep() {
    let out = tempfile::tempdir().unwrap();
    let mut words: Vec<String> =
        ["sweep", "--models", "linear,local", "--tasks", "listops", "--steps", "400", "--out"]
            .map(String::from)
            .to_vec();
    words.push(out.path().to_str().unwrap().into());
    words.extend(SMALL.iter().flat_map(|set| ["--set".to_string(), set.to_string()]));
    let mut sweep = Command::new(env!("CARGO_BIN_EXE_lra"))
        .args(&words)
        .env("LRA_CACHE", cache())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let [first, second] = ["linear", "local"].map(|model| out.path().join(cell(model)));
    until(&mut sweep, Duration::from_millis(1), || rows(&first).contains("\"train\""));
    let pid: i32 = std::fs::read_to_string(first.join("lock")).unwrap().trim().parse().unwrap();
    // SAFETY: the sweep's child, which it has not waited for while its run goes on.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
    let output = sweep.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("1 of 2 runs failed") && said.contains("SIGKILL"), "{said}");
    let status = |folder: &Path| read_record(&folder.join("record.json")).unwrap();
    let killed = status(&first);
    assert_eq!((killed.status, status(&second).status), (Status::OutOfMemory, Status::Done));
    assert!(killed.steps > 0 && killed.data.checksum.len() == 64);
    // Given again it is tried again.
    lra().args(&words).assert().success();
    assert_eq!(status(&first).status, Status::Done);
}

fn cell(model: &str) -> String {
    format!("listops-{model}-quick-s0")
}
