//! Two panels: seconds and bytes of an example over its length.

use super::super::bench::{Growth, Series, power};
use super::super::chart::canvas::{self, Canvas, Drawn, Style};
use super::super::chart::font::{cut, drawable, width};
use super::super::chart::frame::{Axes, NOTE_STEP, WIDTH, heading, note_lines, notes};
use super::super::chart::marker::Marker;
use super::super::chart::place::Rect;
use super::super::chart::scale::Scale;
use super::super::chart::stack::{height, spread};
use super::super::chart::{AXIS, INK};
use super::super::names::model_title;
use super::Picture;
use plotters::style::text_anchor::HPos;

const LEFT: f64 = 96.0;
const TOP: f64 = 128.0;
const PANEL: f64 = 280.0;
/// From one panel's left edge to the next one's.
const PITCH: f64 = 592.0;
const LABEL: f64 = 14.0;
const GAP: f64 = 17.0;
/// Between a panel and its names, and their longest.
const AWAY: f64 = 26.0;
const LABEL_ROOM: f64 = 190.0;
const TITLE: &str = "Time and memory against length";

/// One panel: what it shows of a model, and in which unit.
struct Panel {
    title: &'static str,
    of: fn(&Growth) -> &Series,
    unit: f64,
}

const PANELS: [Panel; 2] = [
    Panel { title: "Time of an example (ms)", of: |line| &line.time, unit: 1e3 },
    Panel { title: "Memory of an example (MB)", of: |line| &line.memory, unit: 1e-6 },
];

pub fn svg(picture: &Picture) -> Drawn<String> {
    let tall = height(picture.lines.len(), GAP).max(460.0);
    let lost = lost(picture);
    let bottom = TOP + tall + 56.0;
    let size = (WIDTH, bottom + 40.0 + NOTE_STEP * lost.len() as f64);
    canvas::svg(size, TITLE, &picture.heading.join("; "), |canvas| {
        heading(canvas, LEFT, TITLE, &picture.heading)?;
        for (number, panel) in PANELS.iter().enumerate() {
            let x = LEFT + PITCH * number as f64;
            draw(canvas, picture, panel, Rect { x, y: TOP, w: PANEL, h: tall })?;
        }
        notes(canvas, (LEFT, bottom + 30.0), &lost)
    })
}

/// A model's place among all, the model, and its points in the panel's unit.
type Plotted<'a> = (usize, &'a Growth, Vec<(f64, f64)>);

fn draw(canvas: &Canvas, picture: &Picture, panel: &Panel, frame: Rect) -> Drawn {
    let lines: Vec<Plotted> = picture
        .lines
        .iter()
        .enumerate()
        .map(|(index, line)| {
            let points = (panel.of)(line).points.iter();
            (index, line, points.map(|(n, value)| (*n, value * panel.unit)).collect())
        })
        .filter(|(.., points): &Plotted| !points.is_empty())
        .collect();
    let all = || lines.iter().flat_map(|(.., points)| points);
    let lengths: Vec<f64> = all().map(|(n, _)| *n).collect();
    let values: Vec<f64> = all().map(|(_, value)| *value).collect();
    let across = Scale::logarithmic(&lengths, (frame.x, frame.x + frame.w), 18.0);
    let upwards = Scale::logarithmic(&values, (frame.y + frame.h, frame.y), 20.0);
    let axes = Axes {
        frame,
        across: (&across, length_ticks(&lengths, &across)),
        upwards: (&upwards, upwards.ticks(8)),
        across_title: "Length n (tokens, log scale)",
        upwards_title: panel.title,
        title_at: frame.x - 62.0,
    };
    axes.draw(canvas)?;
    let pixels = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
        points.iter().map(|(n, value)| (across.pixel(*n), upwards.pixel(*value))).collect()
    };
    let ends: Vec<(f64, f64)> =
        lines.iter().filter_map(|(.., points)| pixels(points).last().copied()).collect();
    let wishes: Vec<f64> = ends.iter().map(|(_, y)| *y).collect();
    let places = spread(&wishes, GAP, frame.y + GAP / 2.0, frame.y + frame.h - GAP / 2.0);
    let column = frame.x + frame.w + AWAY;
    for ((x, y), place) in ends.iter().zip(&places) {
        let knee = (frame.x + frame.w, *y);
        canvas.line((*x, *y), knee, AXIS, 0.7)?;
        canvas.line(knee, (column - 4.0, *place), AXIS, 0.7)?;
    }
    for (index, line, points) in &lines {
        canvas.path(&pixels(points), Marker::of(&line.model, *index).line(), 1.8)?;
    }
    for ((index, line, points), place) in lines.iter().zip(&places) {
        let marker = Marker::of(&line.model, *index);
        pixels(points).into_iter().try_for_each(|at| marker.draw(canvas, at, 4.5))?;
        let name = cut(&drawable(model_title(&line.model)), LABEL, LABEL_ROOM - 58.0);
        let style = Style::new(LABEL, INK, HPos::Left);
        canvas.text((column, place + 5.0), &name, style)?;
        let after = column + width(&name, LABEL) + 6.0;
        canvas.text((after, place + 5.0), &power((panel.of)(line)), style.bold())?;
    }
    Ok(())
}

/// The measured lengths, but for those whose labels would touch.
fn length_ticks(lengths: &[f64], across: &Scale) -> Vec<(f64, String)> {
    let mut sorted = lengths.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.dedup();
    let mut kept: Vec<(f64, String)> = Vec::new();
    // From the longest down: its end is the one that matters.
    for length in sorted.into_iter().rev() {
        let text = length.to_string();
        let reach = across.pixel(length) + width(&text, 14.0) / 2.0 + 8.0;
        let free = kept
            .last()
            .is_none_or(|(next, label)| reach < across.pixel(*next) - width(label, 14.0) / 2.0);
        if free {
            kept.push((length, text));
        }
    }
    kept
}

fn lost(picture: &Picture) -> Vec<String> {
    let told = picture.lines.iter().flat_map(|line| {
        let of = |(length, word): &(usize, &str)| {
            format!("{} {word} at {length}", model_title(&line.model))
        };
        line.lost.iter().map(of)
    });
    let told: Vec<String> = told.collect();
    match told.is_empty() {
        true => Vec::new(),
        false => note_lines(&format!("Not shown: {}.", told.join("; ")), LEFT, 4, "… and more."),
    }
}
