//! One picture, from its key.

use super::options::Shape;
use super::raster::Filter;
use super::scene::{Paddle, Scene, Tip, rows};
use super::stamp::{ANTIALIAS, Stamps, reach};
use crate::error::{Error, Result};
use crate::random::Key;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Raised when the same options give other pictures.
pub const GENERATOR_VERSION: u32 = 2;

/// Attempts at the two targets before a shape is given up. LRA's hardest takes about 1,400.
const HOPELESS: u64 = 1 << 20;
/// Attempts at a distractor, after the first.
const DISTRACTOR_RETRIALS: usize = 4;

/// A picture and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Row by row; the darkest is 0, the brightest 255.
    pub pixels: Vec<u8>,
    /// 1: the discs lie on the ends of one contour.
    pub label: u32,
    /// Centres of the discs (y, x): where a contour starts, and where one ends.
    pub discs: [(i64, i64); 2],
    /// Attempts at the two targets.
    pub attempts: u64,
    /// Distractors that found room.
    pub distractors: usize,
}

/// Draws the pictures of one shape. Cheap to share between threads.
pub struct Generator {
    shape: Shape,
    key: Key,
    stamps: Vec<Stamps>,
    disc: Filter,
}

impl Generator {
    pub fn new(shape: Shape, seed: u64) -> Self {
        let stamps = shape.margins.iter().map(|&margin| Stamps::new(&shape, margin)).collect();
        let disc = Filter::new(shape.side * ANTIALIAS, shape.side);
        Self { key: Key::new(seed).named("pathfinder"), stamps, disc, shape }
    }

    /// Picture `index`: a function of the seed, the shape and the index.
    pub fn sample(&self, index: u64) -> Result<Sample> {
        let shape = &self.shape;
        let rng = &mut self.key.index(index).stream();
        let label = rng.random_range(0..2);
        let stamps = &self.stamps[rng.random_range(0..self.stamps.len())];
        let mut scene = Scene::new(shape, stamps);
        let mut attempts = 0;
        let (starts, ends) = loop {
            attempts += 1;
            if let Some(targets) = targets(&mut scene, shape, rng) {
                break targets;
            }
            if attempts == HOPELESS {
                let message = format!(
                    "no two contours of {} paddles fit into {1} x {1} pixels in {HOPELESS} \
                     attempts; expected shorter ones",
                    shape.contour_length, shape.side
                );
                return Err(Error::config("data.contour_length", message));
            }
            scene.clear();
        };
        let wanted = 0..shape.distractors;
        let distractors = wanted.filter(|_| distractor(&mut scene, shape, rng)).count();
        let origin = rng.random_range(0..2);
        let terminal = if label == 1 { origin } else { 1 - origin };
        let discs = [starts[origin], ends[terminal]];
        let pixels = self.paint(&scene.paddles, stamps.margin, discs);
        Ok(Sample { pixels, label, discs, attempts, distractors })
    }

    /// The brightest of paddles and discs, stretched to the whole range of gray.
    fn paint(&self, paddles: &[Paddle], margin: usize, discs: [(i64, i64); 2]) -> Vec<u8> {
        let side = self.shape.side;
        let mut picture = vec![0f64; side * side];
        let reach = reach(&self.shape, margin);
        for paddle in paddles {
            for (at, line) in rows(side, reach, paddle.at, &paddle.stamp.line.pixels) {
                for (to, &value) in picture[at..at + line.len()].iter_mut().zip(line) {
                    let gray = f64::from(value) / 255.0 * paddle.contrast;
                    // The original keeps strokes in single precision, which decides how the
                    // many halves are rounded at the end.
                    *to = to.max(f64::from(gray as f32));
                }
            }
        }
        discs.iter().for_each(|&disc| self.disc(&mut picture, disc));
        let (low, high) =
            picture.iter().fold((f64::INFINITY, 0f64), |(low, high), &v| (low.min(v), high.max(v)));
        let scale = 255.0 / (high - low).max(f64::MIN_POSITIVE);
        picture.iter().map(|v| ((v - low) * scale + 0.5) as u8).collect()
    }

    /// A disc, drawn on a hi-res canvas of the whole picture and resampled.
    fn disc(&self, picture: &mut [f64], (y, x): (i64, i64)) {
        let (side, radius) = (self.shape.side, self.shape.marker_radius);
        let dots = ANTIALIAS as i64;
        let square = (radius * ANTIALIAS as f64).powi(2);
        let inside = |row: usize, column: usize| {
            let (dy, dx) = (row as i64 - y * dots, column as i64 - x * dots);
            if (dy * dy + dx * dx) as f64 <= square { 255 } else { 0 }
        };
        // The filter reaches three pixels farther than the disc.
        let around = radius.ceil() as i64 + 4;
        let clip = |v: i64| v.clamp(0, side as i64) as usize;
        let columns = clip(x - around)..clip(x + around + 1);
        for row in clip(y - around)..clip(y + around + 1) {
            let inputs = self.disc.inputs(row);
            for column in columns.clone() {
                let first = inputs.start;
                let middle: Vec<u8> = inputs
                    .clone()
                    .map(|hires| self.disc.at(column, |at| inside(hires, at)))
                    .collect();
                let value = self.disc.at(row, |at| middle[at - first]);
                let to = &mut picture[row * side + column];
                *to = to.max(f64::from(value) / 255.0);
            }
        }
    }
}

type Ends = [(i64, i64); 2];

/// One attempt at the two targets: where they start and where they end.
fn targets<'a>(scene: &mut Scene<'a>, shape: &Shape, rng: &mut ChaCha8Rng) -> Option<(Ends, Ends)> {
    let contrast = shape.paddle_contrast * shape.snake_contrast;
    let mut tips: [Tip<'a>; 2] = scene.two_seeds(rng, contrast)?;
    let starts = tips.each_ref().map(|tip| tip.end);
    for _ in 1..shape.contour_length {
        for tip in &mut tips {
            if !scene.extend(tip, rng, contrast) {
                return None;
            }
        }
    }
    // The original lets the last paddle of the second contour block distractors, and forgets
    // that of the first.
    scene.close(&tips[1]);
    Some((starts, tips.each_ref().map(|tip| tip.end)))
}

/// Adds a distractor. `false` where none finds room.
fn distractor(scene: &mut Scene, shape: &Shape, rng: &mut ChaCha8Rng) -> bool {
    let (mask, paddles) = (scene.mask.clone(), scene.paddles.len());
    for _ in 0..=DISTRACTOR_RETRIALS {
        if let Some(mut tip) = scene.distractor_seed(rng, shape.snake_contrast) {
            let mut rest = 1..shape.distractor_length;
            if rest.all(|_| scene.extend(&mut tip, rng, shape.snake_contrast)) {
                scene.close(&tip);
                return true;
            }
        }
        scene.mask.copy_from_slice(&mask);
        scene.paddles.truncate(paddles);
    }
    false
}
