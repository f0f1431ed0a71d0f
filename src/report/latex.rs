//! The tables as LaTeX, a file for each kind: `\input{results/accuracy-quick}` in a document
//! with the package booktabs.

use super::aggregate::Report;
use super::tables::{self, Titled};
use super::{File, Names, Room, escape};
use crate::error::Result;

pub fn export(report: &Report) -> Result<Vec<File>> {
    let mut names = Names::default();
    let mut files = Vec::new();
    for section in &report.sections {
        let accuracy = Titled {
            title: format!(
                "Preset {}: test accuracy in %, mean and standard error over seeds (n)",
                section.preset
            ),
            table: tables::accuracy(section),
            notes: section
                .notes
                .iter()
                .enumerate()
                .map(|(i, n)| format!("{}. {n}", i + 1))
                .collect(),
        };
        files.extend(file(report, &names.free("accuracy", &section.preset), &[accuracy]));
        files.extend(file(
            report,
            &names.free("speed", &section.preset),
            &tables::blocks(section, None),
        ));
    }
    files.extend(file(report, "bench", &tables::measured(&report.bench)));
    files.extend(file(report, "published", &tables::published(&report.published)));
    Ok(files)
}

fn file(report: &Report, name: &str, tables: &[Titled]) -> Option<File> {
    let (command, lra) = (escape::line(&report.command), report.lra);
    let head = format!("% {command}, lra {lra}. Needs \\usepackage{{booktabs}}.\n");
    let tables: Vec<String> = tables.iter().map(Titled::latex).collect();
    let text = format!("{head}\n{}", tables.join("\n"));
    let (room, name) = (Room::Results, format!("{name}.tex"));
    (!tables.is_empty()).then(|| File { room, name, bytes: text.into_bytes() })
}
