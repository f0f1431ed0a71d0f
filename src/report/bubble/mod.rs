//! The bubble chart, one per preset: score upwards, speed to the right, memory as area.
//!
//! The paper's Figure 3 in form. A model is shown where its score, speed and memory are all
//! there, measured on one machine; the others are named below the chart with what they lack.

mod axes;
mod draw;
mod legend;
mod points;

pub use axes::score_title;
pub use points::{score, speed_row, tasks, timings};

use super::aggregate::Report;
use super::chart;
use super::{File, Names};
use crate::error::Result;

pub fn export(report: &Report) -> Result<Vec<File>> {
    let (mut files, mut names) = (Vec::new(), Names::default());
    for section in &report.sections {
        let Some(chart) = points::select(section) else { continue };
        let name = names.free("bubble", &section.preset);
        files.extend(chart::files(&name, draw::svg(&chart))?);
    }
    Ok(files)
}
