//! Lays the chart out and draws it as SVG.
//!
//! Colour only helps to follow a model from chart to chart: every bubble carries its name, so
//! that the picture reads in grey and with any colour vision. The area is exactly in
//! proportion to memory; a dot marks the centre of bubbles too small to see.

use super::super::chart::font::{Weight, cut, drawable, width, wrap};
use super::super::chart::place::{Circle, Place, Rect, place};
use super::super::chart::scale::{Scale, round_down};
use super::super::chart::svg::{Anchor, Style, Svg};
use super::super::chart::{AXIS, GRID, INK, PALETTE, SOFT};
use super::super::markdown::figure;
use super::super::names::model_order;
use super::points::{Chart, Point};

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 800.0;
const FRAME: Rect = Rect { x: 104.0, y: 124.0, w: 872.0, h: 560.0 };
const LABEL: f64 = 14.0;
const LABEL_HEIGHT: f64 = 17.0;
const NOTE: f64 = 13.0;
const NOTE_STEP: f64 = 18.0;
/// Share of the frame that bubbles of the largest size would cover together.
const COVER: f64 = 0.13;
const LARGEST: f64 = 54.0;
/// Longest label, in pixels.
const LABEL_ROOM: f64 = 190.0;

pub fn svg(chart: &Chart) -> String {
    let most = chart.points.iter().map(|p| p.memory).fold(f64::MIN_POSITIVE, f64::max);
    let fair =
        (COVER * FRAME.w * FRAME.h / chart.points.len() as f64 / std::f64::consts::PI).sqrt();
    let largest = fair.min(LARGEST);
    let radius = |memory: f64| largest * (memory / most).sqrt();

    let speeds: Vec<f64> = chart.points.iter().map(|p| p.speed).collect();
    let scores: Vec<f64> = chart.points.iter().map(|p| p.score).collect();
    let fastest = speeds.iter().copied().fold(0.0, f64::max);
    let margin = largest + 26.0;
    let across = Scale::new(&speeds, (FRAME.x, FRAME.x + FRAME.w), margin, fastest * 0.4, true);
    let upwards = Scale::new(&scores, (FRAME.y + FRAME.h, FRAME.y), margin, 4.0, false);

    let at = |p: &Point| Circle {
        x: across.pixel(p.speed),
        y: upwards.pixel(p.score),
        r: radius(p.memory),
    };
    let circles: Vec<Circle> = chart.points.iter().map(at).collect();
    // The dot at a tiny bubble's centre takes room too.
    let solid: Vec<Circle> = circles.iter().map(|c| Circle { r: c.r.max(DOT), ..*c }).collect();
    let label = |p: &Point| cut(&drawable(&p.title), LABEL, Weight::Regular, LABEL_ROOM);
    let labels: Vec<String> = chart.points.iter().map(label).collect();
    let size = |text: &String| (width(text, LABEL, Weight::Regular), LABEL_HEIGHT);
    let sizes: Vec<(f64, f64)> = labels.iter().map(size).collect();
    let places = place(&solid, &sizes, FRAME);

    let notes = note_lines(chart, &places);
    let height = HEIGHT + NOTE_STEP * notes.len() as f64;
    let mut svg = Svg::new(WIDTH, height, TITLE, &subtitle(chart).join("; "));
    heading(&mut svg, chart);
    axes(&mut svg, chart, &across, &upwards);
    bubbles(&mut svg, chart, &circles);
    for (place, text) in places.iter().zip(&labels) {
        if let Some(place) = place {
            write_label(&mut svg, place, text);
        }
    }
    legend(&mut svg, chart, most, &radius);
    for (number, note) in notes.iter().enumerate() {
        let y = HEIGHT - 20.0 + NOTE_STEP * number as f64;
        svg.text((FRAME.x, y), note, Style::new(NOTE, SOFT, Anchor::Start));
    }
    svg.finish()
}

const TITLE: &str = "Accuracy, speed and memory";
/// Radius of the mark at the centre of a bubble.
const DOT: f64 = 2.5;

/// What was trained, and on which machine.
fn subtitle(chart: &Chart) -> [String; 2] {
    let what = format!("preset {} on {}", chart.preset, listed(&chart.tasks));
    [what, chart.machine.text()]
}

fn heading(svg: &mut Svg, chart: &Chart) {
    let room = WIDTH - FRAME.x - 40.0;
    svg.text((FRAME.x, 46.0), TITLE, Style::new(24.0, INK, Anchor::Start).medium());
    for (line, y) in subtitle(chart).iter().zip([73.0, 94.0]) {
        let line = cut(&drawable(line), 15.0, Weight::Regular, room);
        svg.text((FRAME.x, y), &line, Style::new(15.0, SOFT, Anchor::Start));
    }
}

/// Several task names in a sentence.
fn listed(tasks: &[String]) -> String {
    match tasks {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn axes(svg: &mut Svg, chart: &Chart, across: &Scale, upwards: &Scale) {
    let (left, right) = (FRAME.x, FRAME.x + FRAME.w);
    let (top, bottom) = (FRAME.y, FRAME.y + FRAME.h);
    for (value, text) in upwards.ticks(8) {
        let y = upwards.pixel(value);
        svg.line((left, y), (right, y), GRID, 1.0);
        svg.text((left - 10.0, y + 5.0), &text, Style::new(14.0, SOFT, Anchor::End));
    }
    for (value, text) in across.ticks(7) {
        let x = across.pixel(value);
        svg.line((x, top), (x, bottom), GRID, 1.0);
        svg.line((x, bottom), (x, bottom + 5.0), AXIS, 1.0);
        svg.text((x, bottom + 23.0), &text, Style::new(14.0, SOFT, Anchor::Middle));
    }
    svg.line((left, bottom), (right, bottom), AXIS, 1.25);
    svg.line((left, top), (left, bottom), AXIS, 1.25);

    let style = Style::new(16.0, INK, Anchor::Middle);
    let many = chart.tasks.len();
    let score = match many {
        1 => format!("Test accuracy on {} (%)", listed(&chart.tasks)),
        _ if chart.is_five_tasks => "Test accuracy, mean of the five tasks (%)".to_owned(),
        _ => format!("Test accuracy, mean over {} (%)", listed(&chart.tasks)),
    };
    let score = cut(&drawable(&score), style.size, Weight::Regular, FRAME.h + 60.0);
    svg.text_upwards((38.0, (top + bottom) / 2.0), &score, style);
    let over = match many {
        1 => String::new(),
        _ => format!(", geometric mean over the {many} tasks"),
    };
    let log = if across.log { ", log scale" } else { "" };
    let speed = format!("Training speed (examples per second{over}{log})");
    svg.text(((left + right) / 2.0, bottom + 56.0), &speed, style);
}

fn bubbles(svg: &mut Svg, chart: &Chart, circles: &[Circle]) {
    let mut order: Vec<usize> = (0..circles.len()).collect();
    // Large ones below, so that none hides another.
    order.sort_by(|a, b| circles[*b].r.total_cmp(&circles[*a].r).then(a.cmp(b)));
    for index in &order {
        let circle = circles[*index];
        let (rank, _) = model_order(&chart.points[*index].model);
        // Models the names do not list share a rank; their place tells them apart.
        let hue = if rank < LISTED { rank } else { rank + index };
        let (colour, round) = (PALETTE[hue % PALETTE.len()], hue / PALETTE.len());
        let (fill, stroke) = if round % 2 == 0 { (0.6, 1.5) } else { (0.14, 2.5) };
        let edge = if round % 2 == 0 { darker(colour) } else { colour.to_owned() };
        let paint = format!(
            "fill=\"{colour}\" fill-opacity=\"{fill}\" stroke=\"{edge}\" stroke-width=\"{stroke}\""
        );
        svg.circle((circle.x, circle.y), circle.r, &paint);
    }
    for circle in circles {
        svg.circle((circle.x, circle.y), DOT, &format!("fill=\"{INK}\""));
    }
}

/// Models with a place in the paper's order; each has a colour of its own in every chart.
const LISTED: usize = 12;

/// The colour at two thirds of its light, for an edge that also shows in grey.
fn darker(colour: &str) -> String {
    let part = |at: usize| {
        let hex = colour.get(at..at + 2).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        hex.unwrap_or_default() * 2 / 3
    };
    format!("#{:02x}{:02x}{:02x}", part(1), part(3), part(5))
}

fn write_label(svg: &mut Svg, place: &Place, text: &str) {
    if let Some((from, to)) = place.leader {
        svg.line(from, to, AXIS, 1.0);
    }
    let style = Style::new(LABEL, INK, Anchor::Start).with_halo();
    svg.text((place.rect.x, place.rect.y + LABEL_HEIGHT * 0.76), text, style);
}

fn legend(svg: &mut Svg, chart: &Chart, most: f64, radius: &impl Fn(f64) -> f64) {
    let x = FRAME.x + FRAME.w + 34.0;
    let head = Style::new(15.0, INK, Anchor::Start);
    svg.text((x, FRAME.y + 12.0), "Area: peak memory", head.medium());
    let meter = chart.meter.title();
    let over = if chart.tasks.len() > 1 { ", largest task" } else { "" };
    let meter = format!("{meter}{over}");
    svg.text((x, FRAME.y + 33.0), &meter, Style::new(13.0, SOFT, Anchor::Start));

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
        let paint = format!("fill=\"none\" stroke=\"{SOFT}\" stroke-width=\"1.5\"");
        svg.circle((centre, bottom - r), r, &paint);
        let top = bottom - 2.0 * r;
        y = f64::max(y, top.min(bottom));
        svg.line((centre, top), (labels - 4.0, y), AXIS, 1.0);
        svg.text((labels, y + 5.0), &bytes(value), Style::new(14.0, INK, Anchor::Start));
        y += 18.0;
    }
}

fn bytes(value: f64) -> String {
    let units = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    let (size, unit) = units.into_iter().find(|(size, _)| value >= *size).unwrap_or((1.0, "B"));
    let number = figure(value / size);
    let number = if number.contains('.') { number.trim_end_matches('0') } else { &number };
    format!("{} {unit}", number.trim_end_matches('.'))
}

/// What is not in the picture, as lines below it.
fn note_lines(chart: &Chart, places: &[Option<Place>]) -> Vec<String> {
    const MOST_LINES: usize = 8;
    let unlabelled = chart.points.iter().zip(places).filter(|(_, place)| place.is_none());
    let mut all = chart.not_shown.clone();
    all.extend(unlabelled.map(|(point, _)| format!("{}: no room for its label", point.title)));
    if all.is_empty() {
        return Vec::new();
    }
    let text = format!("Not shown: {}.", all.join("; "));
    let mut lines = wrap(&drawable(&text), NOTE, WIDTH - FRAME.x - 40.0);
    if lines.len() > MOST_LINES {
        lines.truncate(MOST_LINES);
        lines.push("… and more; accuracy.csv and speed.csv have every model.".to_owned());
    }
    lines
}
