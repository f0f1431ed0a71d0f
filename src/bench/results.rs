//! What was measured, and its file.

use super::cell::{Memory, Window};
use crate::atomic::{make_folder_of, write_json};
use crate::error::{Error, Result};
use crate::records::Environment;
use crate::records::statistics::{mad, median};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// All rows of one call, and the machine they are from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Results {
    pub environment: Environment,
    /// The command that gives them again.
    pub command: String,
    /// GFLOP/s of one large f32 matrix product on all threads, before the first row.
    pub ceiling: f64,
    pub rows: Vec<Row>,
}

/// One cell and what it gave.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub model: String,
    pub task: String,
    pub preset: String,
    pub length: usize,
    pub batch: usize,
    pub parameters: u64,
    /// Floating point operations of a training step, by the model's declared cost.
    pub flops: f64,
    pub own: Option<Side>,
    /// The same encoder elsewhere, in each mode.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Side>,
    /// Why a side has no figure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
    /// Measured again at the end, to show drift.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repeated: bool,
}

/// One program's windows; those of one index were measured in the same minute.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Side {
    pub name: String,
    /// Which implementation of the attention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention: Option<String>,
    pub train: Vec<Window>,
    pub evaluate: Vec<Window>,
    pub memory: Memory,
}

impl Side {
    /// Steps per second of each window.
    pub fn rates(&self) -> Vec<f64> {
        self.train.iter().map(Window::rate).collect()
    }

    /// Median steps per second and their deviation.
    pub fn rate(&self) -> (f64, f64) {
        let rates = self.rates();
        (median(&rates).unwrap_or(f64::NAN), mad(&rates).unwrap_or(f64::NAN))
    }

    /// Scored batches per trained batch in the same time.
    pub fn evaluation(&self) -> Option<f64> {
        let rates: Vec<f64> = self.evaluate.iter().map(Window::rate).collect();
        Some(median(&rates)? / self.rate().0)
    }
}

impl Row {
    /// Own steps per second over those of the fastest peer, turn by turn.
    pub fn ratios(&self) -> Vec<f64> {
        let Some(own) = &self.own else { return Vec::new() };
        let peer = |turn: usize| {
            let rates = self.peers.iter().filter_map(|p| p.train.get(turn)).map(Window::rate);
            rates.reduce(f64::max)
        };
        let turns = own.train.iter().enumerate();
        turns.filter_map(|(turn, window)| Some(window.rate() / peer(turn)?)).collect()
    }

    /// Own memory over that of the leanest peer.
    pub fn memory_ratio(&self) -> Option<f64> {
        let peer = self.peers.iter().map(|p| p.memory.taken()).min()?;
        Some(self.own.as_ref()?.memory.taken() as f64 / peer as f64)
    }
}

impl Results {
    pub fn save(&self, path: &Path) -> Result<()> {
        make_folder_of(path)?;
        write_json(path, self)
    }

    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
            action: "read",
            path: path.to_path_buf(),
            source,
        })?;
        serde_json::from_str(&text).map_err(|error| {
            Error::usage(format!("{}: no results of `lra bench`: {error}", path.display()))
        })
    }
}
