//! What the areas stand for.

use super::super::chart::canvas::{Canvas, Drawn, Style};
use super::super::chart::scale::round_down;
use super::super::chart::{AXIS, INK, SOFT};
use super::super::tables::figure;
use super::draw::FRAME;
use super::points::Chart;
use plotters::style::text_anchor::HPos;

pub fn legend(canvas: &Canvas, chart: &Chart, most: f64, radius: &impl Fn(f64) -> f64) -> Drawn {
    let x = FRAME.x + FRAME.w + 34.0;
    let head = Style::new(15.0, INK, HPos::Left);
    canvas.text((x, FRAME.y + 12.0), "Area: peak memory", head.bold())?;
    let meter = chart.meter.title();
    let meter = match chart.timed.len() {
        1 if chart.tasks.len() > 1 => format!("{meter}, {}", chart.timed[0]),
        1 => meter.to_owned(),
        _ => format!("{meter}, largest task"),
    };
    canvas.text((x, FRAME.y + 33.0), &meter, Style::new(13.0, SOFT, HPos::Left))?;

    let large = round_down(most);
    let values = [large, round_down(large * 0.3), round_down(large * 0.06)];
    let centre = x + radius(large);
    let bottom = FRAME.y + 56.0 + 2.0 * radius(large);
    let mut lowest = bottom + 18.0;
    let labels = x + 2.0 * radius(large) + 14.0;
    for value in values.iter().rev() {
        // Nested circles share their lowest point; their labels keep a line's distance.
        lowest = (bottom - 2.0 * radius(*value)).min(lowest - 18.0);
    }
    let rise = lowest.min(bottom - 2.0 * radius(large));
    let mut y = rise;
    for value in values {
        let r = radius(value);
        canvas.ring((centre, bottom - r), r, SOFT, 1.5)?;
        let top = bottom - 2.0 * r;
        y = f64::max(y, top.min(bottom));
        canvas.line((centre, top), (labels - 4.0, y), AXIS, 1.0)?;
        canvas.text((labels, y + 5.0), &bytes(value), Style::new(14.0, INK, HPos::Left))?;
        y += 18.0;
    }
    Ok(())
}

fn bytes(value: f64) -> String {
    let units = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    let (size, unit) = units.into_iter().find(|(size, _)| value >= *size).unwrap_or((1.0, "B"));
    let number = figure(value / size);
    let number = if number.contains('.') { number.trim_end_matches('0') } else { &number };
    format!("{} {unit}", number.trim_end_matches('.'))
}
