//! `runs.csv`: one line per record, every scalar it holds.

use super::aggregate::Report;
use super::{File, csv_file, escape, optional};
use crate::error::Result;
use crate::records::{FinalMetrics, Run, Speed};

type Column = (&'static str, fn(&Run) -> String);

pub fn export(report: &Report) -> Result<Vec<File>> {
    let header: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    let row = |run: &Run| COLUMNS.iter().map(|(_, value)| escape::csv(&value(run))).collect();
    csv_file("runs.csv", &header, report.runs.iter().map(row))
}

/// A name as records are written: `out-of-memory`, `best-validation`.
fn word(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn metric<T: ToString>(run: &Run, value: fn(&FinalMetrics) -> T) -> String {
    optional(run.record.final_metrics.as_ref().map(value))
}

fn speed<T: ToString>(run: &Run, value: fn(&Speed) -> T) -> String {
    optional(run.record.speed.as_ref().map(value))
}

const COLUMNS: [Column; 61] = [
    ("folder", |r| r.folder.display().to_string()),
    ("record_version", |r| r.record.version.to_string()),
    ("preset", |r| r.record.preset.clone()),
    ("task", |r| r.record.task.clone()),
    ("model", |r| r.record.model.clone()),
    ("seed", |r| r.record.seed.to_string()),
    ("status", |r| word(r.record.status)),
    ("reason", |r| optional(r.record.reason.clone())),
    ("parameters", |r| r.record.parameters.to_string()),
    ("steps", |r| r.record.steps.to_string()),
    ("selection", |r| word(r.record.selection)),
    ("evaluations", |r| r.record.evaluations.len().to_string()),
    ("final_step", |r| metric(r, |m| m.step)),
    ("validation_loss", |r| metric(r, |m| m.validation.loss)),
    ("validation_accuracy", |r| metric(r, |m| m.validation.accuracy)),
    ("validation_examples", |r| metric(r, |m| m.validation.examples)),
    ("test_loss", |r| metric(r, |m| m.test.loss)),
    ("test_accuracy", |r| metric(r, |m| m.test.accuracy)),
    ("test_examples", |r| metric(r, |m| m.test.examples)),
    ("data_source", |r| r.record.data.source.clone()),
    ("data_version", |r| r.record.data.version.to_string()),
    ("data_checksum", |r| r.record.data.checksum.clone()),
    ("data_train", |r| r.record.data.train.to_string()),
    ("data_validation", |r| r.record.data.validation.to_string()),
    ("data_test", |r| r.record.data.test.to_string()),
    ("data_classes", |r| r.record.data.classes.to_string()),
    ("data_majority", |r| r.record.data.majority.to_string()),
    ("steps_per_second", |r| speed(r, |s| s.steps_per_second)),
    ("steps_per_second_mad", |r| speed(r, |s| s.steps_per_second_mad)),
    ("steps_per_second_min", |r| speed(r, |s| s.steps_per_second_min)),
    ("examples_per_second", |r| speed(r, |s| s.examples_per_second)),
    ("tokens_per_second", |r| speed(r, |s| s.tokens_per_second)),
    ("speed_windows", |r| speed(r, |s| s.windows)),
    ("speed_warmup_steps", |r| speed(r, |s| s.warmup_steps)),
    ("peak_live_bytes", |r| optional(r.record.memory.peak_live)),
    ("peak_resident_bytes", |r| optional(r.record.memory.peak_resident)),
    ("peak_pool_used_bytes", |r| optional(r.record.memory.peak_pool_used)),
    ("parameter_bytes", |r| r.record.memory.parameters.to_string()),
    ("optimiser_bytes", |r| r.record.memory.optimiser.to_string()),
    ("prepare_data_seconds", |r| r.record.wall.prepare_data.to_string()),
    ("train_seconds", |r| r.record.wall.train.to_string()),
    ("wait_data_seconds", |r| r.record.wall.wait_data.to_string()),
    ("evaluate_seconds", |r| r.record.wall.evaluate.to_string()),
    ("checkpoint_seconds", |r| r.record.wall.checkpoint.to_string()),
    ("total_seconds", |r| r.record.wall.total.to_string()),
    ("lra", |r| r.record.environment.lra.clone()),
    ("git", |r| optional(r.record.environment.git.clone())),
    ("os", |r| r.record.environment.os.clone()),
    ("cpu", |r| r.record.environment.cpu.clone()),
    ("instructions", |r| optional(r.record.environment.instructions.clone())),
    ("cores", |r| r.record.environment.cores.to_string()),
    ("threads", |r| r.record.environment.threads.to_string()),
    ("load", |r| optional(r.record.environment.load)),
    ("memory_bytes", |r| optional(r.record.environment.memory_bytes)),
    ("device", |r| r.record.environment.device.clone()),
    ("gpu", |r| optional(r.record.environment.gpu.clone())),
    ("gpu_driver", |r| optional(r.record.environment.gpu_driver.clone())),
    ("tf32", |r| optional(r.record.environment.tf32)),
    ("dtype", |r| r.record.environment.dtype.clone()),
    ("started", |r| r.record.environment.started.clone()),
    ("finished", |r| r.record.environment.finished.clone()),
];
