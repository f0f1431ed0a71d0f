//! Accuracy against parameters: one picture for each preset, over the bubble chart's tasks.

use super::aggregate::{Report, Section};
use super::bubble::{score, score_title, tasks};
use super::chart::canvas::{self, Drawn};
use super::chart::frame::{Axes, NOTE_STEP, WIDTH, heading, listed, note_lines, notes};
use super::chart::marker::Marker;
use super::chart::place::{Circle, Rect, place};
use super::chart::scale::Scale;
use super::chart::{self, label};
use super::names::{model_title, task_title};
use super::{File, Names};
use crate::error::Result;
use crate::records::statistics::{geometric_mean, median};

const FRAME: Rect = Rect { x: 104.0, y: 124.0, w: 1056.0, h: 560.0 };
const RADIUS: f64 = 6.0;
/// A marker's corners reach this far.
const REACH: f64 = 8.5;
const TITLE: &str = "Accuracy and parameters";

struct Point {
    model: String,
    score: f64,
    parameters: f64,
}

pub fn export(report: &Report) -> Result<Vec<File>> {
    let (mut files, mut names) = (Vec::new(), Names::default());
    for section in &report.sections {
        let Some(tasks) = tasks(section) else { continue };
        let point = |model: &str, score| {
            let parameters = of(report, section, model, &tasks)?;
            Some(Point { model: model.to_owned(), score, parameters })
        };
        let rows = section.rows.iter();
        let scored = rows.filter_map(|row| Some((row, score(section, row, &tasks)?)));
        let points: Vec<Point> =
            scored.filter_map(|(row, score)| point(&row.model, score)).collect();
        if points.is_empty() {
            continue;
        }
        let titles: Vec<String> = tasks.iter().map(|task| task_title(task).to_owned()).collect();
        let name = names.free("parameters", &section.preset);
        files.extend(chart::files(&name, svg(&section.preset, &titles, &points))?);
    }
    Ok(files)
}

/// The geometric mean over the tasks of the median over runs.
pub fn of(report: &Report, section: &Section, model: &str, tasks: &[&str]) -> Option<f64> {
    let of_task = |task: &&str| {
        let records = report.runs.iter().map(|run| &run.record);
        let same = records.filter(|record| {
            (record.preset.as_str(), record.model.as_str(), record.task.as_str())
                == (section.preset.as_str(), model, *task)
        });
        let counts: Vec<f64> = same.map(|record| record.parameters as f64).collect();
        median(&counts)
    };
    geometric_mean(&tasks.iter().map(of_task).collect::<Option<Vec<f64>>>()?)
}

fn svg(preset: &str, tasks: &[String], points: &[Point]) -> Drawn<String> {
    let values: Vec<f64> = points.iter().map(|point| point.parameters).collect();
    let scores: Vec<f64> = points.iter().map(|point| point.score).collect();
    let across = Scale::logarithmic(&values, (FRAME.x, FRAME.x + FRAME.w), 40.0);
    let upwards = Scale::new(&scores, (FRAME.y + FRAME.h, FRAME.y), 40.0, 4.0, false);
    let circle = |point: &Point| Circle {
        x: across.pixel(point.parameters),
        y: upwards.pixel(point.score),
        r: REACH,
    };
    let circles: Vec<Circle> = points.iter().map(circle).collect();
    let name = |point: &Point| label::label(model_title(&point.model));
    let labels: Vec<String> = points.iter().map(name).collect();
    let places = place(&circles, &label::sizes(&labels), FRAME);
    let hidden = points.iter().zip(&places).filter(|(_, place)| place.is_none());
    let hidden: Vec<String> =
        hidden.map(|(point, _)| model_title(&point.model).to_owned()).collect();
    let below = match hidden.is_empty() {
        true => Vec::new(),
        false => {
            let text = format!("No room for the label of {}.", listed(&hidden));
            note_lines(&text, FRAME.x, 8, "… and more.")
        }
    };
    let height = FRAME.y + FRAME.h + 90.0 + NOTE_STEP * below.len() as f64;
    let about = [format!("preset {preset} on {}", listed(tasks)), String::new()];
    canvas::svg((WIDTH, height), TITLE, &about[0], |canvas| {
        heading(canvas, FRAME.x, TITLE, &about)?;
        let over = match tasks.len() {
            1 => String::new(),
            many => format!(", geometric mean over the {many} tasks"),
        };
        let axes = Axes {
            frame: FRAME,
            across: (&across, across.ticks(7)),
            upwards: (&upwards, upwards.ticks(8)),
            across_title: &format!("Trainable parameters{over}, log scale"),
            upwards_title: &score_title(tasks),
            title_at: 38.0,
        };
        axes.draw(canvas)?;
        label::leaders(canvas, &places)?;
        for (index, (point, circle)) in points.iter().zip(&circles).enumerate() {
            Marker::of(&point.model, index).draw(canvas, (circle.x, circle.y), RADIUS)?;
        }
        label::labels(canvas, &places, &labels)?;
        notes(canvas, (FRAME.x, FRAME.y + FRAME.h + 82.0), &below)
    })
}
