//! The packed file: one split, ready to be mapped.
//!
//! | bytes | content (integers little-endian) |
//! |---|---|
//! | 8 | magic `LRAPACK\n` |
//! | 4 | format version |
//! | 4 | parts per example, p |
//! | 4 | first id: model id = symbol + first id |
//! | 4 | zero |
//! | 8 | examples, n |
//! | 8 | symbols, s |
//! | 8 (n p + 1) | offset of each part, and the end of the last |
//! | 4 n | labels |
//! | s | symbols |
//! | 32 | SHA-256 of everything before |

use super::Examples;
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use std::ops::Range;

/// Raised when the layout changes; files of another version are built again.
pub const PACKED_VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"LRAPACK\n";
const HEADER: usize = 40;
const DIGEST: usize = 32;

/// Writes `examples` as a packed file.
pub(super) fn write(examples: &Examples, out: &mut dyn Write) -> io::Result<()> {
    let mut out = Hashing { out, hash: Sha256::new() };
    out.write_all(MAGIC)?;
    for word in [PACKED_VERSION, examples.parts() as u32, examples.first_id(), 0] {
        out.write_all(&word.to_le_bytes())?;
    }
    out.write_all(&(examples.len() as u64).to_le_bytes())?;
    out.write_all(&(examples.symbols().len() as u64).to_le_bytes())?;
    // In pieces: hashing eight bytes at a time costs more than the copy.
    let mut piece = Vec::new();
    for offsets in examples.offsets().chunks(1 << 13) {
        piece.clear();
        piece.extend(offsets.iter().flat_map(|offset| offset.to_le_bytes()));
        out.write_all(&piece)?;
    }
    for labels in examples.labels().chunks(1 << 14) {
        piece.clear();
        piece.extend(labels.iter().flat_map(|label| label.to_le_bytes()));
        out.write_all(&piece)?;
    }
    out.write_all(examples.symbols())?;
    let Hashing { out, hash } = out;
    out.write_all(&hash.finalize())
}

struct Hashing<'a> {
    out: &'a mut dyn Write,
    hash: Sha256,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Where things are in a verified file. Every range lies inside it.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub examples: usize,
    pub parts: usize,
    pub first_id: u32,
    pub max_tokens: usize,
    pub labels: usize,
    pub symbols: Range<usize>,
    pub digest: [u8; DIGEST],
}

pub(super) const OFFSETS: usize = HEADER;

impl Layout {
    /// Checks a whole file; the error says in what it is damaged.
    pub fn verify(file: &[u8]) -> Result<Self, String> {
        if file.len() < HEADER + 8 + DIGEST {
            return Err(format!("{} bytes; a packed file has at least 80", file.len()));
        }
        if &file[..8] != MAGIC {
            return Err("it does not start as a packed file does".into());
        }
        let version = u32_at(file, 8);
        if version != PACKED_VERSION {
            return Err(format!("format version {version}; expected {PACKED_VERSION}"));
        }
        let (parts, first_id) = (u32_at(file, 12), u32_at(file, 16));
        let (examples, symbols) = (u64_at(file, 24), u64_at(file, 32));
        let layout = Self::place(parts, first_id, examples, symbols, file.len())
            .ok_or_else(|| format!("{} bytes do not fit the sizes in its header", file.len()))?;

        let (body, stated) = file.split_at(file.len() - DIGEST);
        if Sha256::digest(body).as_slice() != stated {
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
        let offsets = examples.checked_mul(parts)?.checked_add(1)?.checked_mul(8)?;
        let labels = OFFSETS.checked_add(offsets)?;
        let start = labels.checked_add(examples.checked_mul(4)?)?;
        let end = start.checked_add(usize::try_from(symbols).ok()?)?;
        (end.checked_add(DIGEST)? == len).then_some(Self {
            examples,
            parts,
            first_id,
            max_tokens: 0,
            labels,
            symbols: start..end,
            digest: [0; DIGEST],
        })
    }

    /// Offsets rise from 0 to the number of symbols, so that every part lies inside.
    fn check_offsets(mut self, file: &[u8]) -> Result<Self, String> {
        let mut before = 0;
        for part in 0..=self.examples * self.parts {
            let offset = u64_at(file, OFFSETS + 8 * part);
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
    use super::*;

    fn image() -> Vec<u8> {
        let mut examples = Examples::new(2, 1);
        examples.push(&[b"abc", b""], 7);
        examples.push(&[b"d", b"efgh"], 1);
        let mut image = Vec::new();
        write(&examples, &mut image).unwrap();
        image
    }

    fn signed(mut image: Vec<u8>) -> Vec<u8> {
        image.truncate(image.len() - DIGEST);
        let digest = Sha256::digest(&image);
        image.extend_from_slice(&digest);
        image
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let image = image();
        let layout = Layout::verify(&image).unwrap();
        assert_eq!((layout.examples, layout.parts, layout.max_tokens), (2, 2, 4));
        for bit in 0..image.len() * 8 {
            let mut damaged = image.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Layout::verify(&damaged).is_err(), "bit {bit}");
        }
        for len in 0..image.len() {
            assert!(Layout::verify(&image[..len]).is_err(), "cut at {len}");
        }
        let mut longer = image.clone();
        longer.push(0);
        assert!(Layout::verify(&longer).is_err());
    }

    /// With a right checksum too, impossible sizes and offsets are refused, not followed.
    #[test]
    fn impossible_headers_are_refused() {
        for at in [12, 24, 32] {
            for value in [u64::MAX, u64::MAX / 8, 1 << 62, 1 << 32, 3, 0] {
                let mut forged = image();
                let width = if at == 12 { 4 } else { 8 };
                forged[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
                if forged != image() {
                    assert!(Layout::verify(&signed(forged)).is_err(), "{value} at {at}");
                }
            }
        }
        let mut idle = image();
        idle[OFFSETS + 32..OFFSETS + 40].copy_from_slice(&7u64.to_le_bytes());
        assert!(Layout::verify(&signed(idle)).is_err());
        let mut longer = image();
        longer.insert(longer.len() - DIGEST, 0);
        assert!(Layout::verify(&signed(longer)).is_err());
        for part in 0..5 {
            for value in [u64::MAX, 9, 1 << 40] {
                let mut forged = image();
                let at = OFFSETS + 8 * part;
                forged[at..at + 8].copy_from_slice(&value.to_le_bytes());
                assert!(Layout::verify(&signed(forged)).is_err(), "offset {value} of part {part}");
            }
        }
    }
}
