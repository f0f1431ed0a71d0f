//! A task's official files, where a user has them: in a folder, or in the archive of it.

use super::archive::members;
use super::fetch::{Remote, digest};
use crate::error::{Error, IoContext, Result};
use crate::progress::Progress;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use walkdir::WalkDir;

/// How a set of files is published.
pub struct Published {
    /// The folder in the archive.
    pub folder: &'static str,
    /// What the folder holds; one of these tells it from others.
    pub holds: &'static [&'static str],
    pub archive: Remote<'static>,
}

/// Files of a set, found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Folder(PathBuf),
    Archive(PathBuf),
}

impl Source {
    /// The set in `place`: its archive, its folder, or a folder that has one of them.
    pub fn locate(place: &Path, set: &Published) -> Option<Self> {
        if place.is_file() {
            return Some(Self::Archive(place.to_path_buf()));
        }
        let folders = [place.join(set.folder), place.to_path_buf()];
        let holds = |folder: &PathBuf| set.holds.iter().any(|name| folder.join(name).exists());
        if let Some(folder) = folders.into_iter().find(holds) {
            return Some(Self::Folder(folder));
        }
        let archive = place.join(set.archive.file);
        archive.is_file().then_some(Self::Archive(archive))
    }

    pub fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Archive(path) => path,
        }
    }

    /// Changes when a file that is used does: names, sizes and times of last change.
    pub fn identity(&self, limit: &dyn Fn(&str) -> Option<u64>) -> Result<Value> {
        let mut hash = Sha256::new();
        match self {
            Self::Archive(path) => hash.update(stamp(path)?),
            Self::Folder(folder) => {
                for (name, path) in files(folder, limit)? {
                    hash.update(format!("{name}\0{}\0", stamp(&path)?));
                }
            }
        }
        Ok(json!(format!("{:x}", hash.finalize())))
    }

    /// Says so where an archive is not the published one: a folder packed by somebody is as
    /// good, if its files are.
    pub fn note(&self, set: &Published, progress: &Progress) -> Result<()> {
        let Self::Archive(path) = self else { return Ok(()) };
        let Remote { file, bytes, sha256, .. } = set.archive;
        let size = path.metadata().at("read", path)?.len();
        if size != bytes || digest(path)? != sha256 {
            let path = path.display();
            progress.say(&format!("{path}: not the published {file}; its examples may be others"));
        }
        Ok(())
    }

    /// Hands each file's path inside the set, with `/`, and its content to `each`. `limit`
    /// says how large a file may be, and `None` for those that are none of the set's.
    pub fn each(
        &self,
        set: &Published,
        limit: &dyn Fn(&str) -> Option<u64>,
        each: &mut dyn FnMut(&str, &[u8]) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::Folder(folder) => {
                for (name, path) in files(folder, limit)? {
                    let size = path.metadata().at("read", &path)?.len();
                    let most = limit(&name).unwrap_or_default();
                    if size > most {
                        let message = format!("{size} bytes; expected at most {most}");
                        return Err(Error::data(path, message));
                    }
                    each(&name, &std::fs::read(&path).at("read", &path)?)?;
                }
                Ok(())
            }
            Self::Archive(archive) => {
                let inner = |path: &str| {
                    let path = path.strip_prefix("./").unwrap_or(path);
                    let path = path.strip_prefix(set.folder).unwrap_or(path);
                    path.trim_start_matches('/').to_string()
                };
                members(archive, &|path| limit(&inner(path)), &mut |path, content| {
                    each(&inner(path), content)
                })
            }
        }
    }
}

/// Changes when one of the files does: sizes and times of last change.
pub fn identity<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Result<Value> {
    let stamps = files.into_iter().map(|file| stamp(file));
    Ok(json!(stamps.collect::<Result<Vec<_>>>()?))
}

fn stamp(path: &Path) -> Result<String> {
    let about = path.metadata().at("read", path)?;
    let changed = about.modified().at("read", path)?.duration_since(UNIX_EPOCH);
    // Before 1970 counts as 1970.
    Ok(format!("{} bytes, {} ns", about.len(), changed.unwrap_or_default().as_nanos()))
}

/// A path, the same from wherever it is named.
pub fn full_name(path: &Path) -> String {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf()).display().to_string()
}

/// The set's files in a folder, sorted by name.
fn files(folder: &Path, limit: &dyn Fn(&str) -> Option<u64>) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in WalkDir::new(folder).follow_links(true) {
        let entry = entry.map_err(|e| Error::Io {
            action: "list",
            path: e.path().unwrap_or(folder).to_path_buf(),
            source: e.into(),
        })?;
        let inside = entry.path().strip_prefix(folder).unwrap_or(entry.path());
        let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
        let name = parts.join("/");
        if entry.file_type().is_file() && limit(&name).is_some() {
            found.push((name, entry.into_path()));
        }
    }
    found.sort();
    Ok(found)
}
