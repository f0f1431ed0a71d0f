//! Examples in memory, for sets that fit there and must be looked at again.

/// Labelled sequences of raw symbols; `parts` sequences to an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examples {
    parts: usize,
    first_id: u32,
    /// Where each part starts in `symbols`, and at last where the last one ends.
    offsets: Vec<u64>,
    labels: Vec<u32>,
    symbols: Vec<u8>,
}

impl Examples {
    /// `parts` is 1, or 2 for pairs of documents; a model sees `symbol + first_id`.
    pub fn new(parts: usize, first_id: u32) -> Self {
        assert!(parts > 0, "an example has at least one part");
        Self { parts, first_id, offsets: vec![0], labels: Vec::new(), symbols: Vec::new() }
    }

    /// Appends an example. The number of parts is the caller's contract.
    pub fn push(&mut self, parts: &[&[u8]], label: u32) {
        assert_eq!(parts.len(), self.parts, "parts of an example");
        for part in parts {
            self.symbols.extend_from_slice(part);
            self.offsets.push(self.symbols.len() as u64);
        }
        self.labels.push(label);
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    pub fn tokens(&self, i: usize, part: usize) -> &[u8] {
        assert!(part < self.parts, "part {part} of {}", self.parts);
        let at = i * self.parts + part;
        &self.symbols[self.offsets[at] as usize..self.offsets[at + 1] as usize]
    }

    pub fn label(&self, i: usize) -> u32 {
        self.labels[i]
    }

    pub(super) fn parts(&self) -> usize {
        self.parts
    }

    pub(super) fn first_id(&self) -> u32 {
        self.first_id
    }
}
