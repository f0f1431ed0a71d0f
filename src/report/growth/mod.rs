//! How time and memory of an example grow with its length, on logarithmic axes: one picture
//! for each task and preset of each file of `lra bench` that has several lengths.
//!
//! A line's name stands at its right end with the power of n fitted to it, so that nobody has
//! to match colours; names in a column never overlap, however close the lines.

mod draw;

use super::aggregate::Report;
use super::bench::{File as Bench, Growth, growths};
use super::chart;
use super::names::task_title;
use super::{File, Names};
use crate::error::Result;

/// A picture's worth.
pub struct Picture {
    pub heading: [String; 2],
    pub lines: Vec<Growth>,
}

pub fn export(report: &Report) -> Result<Vec<File>> {
    let (mut files, mut names) = (Vec::new(), Names::default());
    for bench in &report.bench {
        for ((task, preset), rows) in bench.groups() {
            let lines = growths(&rows);
            let drawn = |line: &Growth| !line.time.points.is_empty();
            if !lines.iter().any(drawn) {
                continue;
            }
            let name = names.free("growth", &format!("{task}-{preset}"));
            let picture = Picture { heading: heading(bench, task, preset), lines };
            files.extend(chart::files(&name, draw::svg(&picture))?);
        }
    }
    Ok(files)
}

fn heading(bench: &Bench, task: &str, preset: &str) -> [String; 2] {
    let what = format!("training on {}, preset {preset}", task_title(task));
    [what, format!("{}; {}", bench.machine(), bench.name)]
}
