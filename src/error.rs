//! What can go wrong, and the exit code each kind ends the process with.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | unexpected failure; a run of a sweep failed |
//! | 2 | usage: a flag, a configuration key or a value is wrong |
//! | 3 | data missing or corrupt |
//! | 5 | training diverged (NaN or infinity) |
//! | 6 | out of memory |
//! | 7 | a regression was found; a document is stale |
//! | 8 | checkpoint unusable |
//! | 9 | the run folder is locked by another run |
//! | 10 | input/output failed |
//! | 130, 143 | stopped by SIGINT, SIGTERM after writing a checkpoint |

use crate::printable;
use std::path::{Path, PathBuf};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Displayed, none has control characters but the ends of its lines, whatever a file or a
/// library put into it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A flag or argument is wrong. The message names it and what was expected.
    #[error("{}", printable::lines(.0))]
    Usage(String),

    /// A configuration key is unknown, of the wrong type, or its value impossible.
    #[error("configuration key `{}`: {}", printable::line(.key), printable::lines(.message))]
    Config { key: String, message: String },

    /// Data is missing or corrupt; `place` is the file, with line and column where known.
    #[error("{place}: {}", printable::lines(.message))]
    Data { place: Place, message: String },

    #[error("training diverged at step {step}: {what}")]
    Diverged { step: u64, what: String },

    #[error("out of memory: {0}")]
    OutOfMemory(String),

    #[error("{}: {}", shown(.path), printable::lines(.message))]
    Checkpoint { path: PathBuf, message: String },

    #[error("{path} is in use by process {pid}; wait for it, stop it, or choose another --out", path = shown(.path))]
    Locked { path: PathBuf, pid: u32 },

    #[error("cannot {action} {path}: {source}", path = shown(.path))]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },

    /// Some runs of a sweep failed; the others stand.
    #[error("{failed} of {of} runs failed; the first: {}", printable::lines(.first))]
    Cells { failed: usize, of: usize, first: String },

    /// A document does not show what its records say.
    #[error("{path} is stale: {parts}; `{command}` mends it", path = shown(.path))]
    Stale { path: PathBuf, parts: String, command: String },

    /// What was measured is worse than the baseline.
    #[error(
        "worse than {baseline} in {count} of what it holds; where that is meant, `lra baseline save --fresh` \
         takes what is there now as the new baseline",
        baseline = shown(.baseline)
    )]
    Regression { count: usize, baseline: PathBuf },

    #[error("stopped by signal {0}; give the same command again to continue")]
    Interrupted(i32),

    #[error("{}", printable::lines(&.0.to_string()))]
    Tensor(candle_core::Error),
}

fn shown(path: &Path) -> String {
    printable::line(&path.to_string_lossy())
}

/// A place in a file: 1-based line and column, where they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub path: PathBuf,
    pub line: Option<u64>,
    pub column: Option<u64>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", shown(&self.path))?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        Ok(())
    }
}

impl From<candle_core::Error> for Error {
    /// A GPU that has no memory left says so in its driver's words.
    fn from(error: candle_core::Error) -> Self {
        let message = error.to_string();
        if message.contains("OUT_OF_MEMORY") || message.contains("out of memory") {
            let first = message.lines().next().unwrap_or_default();
            return Self::OutOfMemory(format!("{first}; a smaller --micro-batch needs less"));
        }
        Self::Tensor(error)
    }
}

impl Error {
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub fn config(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Config { key: key.into(), message: message.into() }
    }

    /// A data error about a whole file.
    pub fn data(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        let place = Place { path: path.into(), line: None, column: None };
        Self::Data { place, message: message.into() }
    }

    /// A data error at a 1-based line and column.
    pub fn data_at(
        path: impl Into<PathBuf>,
        line: u64,
        column: Option<u64>,
        message: impl Into<String>,
    ) -> Self {
        let place = Place { path: path.into(), line: Some(line), column };
        Self::Data { place, message: message.into() }
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Tensor(_) | Self::Cells { .. } => 1,
            Self::Usage(_) | Self::Config { .. } => 2,
            Self::Data { .. } => 3,
            Self::Diverged { .. } => 5,
            Self::OutOfMemory(_) => 6,
            Self::Stale { .. } | Self::Regression { .. } => 7,
            Self::Checkpoint { .. } => 8,
            Self::Locked { .. } => 9,
            Self::Io { .. } => 10,
            Self::Interrupted(signal) => 128u8.saturating_add(*signal as u8),
        }
    }
}

/// Names the path and the action in an I/O error: `fs::read(p).at("read", p)?`.
pub trait IoContext<T> {
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T> IoContext<T> for std::io::Result<T> {
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|source| Error::Io { action, path: path.as_ref().to_path_buf(), source })
    }
}
