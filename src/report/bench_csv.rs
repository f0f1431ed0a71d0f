//! `bench.csv`: one line per file, task, preset, model and length of `lra bench`.

use super::aggregate::Report;
use super::bench::{growths, lost};
use super::names::TRANSFORMER;
use super::{File, csv_file, escape, optional};
use crate::bench::{Row, Side};
use crate::error::Result;

const HEADER: [&str; 18] = [
    "file",
    "task",
    "preset",
    "model",
    "length",
    "batch",
    "status",
    "parameters",
    "step_flops",
    "steps_per_second_median",
    "steps_per_second_mad",
    "examples_per_second",
    "peak_bytes",
    "speed_ratio_to_transformer",
    "memory_ratio_to_transformer",
    "time_exponent",
    "memory_exponent",
    "processor",
];

pub fn export(report: &Report) -> Result<Vec<File>> {
    let mut lines = Vec::new();
    for file in &report.bench {
        let processor = file.results.environment.processor();
        for rows in file.groups().values() {
            let growths = growths(rows);
            for row in rows {
                let growth = growths.iter().find(|growth| growth.model == row.model);
                let same = |other: &&&Row| other.model == TRANSFORMER && other.length == row.length;
                let base = rows.iter().find(same).and_then(|row| row.own.as_ref());
                let mut line = line(&file.name, row, base);
                line.push(optional(growth.and_then(|growth| growth.time.exponent)));
                line.push(optional(growth.and_then(|growth| growth.memory.exponent)));
                line.push(escape::csv(&processor));
                lines.push(line);
            }
        }
    }
    match lines.is_empty() {
        true => Ok(Vec::new()),
        false => csv_file("bench.csv", &HEADER, lines.into_iter()),
    }
}

fn line(file: &str, row: &Row, base: Option<&Side>) -> Vec<String> {
    let own = row.own.as_ref();
    let memory = |side: &Side| side.memory.taken();
    let ratio = |value: &dyn Fn(&Side) -> f64| Some(value(own?) / value(base?));
    let mut fields = vec![escape::csv(file), escape::csv(&row.task), escape::csv(&row.preset)];
    fields.extend([
        escape::csv(&row.model),
        row.length.to_string(),
        row.batch.to_string(),
        lost(row).unwrap_or("done").to_owned(),
        row.parameters.to_string(),
        row.flops.to_string(),
        optional(own.map(|side| side.rate().0)),
        optional(own.map(|side| side.rate().1)),
        optional(own.map(|side| side.rate().0 * row.batch as f64)),
        optional(own.map(memory)),
        optional(ratio(&|side| side.rate().0)),
        optional(ratio(&|side| memory(side) as f64)),
    ]);
    fields
}
