//! What stands around the data: heading, grid, ticks and the words of the axes.

use super::canvas::{Canvas, Drawn, Style};
use super::font::{cut, drawable, wrap};
use super::place::Rect;
use super::scale::Scale;
use super::{AXIS, GRID, INK, SOFT};
use plotters::style::text_anchor::HPos;

/// A picture's width in pixels.
pub const WIDTH: f64 = 1200.0;
const NOTE: f64 = 13.0;
pub const NOTE_STEP: f64 = 18.0;

/// Ticks and titles around a frame.
pub struct Axes<'a> {
    pub frame: Rect,
    /// Values and their labels; the scale's own ticks, or others.
    pub across: (&'a Scale, Vec<(f64, String)>),
    pub upwards: (&'a Scale, Vec<(f64, String)>),
    pub across_title: &'a str,
    pub upwards_title: &'a str,
    /// Where the upward title's middle is, from the left.
    pub title_at: f64,
}

impl Axes<'_> {
    pub fn draw(&self, canvas: &Canvas) -> Drawn {
        let Rect { x: left, y: top, w, h } = self.frame;
        let (right, bottom) = (left + w, top + h);
        for (value, text) in &self.upwards.1 {
            let y = self.upwards.0.pixel(*value);
            canvas.line((left, y), (right, y), GRID, 1.0)?;
            canvas.text((left - 10.0, y + 5.0), text, Style::new(14.0, SOFT, HPos::Right))?;
        }
        for (value, text) in &self.across.1 {
            let x = self.across.0.pixel(*value);
            canvas.line((x, top), (x, bottom), GRID, 1.0)?;
            canvas.line((x, bottom), (x, bottom + 5.0), AXIS, 1.0)?;
            canvas.text((x, bottom + 23.0), text, Style::new(14.0, SOFT, HPos::Center))?;
        }
        canvas.line((left, bottom), (right, bottom), AXIS, 1.25)?;
        canvas.line((left, top), (left, bottom), AXIS, 1.25)?;
        let style = Style::new(16.0, INK, HPos::Center);
        let title = cut(&drawable(self.upwards_title), style.size, h + 60.0);
        canvas.text_upwards((self.title_at, (top + bottom) / 2.0), &title, style)?;
        let title = cut(&drawable(self.across_title), style.size, w + 160.0);
        canvas.text(((left + right) / 2.0, bottom + 56.0), &title, style)
    }
}

/// Title and two lines below it, from `x` on.
pub fn heading(canvas: &Canvas, x: f64, title: &str, below: &[String]) -> Drawn {
    let room = WIDTH - x - 40.0;
    let title = cut(&drawable(title), 24.0, room);
    canvas.text((x, 46.0), &title, Style::new(24.0, INK, HPos::Left).bold())?;
    for (line, y) in below.iter().zip([73.0, 94.0]) {
        let line = cut(&drawable(line), 15.0, room);
        canvas.text((x, y), &line, Style::new(15.0, SOFT, HPos::Left))?;
    }
    Ok(())
}

/// Small text in lines, from `x` to the right edge; more lines than `most` end in `more`.
pub fn note_lines(text: &str, x: f64, most: usize, more: &str) -> Vec<String> {
    let mut lines = wrap(&drawable(text), NOTE, WIDTH - x - 40.0);
    if lines.len() > most {
        lines.truncate(most);
        lines.push(more.to_owned());
    }
    lines
}

/// The lines, the first with its baseline at `at`.
pub fn notes(canvas: &Canvas, (x, y): (f64, f64), lines: &[String]) -> Drawn {
    lines.iter().enumerate().try_for_each(|(number, line)| {
        let at = (x, y + NOTE_STEP * number as f64);
        canvas.text(at, line, Style::new(NOTE, SOFT, HPos::Left))
    })
}

/// Several names in a sentence.
pub fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
