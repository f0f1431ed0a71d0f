//! `speed.csv`: one line per preset, task, length, machine and model.

use super::aggregate::{Report, Section};
use super::speed::SpeedRow;
use super::{File, csv_file, escape, optional};
use crate::error::Result;

const HEADER: [&str; 22] = [
    "preset",
    "task",
    "model",
    "length",
    "device",
    "processor",
    "threads",
    "dtype",
    "runs",
    "runs_left_out",
    "runs_out_of_memory",
    "steps_per_second_median",
    "steps_per_second_mad",
    "examples_per_second_median",
    "tokens_per_second_median",
    "peak_live_bytes",
    "peak_resident_bytes",
    "peak_pool_used_bytes",
    "speed_ratio_to_transformer",
    "memory_ratio_to_transformer",
    "memory_ratio_meter",
    "mad_over",
];

pub fn export(report: &Report) -> Result<Vec<File>> {
    let sections = report.sections.iter();
    let rows = sections.flat_map(|s| s.speed.iter().map(move |row| line(s, row)));
    csv_file("speed.csv", &HEADER, rows)
}

fn line(section: &Section, row: &SpeedRow) -> Vec<String> {
    let mad_over = match row.runs {
        0 => "",
        1 => "windows",
        _ => "runs",
    };
    vec![
        escape::csv(&section.preset),
        escape::csv(&row.task),
        escape::csv(&row.model),
        optional(row.length),
        escape::csv(&row.machine.device),
        escape::csv(&row.machine.processor),
        row.machine.threads.to_string(),
        escape::csv(&row.machine.dtype),
        row.runs.to_string(),
        row.left_out.to_string(),
        row.out_of_memory.to_string(),
        optional(row.steps_per_second),
        optional(row.steps_per_second_mad),
        optional(row.examples_per_second),
        optional(row.tokens_per_second),
        optional(row.peak_live),
        optional(row.peak_resident),
        optional(row.peak_pool_used),
        optional(row.speed_ratio),
        optional(row.memory_ratio),
        row.memory_ratio_meter.map(|meter| meter.title()).unwrap_or_default().to_owned(),
        mad_over.to_owned(),
    ]
}
