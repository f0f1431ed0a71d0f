//! Learning curves: validation accuracy over steps, one panel for each model.
//!
//! Small panels with one model each stay legible with forty models, in print and in grey; the
//! Transformer's curves stand in every panel to compare with. Each seed is a line. Runs without
//! a record are told by their events, and every line ends in a sign of what became of the run.

mod draw;

use super::aggregate::{Report, Section};
use super::cell::Outcome;
use super::names::{TRANSFORMER, task_title};
use super::{File, Names, chart};
use crate::error::Result;
use crate::records::Evaluation;
use rayon::prelude::*;

/// One run's evaluations and its end.
pub struct Curve {
    pub model: String,
    /// Step and validation accuracy in percent.
    pub points: Vec<(f64, f64)>,
    pub outcome: Outcome,
}

/// The curves of one preset and task.
pub struct Picture {
    pub preset: String,
    pub task: String,
    /// Model, and its cell of the accuracy table.
    pub panels: Vec<(String, String)>,
    pub curves: Vec<Curve>,
    pub majority: Option<f64>,
}

pub fn export(report: &Report) -> Result<Vec<File>> {
    let (mut pictures, mut names) = (Vec::new(), Names::default());
    for section in &report.sections {
        for (column, task) in section.tasks.iter().enumerate() {
            let picture = select(report, section, column);
            if picture.curves.is_empty() {
                continue;
            }
            let name = names.free("curves", &format!("{}-{}", section.preset, task.name));
            pictures.push((name, picture));
        }
    }
    let drawn = pictures.par_iter().map(|(name, picture)| chart::files(name, draw::svg(picture)));
    let files: Vec<[File; 2]> = drawn.collect::<Result<_>>()?;
    Ok(files.into_iter().flatten().collect())
}

fn select(report: &Report, section: &Section, column: usize) -> Picture {
    let task = &section.tasks[column].name;
    let here = |preset: &str, of: &str| preset == section.preset && of == task;
    let ended = report.runs.iter().map(|run| &run.record);
    let ended = ended.filter(|record| here(&record.preset, &record.task)).map(|record| {
        let outcome = Outcome::of(record);
        Curve { model: record.model.clone(), points: points(&record.evaluations), outcome }
    });
    let open = report.unfinished.iter().filter_map(|folder| Some((folder.run.as_ref()?, folder)));
    let open = open.filter(|(key, _)| here(&key.preset, &key.task)).map(|(key, folder)| {
        let outcome = if folder.damaged { Outcome::Unreadable } else { Outcome::Unfinished };
        Curve { model: key.model.clone(), points: points(&folder.evaluations), outcome }
    });
    let curves: Vec<Curve> = ended.chain(open).filter(|curve| !curve.points.is_empty()).collect();
    let has_curve = |model: &str| curves.iter().any(|curve| curve.model == model);
    let rows = section.rows.iter().filter(|row| has_curve(&row.model));
    let of_transformer = section.rows.iter().find(|row| row.model == TRANSFORMER);
    let row = of_transformer.or(section.rows.iter().find(|row| has_curve(&row.model)));
    Picture {
        preset: section.preset.clone(),
        task: task_title(task).to_owned(),
        panels: rows.map(|row| (row.model.clone(), row.cells[column].text())).collect(),
        majority: row.and_then(|row| row.cells[column].majority).map(|(least, _)| least),
        curves,
    }
}

fn points(evaluations: &[Evaluation]) -> Vec<(f64, f64)> {
    let point = |e: &Evaluation| (e.step as f64, e.validation.accuracy * 100.0);
    evaluations.iter().map(point).filter(|(_, percent)| percent.is_finite()).collect()
}
