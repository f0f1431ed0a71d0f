//! A text file byte by byte, with its lines and columns, in bounded memory.
//!
//! Columns are 1-based and count bytes; a UTF-8 byte order mark counts nothing. Lines end
//! with LF or CR LF. A NUL, a lone CR and a line over [`MAX_LINE`] are errors here, so
//! that no caller has to think of them.

use crate::error::{Error, IoContext, Result};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longer lines are refused. The longest official one has about 15 KiB.
pub const MAX_LINE: u64 = 16 << 20;

/// What [`Bytes::take`] took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Byte(u8),
    Newline,
    End,
}

pub struct Bytes<R> {
    input: R,
    path: PathBuf,
    buffer: Box<[u8]>,
    at: usize,
    filled: usize,
    /// Of the next byte.
    line: u64,
    column: u64,
    /// Bytes read from the input.
    read: u64,
}

impl<R: Read> Bytes<R> {
    pub fn new(input: R, path: &Path) -> Result<Self> {
        let buffer = vec![0; 1 << 16].into_boxed_slice();
        let path = path.to_path_buf();
        let mut bytes = Self { input, path, buffer, at: 0, filled: 0, line: 1, column: 1, read: 0 };
        while bytes.filled < 3 && bytes.fill()? {}
        if bytes.buffer[..bytes.filled].starts_with(b"\xEF\xBB\xBF") {
            bytes.at = 3;
        }
        Ok(bytes)
    }

    pub fn line(&self) -> u64 {
        self.line
    }

    pub fn column(&self) -> u64 {
        self.column
    }

    /// How much was read from the input, for progress.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// An error at a place in this file.
    pub fn fault(&self, line: u64, column: u64, message: impl Into<String>) -> Error {
        Error::data_at(&self.path, line, Some(column), message)
    }

    /// The next byte as it is, `None` at the end.
    pub fn peek(&mut self) -> Result<Option<u8>> {
        if self.at == self.filled {
            self.at = 0;
            self.filled = 0;
            if !self.fill()? {
                return Ok(None);
            }
        }
        Ok(Some(self.buffer[self.at]))
    }

    /// Takes the next byte, or a whole line end.
    pub fn take(&mut self) -> Result<Unit> {
        let (line, column) = (self.line, self.column);
        let Some(byte) = self.peek()? else { return Ok(Unit::End) };
        self.at += 1;
        self.column += 1;
        match byte {
            b'\n' => {}
            b'\r' if self.peek()? == Some(b'\n') => self.at += 1,
            b'\r' => {
                return Err(self.fault(
                    line,
                    column,
                    "a lone CR; expected lines to end LF or CR LF",
                ));
            }
            0 => return Err(self.fault(line, column, "a NUL byte; expected text")),
            _ if column > MAX_LINE => {
                let most = MAX_LINE >> 20;
                return Err(self.fault(
                    line,
                    column,
                    format!("the line goes on; expected at most {most} MiB"),
                ));
            }
            _ => return Ok(Unit::Byte(byte)),
        }
        self.line += 1;
        self.column = 1;
        Ok(Unit::Newline)
    }

    /// Reads more behind what is buffered; false at the end.
    fn fill(&mut self) -> Result<bool> {
        loop {
            match self.input.read(&mut self.buffer[self.filled..]) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                result => {
                    let read = result.at("read", &self.path)?;
                    self.filled += read;
                    self.read += read as u64;
                    return Ok(read > 0);
                }
            }
        }
    }
}

/// The start of `bytes`, for an error message: printable ASCII on one line.
pub fn shown(bytes: &[u8]) -> String {
    const SHOWN: usize = 32;
    let mut text = String::from("`");
    for &byte in bytes.iter().take(SHOWN) {
        match byte {
            b' ' | b'!'..=b'~' => text.push(char::from(byte)),
            _ => text.extend(std::ascii::escape_default(byte).map(char::from)),
        }
    }
    text.push_str(if bytes.len() > SHOWN { "...`" } else { "`" });
    text
}
