//! The surface a picture is drawn on: plotters' elements, written as SVG by plotters.
//!
//! Layout is in pixels, with fractions. Plotters places everything on whole numbers, so it
//! gets a finer grid, and the page around its drawing scales that back to pixels. The page
//! also says the picture's name, which plotters has no means for.

use super::super::escape;
use super::font;
use super::place::Rect;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub type Drawn<T = ()> = Result<T, DrawingAreaErrorKind<std::io::Error>>;

/// Plotters' units per pixel: a twentieth is finer than any eye.
const FINE: f64 = 20.0;
/// Plotters divides font sizes by this before it writes them.
const FONT_FACTOR: f64 = 1.24;
/// How far below its point plotters puts the baseline of text that hangs from it, in em.
const HANG: f64 = 0.76;

/// How text looks and which of its points is placed.
#[derive(Clone, Copy)]
pub struct Style {
    pub size: f64,
    colour: RGBColor,
    anchor: HPos,
    weight: FontStyle,
}

impl Style {
    pub fn new(size: f64, colour: RGBColor, anchor: HPos) -> Self {
        Self { size, colour, anchor, weight: FontStyle::Normal }
    }

    /// Plotters knows no weight but normal and bold; the PNG has the medium face for bold.
    pub fn bold(self) -> Self {
        Self { weight: FontStyle::Bold, ..self }
    }
}

pub struct Canvas<'a>(DrawingArea<SVGBackend<'a>, Shift>);

/// The SVG of what `draw` draws; a screen reader says `title` and `description`.
pub fn svg(
    (width, height): (f64, f64),
    title: &str,
    description: &str,
    draw: impl FnOnce(&Canvas) -> Drawn,
) -> Drawn<String> {
    let size = (length(width), length(height));
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {} {}\" role=\"img\">\n<title>{}</title>\n<desc>{}</desc>\n",
        size.0,
        size.1,
        escape::xml(title),
        escape::xml(description)
    );
    {
        let canvas = Canvas(SVGBackend::with_string(&mut text, size).into_drawing_area());
        canvas.0.fill(&WHITE)?;
        draw(&canvas)?;
        canvas.0.present()?;
    }
    text.push_str("</svg>\n");
    Ok(text)
}

impl Canvas<'_> {
    pub fn line(&self, from: Point, to: Point, colour: RGBColor, width: f64) -> Drawn {
        let style = colour.stroke_width(length(width));
        self.0.draw(&PathElement::new([point(from), point(to)], style))
    }

    pub fn path(&self, points: &[Point], colour: RGBColor, width: f64) -> Drawn {
        let points: Vec<(i32, i32)> = points.iter().copied().map(point).collect();
        self.0.draw(&PathElement::new(points, colour.stroke_width(length(width))))
    }

    pub fn area(&self, corners: &[Point], colour: RGBAColor) -> Drawn {
        let corners: Vec<(i32, i32)> = corners.iter().copied().map(point).collect();
        self.0.draw(&Polygon::new(corners, colour))
    }

    pub fn disc(&self, centre: Point, radius: f64, colour: RGBAColor) -> Drawn {
        self.0.draw(&Circle::new(point(centre), length(radius), colour.filled()))
    }

    pub fn ring(&self, centre: Point, radius: f64, colour: RGBColor, width: f64) -> Drawn {
        let style = colour.stroke_width(length(width));
        self.0.draw(&Circle::new(point(centre), length(radius), style))
    }

    pub fn plate(&self, rect: Rect, colour: RGBAColor) -> Drawn {
        let corners = [point((rect.x, rect.y)), point((rect.x + rect.w, rect.y + rect.h))];
        self.0.draw(&Rectangle::new(corners, colour.filled()))
    }

    /// `at` is on the baseline.
    pub fn text(&self, (x, y): Point, text: &str, style: Style) -> Drawn {
        self.write((x, y - HANG * style.size), text, style, FontTransform::None)
    }

    /// Text that reads upwards.
    pub fn text_upwards(&self, (x, y): Point, text: &str, style: Style) -> Drawn {
        self.write((x - HANG * style.size, y), text, style, FontTransform::Rotate270)
    }

    /// Plotters escapes what XML takes for markup, and nothing else: `drawable` leaves no
    /// control character.
    fn write(&self, at: Point, text: &str, style: Style, turn: FontTransform) -> Drawn {
        let (family, size) = (FontFamily::Name(font::FAMILY), style.size * FINE * FONT_FACTOR);
        let face = FontDesc::new(family, size, style.weight).transform(turn);
        let style = face.color(&style.colour).pos(Pos::new(style.anchor, VPos::Top));
        self.0.draw(&Text::new(font::drawable(text), point(at), style))
    }
}

/// In pixels.
pub type Point = (f64, f64);

fn point((x, y): Point) -> (i32, i32) {
    ((x * FINE).round() as i32, (y * FINE).round() as i32)
}

fn length(pixels: f64) -> u32 {
    (pixels * FINE).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style =
        Style { size: 14.0, colour: BLACK, anchor: HPos::Left, weight: FontStyle::Normal };

    #[test]
    fn text_is_text_and_nothing_else() {
        let evil = "<b a=\"'\">&\n\0\u{1b}\u{202e}\u{ffff}";
        let draw = |canvas: &Canvas| canvas.text((9.0, 20.0), evil, STYLE);
        let svg = svg((90.0, 30.0), evil, evil, draw).unwrap();
        assert_eq!(svg.matches("&lt;b a=").count(), 3, "{svg}");
        assert!(!svg.contains("<b") && !svg.contains("&\n"), "{svg}");
        assert!(svg.chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "{svg:?}");
        assert!(super::super::png::render(&svg, "x.png").is_ok());
    }

    #[test]
    fn text_is_as_wide_as_measured() {
        use resvg::tiny_skia::Pixmap;
        // Letters that have no kerning between them.
        let (text, size) = ("HHHHHHHHHH", 14.0);
        let draw = |canvas: &Canvas| canvas.text((10.0, 20.0), text, STYLE);
        let png = super::super::png::render(&svg((200.0, 30.0), "", "", draw).unwrap(), "x.png");
        let pixels = Pixmap::decode_png(&png.unwrap()).unwrap();
        let row = pixels.width() as usize;
        let dark = |at: &usize| pixels.pixels()[*at].red() < 128;
        let inked: Vec<usize> = (0..pixels.pixels().len()).filter(dark).collect();
        let columns = || inked.iter().map(|at| at % row);
        let (left, right) = (columns().min().unwrap(), columns().max().unwrap());
        let drawn = (right - left + 1) as f64 / 2.0;
        let bearings = font::width(text, size) - drawn;
        assert!((0.0..0.25 * size).contains(&bearings), "{drawn} {bearings}");
        // The baseline is where it was asked for, at twice the pixels.
        assert_eq!(inked.iter().map(|at| at / row).max(), Some(39));
    }
}
