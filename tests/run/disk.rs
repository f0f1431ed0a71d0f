//! Disks that fill, become read-only, or lose the run's folder: one clear line, code 10, and
//! what there was before goes on to the same end.
#![cfg(target_os = "linux")]

use super::process::{events, limit, rows, said, signal, start, wait};
use super::skip::skip;
use super::{arguments, folder, last_checkpoint, lra, result};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

const STEPS: u32 = 1500;

/// A small file system of its own, where this process may mount one.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Option<Self> {
        let at = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "lra-test"])
            .arg(at.path())
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(at)),
            other => {
                skip(format!("no file system can be mounted here: {other:?}"));
                None
            }
        }
    }

    fn remount(&self, how: &str) {
        let mount = Command::new("mount").args(["-o", how]).arg(self.0.path()).status();
        assert!(mount.unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Starts a run, breaks something under it once it has checkpoints, and looks at how it ended.
fn broken(out: &Path, because: &str, break_it: impl FnOnce(&Child)) {
    let mut child = start("linear", STEPS, out, &[]);
    assert!(wait(&mut child, out, 40), "ended before anything was broken: {}", said(out));
    break_it(&child);
    ended(child, out, because);
}

/// Code 10 and one line of error.
fn ended(mut child: Child, out: &Path, because: &str) {
    let code = child.wait().unwrap().code();
    let said = said(out);
    assert_eq!(code, Some(10), "{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    assert!(errors[0].starts_with("error: cannot ") && errors[0].contains(because), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

/// What is left goes on to the end of a run that nothing happened to.
fn goes_on(out: &Path) {
    for folder in [out.to_path_buf(), out.join("checkpoints")] {
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let half: Vec<_> = names.filter(|name| name.to_string_lossy().ends_with(".tmp")).collect();
        assert!(half.is_empty(), "half written: {half:?}");
    }
    let (step, _) = last_checkpoint(out);
    assert!(step > 0);
    let (_root, whole) = folder();
    lra().args(arguments("linear", STEPS, &whole)).assert().success();
    lra().args(arguments("linear", STEPS, out)).assert().success();
    assert!(result(&whole) == result(out), "differs");
    assert!(last_checkpoint(&whole) == last_checkpoint(out));
    assert!(rows(out).contains(&format!("\"from\":{step}}}")), "not from step {step}");
}

/// The run's folder on the disk; its log is beside the disk, which may be full.
fn on(disk: &Disk) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("run");
    std::os::unix::fs::symlink(disk.0.path(), &out).unwrap();
    (root, out)
}

#[test]
fn a_full_disk() {
    let Some(disk) = Disk::new() else { return };
    let (_root, out) = on(&disk);
    let filler = disk.0.path().join("filler");
    broken(&out, "No space left on device", |_| {
        let mut file = std::fs::File::create(&filler).unwrap();
        let full = std::io::copy(&mut std::io::repeat(1), &mut file).unwrap_err();
        assert_eq!(full.raw_os_error(), Some(libc::ENOSPC));
    });
    std::fs::remove_file(filler).unwrap();
    goes_on(&out);
}

#[test]
fn a_disk_that_is_read_only() {
    let Some(disk) = Disk::new() else { return };
    let (_root, out) = on(&disk);
    disk.remount("remount,ro");
    ended(start("linear", STEPS, &out, &[]), &out, "Read-only file system");
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0);
    disk.remount("remount,rw");
    let mut child = start("linear", STEPS, &out, &[]);
    assert!(wait(&mut child, &out, 40), "ended before it was stopped");
    signal(&child, libc::SIGTERM);
    child.wait().unwrap();
    disk.remount("remount,ro");
    let before = events(&out);
    ended(start("linear", STEPS, &out, &[]), &out, "Read-only file system");
    assert_eq!(events(&out), before);
    disk.remount("remount,rw");
    goes_on(&out);
}

#[test]
fn a_limit_on_the_size_of_files() {
    let (_root, out) = folder();
    broken(&out, "File too large", |child| {
        let now = std::fs::metadata(out.join("events.jsonl")).unwrap().len();
        limit(child, libc::RLIMIT_FSIZE, now);
    });
    goes_on(&out);
}

#[test]
fn a_folder_that_is_taken_away() {
    let (root, out) = folder();
    let elsewhere = root.path().join("elsewhere");
    broken(&out, "No such file or directory", |_| std::fs::rename(&out, &elsewhere).unwrap());
    assert!(!out.exists(), "nothing is made anew where it was");
    std::fs::rename(&elsewhere, &out).unwrap();
    goes_on(&out);
}
