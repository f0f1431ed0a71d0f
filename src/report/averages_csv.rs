//! `averages.csv`: one line per preset, model and average.

use super::aggregate::Report;
use super::average::Average;
use super::{File, csv_file, escape, optional};
use crate::error::Result;

const HEADER: [&str; 8] =
    ["preset", "model", "average", "mean", "standard_error", "tasks", "tasks_needed", "unit"];

pub fn export(report: &Report) -> Result<Vec<File>> {
    let rows = report.sections.iter().flat_map(|section| {
        section.rows.iter().flat_map(move |row| {
            let line = |name: &str, average: &Average| {
                vec![
                    escape::csv(&section.preset),
                    escape::csv(&row.model),
                    name.to_owned(),
                    optional(average.mean),
                    optional(average.standard_error),
                    average.present.to_string(),
                    average.needed.to_string(),
                    "%".to_owned(),
                ]
            };
            let six = "six tasks, failed Path-X at 50";
            [line("five tasks (paper)", &row.five_tasks), line(six, &row.six_tasks)]
        })
    });
    csv_file("averages.csv", &HEADER, rows)
}
