//! Lays the chart out and draws it.
//!
//! Colour only helps to follow a model from chart to chart: every bubble carries its name, so
//! that the picture reads in grey and with any colour vision. The area is exactly in
//! proportion to memory; a dot marks the centre of bubbles too small to see.

use super::super::chart::canvas::{self, Canvas, Drawn};
use super::super::chart::frame::{self, NOTE_STEP, WIDTH, heading, listed};
use super::super::chart::label;
use super::super::chart::place::{Circle, Place, Rect, place};
use super::super::chart::scale::Scale;
use super::super::chart::{INK, PALETTE, darker};
use super::super::names::model_order;
use super::axes::axes;
use super::legend::legend;
use super::points::{Chart, Point};
use plotters::style::Color;

const HEIGHT: f64 = 800.0;
pub const FRAME: Rect = Rect { x: 104.0, y: 124.0, w: 872.0, h: 560.0 };
/// Share of the frame that bubbles of the largest size would cover together.
const COVER: f64 = 0.13;
const LARGEST: f64 = 54.0;

pub fn svg(chart: &Chart) -> Drawn<String> {
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
    let labels: Vec<String> = chart.points.iter().map(|p| label::label(&p.title)).collect();
    let places = place(&solid, &label::sizes(&labels), FRAME);

    let notes = note_lines(chart, &places);
    let height = HEIGHT + NOTE_STEP * notes.len() as f64;
    canvas::svg((WIDTH, height), TITLE, &subtitle(chart).join("; "), |canvas| {
        heading(canvas, FRAME.x, TITLE, &subtitle(chart))?;
        axes(canvas, chart, &across, &upwards)?;
        bubbles(canvas, chart, &circles)?;
        label::leaders(canvas, &places)?;
        label::labels(canvas, &places, &labels)?;
        legend(canvas, chart, most, &radius)?;
        frame::notes(canvas, (FRAME.x, HEIGHT - 20.0), &notes)
    })
}

const TITLE: &str = "Accuracy, speed and memory";
/// Radius of the mark at the centre of a bubble.
const DOT: f64 = 2.5;

/// What was trained, and on which machine.
fn subtitle(chart: &Chart) -> [String; 2] {
    let what = format!("preset {} on {}", chart.preset, listed(&chart.tasks));
    [what, chart.machine.text()]
}

fn bubbles(canvas: &Canvas, chart: &Chart, circles: &[Circle]) -> Drawn {
    let mut order: Vec<usize> = (0..circles.len()).collect();
    // Large ones below, so that none hides another.
    order.sort_by(|a, b| circles[*b].r.total_cmp(&circles[*a].r).then(a.cmp(b)));
    for index in &order {
        let circle = circles[*index];
        let (rank, _) = model_order(&chart.points[*index].model);
        // Models the names do not list share a rank; their place tells them apart.
        let hue = if rank < LISTED { rank } else { rank + index };
        let (colour, round) = (PALETTE[hue % PALETTE.len()], hue / PALETTE.len());
        let centre = (circle.x, circle.y);
        if round % 2 == 0 {
            canvas.disc(centre, circle.r, colour.mix(0.6))?;
            canvas.ring(centre, circle.r, darker(colour), 1.5)?;
        } else {
            canvas.disc(centre, circle.r, colour.mix(0.14))?;
            canvas.ring(centre, circle.r, colour, 2.5)?;
        }
    }
    for circle in circles {
        canvas.disc((circle.x, circle.y), DOT, INK.to_rgba())?;
    }
    Ok(())
}

/// Models with a place in the paper's order; each has a colour of its own in every chart.
const LISTED: usize = 12;

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
    let more = "… and more; accuracy.csv and speed.csv have every model.";
    frame::note_lines(&text, FRAME.x, MOST_LINES, more)
}
