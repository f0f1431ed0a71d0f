//! Contact sheets: square gray pictures in rows, those of one label together and framed in
//! its colour.

use crate::data::Split;
use std::io::{self, Write};
use std::ops::Range;

/// Frames by label, repeating: the colours of Okabe and Ito, which the colour-blind can
/// tell apart.
pub(super) const COLOURS: [(&str, [u8; 3]); 8] = [
    ("orange", [230, 159, 0]),
    ("blue", [86, 180, 233]),
    ("green", [0, 158, 115]),
    ("yellow", [240, 228, 66]),
    ("dark blue", [0, 114, 178]),
    ("red", [213, 94, 0]),
    ("pink", [204, 121, 167]),
    ("gray", [153, 153, 153]),
];

/// Width that a sheet of enough pictures has, in dots.
const WIDTH: usize = 1200;
const FRAME: usize = 2;
const GAP: usize = 6;
const PAPER: [u8; 3] = [255, 255, 255];

pub(super) struct Sheet {
    width: usize,
    height: usize,
    dots: Vec<u8>,
    /// Labels that are there, and how often.
    groups: Vec<(usize, usize)>,
}

impl Sheet {
    pub(super) fn new(split: &Split, chosen: Range<usize>, classes: usize) -> Self {
        let of = |label| -> Vec<usize> {
            chosen.clone().filter(|&i| split.label(i) as usize == label).collect()
        };
        let groups: Vec<(usize, Vec<usize>)> =
            (0..classes).map(|label| (label, of(label))).filter(|(_, of)| !of.is_empty()).collect();
        let side = chosen.clone().map(|i| split.length(i, 0).isqrt()).max().unwrap_or(1).max(1);
        // Small pictures are enlarged, by whole dots: about as large as a thumbnail.
        let zoom = (96 / side).max(1);
        let cell = side * zoom + 2 * FRAME + GAP;
        let columns = (WIDTH / cell).clamp(1, chosen.len().max(1));
        let rows: usize = groups.iter().map(|(_, of)| of.len().div_ceil(columns)).sum();
        let (width, height) = (columns * cell + GAP, rows * cell + GAP);
        let mut sheet = Self { width, height, dots: PAPER.repeat(width * height), groups: vec![] };
        let mut row = 0;
        for (label, of) in &groups {
            for (place, &i) in of.iter().enumerate() {
                let at = (GAP + place % columns * cell, GAP + (row + place / columns) * cell);
                sheet.picture(
                    at,
                    split.tokens(i, 0),
                    (side, zoom),
                    COLOURS[label % COLOURS.len()].1,
                );
            }
            row += of.len().div_ceil(columns);
        }
        sheet.groups = groups.into_iter().map(|(label, of)| (label, of.len())).collect();
        sheet
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.groups.iter().copied()
    }

    fn picture(
        &mut self,
        (left, top): (usize, usize),
        pixels: &[u8],
        (side, zoom): (usize, usize),
        frame: [u8; 3],
    ) {
        let inner = side * zoom;
        for y in 0..inner + 2 * FRAME {
            for x in 0..inner + 2 * FRAME {
                let inside = |v: usize| (FRAME..FRAME + inner).contains(&v);
                let dot = match inside(x) && inside(y) {
                    true => {
                        let at = (y - FRAME) / zoom * side + (x - FRAME) / zoom;
                        [pixels.get(at).copied().unwrap_or(0); 3]
                    }
                    false => frame,
                };
                let at = 3 * ((top + y) * self.width + left + x);
                self.dots[at..at + 3].copy_from_slice(&dot);
            }
        }
    }

    /// As a PNG.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut encoder = png::Encoder::new(out, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.dots)?;
        Ok(writer.finish()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Examples;

    /// Each picture lies inside its frame, those of one label in rows of their own.
    #[test]
    fn pictures_are_grouped_by_label_and_framed() {
        let mut examples = Examples::new(1, 0);
        for (label, gray) in [(1, 10), (0, 20), (1, 30)] {
            examples.push(&[&[gray; 1024]], label);
        }
        let sheet = Sheet::new(&Split::from_examples(&examples).unwrap(), 0..3, 2);
        assert_eq!(sheet.groups().collect::<Vec<_>>(), [(0, 1), (1, 2)]);
        let cell = 96 + 2 * FRAME + GAP;
        assert_eq!((sheet.width, sheet.height), (3 * cell + GAP, 2 * cell + GAP));
        let dot = |column: usize, row: usize, inset: usize| {
            let (x, y) = (GAP + column * cell + inset, GAP + row * cell + inset);
            let at = 3 * (y * sheet.width + x);
            [sheet.dots[at], sheet.dots[at + 1], sheet.dots[at + 2]]
        };
        assert_eq!(dot(0, 0, FRAME), [20; 3]);
        assert_eq!((dot(0, 1, FRAME), dot(1, 1, FRAME + 95)), ([10; 3], [30; 3]));
        assert_eq!((dot(0, 0, 0), dot(1, 1, FRAME + 96)), (COLOURS[0].1, COLOURS[1].1));
        assert_eq!(dot(1, 0, FRAME), PAPER);
    }
}
