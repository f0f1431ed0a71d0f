//! The typeface of the pictures: Roboto, cut down to what labels need (see `font/README.md`).

use std::sync::LazyLock;
use ttf_parser::Face;

pub const REGULAR: &[u8] = include_bytes!("../font/Roboto-Regular.subset.ttf");
pub const MEDIUM: &[u8] = include_bytes!("../font/Roboto-Medium.subset.ttf");

/// Where Roboto is not installed, an SVG falls back to faces of nearly the same widths.
pub const FAMILY: &str = "Roboto, Arial, Helvetica, sans-serif";

/// `None` would mean a broken build; the tests hold the face against that.
static FACE: LazyLock<Option<Face<'static>>> = LazyLock::new(|| Face::parse(REGULAR, 0).ok());

/// Width in pixels at `size` pixels per em. Kerning is left out: it only tightens.
///
/// What plotters offers instead, without a font library of its own, counts bytes.
pub fn width(text: &str, size: f64) -> f64 {
    let Some(face) = &*FACE else { return text.chars().count() as f64 * size };
    let advance = |c: char| {
        let glyph = face.glyph_index(c).unwrap_or_default();
        f64::from(face.glyph_hor_advance(glyph).unwrap_or_default())
    };
    text.chars().map(advance).sum::<f64>() * size / f64::from(face.units_per_em())
}

/// Text the typeface can show: a sign it lacks becomes `?`, the same in SVG and PNG.
pub fn drawable(text: &str) -> String {
    // Fonts map U+FFFF, which no XML may hold, to glyph 0, which stands for what they lack.
    let has = |face: &Face, c| face.glyph_index(c).is_some_and(|glyph| glyph.0 != 0);
    let known = |c: char| FACE.as_ref().is_none_or(|face| has(face, c));
    text.chars().map(|c| if known(c) { c } else { '?' }).collect()
}

/// Cuts text to a width, with an ellipsis.
pub fn cut(text: &str, size: f64, room: f64) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let mut kept: String = text.to_owned();
    while kept.pop().is_some() && width(&kept, size) + size > room {}
    format!("{}…", kept.trim_end())
}

/// Breaks text at spaces into lines of a width.
pub fn wrap(text: &str, size: f64, room: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let word = cut(word, size, room);
        match lines.last_mut() {
            Some(line) if width(&format!("{line} {word}"), size) <= room => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_faces_are_whole() {
        for bytes in [REGULAR, MEDIUM] {
            let face = Face::parse(bytes, 0).unwrap();
            for c in (' '..='~').chain("±×·…–—−".chars()) {
                assert!(face.glyph_index(c).is_some(), "{c:?}");
            }
        }
        let widths = ["i", "m", "mm"].map(|text| width(text, 10.0));
        assert!(0.0 < widths[0] && widths[0] < widths[1]);
        assert_eq!(widths[2], 2.0 * widths[1]);
    }

    #[test]
    fn text_fits_its_room() {
        assert_eq!(drawable("a日\n\u{ffff}b"), "a???b");
        let text = "one two three four five six";
        assert!(width(&cut(text, 13.0, 60.0), 13.0) <= 60.0);
        let lines = wrap(text, 13.0, 60.0);
        assert!(lines.len() > 1 && lines.join(" ") == text, "{lines:?}");
    }
}
