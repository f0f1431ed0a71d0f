//! One process per run folder.
//!
//! The lock is the operating system's, on an open file: it goes with the process, however
//! that ends, so it is never stale. The file stays; what it holds is the process's number,
//! for the message that a second run gets.

use crate::error::{Error, IoContext, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

/// More digits than any process number, and few enough to tell our file from another's.
pub(super) const LONGEST: u64 = 16;

/// Holds the lock of `folder` until the file is dropped.
pub(super) fn acquire(folder: &Path, name: &str) -> Result<File> {
    let path = folder.join(name);
    let mut options = OpenOptions::new();
    let mut file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .at("open", &path)?;
    take(&file, folder, &path)?;
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).at("write", &path)?;
    Ok(file)
}

/// An error if a process holds the lock of `folder`.
pub(super) fn check(folder: &Path, name: &str) -> Result<()> {
    let path = folder.join(name);
    match File::open(&path) {
        Ok(file) => take(&file, folder, &path),
        // Whatever stands there instead is found when the folder is opened.
        Err(_) => Ok(()),
    }
}

/// Locks the file, or says who has.
fn take(file: &File, folder: &Path, path: &Path) -> Result<()> {
    let mut tries = 3;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(e)) => return Err(e).at("lock", path),
            // One that only checks holds it for a moment.
            Err(TryLockError::WouldBlock) if tries > 0 => {
                tries -= 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked { path: folder.to_path_buf(), pid: holder(path) });
            }
        }
    }
}

/// The process that holds the lock. It writes its number just after it took the lock, so an
/// empty file fills in a moment; 0 if not.
fn holder(path: &Path) -> u32 {
    for _ in 0..20 {
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
        if let (Ok(_), Ok(pid)) = (read, text.trim().parse()) {
            return pid;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    0
}
