//! Reads LRA's pairs, row by row: label, name, name, text, text, separated by tabs, without a
//! header and without quoting. A label is a number that is 0 or 1. A CR before the line's end
//! and a byte order mark before the first row belong to neither text; any other byte is fine
//! inside one. Memory is bounded by [`MAX_LINE`].

use crate::error::{Error, IoContext, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Longer lines are refused. LRA itself reads the first 10,000 bytes of each text.
pub const MAX_LINE: u64 = 16 << 20;

const COLUMNS: [&str; 5] = ["label", "name", "name", "text", "text"];

/// One pair; it borrows the reader's line.
#[derive(Debug)]
pub struct Row<'a> {
    pub label: u32,
    /// Bytes of the file up to the end of this row.
    pub read: u64,
    line: &'a [u8],
    texts: [Range<usize>; 2],
}

impl Row<'_> {
    /// The first text or the second.
    pub fn text(&self, which: usize) -> &[u8] {
        &self.line[self.texts[which].clone()]
    }
}

pub struct Reader<R> {
    input: BufReader<R>,
    path: PathBuf,
    line: Vec<u8>,
    number: u64,
    read: u64,
}

impl Reader<File> {
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Reader::new(File::open(path).at("open", path)?, path))
    }
}

impl<R: Read> Reader<R> {
    /// `path` is for messages.
    pub fn new(input: R, path: &Path) -> Self {
        let input = BufReader::with_capacity(1 << 18, input);
        Self { input, path: path.to_path_buf(), line: Vec::new(), number: 0, read: 0 }
    }

    /// The next pair, `None` at the end.
    pub fn next_row(&mut self) -> Result<Option<Row<'_>>> {
        self.line.clear();
        let mut limited = (&mut self.input).take(MAX_LINE);
        let count = limited.read_until(b'\n', &mut self.line).at("read", &self.path)?;
        if count == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.read += count as u64;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if count as u64 == MAX_LINE {
            let most = MAX_LINE >> 20;
            return Err(self.fault(0, format!("the line goes on; expected at most {most} MiB")));
        }
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        let mark = self.number == 1 && self.line.starts_with(b"\xEF\xBB\xBF");
        self.pair(if mark { 3 } else { 0 }).map(Some)
    }

    fn pair(&self, start: usize) -> Result<Row<'_>> {
        let mut fields = Vec::with_capacity(COLUMNS.len());
        let mut from = start;
        for field in self.line[start..].split(|&byte| byte == b'\t') {
            fields.push(from..from + field.len());
            from += field.len() + 1;
        }
        if fields.len() < COLUMNS.len() {
            let (found, lost) = (fields.len(), COLUMNS[fields.len()]);
            let message = format!(
                "{found} columns, the {lost} of column {} is missing; expected 5: label, name, \
                 name, text, text, separated by tabs",
                found + 1
            );
            return Err(self.fault(self.line.len(), message));
        }
        if let Some(extra) = fields.get(COLUMNS.len()) {
            let message = format!("{} columns; expected 5, no tab in a text", fields.len());
            return Err(self.fault(extra.start, message));
        }
        let text = String::from_utf8_lossy(&self.line[fields[0].clone()]);
        let label = match text.trim().parse::<f64>() {
            Ok(0.0) => 0,
            Ok(1.0) => 1,
            _ => {
                let shown: String = text.chars().take(32).flat_map(char::escape_default).collect();
                let message = format!("the label is `{shown}`; expected 0 or 1");
                return Err(self.fault(start, message));
            }
        };
        if let Some(empty) = fields[3..].iter().find(|field| field.is_empty()) {
            return Err(self.fault(empty.start, "an empty text; expected one in columns 4 and 5"));
        }
        let texts = [fields[3].clone(), fields[4].clone()];
        Ok(Row { label, read: self.read, line: &self.line, texts })
    }

    /// An error at a byte of the present line, counted from 0.
    fn fault(&self, at: usize, message: impl Into<String>) -> Error {
        Error::data_at(&self.path, self.number, Some(at as u64 + 1), message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pair = (u32, Vec<u8>, Vec<u8>);

    fn rows(text: &[u8]) -> Result<Vec<Pair>> {
        let mut reader = Reader::new(text, Path::new("pairs.tsv"));
        let mut rows = Vec::new();
        while let Some(row) = reader.next_row()? {
            rows.push((row.label, row.text(0).to_vec(), row.text(1).to_vec()));
        }
        Ok(rows)
    }

    #[test]
    fn any_bytes_but_tabs_and_line_ends_are_text() {
        let odd = b"\xEF\xBB\xBF1.0\tA\tB\tx\0\xFF\"y\t z \r\n0\t\t\t\r\tb";
        let expected =
            [(1, b"x\0\xFF\"y".to_vec(), b" z ".to_vec()), (0, b"\r".to_vec(), b"b".to_vec())];
        assert_eq!(rows(odd).unwrap(), expected);
        assert_eq!(rows(b"").unwrap(), []);
    }

    #[test]
    fn faults_are_named_with_their_place() {
        for (text, place, parts) in [
            (
                &b"1\ta\tb\tc\td\n1\ta\tb\tc\n"[..],
                "pairs.tsv:2:8",
                ["4 columns", "text of column 5"],
            ),
            (b"1\ta\tb\tc\td\te", "pairs.tsv:1:11", ["6 columns", "expected 5"]),
            (b"2\ta\tb\tc\td", "pairs.tsv:1:1", ["label is `2`", "0 or 1"]),
            (b"label\tid1\tid2\tc\td", "pairs.tsv:1:1", ["`label`", "0 or 1"]),
            (b"nan\ta\tb\tc\td", "pairs.tsv:1:1", ["`nan`", "0 or 1"]),
            (b"1\ta\tb\t\td", "pairs.tsv:1:7", ["empty text", "columns 4 and 5"]),
            (b"1\ta\tb\tc\t\r\n", "pairs.tsv:1:9", ["empty text", "columns 4 and 5"]),
            (b"\n", "pairs.tsv:1:1", ["1 columns", "name of column 2"]),
        ] {
            let error = rows(text).unwrap_err();
            let said = error.to_string();
            assert_eq!(error.exit_code(), 3);
            assert!(said.starts_with(&format!("{place}: ")), "{said}");
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        }
    }

    /// A line without an end is given up at the limit: no more than that was held.
    #[test]
    fn an_endless_line_is_an_error_in_bounded_memory() {
        let mut reader = Reader::new(std::io::repeat(b'x'), Path::new("pairs.tsv"));
        let error = reader.next_row().unwrap_err().to_string();
        assert!(error.contains("pairs.tsv:1:1: the line goes on"), "{error}");
        assert!(reader.line.capacity() as u64 <= 2 * MAX_LINE);
        // As long as may be, it is read.
        let mut longest = b"1\ta\tb\tc\t".to_vec();
        longest.resize(MAX_LINE as usize - 1, b'd');
        longest.push(b'\n');
        assert_eq!(rows(&longest).unwrap()[0].2.len(), MAX_LINE as usize - 1 - 8);
    }
}
