//! What every picture is made of: a typeface, an SVG, axes, label places, a PNG.
//!
//! A picture is laid out once, as an SVG; the PNG is that SVG rendered. Text is measured with
//! the typeface the binary carries, so that the layout is the same on every machine.

pub mod font;
pub mod place;
pub mod png;
pub mod scale;
pub mod svg;

/// The colours of Okabe and Ito (2008), which people with any common colour vision tell
/// apart; without black, which is the text, and with yellow last, which is weak on white.
pub const PALETTE: [&str; 7] =
    ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"];

pub const INK: &str = "#222222";
pub const SOFT: &str = "#5a5a5a";
pub const GRID: &str = "#e3e3e3";
pub const AXIS: &str = "#8a8a8a";
