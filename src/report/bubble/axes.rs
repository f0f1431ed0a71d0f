//! What the axes show, in words.

use super::super::chart::canvas::{Canvas, Drawn};
use super::super::chart::frame::{Axes, listed};
use super::super::chart::scale::Scale;
use super::super::names::{TASKS, in_five};
use super::draw::FRAME;
use super::points::Chart;

pub fn axes(canvas: &Canvas, chart: &Chart, across: &Scale, upwards: &Scale) -> Drawn {
    let over = match chart.timed.len() {
        1 if chart.tasks.len() > 1 => format!(" of {}", chart.timed[0]),
        1 => String::new(),
        many => format!(", geometric mean over the {many} tasks"),
    };
    let log = if across.log { ", log scale" } else { "" };
    let axes = Axes {
        frame: FRAME,
        across: (across, across.ticks(7)),
        upwards: (upwards, upwards.ticks(8)),
        across_title: &format!("Training speed (examples per second{over}{log})"),
        upwards_title: &score_title(&chart.tasks),
        title_at: 38.0,
    };
    axes.draw(canvas)
}

/// What the score is a mean of.
pub fn score_title(tasks: &[String]) -> String {
    let five = TASKS.iter().filter(|(task, _)| in_five(task)).map(|(_, title)| *title);
    match tasks.len() {
        1 => format!("Test accuracy on {} (%)", listed(tasks)),
        _ if five.eq(tasks.iter()) => "Test accuracy, mean of the five tasks (%)".to_owned(),
        _ => format!("Test accuracy, mean over {} (%)", listed(tasks)),
    }
}
