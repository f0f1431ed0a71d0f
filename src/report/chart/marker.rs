//! How a model's point looks: a colour and a shape, which tell it apart in grey, too.

use super::super::names::model_order;
use super::canvas::{Canvas, Drawn, Point};
use super::{PALETTE, darker};
use plotters::style::{Color, RGBColor, WHITE};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    colour: RGBColor,
    shape: usize,
    open: bool,
}

/// Models with a place in the paper's order; each has a look of its own in every chart.
const LISTED: usize = 12;
const SHAPES: usize = 5;

impl Marker {
    /// `index` is the model's place among those drawn: what the names do not list share a rank.
    pub fn of(model: &str, index: usize) -> Self {
        let (rank, _) = model_order(model);
        let rank = if rank < LISTED { rank } else { rank + index };
        let open = rank / PALETTE.len() % 2 == 1;
        Self { colour: PALETTE[rank % PALETTE.len()], shape: rank % SHAPES, open }
    }

    /// For thin lines on white, on which the palette's light colours are too weak.
    pub fn line(&self) -> RGBColor {
        let RGBColor(red, green, blue) = self.colour;
        let light = 0.3 * f64::from(red) + 0.59 * f64::from(green) + 0.11 * f64::from(blue);
        if light > 140.0 { darker(self.colour) } else { self.colour }
    }

    /// `#rrggbb`.
    pub fn colour(&self) -> String {
        let RGBColor(red, green, blue) = self.colour;
        format!("#{red:02x}{green:02x}{blue:02x}")
    }

    /// Filled with the paper's colour instead of its own.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Corners in radii; none of a disc.
    pub fn outline(&self) -> &'static [Point] {
        if self.shape == 0 { &[] } else { OUTLINES[self.shape - 1] }
    }

    /// Every shape covers about the area of a disc of this radius.
    pub fn draw(&self, canvas: &Canvas, (x, y): Point, radius: f64) -> Drawn {
        let ink = darker(self.colour);
        let inner = if self.open { WHITE } else { self.colour };
        if self.shape == 0 {
            canvas.disc((x, y), radius, inner.to_rgba())?;
            return canvas.ring((x, y), radius, ink, 1.4);
        }
        let corner = |(dx, dy): &Point| (x + dx * radius, y + dy * radius);
        let corners: Vec<Point> = self.outline().iter().map(corner).collect();
        canvas.area(&corners, inner.to_rgba())?;
        let closed: Vec<Point> = corners.iter().chain(&corners[..2]).copied().collect();
        canvas.path(&closed, ink, 1.4)
    }
}

/// Square, triangle, diamond, triangle downwards, in radii.
const OUTLINES: [&[Point]; SHAPES - 1] = [
    &[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
    &[(0.0, -1.25), (1.15, 0.85), (-1.15, 0.85)],
    &[(0.0, -1.3), (1.15, 0.0), (0.0, 1.3), (-1.15, 0.0)],
    &[(0.0, 1.25), (1.15, -0.85), (-1.15, -0.85)],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_models_look_different() {
        let models = crate::attention::Registry::builtin();
        let looks: Vec<Marker> = models.iter().map(|variant| Marker::of(variant.name, 0)).collect();
        for (i, look) in looks.iter().enumerate() {
            assert!(!looks[..i].contains(look), "{i}");
        }
        let others: Vec<Marker> = (0..28).map(|i| Marker::of("other", i)).collect();
        for (i, look) in others.iter().enumerate() {
            assert!(!others[..i].contains(look), "{i}");
        }
    }
}
