//! Writing packed files in one pass, so that a set need not fit in memory.

use super::Examples;
use super::packed::{HEADER, MAGIC, PACKED_VERSION, PIECE};
use crate::atomic::Pending;
use crate::error::{Error, IoContext, Result};
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use std::path::Path;

/// A split that is being written. Takes its place at [`PackWriter::finish`]; dropped
/// before, it leaves nothing.
pub struct PackWriter(Packing<Pending>);

impl PackWriter {
    /// `parts` is 1, or 2 for pairs of documents; a model sees `symbol + first_id`.
    pub fn create(path: &Path, parts: usize, first_id: u32) -> Result<Self> {
        let file = Pending::create(path)?;
        Ok(Self(Packing::start(file, parts, first_id).at("write", path)?))
    }

    /// Appends an example. The number of parts is the caller's contract.
    pub fn push(&mut self, parts: &[&[u8]], label: u32) -> Result<()> {
        let pushed = self.0.push(parts, label);
        pushed.map_err(|source| self.failed(source))
    }

    /// Examples so far.
    pub fn len(&self) -> usize {
        self.0.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the file and puts it in its place.
    pub fn finish(self) -> Result<()> {
        let path = self.0.out.path().to_path_buf();
        self.0.finish().at("write", &path)?.commit()
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Io { action: "write", path: self.0.out.path().to_path_buf(), source }
    }
}

/// The packed form of examples in memory.
pub(super) fn image(examples: &Examples) -> io::Result<Vec<u8>> {
    let mut packing = Packing::start(Vec::new(), examples.parts(), examples.first_id())?;
    let mut parts = Vec::new();
    for i in 0..examples.len() {
        parts.clear();
        parts.extend((0..examples.parts()).map(|part| examples.tokens(i, part)));
        packing.push(&parts, examples.label(i))?;
    }
    packing.finish()
}

struct Packing<W> {
    out: W,
    parts: usize,
    /// Ends of the parts so far; the first is 0.
    offsets: Vec<u64>,
    labels: Vec<u32>,
    /// Over the digests of the whole pieces.
    outer: Sha256,
    /// Of the piece that is being filled, and how far.
    piece: Sha256,
    filled: usize,
}

impl<W: Write> Packing<W> {
    fn start(out: W, parts: usize, first_id: u32) -> io::Result<Self> {
        assert!(parts > 0, "an example has at least one part");
        let (outer, piece) = (Sha256::new(), Sha256::new());
        let (offsets, labels) = (vec![0], Vec::new());
        let mut new = Self { out, parts, offsets, labels, outer, piece, filled: 0 };
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(MAGIC);
        for word in [PACKED_VERSION, parts as u32, first_id, 0] {
            header.extend_from_slice(&word.to_le_bytes());
        }
        new.write(&header)?;
        Ok(new)
    }

    fn push(&mut self, parts: &[&[u8]], label: u32) -> io::Result<()> {
        assert_eq!(parts.len(), self.parts, "parts of an example");
        let mut end = self.offsets.last().copied().unwrap_or_default();
        for part in parts {
            self.write(part)?;
            end += part.len() as u64;
            self.offsets.push(end);
        }
        self.labels.push(label);
        Ok(())
    }

    fn finish(mut self) -> io::Result<W> {
        let (offsets, labels) =
            (std::mem::take(&mut self.offsets), std::mem::take(&mut self.labels));
        // In blocks: hashing eight bytes at a time costs more than the copy.
        for block in offsets.chunks(1 << 13) {
            let bytes: Vec<u8> = block.iter().flat_map(|offset| offset.to_le_bytes()).collect();
            self.write(&bytes)?;
        }
        for block in labels.chunks(1 << 14) {
            let bytes: Vec<u8> = block.iter().flat_map(|label| label.to_le_bytes()).collect();
            self.write(&bytes)?;
        }
        let symbols = offsets.last().copied().unwrap_or_default();
        self.write(&(labels.len() as u64).to_le_bytes())?;
        self.write(&symbols.to_le_bytes())?;
        if self.filled > 0 {
            self.outer.update(self.piece.finalize());
        }
        self.out.write_all(&self.outer.finalize())?;
        Ok(self.out)
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.filled));
            self.piece.update(now);
            self.filled += now.len();
            if self.filled == PIECE {
                self.outer.update(self.piece.finalize_reset());
                self.filled = 0;
            }
            bytes = later;
        }
        Ok(())
    }
}
