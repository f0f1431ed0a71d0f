//! The bubble chart, one per preset: score upwards, speed to the right, memory as area.
//!
//! The paper's Figure 3 in form. A model is shown where its score, speed and memory are all
//! there, measured on one machine; the others are named below the chart with what they lack.

mod axes;
mod draw;
mod legend;
mod points;

use super::aggregate::Report;
use super::chart::png;
use super::{File, Names, Room};
use crate::error::{Error, Result};

pub fn export(report: &Report) -> Result<Vec<File>> {
    let (mut files, mut names) = (Vec::new(), Names::default());
    for section in &report.sections {
        let Some(chart) = points::select(section) else { continue };
        let name = names.free("bubble", &section.preset);
        let refuse = |error| Error::data(format!("{name}.svg"), format!("not drawn: {error}"));
        let svg = draw::svg(&chart).map_err(refuse)?;
        let png = png::render(&svg, &format!("{name}.png"))?;
        let file = |ending: &str, bytes| File {
            room: Room::Plots,
            name: format!("{name}.{ending}"),
            bytes,
        };
        files.push(file("svg", svg.into_bytes()));
        files.push(file("png", png));
    }
    Ok(files)
}
