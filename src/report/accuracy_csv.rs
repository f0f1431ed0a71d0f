//! `accuracy.csv`: one line per preset, model and task, also for what was not run.

use super::aggregate::{Report, Section};
use super::cell::Cell;
use super::{File, csv_file, escape, optional};
use crate::error::Result;

const HEADER: [&str; 17] = [
    "preset",
    "task",
    "model",
    "seeds",
    "scored",
    "mean_accuracy",
    "standard_error",
    "median_accuracy",
    "min_accuracy",
    "max_accuracy",
    "complete",
    "statuses",
    "unit",
    "majority_share_min",
    "majority_share_max",
    "note_numbers",
    "notes",
];

pub fn export(report: &Report) -> Result<Vec<File>> {
    let rows = report.sections.iter().flat_map(|section| {
        section.rows.iter().flat_map(move |row| {
            let cells = section.tasks.iter().zip(&row.cells);
            cells.map(move |(task, cell)| line(section, &task.name, &row.model, cell))
        })
    });
    csv_file("accuracy.csv", &HEADER, rows)
}

fn line(section: &Section, task: &str, model: &str, cell: &Cell) -> Vec<String> {
    let summary = cell.accuracy.as_ref();
    let statuses = if cell.seeds() == 0 { "not run".to_owned() } else { cell.statuses() };
    let task_notes = section.tasks.iter().filter(|known| known.name == task);
    let mut numbers: Vec<usize> = task_notes.flat_map(|task| task.notes.clone()).collect();
    numbers.extend(&cell.notes);
    let notes: Vec<&str> =
        numbers.iter().filter_map(|n| section.notes.get(n - 1)).map(String::as_str).collect();
    let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
    vec![
        escape::csv(&section.preset),
        escape::csv(task),
        escape::csv(model),
        cell.seeds().to_string(),
        cell.scores.len().to_string(),
        optional(summary.map(|s| s.mean)),
        optional(summary.and_then(|s| s.standard_error)),
        optional(summary.map(|s| s.median)),
        optional(summary.map(|s| s.min)),
        optional(summary.map(|s| s.max)),
        cell.complete().is_some().to_string(),
        statuses,
        "%".to_owned(),
        optional(cell.majority.map(|(least, _)| least)),
        optional(cell.majority.map(|(_, most)| most)),
        numbers.join(" "),
        escape::csv(&notes.join(" / ")),
    ]
}
