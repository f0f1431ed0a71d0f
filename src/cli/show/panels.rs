//! Square maps in rows: queries downwards, keys to the right, darker is more.

use crate::report::chart::canvas::{Drawn, Style, svg};
use crate::report::chart::place::Rect;
use crate::report::chart::{INK, SOFT};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

pub(super) struct Panel {
    pub title: String,
    pub n: usize,
    /// n x n, queries downwards; negative where mixtures are.
    pub values: Vec<f32>,
}

/// Side of a panel in pixels, and the room around it.
const SIDE: f64 = 256.0;
const GAP: f64 = 28.0;
const HEAD: f64 = 64.0;
const TITLE: f64 = 26.0;
const COLUMNS: usize = 4;
/// Cells of a panel's side at most; several values share one, of which the largest is seen.
const CELLS: usize = 128;
/// Shades of a cell.
const SHADES: f32 = 16.0;

pub(super) fn draw(title: &str, panels: &[Panel]) -> Drawn<String> {
    let columns = panels.len().clamp(1, COLUMNS);
    let rows = panels.len().div_ceil(columns).max(1);
    let width = GAP + columns as f64 * (SIDE + GAP);
    let height = HEAD + rows as f64 * (SIDE + TITLE + GAP);
    let names: Vec<&str> = panels.iter().map(|panel| panel.title.as_str()).collect();
    let description = format!("Maps, queries downwards, keys to the right: {}.", names.join("; "));
    svg((width, height), title, &description, |canvas| {
        canvas.text((GAP, 40.0), title, Style::new(20.0, INK, HPos::Left).bold())?;
        for (i, panel) in panels.iter().enumerate() {
            let x = GAP + (i % columns) as f64 * (SIDE + GAP);
            let y = HEAD + (i / columns) as f64 * (SIDE + TITLE + GAP);
            canvas.text((x, y + 16.0), &panel.title, Style::new(15.0, SOFT, HPos::Left))?;
            let y = y + TITLE;
            let plate = |x, y, w, h, colour: RGBAColor| canvas.plate(Rect { x, y, w, h }, colour);
            plate(x, y, SIDE, SIDE, RGBColor(0xf1, 0xf1, 0xf1).mix(1.0))?;
            for Run { row, from, to, shade } in panel.runs() {
                let cell = SIDE / panel.cells() as f64;
                let (left, top) = (x + from as f64 * cell, y + row as f64 * cell);
                let colour = RGBColor(0x00, 0x4f, 0x85).mix(shade);
                plate(left, top, (to - from) as f64 * cell, cell, colour)?;
            }
        }
        Ok(())
    })
}

/// Cells of a row that have one shade.
struct Run {
    row: usize,
    from: usize,
    to: usize,
    shade: f64,
}

impl Panel {
    fn cells(&self) -> usize {
        self.n.min(CELLS)
    }

    /// What is to be seen, from 0 to 1. Square roots show small weights too.
    fn shades(&self) -> Vec<u8> {
        let (n, cells) = (self.n, self.cells());
        let mut largest = vec![0f32; cells * cells];
        for (at, value) in self.values.iter().enumerate() {
            let cell = &mut largest[at / n * cells / n * cells + at % n * cells / n];
            *cell = cell.max(value.abs());
        }
        let top = largest.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        largest.iter().map(|x| ((x / top).sqrt() * SHADES).round() as u8).collect()
    }

    fn runs(&self) -> Vec<Run> {
        let (cells, shades) = (self.cells(), self.shades());
        let mut runs: Vec<Run> = Vec::new();
        for (row, shades) in shades.chunks_exact(cells).enumerate() {
            let mut from = 0;
            for group in shades.chunk_by(|a, b| a == b) {
                let (to, shade) = (from + group.len(), f64::from(group[0]) / f64::from(SHADES));
                if group[0] > 0 {
                    runs.push(Run { row, from, to, shade });
                }
                from = to;
            }
        }
        runs
    }
}
