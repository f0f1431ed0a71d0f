//! A picture while it is drawn: which pixels are taken, and which paddles lie where.

use super::options::Shape;
use super::raster::disk;
use super::stamp::{Seed, Stamp, Stamps, flip, reach, step};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::f64::consts::{PI, TAU};

/// Trials of a paddle, after the first.
const PADDLE_RETRIALS: usize = 2;
/// A pixel is free if its mask is at most 0.3.
const FREE: u8 = 76;
/// Two masks cross where their sum is 1.8 or more, in 255ths.
const CROSSING: u16 = 459;

/// A paddle on the picture.
#[derive(Clone, Copy)]
pub struct Paddle<'a> {
    pub stamp: &'a Stamp,
    pub at: (i64, i64),
    pub contrast: f64,
}

/// The end of a contour that grows.
pub struct Tip<'a> {
    pivot: (i64, i64),
    orientation: f64,
    /// Its newest paddle, which does not block the next one yet.
    newest: Paddle<'a>,
    /// Where the contour ends.
    pub end: (i64, i64),
}

pub struct Scene<'a> {
    shape: &'a Shape,
    stamps: &'a Stamps,
    near: Vec<(i64, i64)>,
    pub mask: Vec<u8>,
    pub paddles: Vec<Paddle<'a>>,
    weights: Vec<f64>,
}

impl<'a> Scene<'a> {
    /// Empty, but for the frame.
    pub fn new(shape: &'a Shape, stamps: &'a Stamps) -> Self {
        let near = disk(stamps.margin).collect();
        let mut new = Self {
            shape,
            stamps,
            near,
            mask: Vec::new(),
            paddles: Vec::new(),
            weights: Vec::new(),
        };
        new.clear();
        new
    }

    pub fn clear(&mut self) {
        let (side, frame) = (self.shape.side, self.shape.padding);
        self.paddles.clear();
        self.mask.clear();
        self.mask.resize(side * side, 0);
        let inside = frame..side - frame;
        for y in 0..side {
            for x in 0..side {
                if !(inside.contains(&y) && inside.contains(&x)) {
                    self.mask[y * side + x] = 255;
                }
            }
        }
    }

    fn holds(&self, (y, x): (i64, i64)) -> bool {
        let side = 0..self.shape.side as i64;
        side.contains(&y) && side.contains(&x)
    }

    /// A paddle from `tail`, unless it or what follows it would leave the picture.
    pub fn seed(&mut self, seed: &'a Seed, tail: (i64, i64), contrast: f64) -> Option<Tip<'a>> {
        let length = self.shape.paddle_length;
        let head = step(tail, seed.orientation, length);
        let pivot = step(head, flip(seed.orientation), length + self.stamps.margin);
        if !(self.holds(head) && self.holds(pivot)) {
            return None;
        }
        let newest = Paddle { stamp: &seed.stamp, at: tail, contrast };
        self.paddles.push(newest);
        Some(Tip { pivot, orientation: seed.orientation, newest, end: tail })
    }

    /// The two seeds of the targets, the second at a distance from the first.
    pub fn two_seeds(&mut self, rng: &mut ChaCha8Rng, contrast: f64) -> Option<[Tip<'a>; 2]> {
        let stamps = self.stamps;
        let mut first = None;
        for _ in 0..=PADDLE_RETRIALS {
            let seed = &stamps.seeds[rng.random_range(0..360)];
            if seed.tails.is_empty() {
                return None;
            }
            let tail = seed.tails[rng.random_range(0..seed.tails.len())];
            first = self.seed(seed, tail, contrast).map(|tip| (tip, tail));
            if first.is_some() {
                break;
            }
        }
        let (first, (y, x)) = first?;
        let distance = self.shape.seed_distance as f64;
        for _ in 0..=PADDLE_RETRIALS {
            let seed = &stamps.seeds[rng.random_range(0..360)];
            let angle = f64::from(rng.random_range(0..360)) * PI / 180.0;
            let round = |v: f64| v.round_ties_even() as i64;
            let tail = (
                round(y as f64 + distance * angle.sin()),
                round(x as f64 + distance * angle.cos()),
            );
            if let Some(second) = self.seed(seed, tail, contrast) {
                return Some([first, second]);
            }
        }
        None
    }

    /// The seed of a distractor where there is room. `None` also where the picture is full.
    pub fn distractor_seed(&mut self, rng: &mut ChaCha8Rng, contrast: f64) -> Option<Tip<'a>> {
        let side = self.shape.side;
        let free = self.mask.iter().filter(|&&m| m <= FREE).count();
        if (free as f64) < 0.01 * (side * side) as f64 {
            return None;
        }
        let stamps = self.stamps;
        let blocked = Bits::new(&self.mask, side);
        for _ in 0..=PADDLE_RETRIALS {
            let seed = &stamps.seeds[rng.random_range(0..360)];
            let taken = blocked.spread(&seed.room);
            let count = taken.free();
            if seed.room.is_empty() || count == 0 {
                return None;
            }
            let tail = taken.nth_free(rng.random_range(0..count));
            if let Some(tip) = self.seed(seed, tail, contrast) {
                return Some(tip);
            }
        }
        None
    }

    /// Grows a contour by one paddle. `false` where it cannot.
    pub fn extend(&mut self, tip: &mut Tip<'a>, rng: &mut ChaCha8Rng, contrast: f64) -> bool {
        let (stamps, side) = (self.stamps, self.shape.side as f64);
        let pivot = step(tip.pivot, tip.orientation, self.shape.paddle_length + 2 * stamps.margin);
        self.weights.clear();
        let mut total = 0.0;
        for candidate in &stamps.candidates {
            let inside = |&(y, x): &(f64, f64)| {
                let (y, x) = (pivot.0 as f64 + y, pivot.1 as f64 + x);
                (0.0..side).contains(&y) && (0.0..side).contains(&x)
            };
            if candidate.samples.iter().any(inside) {
                let apart = (candidate.orientation - tip.orientation).abs();
                let turn = apart.min(TAU - apart) * self.shape.continuity;
                let straight = turn.min(PI / 2.0).cos().max(0.0).powi(2);
                let at = (pivot.0 + candidate.offset.0, pivot.1 + candidate.offset.1);
                total += straight * (1.0 - f64::from(self.obstacle(at)) / 255.0);
            }
            self.weights.push(total);
        }
        if total < 1e-4 {
            return false;
        }
        for _ in 0..=PADDLE_RETRIALS {
            let drawn = rng.random::<f64>() * total;
            let chosen = self.weights.partition_point(|&sum| sum <= drawn);
            let Some(candidate) = stamps.candidates.get(chosen) else { continue };
            let at = (pivot.0 + candidate.offset.0, pivot.1 + candidate.offset.1);
            let paddle = Paddle { stamp: &candidate.stamp, at, contrast };
            if self.crosses(&paddle) {
                continue;
            }
            self.block(&tip.newest);
            self.paddles.push(paddle);
            *tip = Tip { pivot, orientation: candidate.orientation, newest: paddle, end: at };
            return true;
        }
        false
    }

    /// Makes a contour's newest paddle block others.
    pub fn close(&mut self, tip: &Tip<'a>) {
        self.block(&tip.newest);
    }

    /// The largest mask within the margin of a pixel.
    fn obstacle(&self, (y, x): (i64, i64)) -> u8 {
        let side = self.shape.side as i64;
        let near = self.near.iter().map(|(dy, dx)| (y + dy, x + dx)).filter(|&p| self.holds(p));
        near.map(|(y, x)| self.mask[(y * side + x) as usize]).max().unwrap_or(0)
    }

    fn crosses(&self, paddle: &Paddle) -> bool {
        let mut rows = self.rows(paddle);
        rows.any(|(at, mask)| {
            let under = &self.mask[at..at + mask.len()];
            under.iter().zip(mask).any(|(&a, &b)| u16::from(a) + u16::from(b) >= CROSSING)
        })
    }

    fn block(&mut self, paddle: &Paddle<'a>) {
        let rows: Vec<(usize, &'a [u8])> = self.rows(paddle).collect();
        for (at, mask) in rows {
            for (under, &over) in self.mask[at..at + mask.len()].iter_mut().zip(mask) {
                *under = over.max(*under);
            }
        }
    }

    fn rows(&self, paddle: &Paddle<'a>) -> impl Iterator<Item = (usize, &'a [u8])> + use<'a> {
        rows(
            self.shape.side,
            reach(self.shape, self.stamps.margin),
            paddle.at,
            &paddle.stamp.mask.pixels,
        )
    }
}

/// The rows of a stamp that lie in a picture: where each starts there, and its values.
pub fn rows(
    side: usize,
    reach: usize,
    (y, x): (i64, i64),
    pixels: &[u8],
) -> impl Iterator<Item = (usize, &[u8])> {
    let (side, reach, width) = (side as i64, reach as i64, 2 * reach as i64 + 1);
    let (left, top) = (x - reach, y - reach);
    let (from, to) = (0.max(-left), width.min(side - left));
    (0.max(-top)..width.min(side - top)).filter(move |_| from < to).map(move |row| {
        let start = ((top + row) * side + left + from) as usize;
        (start, &pixels[(row * width + from) as usize..(row * width + to) as usize])
    })
}

/// A picture of bits, for the search of free places.
struct Bits {
    side: usize,
    words: usize,
    rows: Vec<u64>,
}

impl Bits {
    /// Set where the mask is not free, and on the outermost pixels.
    fn new(mask: &[u8], side: usize) -> Self {
        let words = side.div_ceil(64);
        let mut rows = vec![0; words * side];
        for y in 0..side {
            for x in 0..side {
                let edge = y == 0 || x == 0 || y == side - 1 || x == side - 1;
                if edge || mask[y * side + x] > FREE {
                    rows[y * words + x / 64] |= 1 << (x % 64);
                }
            }
        }
        Self { side, words, rows }
    }

    /// Set where any pixel of `room`, seen from there, is set.
    fn spread(&self, room: &[(i64, i64)]) -> Self {
        let (side, words) = (self.side as i64, self.words);
        let mut rows = vec![0; self.rows.len()];
        for &(dy, dx) in room {
            for y in 0.max(-dy)..side.min(side - dy) {
                let from = &self.rows[(y + dy) as usize * words..][..words];
                let to = &mut rows[y as usize * words..][..words];
                shift(from, dx, to);
            }
        }
        Self { side: self.side, words, rows }
    }

    fn row(&self, y: usize) -> impl Iterator<Item = u64> + '_ {
        let valid = |word: usize| {
            let bits = (self.side - 64 * word).min(64);
            if bits == 64 { u64::MAX } else { (1 << bits) - 1 }
        };
        (0..self.words).map(move |word| !self.rows[y * self.words + word] & valid(word))
    }

    fn free(&self) -> usize {
        (0..self.side).flat_map(|y| self.row(y)).map(|word| word.count_ones() as usize).sum()
    }

    /// The place (y, x) of the free bit that has `n` before it, row by row.
    fn nth_free(&self, mut n: usize) -> (i64, i64) {
        for y in 0..self.side {
            for (word, mut bits) in self.row(y).enumerate() {
                let count = bits.count_ones() as usize;
                if n >= count {
                    n -= count;
                    continue;
                }
                (0..n).for_each(|_| bits &= bits - 1);
                return (y as i64, 64 * word as i64 + i64::from(bits.trailing_zeros()));
            }
        }
        (0, 0)
    }
}

/// Adds to bit x of `to` bit x + `by` of `from`.
fn shift(from: &[u64], by: i64, to: &mut [u64]) {
    let (words, bits) = (by.div_euclid(64), by.rem_euclid(64) as u32);
    let word = |i: i64| usize::try_from(i).ok().and_then(|i| from.get(i)).copied().unwrap_or(0);
    for (i, to) in to.iter_mut().enumerate() {
        let low = word(i as i64 + words) >> bits;
        let high = if bits == 0 { 0 } else { word(i as i64 + words + 1) << (64 - bits) };
        *to |= low | high;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a search pixel by pixel, over widths of one word and of two.
    #[test]
    fn free_places_are_found_as_pixel_by_pixel() {
        for side in [32usize, 100] {
            let mut rng = crate::random::Key::new(side as u64).stream();
            let mask: Vec<u8> = (0..side * side)
                .map(|_| if rng.random_range(0..40) == 0 { 255 } else { 0 })
                .collect();
            let room = [(0, 0), (1, -2), (-3, 4), (2, 2)];
            let inside = 0..side as i64;
            let blocked = |y: i64, x: i64| {
                let edge = |v| v == 0 || v == side as i64 - 1;
                inside.contains(&y)
                    && inside.contains(&x)
                    && (edge(y) || edge(x) || mask[y as usize * side + x as usize] > FREE)
            };
            let all = inside.clone().flat_map(|y| inside.clone().map(move |x| (y, x)));
            let free: Vec<_> =
                all.filter(|(y, x)| !room.iter().any(|(dy, dx)| blocked(y + dy, x + dx))).collect();
            let found = Bits::new(&mask, side).spread(&room);
            assert_eq!(found.free(), free.len());
            assert!(free.len() > 100);
            assert!((0..free.len()).all(|n| found.nth_free(n) == free[n]));
        }
    }
}
