//! What the page shows, as it is embedded.

use super::super::aggregate::{Report, Row, Section};
use super::super::average::Average;
use super::super::cell::Outcome;
use super::super::chart::marker::Marker;
use super::super::markdown::summary;
use super::super::names::{TASKS, in_five, model_order, model_title, task_title};
use super::super::speed::Machine;
use super::super::tables::{self, Titled};
use super::charts::{Chart, charts_of};
use crate::records::{Evaluation, Run, Unfinished};
use serde::Serialize;

#[derive(Serialize)]
pub struct Data<'a> {
    command: &'a str,
    lra: &'a str,
    summary: String,
    models: Vec<Look<'a>>,
    presets: Vec<Preset<'a>>,
    runs: Vec<RunLine<'a>>,
    measured: Vec<TableLines>,
    published: Vec<TableLines>,
    skipped: &'a [String],
}

/// A model's marker, that of the printed charts.
#[derive(Serialize)]
struct Look<'a> {
    name: &'a str,
    colour: String,
    is_open: bool,
    /// Corners in radii; none of a disc.
    outline: &'static [(f64, f64)],
}

#[derive(Serialize)]
struct Preset<'a> {
    name: &'a str,
    notes: &'a [String],
    accuracy: TableLines,
    speed: Vec<TableLines>,
    charts: Vec<Chart<'a>>,
}

#[derive(Serialize)]
struct TableLines {
    title: String,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct RunLine<'a> {
    folder: String,
    preset: &'a str,
    task: &'a str,
    model: &'a str,
    title: &'a str,
    seed: u64,
    outcome: &'static str,
    reason: Option<&'a str>,
    accuracy: Option<f64>,
    parameters: Option<u64>,
    steps: Option<u64>,
    steps_per_second: Option<f64>,
    examples_per_second: Option<f64>,
    peak_live: Option<u64>,
    peak_resident: Option<u64>,
    peak_pool: Option<u64>,
    seconds: Option<f64>,
    machine: Option<String>,
    /// Step, training loss, validation loss, validation accuracy in percent.
    curve: Vec<[f64; 4]>,
}

pub const FIVE: &str = "Average of 5 (paper)";
pub const SIX: &str = "Average of 6 (FAIL = 50)";

impl<'a> Data<'a> {
    pub fn of(report: &'a Report) -> Self {
        let lines = |tables: Vec<Titled>| tables.into_iter().map(TableLines::of).collect();
        let ended = report.runs.iter().map(ended);
        Self {
            command: &report.command,
            lra: report.lra,
            summary: summary(report),
            models: looks(report),
            presets: report.sections.iter().map(|section| preset(report, section)).collect(),
            runs: ended.chain(report.unfinished.iter().filter_map(open)).collect(),
            measured: lines(tables::measured(&report.bench)),
            published: lines(tables::published(&report.published)),
            skipped: &report.skipped,
        }
    }
}

fn looks(report: &Report) -> Vec<Look<'_>> {
    let rows = report.sections.iter().flat_map(|section| &section.rows);
    let mut models: Vec<&str> = rows.map(|row| row.model.as_str()).collect();
    models.sort_by_key(|model| model_order(model));
    models.dedup();
    let look = |(index, name)| {
        let marker = Marker::of(name, index);
        let (colour, is_open, outline) = (marker.colour(), marker.is_open(), marker.outline());
        Look { name, colour, is_open, outline }
    };
    models.into_iter().enumerate().map(look).collect()
}

impl TableLines {
    fn of(titled: Titled) -> Self {
        Self { title: titled.title, rows: titled.table.into_rows(), notes: titled.notes }
    }
}

fn preset<'a>(report: &Report, section: &'a Section) -> Preset<'a> {
    let accuracy = TableLines {
        title: "Test accuracy in %: mean ± standard error over seeds (n)".to_owned(),
        rows: tables::accuracy(section).into_rows(),
        notes: Vec::new(),
    };
    let tasks = section.tasks.iter().map(|task| task.name.as_str());
    let single = tasks.map(|task| (task_title(task), vec![task]));
    let of_arena = |all: bool| -> Vec<&'static str> {
        TASKS.iter().map(|(task, _)| *task).filter(|task| all || in_five(task)).collect()
    };
    let any =
        |average: fn(&Row) -> &Average| section.rows.iter().any(|r| average(r).mean.is_some());
    let five = any(|row| &row.five_tasks).then(|| (FIVE, of_arena(false)));
    let six = any(|row| &row.six_tasks).then(|| (SIX, of_arena(true)));
    let charts = five.into_iter().chain(six).chain(single);
    Preset {
        name: &section.preset,
        notes: &section.notes,
        accuracy,
        speed: tables::blocks(section, None).into_iter().map(TableLines::of).collect(),
        charts: charts.flat_map(|(name, of)| charts_of(report, section, name, &of)).collect(),
    }
}

fn ended(run: &Run) -> RunLine<'_> {
    let record = &run.record;
    let outcome = Outcome::of(record);
    let speed = record.speed.as_ref();
    RunLine {
        folder: run.folder.display().to_string(),
        preset: &record.preset,
        task: task_title(&record.task),
        model: &record.model,
        title: model_title(&record.model),
        seed: record.seed,
        outcome: outcome.word(),
        reason: record.reason.as_deref(),
        accuracy: if let Outcome::Scored(percent) = outcome { Some(percent) } else { None },
        parameters: Some(record.parameters),
        steps: Some(record.steps),
        steps_per_second: speed.map(|speed| speed.steps_per_second),
        examples_per_second: speed.map(|speed| speed.examples_per_second),
        peak_live: record.memory.peak_live,
        peak_resident: record.memory.peak_resident,
        peak_pool: record.memory.peak_pool_used,
        seconds: Some(record.wall.total),
        machine: Some(Machine::of(record).text()),
        curve: curve(&record.evaluations),
    }
}

fn open(folder: &Unfinished) -> Option<RunLine<'_>> {
    let key = folder.run.as_ref()?;
    let outcome = if folder.damaged { Outcome::Unreadable } else { Outcome::Unfinished };
    Some(RunLine {
        folder: folder.folder.display().to_string(),
        preset: &key.preset,
        task: task_title(&key.task),
        model: &key.model,
        title: model_title(&key.model),
        seed: key.seed,
        outcome: outcome.word(),
        reason: None,
        accuracy: None,
        parameters: None,
        steps: folder.evaluations.last().map(|last| last.step),
        steps_per_second: None,
        examples_per_second: None,
        peak_live: None,
        peak_resident: None,
        peak_pool: None,
        seconds: None,
        machine: None,
        curve: curve(&folder.evaluations),
    })
}

/// More points than this no screen shows.
const MOST: usize = 200;

/// Rounded to what a chart shows, which halves the page.
fn curve(evaluations: &[Evaluation]) -> Vec<[f64; 4]> {
    let every = evaluations.len().div_ceil(MOST).max(1);
    let short = |value: f64| (value * 1e5).round() / 1e5;
    let last = evaluations.len().saturating_sub(1);
    let kept = evaluations.iter().enumerate().filter(|(i, _)| i % every == 0 || *i == last);
    let point = |(_, e): (usize, &Evaluation)| {
        let validation = &e.validation;
        let accuracy = short(validation.accuracy * 100.0);
        [e.step as f64, short(e.train_loss), short(validation.loss), accuracy]
    };
    kept.map(point).collect()
}
