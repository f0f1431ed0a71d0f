//! Drawing as the original generator's libraries do it: Pillow's lines and its 8-bit Lanczos
//! resampling, OpenCV's dilation. Gray values are bytes throughout.

use std::f64::consts::PI;

/// A square gray picture, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gray {
    pub side: usize,
    pub pixels: Vec<u8>,
}

impl Gray {
    pub fn black(side: usize) -> Self {
        Self { side, pixels: vec![0; side * side] }
    }

    fn set(&mut self, x: i64, y: i64) {
        let inside = 0..self.side as i64;
        if inside.contains(&x) && inside.contains(&y) {
            self.pixels[y as usize * self.side + x as usize] = 255;
        }
    }

    /// A white line of whole coordinates (x, y), both ends included: Bresenham's of width 1,
    /// else the polygon that Pillow makes of it.
    pub fn line(&mut self, (x0, y0): (i64, i64), (x1, y1): (i64, i64), width: i64) {
        if width <= 1 {
            return self.thin_line((x0, y0), (x1, y1));
        }
        let (dx, dy) = ((x1 - x0) as f64, (y1 - y0) as f64);
        if dx == 0.0 && dy == 0.0 {
            return self.set(x0, y0);
        }
        let (length, half) = (dx.hypot(dy), (width - 1) as f64 / 2.0);
        let (most, least) = (half_up(half) / length, half_down(half) / length);
        let (dxmin, dxmax) = (half_down(least * dy) as i64, half_down(most * dy) as i64);
        let (dymin, dymax) = (half_up(least * dx) as i64, half_up(most * dx) as i64);
        self.fill(&[
            (x0 - dxmin, y0 + dymax),
            (x1 - dxmin, y1 + dymax),
            (x1 + dxmax, y1 - dymin),
            (x0 + dxmax, y0 - dymin),
        ]);
    }

    fn thin_line(&mut self, (mut x, mut y): (i64, i64), (x1, y1): (i64, i64)) {
        let (dx, dy) = ((x1 - x).abs(), (y1 - y).abs());
        let (sx, sy) = ((x1 - x).signum(), (y1 - y).signum());
        let flat = dx > dy;
        let (long, short) = if flat { (dx, dy) } else { (dy, dx) };
        let mut error = 2 * short - long;
        for _ in 0..long {
            self.set(x, y);
            let aside = error >= 0 && short > 0;
            if aside {
                error -= 2 * long;
            }
            error += 2 * short;
            x += if flat || aside { sx } else { 0 };
            y += if !flat || aside { sy } else { 0 };
        }
        self.set(x1, y1);
    }

    /// A convex polygon, its outline included.
    fn fill(&mut self, corners: &[(i64, i64)]) {
        let rows = corners.iter().map(|&(_, y)| y);
        let (Some(top), Some(bottom)) = (rows.clone().min(), rows.max()) else { return };
        for y in top..=bottom {
            let (mut left, mut right) = (f64::INFINITY, f64::NEG_INFINITY);
            for (i, &(x0, y0)) in corners.iter().enumerate() {
                let (x1, y1) = corners[(i + 1) % corners.len()];
                if !(y0.min(y1)..=y0.max(y1)).contains(&y) {
                    continue;
                }
                let ends = match y0 == y1 {
                    true => [x0 as f64, x1 as f64],
                    false => {
                        let slope = (x1 - x0) as f64 / (y1 - y0) as f64;
                        [(y - y0) as f64 * slope + x0 as f64; 2]
                    }
                };
                left = left.min(ends[0]).min(ends[1]);
                right = right.max(ends[0]).max(ends[1]);
            }
            for x in half_up(left) as i64..=half_down(right) as i64 {
                self.set(x, y);
            }
        }
    }

    /// The largest value within `radius` of each pixel.
    pub fn dilate(&self, radius: usize) -> Self {
        let mut out = Self::black(self.side);
        let side = self.side as i64;
        for (dy, dx) in disk(radius) {
            for y in 0.max(-dy)..side.min(side - dy) {
                for x in 0.max(-dx)..side.min(side - dx) {
                    let from = self.pixels[((y + dy) * side + x + dx) as usize];
                    let to = &mut out.pixels[(y * side + x) as usize];
                    *to = from.max(*to);
                }
            }
        }
        out
    }

    /// Lanczos resampling to another side, in two passes with bytes between them.
    pub fn resize(&self, side: usize) -> Self {
        let filter = Filter::new(self.side, side);
        let mut rows = vec![0; self.side * side];
        for (line, out) in self.pixels.chunks_exact(self.side).zip(rows.chunks_exact_mut(side)) {
            for (x, to) in out.iter_mut().enumerate() {
                *to = filter.at(x, |i| line[i]);
            }
        }
        let mut out = Self::black(side);
        for y in 0..side {
            for x in 0..side {
                out.pixels[y * side + x] = filter.at(y, |i| rows[i * side + x]);
            }
        }
        out
    }
}

/// Offsets (y, x) within `radius` of the origin.
pub fn disk(radius: usize) -> impl Iterator<Item = (i64, i64)> {
    let r = radius as i64;
    let all = (-r..=r).flat_map(move |y| (-r..=r).map(move |x| (y, x)));
    all.filter(move |(y, x)| y * y + x * x <= r * r)
}

/// Weights of a one-dimensional Lanczos resampling, in Pillow's fixed point.
pub struct Filter {
    /// For each output, its first input and the weights from there.
    taps: Vec<(usize, Vec<i64>)>,
}

impl Filter {
    const BITS: u32 = 22;

    pub fn new(from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let support = 3.0 * stretch;
        let taps = (0..to).map(|out| {
            let centre = (out as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(from);
            let weight = |i: usize| lanczos((i as f64 - centre + 0.5) / stretch);
            let sum: f64 = (first..end).map(weight).sum();
            let fixed = |i| {
                let weight = weight(i) / sum * f64::from(1u32 << Self::BITS);
                (weight + 0.5f64.copysign(weight)) as i64
            };
            (first, (first..end).map(fixed).collect())
        });
        Self { taps: taps.collect() }
    }

    /// Inputs that an output is made of.
    pub fn inputs(&self, out: usize) -> std::ops::Range<usize> {
        let (first, weights) = &self.taps[out];
        *first..first + weights.len()
    }

    pub fn at(&self, out: usize, input: impl Fn(usize) -> u8) -> u8 {
        let (first, weights) = &self.taps[out];
        let terms = weights.iter().enumerate().map(|(i, w)| w * i64::from(input(first + i)));
        let sum = terms.sum::<i64>() + (1 << (Self::BITS - 1));
        (sum >> Self::BITS).clamp(0, 255) as u8
    }
}

fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
    if (-3.0..3.0).contains(&x) { sinc(x) * sinc(x / 3.0) } else { 0.0 }
}

/// To the nearest whole number; halves away from zero.
fn half_up(x: f64) -> f64 {
    (x.abs() + 0.5).floor().copysign(x)
}

/// To the nearest whole number; halves towards zero.
fn half_down(x: f64) -> f64 {
    (x.abs() - 0.5).ceil().copysign(x)
}
