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
#[derive(Debug)]
pub enum Error {
    /// A flag or argument is wrong. The message names it and what was expected.
    Usage(String),

    /// A configuration key is unknown, of the wrong type, or its value impossible.
    Config {
        key: String,
        message: String,
    },

    /// Data is missing or corrupt; `place` is the file, with line and column where known.
    Data {
        place: Place,
        message: String,
    },

    /// A loss, a gradient or an evaluation is no number; `what` names it.
    Diverged {
        step: u64,
        what: String,
    },

    OutOfMemory(String),

    Checkpoint {
        path: PathBuf,
        message: String,
    },

    /// Another run, of process `pid`, is in this folder.
    Locked {
        path: PathBuf,
        pid: u32,
    },

    Io {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },

    /// Some runs of a sweep failed; the others stand.
    Cells {
        failed: usize,
        of: usize,
        first: String,
    },

    /// A document does not show what its records say.
    Stale {
        path: PathBuf,
        parts: String,
        command: String,
    },

    /// What was measured is worse than the baseline.
    Regression {
        count: usize,
        baseline: PathBuf,
    },

    /// By a signal of this number.
    Interrupted(i32),

    Tensor(candle_core::Error),
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&printable::lines(&self.words()))
    }
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
    fn words(&self) -> String {
        match self {
            Self::Usage(message) => message.clone(),
            Self::Config { key, message } => {
                format!("configuration key `{}`: {message}", printable::line(key))
            }
            Self::Data { place, message } => format!("{place}: {message}"),
            Self::Diverged { step, what } => format!("training diverged at step {step}: {what}"),
            Self::OutOfMemory(message) => format!("out of memory: {message}"),
            Self::Checkpoint { path, message } => format!("{}: {message}", shown(path)),
            Self::Locked { path, pid } => format!(
                "{} is in use by process {pid}; wait for it, stop it, or choose another --out",
                shown(path)
            ),
            Self::Io { action, path, source } => {
                format!("cannot {action} {}: {source}", shown(path))
            }
            Self::Cells { failed, of, first } => {
                format!("{failed} of {of} runs failed; the first: {first}")
            }
            Self::Stale { path, parts, command } => {
                format!("{} is stale: {parts}; `{command}` mends it", shown(path))
            }
            Self::Regression { count, baseline } => format!(
                "worse than {} in {count} of what it holds; where that is meant, `lra baseline \
                 save --fresh` takes what is there now as the new baseline",
                shown(baseline)
            ),
            Self::Interrupted(signal) => {
                format!("stopped by signal {signal}; give the same command again to continue")
            }
            Self::Tensor(error) => error.to_string(),
        }
    }

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
