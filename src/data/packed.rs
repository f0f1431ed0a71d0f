//! The packed file: one split, ready to be mapped, and written in one pass.
//!
//! | bytes | content (integers little-endian) |
//! |---|---|
//! | 8 | magic `LRAPACK\n` |
//! | 4 | format version |
//! | 4 | parts per example, p |
//! | 4 | first id: model id = symbol + first id |
//! | 4 | zero |
//! | s | symbols |
//! | 8 (n p + 1) | offset of each part, and the end of the last |
//! | 4 n | labels |
//! | 8 | examples, n |
//! | 8 | symbols, s |
//! | 32 | SHA-256 over the SHA-256 of each [`PIECE`] of everything before |
//!
//! Pieces are hashed side by side when a file is opened: Path-X has 3.3 GB.

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::ops::Range;

/// Raised when the layout changes; files of another version are built again.
pub const PACKED_VERSION: u32 = 2;

pub(super) const MAGIC: &[u8; 8] = b"LRAPACK\n";
pub(super) const HEADER: usize = 24;
const COUNTS: usize = 16;
const DIGEST: usize = 32;
/// Bytes that are hashed as one.
pub(super) const PIECE: usize = 1 << 20;

/// Where things are in a verified file. Every range lies inside it.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub examples: usize,
    pub parts: usize,
    pub first_id: u32,
    pub max_tokens: usize,
    pub offsets: usize,
    pub labels: usize,
    pub symbols: Range<usize>,
    pub digest: [u8; DIGEST],
}

impl Layout {
    /// Checks a whole file; the error says in what it is damaged. `read` is told of each
    /// range that will not be looked at again soon.
    pub fn verify(file: &[u8], read: impl Fn(Range<usize>)) -> Result<Self, String> {
        let least = HEADER + 8 + COUNTS + DIGEST;
        if file.len() < least {
            return Err(format!("{} bytes; a packed file has at least {least}", file.len()));
        }
        if &file[..8] != MAGIC {
            return Err("it does not start as a packed file does".into());
        }
        let version = u32_at(file, 8);
        if version != PACKED_VERSION {
            return Err(format!("format version {version}; expected {PACKED_VERSION}"));
        }
        let (parts, first_id) = (u32_at(file, 12), u32_at(file, 16));
        let counts = file.len() - DIGEST - COUNTS;
        let (examples, symbols) = (u64_at(file, counts), u64_at(file, counts + 8));
        let layout = Self::place(parts, first_id, examples, symbols, file.len())
            .ok_or_else(|| format!("{} bytes do not fit the sizes at its end", file.len()))?;

        let (body, stated) = file.split_at(file.len() - DIGEST);
        if digest(body, read).as_slice() != stated {
            return Err("its SHA-256 does not match its content".into());
        }
        layout.check_offsets(file)
    }

    /// The layout that these sizes imply, if the file is exactly as long as it needs.
    fn place(parts: u32, first_id: u32, examples: u64, symbols: u64, len: usize) -> Option<Self> {
        if parts == 0 {
            return None;
        }
        let (parts, examples) = (parts as usize, usize::try_from(examples).ok()?);
        let offsets = HEADER.checked_add(usize::try_from(symbols).ok()?)?;
        let count = examples.checked_mul(parts)?.checked_add(1)?;
        let labels = offsets.checked_add(count.checked_mul(8)?)?;
        let end = labels.checked_add(examples.checked_mul(4)?)?;
        (end.checked_add(COUNTS + DIGEST)? == len).then_some(Self {
            examples,
            parts,
            first_id,
            max_tokens: 0,
            offsets,
            labels,
            symbols: HEADER..offsets,
            digest: [0; DIGEST],
        })
    }

    /// Offsets rise from 0 to the number of symbols, so that every part lies inside.
    fn check_offsets(mut self, file: &[u8]) -> Result<Self, String> {
        let mut before = 0;
        for part in 0..=self.examples * self.parts {
            let offset = u64_at(file, self.offsets + 8 * part);
            if offset < before || (part == 0 && offset != 0) {
                return Err(format!("offset {offset} of part {part} is out of order"));
            }
            self.max_tokens = self.max_tokens.max((offset - before) as usize);
            before = offset;
        }
        if before != self.symbols.len() as u64 {
            let symbols = self.symbols.len();
            return Err(format!("the last example ends at {before} of {symbols} symbols"));
        }
        self.digest.copy_from_slice(&file[file.len() - DIGEST..]);
        Ok(self)
    }
}

/// The digest of a whole body, in rounds of pieces; `read` is told of each round.
fn digest(body: &[u8], read: impl Fn(Range<usize>)) -> [u8; DIGEST] {
    const ROUND: usize = 32 * PIECE;
    let mut outer = Sha256::new();
    for (i, round) in body.chunks(ROUND).enumerate() {
        let pieces: Vec<_> = round.par_chunks(PIECE).map(Sha256::digest).collect();
        pieces.iter().for_each(|piece| outer.update(piece));
        read(i * ROUND..i * ROUND + round.len());
    }
    outer.finalize().into()
}

pub(super) fn u32_at(file: &[u8], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&file[at..at + 4]);
    u32::from_le_bytes(bytes)
}

pub(super) fn u64_at(file: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&file[at..at + 8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::{Examples, pack};
    use super::*;

    fn image() -> Vec<u8> {
        let mut examples = Examples::new(2, 1);
        examples.push(&[b"abc", b""], 7);
        examples.push(&[b"d", b"efgh"], 1);
        pack::image(&examples).unwrap()
    }

    fn verify(file: &[u8]) -> Result<Layout, String> {
        Layout::verify(file, drop)
    }

    fn signed(mut image: Vec<u8>) -> Vec<u8> {
        image.truncate(image.len() - DIGEST);
        let digest = digest(&image, drop);
        image.extend_from_slice(&digest);
        image
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let image = image();
        let layout = verify(&image).unwrap();
        assert_eq!((layout.examples, layout.parts, layout.max_tokens), (2, 2, 4));
        for bit in 0..image.len() * 8 {
            let mut damaged = image.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&damaged).is_err(), "bit {bit}");
        }
        for len in 0..image.len() {
            assert!(verify(&image[..len]).is_err(), "cut at {len}");
        }
        let mut longer = image.clone();
        longer.push(0);
        assert!(verify(&longer).is_err());
    }

    /// With a right checksum too, impossible sizes and offsets are refused, not followed.
    #[test]
    fn impossible_sizes_are_refused() {
        let image = image();
        let counts = image.len() - DIGEST - COUNTS;
        for (at, width) in [(12, 4), (counts, 8), (counts + 8, 8)] {
            for value in [u64::MAX, u64::MAX / 8, 1 << 62, 1 << 32, 3, 0] {
                let mut forged = image.clone();
                forged[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
                if forged != image {
                    assert!(verify(&signed(forged)).is_err(), "{value} at {at}");
                }
            }
        }
        let mut longer = image.clone();
        longer.insert(longer.len() - DIGEST, 0);
        assert!(verify(&signed(longer)).is_err());
        let offsets = verify(&image).unwrap().offsets;
        for part in 0..5 {
            for value in [u64::MAX, 9, 1 << 40] {
                let mut forged = image.clone();
                let at = offsets + 8 * part;
                forged[at..at + 8].copy_from_slice(&value.to_le_bytes());
                assert!(verify(&signed(forged)).is_err(), "offset {value} of part {part}");
            }
        }
    }
}
