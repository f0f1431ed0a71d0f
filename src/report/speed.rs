//! Speed and memory: one row per model on one task, one machine.
//!
//! Absolute figures mean something on their own machine only, so rows carry it, and the
//! ratios are to the Transformer's row of the same preset, task, length and machine. The
//! speed ratio is of examples per second, which equals the ratio of steps per second where
//! the batch is the same, and stays fair where it is not.

use super::names::{TRANSFORMER, model_order, task_order};
use crate::records::statistics::{group_by, mad, median};
use crate::records::{Record, Run, Status};
use serde::Serialize;

/// What has to agree before two speeds may be compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Machine {
    pub device: String,
    pub processor: String,
    pub threads: u32,
    pub dtype: String,
}

impl Machine {
    pub fn of(record: &Record) -> Self {
        let environment = &record.environment;
        Self {
            device: environment.device.clone(),
            processor: record.environment.processor(),
            threads: environment.threads,
            dtype: environment.dtype.clone(),
        }
    }

    pub fn text(&self) -> String {
        let threads = if self.threads == 1 { "thread" } else { "threads" };
        let Self { device, processor, threads: n, dtype } = self;
        format!("{device}: {processor}, {n} {threads}, {dtype}")
    }
}

/// The meters of peak memory, best first. Two of them never meet in one ratio or chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Meter {
    Pool,
    Live,
    Resident,
}

impl Meter {
    pub const ALL: [Self; 3] = [Self::Pool, Self::Live, Self::Resident];

    pub fn title(self) -> &'static str {
        match self {
            Self::Pool => "GPU pool, used",
            Self::Live => "live heap",
            Self::Resident => "resident",
        }
    }
}

/// Runs that stopped early for a reason of their own may have been slow for it too: only
/// these are measured.
fn is_measured(run: &Run) -> bool {
    matches!(run.record.status, Status::Done | Status::Interrupted)
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpeedRow {
    pub task: String,
    pub model: String,
    /// `model.length` of the configuration, where it states one.
    pub length: Option<u64>,
    pub machine: Machine,
    /// Runs that count in the figures.
    pub runs: usize,
    /// Runs that do not: diverged, out of memory, failed, or without a measured speed.
    pub left_out: usize,
    pub out_of_memory: usize,
    /// Median over runs.
    pub steps_per_second: Option<f64>,
    /// Median absolute deviation over runs; of a single run, over its windows.
    pub steps_per_second_mad: Option<f64>,
    pub examples_per_second: Option<f64>,
    pub tokens_per_second: Option<f64>,
    /// Peaks: the largest over runs, in bytes.
    pub peak_pool_used: Option<u64>,
    pub peak_live: Option<u64>,
    pub peak_resident: Option<u64>,
    pub speed_ratio: Option<f64>,
    pub memory_ratio: Option<f64>,
    pub memory_ratio_meter: Option<Meter>,
}

impl SpeedRow {
    pub fn memory(&self, meter: Meter) -> Option<u64> {
        let bytes = match meter {
            Meter::Pool => self.peak_pool_used,
            Meter::Live => self.peak_live,
            Meter::Resident => self.peak_resident,
        };
        bytes.filter(|bytes| *bytes > 0)
    }

    fn of(key: Key, runs: &[&Run]) -> Self {
        let (task, length, machine, model) = key;
        let measured: Vec<&Record> =
            runs.iter().filter(|run| is_measured(run)).map(|run| &run.record).collect();
        let speeds: Vec<_> = measured.iter().filter_map(|r| r.speed.as_ref()).collect();
        let over = |value: fn(&crate::records::Speed) -> f64| -> Vec<f64> {
            speeds.iter().map(|s| value(s)).filter(|v| v.is_finite() && *v > 0.0).collect()
        };
        let peak =
            |value: fn(&Record) -> Option<u64>| measured.iter().filter_map(|r| value(r)).max();
        let steps = over(|s| s.steps_per_second);
        Self {
            task: task.1,
            model: model.1,
            length,
            machine,
            runs: steps.len(),
            left_out: runs.len() - steps.len(),
            out_of_memory: runs
                .iter()
                .filter(|run| run.record.status == Status::OutOfMemory)
                .count(),
            steps_per_second: median(&steps),
            steps_per_second_mad: match speeds.as_slice() {
                [only] => Some(only.steps_per_second_mad),
                _ => mad(&steps),
            },
            examples_per_second: median(&over(|s| s.examples_per_second)),
            tokens_per_second: median(&over(|s| s.tokens_per_second)),
            peak_pool_used: peak(|r| r.memory.peak_pool_used),
            peak_live: peak(|r| r.memory.peak_live),
            peak_resident: peak(|r| r.memory.peak_resident),
            speed_ratio: None,
            memory_ratio: None,
            memory_ratio_meter: None,
        }
    }

    fn compare(&mut self, reference: &Self) {
        let ratio = self.examples_per_second.zip(reference.examples_per_second);
        self.speed_ratio = ratio.map(|(own, other)| own / other).filter(|r| r.is_finite());
        for meter in Meter::ALL {
            if let (Some(own), Some(other)) = (self.memory(meter), reference.memory(meter)) {
                self.memory_ratio = Some(own as f64 / other as f64);
                self.memory_ratio_meter = Some(meter);
                break;
            }
        }
    }
}

type Order = (usize, String);
/// Task, length, machine, model: the order of rows, and the block a ratio stays within.
type Key = (Order, Option<u64>, Machine, Order);

fn key(run: &Run) -> Key {
    let record = &run.record;
    let length = record.config.pointer("/model/length").and_then(serde_json::Value::as_u64);
    (task_order(&record.task), length, Machine::of(record), model_order(&record.model))
}

/// Rows of one preset's runs, by task, length, machine and model.
pub fn rows(runs: &[&Run]) -> Vec<SpeedRow> {
    let groups = group_by(runs.iter().copied(), |run| key(run));
    let mut rows: Vec<SpeedRow> =
        groups.into_iter().map(|(key, runs)| SpeedRow::of(key, &runs)).collect();
    for block in rows.chunk_by_mut(same_block) {
        if let Some(reference) = block.iter().find(|row| row.model == TRANSFORMER).cloned() {
            block.iter_mut().for_each(|row| row.compare(&reference));
        }
    }
    rows
}

/// Whether two rows may be compared: same task, length and machine.
pub fn same_block(a: &SpeedRow, b: &SpeedRow) -> bool {
    (&a.task, a.length, &a.machine) == (&b.task, b.length, &b.machine)
}
