//! A run in a process of its own, watched and disturbed from outside.

use super::{arguments, cache};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Starts a run whose lines go to a file beside its folder.
pub fn start(model: &str, steps: u32, out: &Path, more: &[&str]) -> Child {
    command(model, steps, out, more).spawn().unwrap()
}

pub fn command(model: &str, steps: u32, out: &Path, more: &[&str]) -> Command {
    let log = std::fs::File::create(log_of(out)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lra"));
    command
        .args(arguments(model, steps, out))
        .args(more)
        .env("LRA_CACHE", cache())
        .env_remove("LRA_DATA")
        .stdout(Stdio::null())
        .stderr(log);
    command
}

fn log_of(out: &Path) -> PathBuf {
    out.with_extension("log")
}

/// What the last process started into `out` said.
pub fn said(out: &Path) -> String {
    std::fs::read_to_string(log_of(out)).unwrap()
}

pub fn rows(out: &Path) -> String {
    std::fs::read_to_string(out.join("events.jsonl")).unwrap_or_default()
}

pub fn events(out: &Path) -> usize {
    rows(out).lines().count()
}

/// Waits for something; false if the run ended before.
pub fn until(child: &mut Child, every: Duration, mut seen: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    while child.try_wait().unwrap().is_none() {
        if seen() {
            return true;
        }
        assert!(Instant::now() < deadline, "the run does not go on");
        std::thread::sleep(every);
    }
    false
}

/// Waits until the run has written `more` further events; false if it ended before.
pub fn wait(child: &mut Child, out: &Path, more: usize) -> bool {
    let from = events(out);
    until(child, Duration::from_millis(1), || events(out) >= from + more)
}

pub fn signal(child: &Child, signal: i32) {
    // SAFETY: kill(2) takes any pid; this is our child, not yet waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

/// Lowers a limit of a process that runs.
pub fn limit(child: &Child, resource: libc::__rlimit_resource_t, most: u64) {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the pointers are to a limit that lives through the call, and to nothing.
    let done = unsafe { libc::prlimit(child.id() as i32, resource, &limit, std::ptr::null_mut()) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// A line of the kernel's about a process, in bytes.
pub fn status(pid: u32, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
