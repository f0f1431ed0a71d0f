//! Fetching an official archive, once, into the cache.
//!
//! What has arrived is kept as `<file>.part`. A connection that breaks is taken up again
//! where it ended (HTTP range requests), in this process or in the next. The file takes its
//! name when its size and SHA-256 are right; with another SHA-256 it is removed. The proxies that
//! `HTTPS_PROXY` and its like name are used.

use crate::atomic::sync_folder;
use crate::error::{Error, IoContext, Result};
use crate::progress::{Bar, Progress};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A file that a server has.
pub struct Remote<'a> {
    /// Its name, on disk too.
    pub file: &'a str,
    pub url: &'a str,
    pub bytes: u64,
    /// In hex.
    pub sha256: &'a str,
}

/// A server that is silent this long is taken for gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// The file in `folder`; it is fetched if it is not there.
pub fn fetch(remote: &Remote, folder: &Path, progress: &Progress) -> Result<PathBuf> {
    let path = folder.join(remote.file);
    if path.is_file() {
        return Ok(path);
    }
    fs::create_dir_all(folder)
        .at("keep downloads (LRA_CACHE chooses another folder) in", folder)?;
    let _lock = lock(folder, progress)?;
    // Another process may have fetched it while this one waited.
    if path.is_file() {
        return Ok(path);
    }
    let part = folder.join(format!("{}.part", remote.file));
    if let Err(error) = receive(remote, &part, progress) {
        if part.metadata().is_ok_and(|about| about.len() == 0) {
            let _ = fs::remove_file(&part);
        }
        return Err(error);
    }
    let found = digest(&part)?;
    if found != remote.sha256 {
        fs::remove_file(&part).at("remove", &part)?;
        let message = format!("has SHA-256 {found}; expected {}; it was removed", remote.sha256);
        return Err(remote.failed(&message));
    }
    fs::rename(&part, &path).at("replace", &path)?;
    sync_folder(folder).at("write the folder of", &path)?;
    Ok(path)
}

impl Remote<'_> {
    fn failed(&self, what: &str) -> Error {
        let message = format!(
            "{what}; give the same command again, or get {} another way, put it into a folder \
             and name that folder with --data-dir or LRA_DATA",
            self.file
        );
        Error::data(self.url, message)
    }
}

/// One process at a time. The file stays; the lock goes with the process.
fn lock(folder: &Path, progress: &Progress) -> Result<File> {
    let path = folder.join(".lock");
    let file = File::create(&path).at("open", &path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress.say("another process is fetching; waiting for it");
            file.lock().at("lock", &path)?;
        }
        Err(TryLockError::Error(e)) => return Err(e).at("lock", &path),
    }
    Ok(file)
}

/// Why a connection ended before the file was whole.
enum Ended {
    /// Worth another connection if this one brought something.
    Broken(String),
    For(Error),
}

/// What has arrived of a file.
struct Part<'a> {
    remote: &'a Remote<'a>,
    path: &'a Path,
    file: File,
    have: u64,
    bar: Bar,
}

/// Appends to `part` until it has all bytes.
fn receive(remote: &Remote, part: &Path, progress: &Progress) -> Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(part).at("write", part)?;
    let have = file.metadata().at("read", part)?.len();
    let bar = progress.bar("fetch", "bytes", remote.bytes);
    let mut part = Part { remote, path: part, file, have, bar };
    if have > remote.bytes {
        part.restart()?;
    }
    // The most there ever was: a server that starts anew each time must not go on for ever.
    let mut most = part.have;
    progress.say(&format!("fetching {} ({} bytes, {most} here)", remote.url, remote.bytes));
    while part.have < remote.bytes {
        match part.connect() {
            Ok(()) => {}
            Err(Ended::For(error)) => return Err(error),
            Err(Ended::Broken(why)) if part.have <= most => {
                return Err(remote.failed(&format!("cannot be fetched ({why})")));
            }
            Err(Ended::Broken(why)) => {
                let at = part.have;
                part.bar.say(&format!("{}: {why} after {at} bytes; going on", remote.url));
            }
        }
        most = most.max(part.have);
    }
    part.file.sync_all().at("write", part.path)
}

impl Part<'_> {
    fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).at("write", self.path)?;
        self.have = 0;
        Ok(())
    }

    /// One connection: asks for what is missing and appends what comes.
    fn connect(&mut self) -> Result<(), Ended> {
        let broken = |e: ureq::Error| Ended::Broken(e.to_string());
        let agent = ureq::Agent::new_with_config(
            ureq::Agent::config_builder()
                .timeout_connect(Some(PATIENCE))
                .timeout_recv_response(Some(PATIENCE))
                .timeout_per_read(Some(PATIENCE))
                .http_status_as_error(false)
                .user_agent(concat!("lra/", env!("CARGO_PKG_VERSION")))
                .build(),
        );
        let mut request = agent.get(self.remote.url);
        if self.have > 0 {
            request = request.header("Range", format!("bytes={}-", self.have));
        }
        let mut response = request.call().map_err(broken)?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        match response.status().as_u16() {
            206 if header("content-range").and_then(first_byte) == Some(self.have) => {}
            200 => {
                let length = header("content-length").and_then(|length| length.parse().ok());
                if let Some(length) = length.filter(|length: &u64| *length != self.remote.bytes) {
                    return Err(self.wrong_size(&length.to_string()));
                }
                // The whole file, whether it was asked for or not.
                self.restart().map_err(Ended::For)?;
            }
            // A range that the server does not have, or another than was asked for.
            206 | 416 if self.have > 0 => {
                return self.restart().map_err(Ended::For);
            }
            _ => {
                let what = format!("the server answers {}", response.status());
                return Err(Ended::For(self.remote.failed(&what)));
            }
        }
        self.bar.start_at(self.have);
        self.append(&mut response.body_mut().as_reader())
    }

    fn append(&mut self, body: &mut impl Read) -> Result<(), Ended> {
        let mut block = vec![0; 1 << 16];
        loop {
            let count = match body.read(&mut block) {
                Ok(0) if self.have < self.remote.bytes => {
                    return Err(Ended::Broken("the connection ended".into()));
                }
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Ended::Broken(e.to_string())),
            };
            if self.have + count as u64 > self.remote.bytes {
                return Err(self.wrong_size("more"));
            }
            let written = self.file.write_all(&block[..count]).at("write", self.path);
            written.map_err(Ended::For)?;
            self.have += count as u64;
            self.bar.advance(count as u64);
        }
    }

    fn wrong_size(&self, bytes: &str) -> Ended {
        let what = format!("the server offers {bytes} bytes; expected {}", self.remote.bytes);
        Ended::For(self.remote.failed(&what))
    }
}

/// Of `bytes 100-199/200`, 100.
fn first_byte(range: &str) -> Option<u64> {
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

/// SHA-256 of a file, in hex.
pub(super) fn digest(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let mut file = File::open(path).at("open", path)?;
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(format!("{:x}", hash.finalize())),
            Ok(count) => hash.update(&block[..count]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e).at("read", path),
        }
    }
}
