//! Names of what is drawn, in the places that were found for them.

use super::canvas::{Canvas, Drawn, Style};
use super::font::{cut, drawable, width};
use super::place::{Place, Rect};
use super::{AXIS, INK};
use plotters::style::text_anchor::HPos;
use plotters::style::{Color, WHITE};

/// Of the letters, in pixels.
const SIZE: f64 = 14.0;
const HEIGHT: f64 = 17.0;
/// Longest label, in pixels.
const ROOM: f64 = 190.0;
/// The white behind a label reaches this far to its sides: not to its neighbour's edge.
const PLATE: f64 = 1.5;

/// A name as it is written, cut where it is too long.
pub fn label(name: &str) -> String {
    cut(&drawable(name), SIZE, ROOM)
}

/// Widths and heights.
pub fn sizes(labels: &[String]) -> Vec<(f64, f64)> {
    labels.iter().map(|label| (width(label, SIZE), HEIGHT)).collect()
}

/// To be drawn before [`labels`].
pub fn leaders(canvas: &Canvas, places: &[Option<Place>]) -> Drawn {
    for (from, to) in places.iter().flatten().filter_map(|place| place.leader) {
        canvas.line(from, to, AXIS, 1.0)?;
    }
    Ok(())
}

/// A label's plate keeps the grid and the lines of others off it.
pub fn labels(canvas: &Canvas, places: &[Option<Place>], labels: &[String]) -> Drawn {
    for (place, text) in places.iter().zip(labels) {
        let Some(Place { rect, .. }) = place else { continue };
        let plate = Rect { x: rect.x - PLATE, w: rect.w + 2.0 * PLATE, ..*rect };
        canvas.plate(plate, WHITE.mix(0.8))?;
        let style = Style::new(SIZE, INK, HPos::Left);
        canvas.text((rect.x, rect.y + HEIGHT * 0.76), text, style)?;
    }
    Ok(())
}
