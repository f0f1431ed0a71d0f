//! What every picture is made of: a typeface, a canvas, axes, label places, a PNG.
//!
//! A picture is drawn once, with plotters and as an SVG; the PNG is that SVG rendered. Text is
//! measured with the typeface the binary carries, so that the layout is the same on every
//! machine.

pub mod canvas;
pub mod font;
pub mod frame;
pub mod label;
pub mod marker;
pub mod place;
pub mod png;
pub mod scale;
pub mod stack;

use crate::error::{Error, Result};
use crate::report::{File, Room};
use plotters::style::RGBColor;

/// The colours of Okabe and Ito (2008), which people with any common colour vision tell
/// apart; without black, which is the text, and with yellow last, which is weak on white.
pub const PALETTE: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0xf0, 0xe4, 0x42),
];

pub const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
pub const SOFT: RGBColor = RGBColor(0x5a, 0x5a, 0x5a);
pub const GRID: RGBColor = RGBColor(0xe3, 0xe3, 0xe3);
pub const AXIS: RGBColor = RGBColor(0x8a, 0x8a, 0x8a);

/// The colour at two thirds of its light, for an edge that also shows in grey.
pub fn darker(RGBColor(red, green, blue): RGBColor) -> RGBColor {
    let [red, green, blue] = [red, green, blue].map(|part| (u16::from(part) * 2 / 3) as u8);
    RGBColor(red, green, blue)
}

/// A drawing as the two files of a picture, `name.svg` and `name.png`.
pub fn files(name: &str, drawing: canvas::Drawn<String>) -> Result<[File; 2]> {
    let refuse = |error| Error::data(format!("{name}.svg"), format!("not drawn: {error}"));
    let svg = drawing.map_err(refuse)?;
    let png = png::render(&svg, &format!("{name}.png"))?;
    let file =
        |ending: &str, bytes| File { room: Room::Plots, name: format!("{name}.{ending}"), bytes };
    Ok([file("svg", svg.into_bytes()), file("png", png)])
}
