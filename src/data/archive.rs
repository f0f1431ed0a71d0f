//! Reading .tar.gz archives that may be anybody's: members go to the reader, never to disk.
//!
//! Refused, with the member's name: paths that climb or start at the root, links, devices,
//! members above the size that their task can use. A cut or damaged archive is noticed by
//! the checksums and the end marks of both formats.

use crate::error::{Error, IoContext, Result};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Component, Path};

/// Unpacked bytes of a whole archive at most: several times the largest that is known.
const TOTAL: u64 = 4 << 30;

/// Hands each regular member's path and content to `each`. `limit` says how large a member
/// of a path may be, and `None` for those that are passed over.
pub fn members(
    archive: &Path,
    limit: &dyn Fn(&str) -> Option<u64>,
    each: &mut dyn FnMut(&str, &[u8]) -> Result<()>,
) -> Result<()> {
    let file = BufReader::with_capacity(1 << 20, File::open(archive).at("open", archive)?);
    let stream = MultiGzDecoder::new(file).take(TOTAL);
    let mut tar = tar::Archive::new(stream);
    let damaged = |e: io::Error| {
        let message =
            format!("cut short or damaged ({e}); expected a whole .tar.gz; fetch it again");
        Error::data(archive, message)
    };
    let mut content = Vec::new();
    let mut found = false;
    for entry in tar.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        found = true;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let refused = |what: &str| {
            let message = format!(
                "member {path:?} {what}; nothing of it was written; use an archive you trust"
            );
            Err(Error::data(archive, message))
        };
        if !stays_inside(&path) {
            return refused("lies outside of the archive's own folder");
        }
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() {
            continue;
        }
        if !kind.is_file() {
            return refused("is a link or a device; expected files and folders only");
        }
        let size = entry.size();
        let most = limit(&path);
        if size > most.unwrap_or(1 << 30) {
            return refused(&format!(
                "has {size} bytes; expected at most {}",
                most.unwrap_or(1 << 30)
            ));
        }
        if most.is_none() {
            continue;
        }
        content.clear();
        entry.read_to_end(&mut content).map_err(damaged)?;
        if content.len() as u64 != size {
            return Err(damaged(io::ErrorKind::UnexpectedEof.into()));
        }
        each(&path, &content)?;
    }
    if !found {
        return Err(damaged(io::Error::new(io::ErrorKind::InvalidData, "no members")));
    }
    check_end(&mut tar.into_inner(), archive).map_err(damaged)
}

/// What follows the last member is zeros, and the compressed stream ends as it should.
fn check_end(rest: &mut io::Take<impl Read>, archive: &Path) -> io::Result<()> {
    let mut block = vec![0; 1 << 16];
    loop {
        let count = rest.read(&mut block)?;
        if count == 0 && rest.limit() == 0 {
            return Err(io::Error::other(format!(
                "{} unpacks to over {TOTAL} bytes",
                archive.display()
            )));
        }
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
