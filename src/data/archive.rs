//! Reading .tar and .tar.gz archives that may be anybody's: members go to the reader, never
//! to disk.
//!
//! Refused, with the member's name: paths that climb or start at the root, links, devices,
//! members above the size that their task can use. A cut or damaged archive is noticed by
//! the checksums and the end marks of both formats, one that swells by [`Metered`].

use crate::error::{Error, IoContext, Result};
use flate2::bufread::MultiGzDecoder;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Component, Path};
use std::rc::Rc;

/// Unpacked bytes of a whole archive at most: several times the largest that is known.
const TOTAL: u64 = 1 << 30;
/// And at most this many for each packed byte, beyond the first few: a small file that
/// unpacks for minutes is none of ours. Text packs to a third, headers to a fiftieth.
const SWELLING: u64 = 100;
const FREE: u64 = 64 << 20;
/// A member that is passed over; IMDB has one of 41 MB.
const OTHERS: u64 = 128 << 20;
/// What lies between the contents of two members: padding, headers, a long name. The tar
/// reader keeps names in memory, whatever length they claim.
const BETWEEN: u64 = 1 << 20;
/// Of tar. An archive ends with at least one block of zeros.
const BLOCK: u64 = 512;

/// Hands each regular member's path and content to `each`. `limit` says how large a member
/// of a path may be, and `None` for those that are passed over.
pub fn members(
    archive: &Path,
    limit: &dyn Fn(&str) -> Option<u64>,
    each: &mut dyn FnMut(&str, &[u8]) -> Result<()>,
) -> Result<()> {
    let damaged = |e: io::Error| {
        let message = format!(
            "cannot be read to its end ({e}); expected a whole .tar.gz or .tar; fetch it again"
        );
        Error::data(archive, message)
    };
    let allowed = Rc::new(Cell::new(BETWEEN));
    let mut tar = tar::Archive::new(open(archive, &allowed)?);
    let mut content = Vec::new();
    for entry in tar.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let refused = |what: &str| {
            let message = format!(
                "member {path:?} {what}; nothing of it was written; use an archive you trust"
            );
            Err(Error::data(archive, message))
        };
        if !stays_inside(&path) {
            return refused("lies outside of the archive's own folder; expected a path below it");
        }
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() {
            allowed.set(BETWEEN);
            continue;
        }
        if !kind.is_file() {
            return refused("is a link or a device; expected files and folders only");
        }
        let size = entry.size();
        let wanted = limit(&path);
        let most = wanted.unwrap_or(OTHERS);
        if size > most {
            return refused(&format!("has {size} bytes; expected at most {most}"));
        }
        allowed.set(size + BETWEEN);
        content.clear();
        let read = match wanted {
            Some(_) => entry.read_to_end(&mut content).map(|count| count as u64),
            None => io::copy(&mut entry, &mut io::sink()),
        };
        if read.map_err(damaged)? != size {
            return Err(damaged(io::ErrorKind::UnexpectedEof.into()));
        }
        if wanted.is_some() {
            each(&path, &content)?;
        }
        allowed.set(BETWEEN);
    }
    // The reader takes the end of the stream for the end of the archive; padding is shorter.
    if BETWEEN - allowed.get() < BLOCK {
        return Err(damaged(io::Error::other("it ends before its end mark")));
    }
    allowed.set(u64::MAX);
    check_end(&mut tar.into_inner()).map_err(damaged)
}

/// The archive's bytes, unpacked if they are packed.
fn open(archive: &Path, allowed: &Rc<Cell<u64>>) -> Result<Metered> {
    let file = File::open(archive).at("open", archive)?;
    let size = file.metadata().at("read", archive)?.len();
    let mut file = BufReader::with_capacity(1 << 20, file);
    let packed = file.fill_buf().at("read", archive)?.starts_with(&[0x1f, 0x8b]);
    let (inner, left): (Box<dyn Read>, _) = if packed {
        (Box::new(MultiGzDecoder::new(file)), most_unpacked(size))
    } else {
        (Box::new(file), size.saturating_add(BLOCK))
    };
    Ok(Metered { inner, left, allowed: Rc::clone(allowed) })
}

/// What an archive of so many bytes may unpack to.
fn most_unpacked(size: u64) -> u64 {
    size.saturating_mul(SWELLING).saturating_add(FREE).min(TOTAL)
}

/// A stream that fails when it gives more than it may: in all, and at a time.
struct Metered {
    inner: Box<dyn Read>,
    left: u64,
    /// Until it is set anew.
    allowed: Rc<Cell<u64>>,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.left.min(self.allowed.get());
        if most == 0 {
            return Err(io::Error::other("it unpacks to far more than it should"));
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..most])?;
        self.left -= count as u64;
        self.allowed.set(self.allowed.get() - count as u64);
        Ok(count)
    }
}

/// What follows the last member is zeros, and the packed stream ends as it should.
fn check_end(rest: &mut Metered) -> io::Result<()> {
    let mut block = vec![0; 1 << 16];
    loop {
        let count = rest.read(&mut block)?;
        if count == 0 {
            return Ok(());
        }
        if block[..count].iter().any(|&byte| byte != 0) {
            return Err(io::Error::other("data after the end of the archive"));
        }
    }
}

fn stays_inside(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    !path.contains('\\') && parts.all(|p| matches!(p, Component::Normal(_) | Component::CurDir))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few kilobytes may unpack to 64 MiB, the largest known archive to all it holds, and
    /// none to more than 1 GiB.
    #[test]
    fn what_unpacks_is_bounded() {
        for (size, most) in
            [(0, 64 << 20), (1 << 20, 164 << 20), (170_052_171, 1 << 30), (u64::MAX, 1 << 30)]
        {
            assert_eq!(most_unpacked(size), most);
        }
    }
}
