//! The frame of the chart: grid, ticks and what the axes show.

use super::super::chart::canvas::{Canvas, Drawn, Style};
use super::super::chart::font::{cut, drawable};
use super::super::chart::scale::Scale;
use super::super::chart::{AXIS, GRID, INK, SOFT};
use super::draw::{FRAME, listed};
use super::points::Chart;
use plotters::style::text_anchor::HPos;

pub fn axes(canvas: &Canvas, chart: &Chart, across: &Scale, upwards: &Scale) -> Drawn {
    let (left, right) = (FRAME.x, FRAME.x + FRAME.w);
    let (top, bottom) = (FRAME.y, FRAME.y + FRAME.h);
    for (value, text) in upwards.ticks(8) {
        let y = upwards.pixel(value);
        canvas.line((left, y), (right, y), GRID, 1.0)?;
        canvas.text((left - 10.0, y + 5.0), &text, Style::new(14.0, SOFT, HPos::Right))?;
    }
    for (value, text) in across.ticks(7) {
        let x = across.pixel(value);
        canvas.line((x, top), (x, bottom), GRID, 1.0)?;
        canvas.line((x, bottom), (x, bottom + 5.0), AXIS, 1.0)?;
        canvas.text((x, bottom + 23.0), &text, Style::new(14.0, SOFT, HPos::Center))?;
    }
    canvas.line((left, bottom), (right, bottom), AXIS, 1.25)?;
    canvas.line((left, top), (left, bottom), AXIS, 1.25)?;

    let style = Style::new(16.0, INK, HPos::Center);
    let many = chart.tasks.len();
    let score = match many {
        1 => format!("Test accuracy on {} (%)", listed(&chart.tasks)),
        _ if chart.is_five_tasks => "Test accuracy, mean of the five tasks (%)".to_owned(),
        _ => format!("Test accuracy, mean over {} (%)", listed(&chart.tasks)),
    };
    let score = cut(&drawable(&score), style.size, FRAME.h + 60.0);
    canvas.text_upwards((38.0, (top + bottom) / 2.0), &score, style)?;
    let over = match many {
        1 => String::new(),
        _ => format!(", geometric mean over the {many} tasks"),
    };
    let log = if across.log { ", log scale" } else { "" };
    let speed = format!("Training speed (examples per second{over}{log})");
    canvas.text(((left + right) / 2.0, bottom + 56.0), &speed, style)
}
