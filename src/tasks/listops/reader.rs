//! Reads the official TSV form, row by row.
//!
//! The first line is `Source<TAB>Target`. A source is an expression, with the official
//! `(` and `)` around every pair or without; they carry nothing and are dropped. A target
//! is a digit. Blank lines are skipped, as readers of CSV do. Every other departure is an
//! error with line and column. Memory is bounded by the row length asked for.

use super::bytes::{Bytes, Unit, shown};
use super::expression::Evaluator;
use super::vocabulary::symbol;
use crate::error::{Error, IoContext, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;

pub const HEADER: &str = "Source\tTarget";

/// A row; its symbols go where the caller said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub line: u64,
    /// Where the label is.
    pub column: u64,
    pub label: u8,
    /// What the expression evaluates to, cut or not.
    pub value: u8,
    /// Its length before it was cut.
    pub length: u64,
}

pub struct Reader<R> {
    bytes: Bytes<R>,
    evaluator: Evaluator,
    /// The token or field being read.
    word: Vec<u8>,
}

impl Reader<File> {
    pub fn open(path: &Path) -> Result<Self> {
        Reader::new(File::open(path).at("open", path)?, path)
    }
}

impl<R: Read> Reader<R> {
    /// Reads the header. `path` is for messages.
    pub fn new(input: R, path: &Path) -> Result<Self> {
        let bytes = Bytes::new(input, path)?;
        let mut reader = Self { bytes, evaluator: Evaluator::default(), word: Vec::new() };
        if reader.bytes.peek()?.is_none() {
            return Err(reader.bytes.fault(1, 1, "an empty file; expected `Source<TAB>Target`"));
        }
        reader.word(|_| false)?;
        if reader.word != HEADER.as_bytes() {
            let found = shown(&reader.word);
            return Err(reader.bytes.fault(
                1,
                1,
                format!("the header is {found}; expected `Source<TAB>Target`"),
            ));
        }
        reader.bytes.take()?;
        Ok(reader)
    }

    /// Bytes read so far, for progress.
    pub fn read(&self) -> u64 {
        self.bytes.read()
    }

    /// The next row, or `None` after the last. The first `keep` symbols replace `symbols`.
    pub fn next(&mut self, symbols: &mut Vec<u8>, keep: usize) -> Result<Option<Row>> {
        while matches!(self.bytes.peek()?, Some(b'\n' | b'\r')) {
            self.bytes.take()?;
        }
        if self.bytes.peek()?.is_none() {
            return Ok(None);
        }
        let line = self.bytes.line();
        let (value, length) = self.source(line, symbols, keep)?;
        let column = self.bytes.column();
        let label = self.label(line, column)?;
        Ok(Some(Row { line, column, label, value, length }))
    }

    /// Reads up to the tab behind the source.
    fn source(&mut self, line: u64, symbols: &mut Vec<u8>, keep: usize) -> Result<(u8, u64)> {
        symbols.clear();
        let (mut parentheses, mut length) = (0u64, 0u64);
        loop {
            let column = self.bytes.column();
            match self.bytes.peek()? {
                None | Some(b'\n' | b'\r') => {
                    // A lone CR is reported as such.
                    self.bytes.take()?;
                    let message = "the line ends without a `Target` column; expected a tab and a \
                                   label 0 to 9";
                    return Err(self.bytes.fault(line, column, message));
                }
                Some(b'\t') => {
                    let value = self.evaluator.finish();
                    let value = value.map_err(|f| self.bytes.fault(line, column, f.to_string()))?;
                    if parentheses > 0 {
                        let message = format!(
                            "the source ends with {parentheses} `(` unclosed; unbalanced \
                             parentheses"
                        );
                        return Err(self.bytes.fault(line, column, message));
                    }
                    self.bytes.take()?;
                    return Ok((value, length));
                }
                Some(b' ') => _ = self.bytes.take()?,
                Some(b'(') => {
                    self.bytes.take()?;
                    parentheses += 1;
                }
                Some(b')') => {
                    self.bytes.take()?;
                    parentheses = parentheses.checked_sub(1).ok_or_else(|| {
                        self.bytes.fault(line, column, "`)` without `(`; unbalanced parentheses")
                    })?;
                }
                Some(_) => {
                    self.word(|byte| matches!(byte, b' ' | b'\t' | b'(' | b')'))?;
                    let symbol =
                        symbol(&self.word).ok_or_else(|| self.unknown_token(line, column))?;
                    self.evaluator
                        .push(symbol)
                        .map_err(|fault| self.bytes.fault(line, column, fault.to_string()))?;
                    if symbols.len() < keep {
                        symbols.push(symbol);
                    }
                    length += 1;
                }
            }
        }
    }

    fn unknown_token(&self, line: u64, column: u64) -> Error {
        let found = shown(&self.word);
        self.bytes.fault(
            line,
            column,
            format!("unknown token {found}; expected 0 to 9, [MIN, [MAX, [MED, [SM or ]"),
        )
    }

    /// Reads the label and the line's end.
    fn label(&mut self, line: u64, column: u64) -> Result<u8> {
        self.word(|byte| byte == b'\t')?;
        let &[digit @ b'0'..=b'9'] = self.word.as_slice() else {
            let found = shown(&self.word);
            return Err(self.bytes.fault(
                line,
                column,
                format!("the label is {found}; expected a digit 0 to 9"),
            ));
        };
        let column = self.bytes.column();
        match self.bytes.take()? {
            Unit::Byte(_) => {
                Err(self.bytes.fault(line, column, "a third column; expected the line to end"))
            }
            Unit::Newline | Unit::End => Ok(digit - b'0'),
        }
    }

    /// Reads into `self.word` up to, and without, a separator or the line's end. What no
    /// token, label or header can be as long as is left unread.
    fn word(&mut self, separator: impl Fn(u8) -> bool) -> Result<()> {
        const ENOUGH: usize = 64;
        self.word.clear();
        while self.word.len() < ENOUGH {
            match self.bytes.peek()? {
                None | Some(b'\n' | b'\r') => break,
                Some(byte) if separator(byte) => break,
                Some(_) => {}
            }
            if let Unit::Byte(byte) = self.bytes.take()? {
                self.word.push(byte);
            }
        }
        Ok(())
    }
}
