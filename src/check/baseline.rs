//! What later versions are compared with, and its file.
//!
//! Heap counters and the last digits of a loss belong to one type of CPU, so the file holds
//! them for each type they were counted on, with the version that counted them.

use super::accuracy::Group;
use super::counters;
use super::finding::Verdict;
use crate::atomic::{make_folder_of, read_whole, write_json};
use crate::bench::{Cell, Counted};
use crate::error::{Error, Result};
use crate::records::Environment;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Raised when a field changes meaning; a reader takes this one alone.
pub const BASELINE_VERSION: u32 = 2;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Baseline {
    pub version: u32,
    /// One for each type of CPU.
    pub machines: Vec<Machine>,
    /// Runs to compare the accuracy of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<Group>,
}

/// What one type of CPU counted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    /// Instructions and caches that the figures were rounded by.
    pub cpu_kind: String,
    /// The command that makes it again.
    pub command: String,
    pub environment: Environment,
    pub cells: Vec<Entry>,
}

/// A small cell and what it came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    pub cell: Cell,
    /// Steps counted, after those that warm up.
    pub steps: u64,
    pub parameters: u64,
    /// Floating point operations of a step, by the model's declared cost.
    pub flops: f64,
    pub counted: Counted,
    /// Steps in the time of a matrix product, of each round.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paces: Vec<f64>,
}

impl Entry {
    pub fn model(&self) -> &str {
        &self.cell.config.run.model
    }
}

impl Machine {
    /// A type of CPU: the name, which many share, with what rounding follows from.
    pub fn kind(&self) -> String {
        kind(&self.environment.cpu, &self.cpu_kind)
    }

    /// What tells that another one is of other code: what every CPU counts alike differs.
    fn contradicts(&self, other: &Self) -> Option<String> {
        let both = |new: &&Entry| self.cells.iter().find(|old| old.model() == new.model());
        let pairs = other.cells.iter().filter_map(|new| Some((both(&new)?, new)));
        pairs.into_iter().find_map(|(old, new)| {
            if old.cell.config != new.cell.config || old.steps != new.steps {
                return Some(format!("another cell of {}", new.model()));
            }
            let findings = counters::judge(old, new, Some("another type of CPU"));
            let found = findings.into_iter().find(|f| f.verdict == Verdict::Regression)?;
            let (subject, measure) = (found.subject, found.measure);
            Some(format!("{subject}: {measure}: {} there, {} here", found.before, found.now))
        })
    }
}

/// As [`Machine::kind`].
pub fn kind(cpu: &str, cpu_kind: &str) -> String {
    format!("{cpu}; {cpu_kind}")
}

impl Default for Baseline {
    fn default() -> Self {
        Self { version: BASELINE_VERSION, machines: Vec::new(), records: Vec::new() }
    }
}

impl Baseline {
    /// What to compare with on this type of CPU. Without an entry of it, the newest of
    /// another, and why some of that cannot be told; `None` in a baseline without any.
    pub fn machine(&self, here: &str) -> Option<(&Machine, Option<String>)> {
        if let Some(found) = self.machines.iter().find(|machine| machine.kind() == here) {
            return Some((found, None));
        }
        let newest = self.machines.iter().max_by_key(|m| m.environment.finished.as_str())?;
        let kinds: Vec<String> = self.machines.iter().map(Machine::kind).collect();
        let why = format!(
            "this type of CPU ({here}) is not in the baseline, which has: {}; add it with lra \
             baseline save",
            kinds.join(" | ")
        );
        Some((newest, Some(why)))
    }

    /// Puts what this type of CPU counted beside what others did, in the place of what it had
    /// counted before. Refused where the others' show that they are of other code; `path` is
    /// for the message. Returns those of another version, which may be so and not show.
    pub fn put(&mut self, new: Machine, path: &Path) -> Result<Vec<String>> {
        let here = new.kind();
        self.machines.retain(|machine| machine.kind() != here);
        for old in &self.machines {
            if let Some(what) = old.contradicts(&new) {
                let message = format!(
                    "the counters of {} ({}) are of other code than these ({}): {what}; where \
                     the change is meant, `lra baseline save --fresh` drops them",
                    old.kind(),
                    old.environment.lra,
                    new.environment.lra
                );
                return Err(Error::data(path, message));
            }
        }
        let others = self.machines.iter().filter(|m| m.environment.lra != new.environment.lra);
        let others = others.map(|m| format!("{} ({})", m.kind(), m.environment.lra)).collect();
        self.machines.push(new);
        Ok(others)
    }

    pub fn save(&self, path: &Path) -> Result<()> {
        make_folder_of(path)?;
        write_json(path, self)
    }

    pub fn load(path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        if !path.exists() {
            let message = "there is no such baseline; make it with `lra baseline save`";
            return Err(Error::data(path, message));
        }
        let make = "make it anew with `lra baseline save --fresh`";
        let bytes = read_whole(path)?;
        if let Ok(Version { version }) = serde_json::from_slice(&bytes)
            && version != BASELINE_VERSION
        {
            let message = match version > BASELINE_VERSION {
                true => format!(
                    "baseline version {version} is newer than this lra reads \
                     ({BASELINE_VERSION}); use the lra that wrote it, or {make}"
                ),
                false => format!(
                    "baseline version {version} is of an older lra, expected \
                     {BASELINE_VERSION}; {make}"
                ),
            };
            return Err(Error::data(path, message));
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            let message = format!("expected a baseline of `lra baseline save`: {error}; {make}");
            Error::data_at(path, error.line() as u64, Some(error.column() as u64), message)
        })
    }
}
