//! Which models a chart can show, and over which tasks.
//!
//! The score is the paper's five-task average where half of the models of the most widely
//! completed task have one; else the mean over the tasks that these models share. Speed is the
//! geometric mean over the same tasks, and memory the largest of them: all of one machine and
//! one meter. Where no machine timed a model on all of them, both are of the one task that a
//! machine timed for the most models; the paper's Figure 3 takes its speeds from Text alone.

use super::super::aggregate::{Row, Section};
use super::super::names::{TASKS, in_five, model_title, task_title};
use super::super::speed::{Machine, Meter, SpeedRow};
use crate::records::statistics::{geometric_mean, mean};
use std::cmp::Reverse;

/// More bubbles than this cannot be told apart, or labelled.
const MOST: usize = 60;

#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub model: String,
    pub title: String,
    /// Mean accuracy in percent.
    pub score: f64,
    /// Training examples per second.
    pub speed: f64,
    /// Peak bytes.
    pub memory: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    pub preset: String,
    /// Titles of the tasks the score is of.
    pub tasks: Vec<String>,
    /// Titles of those that speed and memory are of: the same, or one of them.
    pub timed: Vec<String>,
    pub machine: Machine,
    pub meter: Meter,
    pub points: Vec<Point>,
    /// `model: what is missing`.
    pub not_shown: Vec<String>,
}

/// `None` where no model has a score, a speed and a memory figure.
pub fn select(section: &Section) -> Option<Chart> {
    let tasks = tasks(section)?;
    let scored: Vec<&Row> =
        section.rows.iter().filter(|row| score(section, row, &tasks).is_some()).collect();
    let (timed, machine) = timings(section, &scored, &tasks).into_iter().next()?;
    let rows = |model: &str| -> Option<Vec<&SpeedRow>> {
        timed.iter().map(|task| speed_row(section, task, model, machine)).collect()
    };
    let meter = *Meter::ALL.iter().min_by_key(|meter| {
        let has = |row: &Row| rows(&row.model).and_then(|rows| peak(&rows, **meter)).is_some();
        Reverse(scored.iter().filter(|row| has(row)).count())
    })?;
    let (mut points, mut not_shown) = (Vec::new(), Vec::new());
    for row in &section.rows {
        let title = model_title(&row.model);
        let found = rows(&row.model);
        let speed = found.as_ref().and_then(|rows| speed(rows));
        let memory = found.as_ref().and_then(|rows| peak(rows, meter));
        match (score(section, row, &tasks), speed, memory) {
            (Some(_), Some(_), Some(_)) if points.len() == MOST => {
                not_shown.push(format!("{title}: more than {MOST} models"));
            }
            (Some(score), Some(speed), Some(memory)) => points.push(Point {
                model: row.model.clone(),
                title: title.to_owned(),
                score,
                speed,
                memory,
            }),
            (None, ..) => not_shown.push(format!("{title}: {}", missing(section, row, &tasks))),
            (_, None, _) => {
                let lacks = |task: &&&str| {
                    let found = speed_row(section, task, &row.model, machine);
                    found.and_then(|found| found.examples_per_second).is_none()
                };
                let lacking = timed.iter().filter(lacks).map(|task| task_title(task));
                let lacking = lacking.collect::<Vec<_>>().join(", ");
                not_shown.push(format!("{title}: no speed on this machine for {lacking}"));
            }
            (_, _, None) => {
                not_shown.push(format!("{title}: no memory measured ({})", meter.title()));
            }
        }
    }
    let titles = |tasks: &[&str]| tasks.iter().map(|task| task_title(task).to_owned()).collect();
    let (tasks, timed, preset) = (titles(&tasks), titles(&timed), section.preset.clone());
    let machine = machine.clone();
    let chart = Chart { preset, tasks, timed, machine, meter, points, not_shown };
    (!chart.points.is_empty()).then_some(chart)
}

fn five() -> Vec<&'static str> {
    TASKS.iter().map(|(task, _)| *task).filter(|task| in_five(task)).collect()
}

/// The tasks a model's score is of.
pub fn tasks(section: &Section) -> Option<Vec<&str>> {
    let complete = |row: &Row, task: usize| row.cells[task].complete().is_some();
    let holders = |task: usize| section.rows.iter().filter(move |row| complete(row, task));
    let columns = 0..section.tasks.len();
    let widest = columns.clone().min_by_key(|task| Reverse(holders(*task).count()))?;
    let shared = columns.filter(|task| holders(widest).all(|row| complete(row, *task)));
    let averaged = section.rows.iter().filter(|row| row.five_tasks.mean.is_some()).count();
    let of = holders(widest).count();
    if averaged > 0 && 2 * averaged >= of {
        return Some(five());
    }
    (of > 0).then(|| shared.map(|task| section.tasks[task].name.as_str()).collect())
}

/// The mean over those tasks; `None` unless every one is complete.
pub fn score(section: &Section, row: &Row, tasks: &[&str]) -> Option<f64> {
    let means: Option<Vec<f64>> =
        tasks.iter().map(|task| Some(section.cell(row, task)?.complete()?.mean)).collect();
    mean(&means?)
}

/// Each machine that timed any of these models on all tasks; where none did, each task and
/// machine. Those of the most models come first, then in the order of tasks and of machines.
pub fn timings<'a, 'b>(
    section: &'a Section,
    models: &[&Row],
    tasks: &[&'b str],
) -> Vec<(Vec<&'b str>, &'a Machine)> {
    let mut machines: Vec<&Machine> = section.speed.iter().map(|row| &row.machine).collect();
    machines.sort();
    machines.dedup();
    let of = |timed: &[&'b str]| {
        let is_timed = |row: &Row, machine: &Machine| {
            let mut found = timed.iter().map(|task| speed_row(section, task, &row.model, machine));
            found.all(|found| found.is_some_and(|found| found.examples_per_second.is_some()))
        };
        let count = |machine| models.iter().filter(|row| is_timed(row, machine)).count();
        let counted = machines.iter().map(|machine| (count(machine), timed.to_vec(), *machine));
        counted.filter(|(count, ..)| *count > 0).collect::<Vec<_>>()
    };
    let mut found = of(tasks);
    if found.is_empty() {
        found = tasks.iter().flat_map(|task| of(&[*task])).collect();
    }
    found.sort_by_key(|(count, ..)| Reverse(*count));
    found.into_iter().map(|(_, timed, machine)| (timed, machine)).collect()
}

/// Where several lengths were measured, the one with the most runs, then the longest.
pub fn speed_row<'a>(
    section: &'a Section,
    task: &str,
    model: &str,
    machine: &Machine,
) -> Option<&'a SpeedRow> {
    let found = section
        .speed
        .iter()
        .filter(|row| row.task == task && row.model == model && row.machine == *machine);
    found.max_by_key(|row| (row.runs, row.length))
}

fn speed(rows: &[&SpeedRow]) -> Option<f64> {
    let speeds: Option<Vec<f64>> = rows.iter().map(|row| row.examples_per_second).collect();
    geometric_mean(&speeds?).filter(|speed| speed.is_finite())
}

fn peak(rows: &[&SpeedRow], meter: Meter) -> Option<f64> {
    let peaks: Option<Vec<u64>> = rows.iter().map(|row| row.memory(meter)).collect();
    peaks?.into_iter().max().map(|bytes| bytes as f64)
}

/// What keeps a row from a score, task by task.
fn missing(section: &Section, row: &Row, tasks: &[&str]) -> String {
    let lacking = tasks.iter().filter_map(|task| {
        let cell = section.cell(row, task)?;
        let what = if cell.seeds() == 0 { "not run".to_owned() } else { cell.statuses() };
        cell.complete().is_none().then(|| format!("{} {what}", task_title(task)))
    });
    lacking.collect::<Vec<_>>().join(", ")
}
