//! From records to sections: one per preset, since presets are never mixed.

use super::average::Average;
use super::bench;
use super::cell::{Cell, Outcome};
use super::names::{TASKS, model_order, task_order};
use super::notes::{Notes, within_cell, within_task};
use super::published::Published;
use super::seeds::resolve;
use super::speed::{self, SpeedRow};
use crate::records::statistics::group_by;
use crate::records::{Loaded, Run, RunKey, Unfinished};
use serde::Serialize;
use std::collections::BTreeMap;

/// Everything an exporter may show.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The command that makes this report again.
    pub command: String,
    /// Version of this program.
    pub lra: &'static str,
    pub runs_read: usize,
    pub unfinished: Vec<Unfinished>,
    pub skipped: Vec<String>,
    pub sections: Vec<Section>,
    #[serde(skip)]
    pub runs: Vec<Run>,
    #[serde(skip)]
    pub published: Published,
    /// What `lra bench` measured.
    #[serde(skip)]
    pub bench: Vec<bench::File>,
}

/// The runs of one preset.
#[derive(Debug, Serialize)]
pub struct Section {
    pub preset: String,
    /// The six tasks of the arena, run or not, then any others.
    pub tasks: Vec<Task>,
    pub rows: Vec<Row>,
    pub speed: Vec<SpeedRow>,
    /// Numbered from 1; cells and tasks refer to them.
    pub notes: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Task {
    pub name: String,
    pub notes: Vec<usize>,
}

/// One model under one preset.
#[derive(Debug, Serialize)]
pub struct Row {
    pub model: String,
    /// One per task of the section, in its order.
    pub cells: Vec<Cell>,
    pub five_tasks: Average,
    pub six_tasks: Average,
}

impl Report {
    /// With `preset`, the runs of that preset only.
    pub fn new(
        mut loaded: Loaded,
        published: Published,
        command: String,
        preset: Option<&str>,
    ) -> Self {
        if let Some(wanted) = preset {
            loaded.runs.retain(|run| run.record.preset == wanted);
            loaded.unfinished.retain(|u| u.run.as_ref().is_some_and(|key| key.preset == wanted));
        }
        let runs = group_by(&loaded.runs, |run| run.record.preset.clone());
        let keys = loaded.unfinished.iter().filter_map(without_record);
        let keys = group_by(keys, |(key, _)| key.preset.clone());
        let mut presets: Vec<&String> = runs.keys().chain(keys.keys()).collect();
        presets.sort();
        presets.dedup();
        let section = |preset: &String| {
            let runs = runs.get(preset).cloned().unwrap_or_default();
            let keys = keys.get(preset).cloned().unwrap_or_default();
            Section::new(preset.clone(), &runs, &keys)
        };
        Self {
            command,
            lra: env!("CARGO_PKG_VERSION"),
            runs_read: loaded.runs.len(),
            sections: presets.into_iter().map(section).collect(),
            unfinished: loaded.unfinished,
            skipped: loaded.skipped,
            runs: loaded.runs,
            published,
            bench: Vec::new(),
        }
    }
}

/// A run known by its configuration only.
type Bare<'a> = (&'a RunKey, Outcome);

fn without_record(folder: &Unfinished) -> Option<Bare<'_>> {
    let outcome = if folder.damaged { Outcome::Unreadable } else { Outcome::Unfinished };
    folder.run.as_ref().map(|key| (key, outcome))
}

/// The runs of one model on one task, with and without a record.
type Place<'a> = (Vec<&'a Run>, Vec<Bare<'a>>);

impl Section {
    fn new(preset: String, runs: &[&Run], unfinished: &[Bare]) -> Self {
        let mut places: BTreeMap<(&str, &str), Place> = BTreeMap::new();
        for run in runs {
            let record = &run.record;
            places.entry((&record.model, &record.task)).or_default().0.push(run);
        }
        for bare in unfinished {
            let key = bare.0;
            places.entry((&key.model, &key.task)).or_default().1.push(*bare);
        }
        let mut models: Vec<&str> = places.keys().map(|(model, _)| *model).collect();
        models.sort_by_key(|model| model_order(model));
        models.dedup();
        let arena = TASKS.iter().map(|(task, _)| *task);
        let mut tasks: Vec<&str> = places.keys().map(|(_, task)| *task).chain(arena).collect();
        tasks.sort_by_key(|task| task_order(task));
        tasks.dedup();

        let mut notes = Notes::default();
        let by_task = group_by(runs.iter().copied(), |run| run.record.task.as_str());
        let task = |name: &&str| {
            let found = by_task.get(name).map(|runs| within_task(runs)).unwrap_or_default();
            let numbers = found.into_iter().map(|note| notes.number(note)).collect();
            Task { name: (*name).to_owned(), notes: numbers }
        };
        let heads = tasks.iter().map(task).collect();
        let rows = models
            .iter()
            .map(|model| {
                let cell = |task: &&str| match places.get(&(*model, *task)) {
                    Some((runs, unfinished)) => filled(runs, unfinished, &mut notes),
                    None => Cell::default(),
                };
                Row::new(model, &tasks, tasks.iter().map(cell).collect())
            })
            .collect();
        Self { preset, tasks: heads, rows, speed: speed::rows(runs), notes: notes.into_texts() }
    }

    /// A model's cell, by the task's name.
    pub fn cell<'a>(&'a self, row: &'a Row, task: &str) -> Option<&'a Cell> {
        let at = self.tasks.iter().position(|known| known.name == task)?;
        row.cells.get(at)
    }
}

fn filled(runs: &[&Run], unfinished: &[Bare], notes: &mut Notes) -> Cell {
    let seeds = resolve(runs, unfinished);
    let mut cell = Cell::of(seeds.outcomes);
    let found = seeds.notes.into_iter().chain(within_cell(&seeds.runs));
    cell.notes = found.map(|note| notes.number(note)).collect();
    for run in &seeds.runs {
        let percent = run.record.data.majority * 100.0;
        let (least, most) = cell.majority.unwrap_or((percent, percent));
        cell.majority = Some((least.min(percent), most.max(percent)));
    }
    cell
}

impl Row {
    fn new(model: &str, tasks: &[&str], cells: Vec<Cell>) -> Self {
        let cell = |task: &str| tasks.iter().position(|name| *name == task).map(|at| &cells[at]);
        let (five_tasks, six_tasks) = (Average::five(cell), Average::six(cell));
        Self { model: model.to_owned(), cells, five_tasks, six_tasks }
    }
}
