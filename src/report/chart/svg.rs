//! Writes an SVG, element by element.

use super::font::{self, FAMILY, Weight};
use std::fmt::Write;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    fn css(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// How text looks and which of its points is placed.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub size: f64,
    pub weight: Weight,
    pub colour: &'static str,
    pub anchor: Anchor,
    /// A white seam around the letters, for text over lines.
    pub halo: bool,
}

impl Style {
    pub fn new(size: f64, colour: &'static str, anchor: Anchor) -> Self {
        Self { size, weight: Weight::Regular, colour, anchor, halo: false }
    }

    pub fn medium(self) -> Self {
        Self { weight: Weight::Medium, ..self }
    }

    pub fn with_halo(self) -> Self {
        Self { halo: true, ..self }
    }
}

#[derive(Debug)]
pub struct Svg {
    text: String,
}

impl Svg {
    /// `title` and `description` are what a screen reader says.
    pub fn new(width: f64, height: f64, title: &str, description: &str) -> Self {
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" font-family=\"{FAMILY}\">\n"
        );
        let (title, description) = (escape(title), escape(description));
        let _ = write!(text, "<title>{title}</title>\n<desc>{description}</desc>\n");
        let _ = writeln!(text, "<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>");
        Self { text }
    }

    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
        let _ = writeln!(
            self.text,
            "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"{colour}\" \
             stroke-width=\"{width}\"/>",
            round(from.0),
            round(from.1),
            round(to.0),
            round(to.1)
        );
    }

    pub fn circle(&mut self, centre: (f64, f64), radius: f64, paint: &str) {
        let (x, y, r) = (round(centre.0), round(centre.1), round(radius));
        let _ = writeln!(self.text, "<circle cx=\"{x}\" cy=\"{y}\" r=\"{r}\" {paint}/>");
    }

    /// `at` is on the baseline. The width is stated, so that another face cannot change it.
    pub fn text(&mut self, at: (f64, f64), text: &str, style: Style) {
        self.write_text(at, text, style, "");
    }

    /// Text that reads upwards.
    pub fn text_upwards(&mut self, at: (f64, f64), text: &str, style: Style) {
        let turn = format!(" transform=\"rotate(-90 {} {})\"", round(at.0), round(at.1));
        self.write_text(at, text, style, &turn);
    }

    fn write_text(&mut self, at: (f64, f64), text: &str, style: Style, more: &str) {
        let text = font::drawable(text);
        let halo = "stroke=\"#ffffff\" stroke-width=\"5\" stroke-linejoin=\"round\" \
                    paint-order=\"stroke\" ";
        let _ = writeln!(
            self.text,
            "<text x=\"{}\" y=\"{}\" font-size=\"{}\" font-weight=\"{}\" fill=\"{}\" {}\
             text-anchor=\"{}\" textLength=\"{}\" lengthAdjust=\"spacingAndGlyphs\"{more}>{}</text>",
            round(at.0),
            round(at.1),
            style.size,
            style.weight.css(),
            style.colour,
            if style.halo { halo } else { "" },
            style.anchor.css(),
            round(font::width(&text, style.size, style.weight)),
            escape(&text)
        );
    }

    pub fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

/// A hundredth of a pixel is finer than any eye, and keeps files small and equal.
fn round(value: f64) -> f64 {
    // Adding zero turns -0 into 0.
    (value * 100.0).round() / 100.0 + 0.0
}

fn escape(text: &str) -> String {
    let text = super::super::escape::line(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
