//! What every picture is made of: a typeface, a canvas, axes, label places, a PNG.
//!
//! A picture is drawn once, with plotters and as an SVG; the PNG is that SVG rendered. Text is
//! measured with the typeface the binary carries, so that the layout is the same on every
//! machine.

pub mod canvas;
pub mod font;
pub mod place;
pub mod png;
pub mod scale;

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
