//! A file that grows by whole pieces.

use crate::error::{IoContext, Result};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The writer. One at a time: the run folder's lock sees to that.
pub(super) struct Appended {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Appended {
    pub fn open(path: PathBuf) -> Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(&path).at("open", &path)?;
        let length = file.metadata().at("look at", &path)?.len();
        Ok(Self { path, file, length })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a piece. It outlives this process at once, and the machine after [`Self::sync`].
    pub fn write(&mut self, piece: &[u8]) -> Result<()> {
        // One call, so that a kill can tear a piece only where the kernel does.
        let written = self.file.write_all(piece);
        match written {
            Ok(()) => self.length += piece.len() as u64,
            // On a full disk part of the piece may be there, and the next would join it. If
            // this fails as well, reading passes over a torn end.
            Err(_) => drop(self.file.set_len(self.length)),
        }
        written.at("write", &self.path)
    }

    /// Returns once all pieces are on disk.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().at("write", &self.path)
    }
}
