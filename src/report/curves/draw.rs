//! The panels, in rows of four.

use super::super::cell::Outcome;
use super::super::chart::canvas::{self, Canvas, Drawn, Style};
use super::super::chart::font::{cut, drawable};
use super::super::chart::frame::{WIDTH, heading, note_lines, notes};
use super::super::chart::marker::Marker;
use super::super::chart::place::Rect;
use super::super::chart::scale::Scale;
use super::super::chart::{AXIS, GRID, INK, SOFT};
use super::super::names::{TRANSFORMER, model_title};
use super::{Curve, Picture};
use plotters::style::text_anchor::HPos;
use plotters::style::{Color, RGBColor, WHITE};

const COLUMNS: usize = 4;
const LEFT: f64 = 84.0;
const TOP: f64 = 176.0;
const PANEL: (f64, f64) = (246.0, 150.0);
const PITCH: (f64, f64) = (274.0, 226.0);
const TITLE: &str = "Learning curves";
/// The Transformer's curves where another model's are shown.
const BEHIND: RGBColor = RGBColor(0xb4, 0xb4, 0xb4);

pub fn svg(picture: &Picture) -> Drawn<String> {
    let rows = picture.panels.len().div_ceil(COLUMNS);
    let bottom = TOP + PITCH.1 * rows as f64;
    let points = || picture.curves.iter().flat_map(|curve| &curve.points);
    let steps: Vec<f64> = std::iter::once(0.0).chain(points().map(|p| p.0)).collect();
    let percents: Vec<f64> = points().map(|p| p.1).chain(picture.majority).collect();
    let across = Scale::new(&steps, (0.0, PANEL.0), 8.0, 1.0, false);
    let upwards = Scale::new(&percents, (PANEL.1, 0.0), 10.0, 4.0, false);
    let below = [
        format!("preset {} on {}", picture.preset, picture.task),
        "validation accuracy (%) over training steps; a line for each seed".to_owned(),
    ];
    let legend = legend(picture);
    let size = (WIDTH, bottom + 18.0 * legend.len() as f64 + 6.0);
    canvas::svg(size, TITLE, &below.join("; "), |canvas| {
        heading(canvas, LEFT, TITLE, &below)?;
        for (number, (model, cell)) in picture.panels.iter().enumerate() {
            let (column, row) = (number % COLUMNS, number / COLUMNS);
            let (x, y) = (LEFT + PITCH.0 * column as f64, TOP + PITCH.1 * row as f64);
            let last_of_column = number + COLUMNS >= picture.panels.len();
            let panel = Panel {
                frame: Rect { x, y, w: PANEL.0, h: PANEL.1 },
                across: &across,
                upwards: &upwards,
                has_left: column == 0,
                has_below: last_of_column,
            };
            panel.grid(canvas)?;
            panel.head(canvas, model_title(model), cell)?;
            panel.lines(canvas, picture, model, number)?;
        }
        notes(canvas, (LEFT, bottom - 6.0), &legend)
    })
}

fn legend(picture: &Picture) -> Vec<String> {
    let mut text = "Under each name, test accuracy in %. A line ends in a disc where the run was \
                    done, in a cross where it diverged or failed, in a ring where it is unfinished."
        .to_owned();
    if picture.panels.len() > 1 && picture.panels.iter().any(|(model, _)| model == TRANSFORMER) {
        text.push_str(" Grey: the Transformer.");
    }
    if picture.majority.is_some() {
        text.push_str(" Dashes: the majority class of the test split.");
    }
    note_lines(&text, LEFT, 4, "")
}

struct Panel<'a> {
    frame: Rect,
    across: &'a Scale,
    upwards: &'a Scale,
    has_left: bool,
    has_below: bool,
}

impl Panel<'_> {
    fn at(&self, step: f64, percent: f64) -> (f64, f64) {
        (self.frame.x + self.across.pixel(step), self.frame.y + self.upwards.pixel(percent))
    }

    fn grid(&self, canvas: &Canvas) -> Drawn {
        let Rect { x: left, y: top, w, h } = self.frame;
        let (right, bottom) = (left + w, top + h);
        for (value, text) in self.upwards.ticks(4) {
            let y = top + self.upwards.pixel(value);
            canvas.line((left, y), (right, y), GRID, 1.0)?;
            if self.has_left {
                canvas.text((left - 8.0, y + 4.5), &text, Style::new(13.0, SOFT, HPos::Right))?;
            }
        }
        for (value, text) in self.across.ticks(3) {
            let x = left + self.across.pixel(value);
            canvas.line((x, bottom), (x, bottom + 4.0), AXIS, 1.0)?;
            if self.has_below {
                canvas.text((x, bottom + 20.0), &text, Style::new(13.0, SOFT, HPos::Center))?;
            }
        }
        canvas.line((left, bottom), (right, bottom), AXIS, 1.0)?;
        canvas.line((left, top), (left, bottom), AXIS, 1.0)
    }

    fn head(&self, canvas: &Canvas, title: &str, cell: &str) -> Drawn {
        let (x, room) = (self.frame.x, self.frame.w - 8.0);
        let title = cut(&drawable(title), 15.0, room);
        canvas.text((x, self.frame.y - 26.0), &title, Style::new(15.0, INK, HPos::Left).bold())?;
        let cell = cut(&drawable(cell), 13.0, room);
        canvas.text((x, self.frame.y - 9.0), &cell, Style::new(13.0, SOFT, HPos::Left))
    }

    fn lines(&self, canvas: &Canvas, picture: &Picture, model: &str, index: usize) -> Drawn {
        if let Some(majority) = picture.majority {
            self.dashes(canvas, majority)?;
        }
        let of = |name: &'static str| picture.curves.iter().filter(move |c| c.model == name);
        for curve in of(TRANSFORMER).filter(|_| model != TRANSFORMER) {
            canvas.path(&self.pixels(curve), BEHIND, 1.4)?;
        }
        let colour = Marker::of(model, index).line();
        for curve in picture.curves.iter().filter(|curve| curve.model == model) {
            let pixels = self.pixels(curve);
            canvas.path(&pixels, colour, 2.0)?;
            if let Some(end) = pixels.last() {
                sign(canvas, *end, curve.outcome, colour)?;
            }
        }
        Ok(())
    }

    fn pixels(&self, curve: &Curve) -> Vec<(f64, f64)> {
        curve.points.iter().map(|(step, percent)| self.at(*step, *percent)).collect()
    }

    fn dashes(&self, canvas: &Canvas, percent: f64) -> Drawn {
        let (left, y) = self.at(0.0, percent);
        let left = left.max(self.frame.x);
        let count = ((self.frame.x + self.frame.w - left) / 10.0) as usize;
        (0..count).try_for_each(|dash| {
            let x = left + 10.0 * dash as f64;
            canvas.line((x, y), (x + 5.0, y), AXIS, 1.0)
        })
    }
}

/// What became of the run.
fn sign(canvas: &Canvas, (x, y): (f64, f64), outcome: Outcome, colour: RGBColor) -> Drawn {
    const R: f64 = 4.5;
    match outcome {
        Outcome::Scored(_) | Outcome::Unscored => canvas.disc((x, y), R - 1.0, colour.to_rgba()),
        Outcome::Unfinished | Outcome::Unreadable => {
            canvas.disc((x, y), R - 1.0, WHITE.to_rgba())?;
            canvas.ring((x, y), R - 1.0, colour, 1.5)
        }
        Outcome::Diverged | Outcome::OutOfMemory | Outcome::Failed => {
            canvas.line((x - R, y - R), (x + R, y + R), INK, 2.0)?;
            canvas.line((x - R, y + R), (x + R, y - R), INK, 2.0)
        }
    }
}
