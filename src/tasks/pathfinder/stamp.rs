//! Paddles as they are drawn, and the room they take: everything about them that does not
//! depend on where they lie, made once.

use super::options::Shape;
use super::raster::Gray;
use std::f64::consts::PI;

/// Hi-res dots to a pixel.
pub const ANTIALIAS: usize = 2;

/// A paddle's strokes and its mask, squares whose middle is the paddle's start.
pub struct Stamp {
    pub line: Gray,
    pub mask: Gray,
}

impl Stamp {
    /// From the start, `paddle_length` along `orientation` (radians, y down).
    pub fn new(shape: &Shape, margin: usize, orientation: f64) -> Self {
        let reach = reach(shape, margin);
        let middle = (reach * ANTIALIAS) as i64;
        let mut canvas = Gray::black(2 * reach * ANTIALIAS + 1);
        let (y, x) = step((middle, middle), orientation, shape.paddle_length * ANTIALIAS);
        let width = (shape.paddle_thickness * ANTIALIAS as f64).round() as i64;
        canvas.line((middle, middle), (x, y), width);
        let side = 2 * reach + 1;
        Self { line: canvas.resize(side), mask: canvas.dilate(margin * ANTIALIAS).resize(side) }
    }
}

/// How far a stamp extends from its middle.
pub fn reach(shape: &Shape, margin: usize) -> usize {
    shape.paddle_length + shape.paddle_thickness.ceil() as usize + margin
}

/// `distance` from (y, x) along an orientation, rounded up.
pub fn step((y, x): (i64, i64), orientation: f64, distance: usize) -> (i64, i64) {
    let (sin, cos) = orientation.sin_cos();
    let along = |from: i64, part: f64| (from as f64 + distance as f64 * part).ceil() as i64;
    (along(y, sin), along(x, cos))
}

/// The opposite orientation, within half a turn of zero.
pub fn flip(orientation: f64) -> f64 {
    if orientation < 0.0 { orientation + PI } else { orientation - PI }
}

/// Whole and not: (y, x).
type Pixel = (i64, i64);
type Point = (f64, f64);

/// A place where the next paddle may end, seen from the pivot.
pub struct Candidate {
    pub offset: Pixel,
    /// Before it is cut to whole pixels, for the test against the borders; several samples
    /// of the circle may be cut to one place.
    pub samples: Vec<Point>,
    pub orientation: f64,
    /// The paddle from there back towards the pivot.
    pub stamp: Stamp,
}

/// All stamps of one margin.
pub struct Stamps {
    pub margin: usize,
    /// Seeds, by degrees from -180.
    pub seeds: Vec<Seed>,
    /// In the order of (y, x).
    pub candidates: Vec<Candidate>,
}

/// A first paddle.
pub struct Seed {
    pub orientation: f64,
    pub stamp: Stamp,
    /// Pixels (y, x) from a tail that must be free for it to be there. Empty where the original
    /// finds no tail at all.
    pub room: Vec<(i64, i64)>,
    /// Tails that a first target may have: the free ones of a picture that is empty but for
    /// its frames.
    pub tails: Vec<(i64, i64)>,
}

impl Stamps {
    pub fn new(shape: &Shape, margin: usize) -> Self {
        let seed = |degree: i64| Seed::new(shape, margin, degree as f64 * PI / 180.0);
        Self {
            margin,
            seeds: (-180..180).map(seed).collect(),
            candidates: candidates(shape, margin),
        }
    }
}

impl Seed {
    fn new(shape: &Shape, margin: usize, orientation: f64) -> Self {
        let stamp = Stamp::new(shape, margin, orientation);
        // The original looks through a window that is a pixel off its middle, and takes the
        // wholly covered pixels alone.
        let (reach, window) = (reach(shape, margin) as i64, (shape.paddle_length + margin) as i64);
        let side = stamp.mask.side as i64;
        let all = (0..side).flat_map(|y| (0..side).map(move |x| (y, x)));
        let covered = all.filter(|&(y, x)| stamp.mask.pixels[(y * side + x) as usize] == 255);
        let seen = covered.map(|(y, x)| (y - reach + 1, x - reach + 1));
        let inside = -window..=window;
        let room: Vec<_> = seen.filter(|(y, x)| inside.contains(y) && inside.contains(x)).collect();
        let room = if reaches_inside(&room) { room } else { Vec::new() };
        let tails = if room.is_empty() { Vec::new() } else { tails(shape, &room) };
        Self { orientation, stamp, room, tails }
    }
}

/// Whether some of these pixels lie in the picture wherever they are seen from, its corners
/// being the narrowest places.
///
/// Where none does, OpenCV's dilation leaves its border value, the least of all numbers, and
/// the original then takes the whole picture for occupied: a seed of that orientation fails.
/// With a margin of one pixel most thin paddles cover too few pixels wholly.
fn reaches_inside(room: &[(i64, i64)]) -> bool {
    let some = |down: i64, right: i64| room.iter().any(|(y, x)| y * down >= 0 && x * right >= 0);
    some(1, 1) && some(1, -1) && some(-1, 1) && some(-1, -1)
}

fn tails(shape: &Shape, room: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let (side, frame) = (shape.side as i64, 2 * shape.seed_distance as i64);
    let frame = frame.max(shape.padding as i64);
    let (image, free) = (0..side, frame..side - frame);
    let blocked = |y, x| {
        image.contains(&y) && image.contains(&x) && !(free.contains(&y) && free.contains(&x))
    };
    let all = (0..side).flat_map(|y| (0..side).map(move |x| (y, x)));
    all.filter(|(y, x)| !room.iter().any(|(dy, dx)| blocked(y + dy, x + dx))).collect()
}

/// Points of the circle around a pivot on which the next paddle ends, an arc of a pixel apart.
fn candidates(shape: &Shape, margin: usize) -> Vec<Candidate> {
    let radius = (shape.paddle_length + margin) as f64;
    let arc = 360.0 / (2.0 * radius * PI);
    let count = (360.0 / arc).ceil() as usize;
    let mut found: Vec<(Pixel, Vec<Point>)> = Vec::new();
    for i in 0..count {
        let angle = i as f64 * arc * PI / 180.0;
        let sample = (radius * angle.sin(), radius * angle.cos());
        // Places in the picture are not negative, so cutting is rounding down; a place large
        // enough swallows the rounding error of a sine that should be zero.
        let cut = |part: f64| (part + 64.0).floor() as i64 - 64;
        let offset = (cut(sample.0), cut(sample.1));
        match found.iter_mut().find(|(known, _)| *known == offset) {
            Some((_, samples)) => samples.push(sample),
            None => found.push((offset, vec![sample])),
        }
    }
    found.sort_by_key(|(offset, _)| *offset);
    let make = |(offset, samples): (Pixel, Vec<Point>)| {
        let orientation = (offset.0 as f64).atan2(offset.1 as f64);
        let stamp = Stamp::new(shape, margin, flip(orientation));
        Candidate { offset, samples, orientation, stamp }
    };
    found.into_iter().map(make).collect()
}
