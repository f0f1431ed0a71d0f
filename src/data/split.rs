//! One split of a task's examples, read from a mapped file or from memory.

use super::packed::{Layout, u32_at, u64_at};
use super::{Examples, pack};
use crate::error::{Error, IoContext, Result};
use memmap2::{Mmap, UncheckedAdvice};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Symbols read from a mapping before its pages are given back to the system, so that the
/// memory of a process does not grow with the set. The system keeps them cached.
const RESIDENT: usize = 16 << 20;

/// Packed examples. Cloning shares them.
#[derive(Clone)]
pub struct Split(Arc<Inner>);

struct Inner {
    image: Image,
    layout: Layout,
    path: Option<PathBuf>,
    /// Symbols read since pages were last given back.
    read: AtomicUsize,
}

enum Image {
    Mapped(Mmap),
    Memory(Vec<u8>),
}

impl Image {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Memory(bytes) => bytes,
        }
    }

    /// Takes the pages of a range out of this process's memory.
    fn release(&self, range: Range<usize>) {
        if let Self::Mapped(map) = self {
            // SAFETY: the mapping is shared and read-only, so its pages are the file's own:
            // a later read, through a slice that is alive too, finds the same bytes again.
            let advised = unsafe {
                map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len())
            };
            // Advice only: a system without it keeps the pages.
            let _ = advised;
        }
    }
}

impl Split {
    /// Maps a packed file and verifies all of it. Damage is [`Error::Data`].
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).at("open", path)?;
        // SAFETY: a mapping is undefined behaviour only if the file changes under it.
        // Packed files are never written in place: `write_atomic` renames a finished
        // sibling over them, which leaves the mapped inode as it is.
        let map = unsafe { Mmap::map(&file) }.at("map", path)?;
        Self::verified(Image::Mapped(map), Some(path.to_path_buf()))
    }

    /// The same without a file, for tests and tools.
    pub fn from_examples(examples: &Examples) -> Result<Self> {
        let image = pack::image(examples).at("pack", "examples in memory")?;
        Self::verified(Image::Memory(image), None)
    }

    fn verified(image: Image, path: Option<PathBuf>) -> Result<Self> {
        let read = |range| image.release(range);
        let layout = Layout::verify(image.bytes(), read).map_err(|damage| {
            Error::data(path.clone().unwrap_or_default(), format!("damaged: {damage}"))
        })?;
        Ok(Self(Arc::new(Inner { image, layout, path, read: AtomicUsize::new(0) })))
    }

    pub fn len(&self) -> usize {
        self.0.layout.examples
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sequences per example: 1, or 2 where two documents are compared.
    pub fn parts(&self) -> usize {
        self.0.layout.parts
    }

    /// The raw symbols of example `i`; panics, as a slice does, when out of range.
    pub fn tokens(&self, i: usize, part: usize) -> &[u8] {
        let (layout, image) = (&self.0.layout, self.0.image.bytes());
        assert!(
            i < layout.examples && part < layout.parts,
            "part {part} of example {i}: {} examples of {} parts",
            layout.examples,
            layout.parts
        );
        let at = layout.offsets + 8 * (i * layout.parts + part);
        let (start, end) = (u64_at(image, at) as usize, u64_at(image, at + 8) as usize);
        if self.0.read.fetch_add(end - start, Ordering::Relaxed) > RESIDENT {
            self.0.read.store(0, Ordering::Relaxed);
            self.0.image.release(layout.symbols.clone());
        }
        &image[layout.symbols.clone()][start..end]
    }

    /// Length of a part, without touching its symbols.
    pub fn length(&self, i: usize, part: usize) -> usize {
        let (layout, image) = (&self.0.layout, self.0.image.bytes());
        assert!(i < layout.examples && part < layout.parts, "part {part} of example {i}");
        let at = layout.offsets + 8 * (i * layout.parts + part);
        (u64_at(image, at + 8) - u64_at(image, at)) as usize
    }

    /// What is added to a symbol to get the id a model sees.
    pub fn first_id(&self) -> u32 {
        self.0.layout.first_id
    }

    /// The label of example `i`; panics, as a slice does, when out of range.
    pub fn label(&self, i: usize) -> u32 {
        let layout = &self.0.layout;
        assert!(i < layout.examples, "label {i} of {}", layout.examples);
        u32_at(self.0.image.bytes(), layout.labels + 4 * i)
    }

    /// Length of the longest part of any example.
    pub fn max_tokens(&self) -> usize {
        self.0.layout.max_tokens
    }

    /// The packed file, if there is one.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Size in bytes, as packed.
    pub fn bytes(&self) -> usize {
        self.0.image.bytes().len()
    }

    /// SHA-256 of the packed form.
    pub fn digest(&self) -> &[u8; 32] {
        &self.0.layout.digest
    }
}

impl std::fmt::Debug for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Split")
            .field("examples", &self.len())
            .field("parts", &self.parts())
            .field("path", &self.path())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let mut examples = Examples::new(2, 1);
        examples.push(&[b"query", b"document"], 1);
        examples.push(&[b"", b"x"], 4_000_000_000);
        let split = Split::from_examples(&examples).unwrap();
        assert_eq!((split.len(), split.parts(), split.first_id()), (2, 2, 1));
        assert_eq!(split.max_tokens(), 8);
        assert_eq!((split.tokens(0, 0), split.tokens(0, 1)), (&b"query"[..], &b"document"[..]));
        assert_eq!((split.tokens(1, 0), split.tokens(1, 1)), (&b""[..], &b"x"[..]));
        assert_eq!((split.label(0), split.label(1)), (1, 4_000_000_000));
        let empty = Split::from_examples(&Examples::new(1, 0)).unwrap();
        assert!(empty.is_empty() && empty.max_tokens() == 0);
    }
}
