//! Archives that say of themselves whatever they are told to.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use tar::{EntryType, Header};
use walkdir::WalkDir;

/// Paths and contents.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What `fill` writes into a folder.
pub fn files(fill: impl FnOnce(&Path)) -> Files {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    let all = WalkDir::new(folder.path()).into_iter().map(Result::unwrap);
    let inside = |path: &Path| path.strip_prefix(folder.path()).unwrap().display().to_string();
    all.filter(|entry| entry.file_type().is_file())
        .map(|entry| (inside(entry.path()), fs::read(entry.path()).unwrap()))
        .collect()
}

#[derive(Default, Clone)]
pub struct Tar(pub Vec<u8>);

impl Tar {
    pub fn of(files: &Files) -> Self {
        files.iter().fold(Self::default(), |tar, (path, content)| tar.file(path, content))
    }

    pub fn file(self, path: &str, content: &[u8]) -> Self {
        self.member(path, EntryType::Regular, content.len() as u64, content)
    }

    /// Any path, any kind, any size whatever the content.
    pub fn member(mut self, path: &str, kind: EntryType, size: u64, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_link_name("/etc/passwd").unwrap();
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// With its end mark.
    pub fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

pub fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Every path below a folder, and the sizes of files.
pub fn listing(folder: &Path) -> Vec<(String, u64)> {
    let size = |entry: &walkdir::DirEntry| {
        let about = entry.path().symlink_metadata().unwrap();
        if about.is_file() { about.len() } else { 0 }
    };
    let all = WalkDir::new(folder).sort_by_file_name().into_iter().map(Result::unwrap);
    all.map(|entry| (entry.path().display().to_string(), size(&entry))).collect()
}
