//! The bubble charts that can be chosen: scores, speeds and memory of models side by side.

use super::super::aggregate::{Report, Row, Section};
use super::super::average::Average;
use super::super::bubble::{speed_row, timings};
use super::super::names::{model_title, task_title};
use super::super::parameters;
use super::super::speed::{Machine, Meter, SpeedRow};
use super::data::{FIVE, SIX};
use crate::records::statistics::geometric_mean;
use serde::Serialize;

/// The models on one task, or on the tasks of an average, at one length and on one machine.
#[derive(Serialize)]
pub struct Chart<'a> {
    task: &'a str,
    length: Option<u64>,
    machine: String,
    points: Vec<Point<'a>>,
}

/// A figure is `None` where there is none; `told` says what there is instead of a score.
#[derive(Serialize)]
struct Point<'a> {
    model: &'a str,
    title: &'a str,
    told: String,
    accuracy: Option<f64>,
    examples: Option<f64>,
    steps: Option<f64>,
    tokens: Option<f64>,
    speed_ratio: Option<f64>,
    memory_ratio: Option<f64>,
    live: Option<f64>,
    resident: Option<f64>,
    pool: Option<f64>,
    parameters: Option<f64>,
}

/// Where the speeds and the memory of a chart were measured.
struct Place<'a> {
    machine: &'a Machine,
    /// `None` over several tasks, of several lengths each.
    length: Option<u64>,
    /// All tasks of the chart, or one of them.
    timed: Vec<&'a str>,
}

/// The charts of a task, or of an average over several.
pub fn charts_of<'a>(
    report: &Report,
    section: &'a Section,
    name: &'a str,
    tasks: &[&'a str],
) -> Vec<Chart<'a>> {
    let places = match tasks {
        [task] => places_of_one(section, task),
        several => places_of_several(section, several),
    };
    let chart = |place: Place<'a>| {
        let points = section.rows.iter().map(|row| {
            let speeds = place.timed.iter().map(|task| match tasks {
                [_] => section.speed.iter().find(|speed| {
                    (speed.task.as_str(), &speed.model) == (*task, &row.model)
                        && (&speed.machine, speed.length) == (place.machine, place.length)
                }),
                _ => speed_row(section, task, &row.model, place.machine),
            });
            let average = |average: &Average| (average.mean, average.text());
            let (accuracy, told) = match name {
                FIVE => average(&row.five_tasks),
                SIX => average(&row.six_tasks),
                _ => match section.cell(row, tasks.first().copied().unwrap_or_default()) {
                    Some(cell) => (cell.complete().map(|summary| summary.mean), cell.text()),
                    None => (None, "-".to_owned()),
                },
            };
            let parameters = parameters::of(report, section, &row.model, tasks);
            point(&row.model, (accuracy, told), speeds.collect(), parameters)
        });
        let mut machine = place.machine.text();
        if let ([timed], [_, _, ..]) = (place.timed.as_slice(), tasks) {
            machine = format!("{} on {machine}", task_title(timed));
        }
        Chart { task: name, length: place.length, machine, points: points.collect() }
    };
    places.into_iter().map(chart).collect()
}

/// Each length and machine that any model was measured at.
fn places_of_one<'a>(section: &'a Section, task: &'a str) -> Vec<Place<'a>> {
    let of_task = section.speed.iter().filter(|row| row.task == task);
    let mut places: Vec<_> = of_task.map(|row| (&row.machine, row.length)).collect();
    places.sort();
    places.dedup();
    let place = |(machine, length)| Place { machine, length, timed: vec![task] };
    places.into_iter().map(place).collect()
}

/// What the printed chart takes first, and what it could.
fn places_of_several<'a>(section: &'a Section, tasks: &[&'a str]) -> Vec<Place<'a>> {
    let models: Vec<&Row> = section.rows.iter().collect();
    let place = |(timed, machine)| Place { machine, length: None, timed };
    timings(section, &models, tasks).into_iter().map(place).collect()
}

fn point<'a>(
    model: &'a str,
    (accuracy, told): (Option<f64>, String),
    speeds: Option<Vec<&SpeedRow>>,
    parameters: Option<f64>,
) -> Point<'a> {
    let speeds = speeds.unwrap_or_default();
    let mean = |value: fn(&SpeedRow) -> Option<f64>| {
        geometric_mean(&speeds.iter().map(|row| value(row)).collect::<Option<Vec<f64>>>()?)
    };
    let peak = |meter: Meter| {
        let peaks: Option<Vec<u64>> = speeds.iter().map(|row| row.memory(meter)).collect();
        peaks?.into_iter().max().map(|bytes| bytes as f64)
    };
    Point {
        model,
        title: model_title(model),
        told,
        accuracy,
        examples: mean(|row| row.examples_per_second),
        steps: mean(|row| row.steps_per_second),
        tokens: mean(|row| row.tokens_per_second),
        speed_ratio: mean(|row| row.speed_ratio),
        memory_ratio: mean(|row| row.memory_ratio),
        live: peak(Meter::Live),
        resident: peak(Meter::Resident),
        pool: peak(Meter::Pool),
        parameters,
    }
}
