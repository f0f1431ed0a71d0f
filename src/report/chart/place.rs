//! Finds a place for each label of a scatter of circles.
//!
//! Greedy, most crowded circle first, over candidates in rings around the circle. A label
//! never lies on another label and never leaves the frame; it lies on a circle only where
//! there is no other place at all. A label far from its circle gets a leader line, which
//! keeps off the labels placed before it. No randomness: equal input, equal picture.

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Circle {
    pub x: f64,
    pub y: f64,
    pub r: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    pub x: f64,
    pub y: f64,
    pub w: f64,
    pub h: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    pub rect: Rect,
    /// From the label's edge to the circle's, where the label is not beside it.
    pub leader: Option<((f64, f64), (f64, f64))>,
}

/// Pixels between two labels, and between a label and a circle.
const AIR: f64 = 3.0;
/// Farther than this from its circle, a label needs a leader.
const BESIDE: f64 = 9.0;
const DISTANCES: [f64; 14] =
    [4.0, 9.0, 18.0, 30.0, 44.0, 62.0, 84.0, 110.0, 140.0, 180.0, 230.0, 300.0, 400.0, 550.0];
const DIRECTIONS: usize = 24;

/// One place per circle, for labels of the given widths and heights; `None` where no free
/// place is left in the frame.
pub fn place(circles: &[Circle], sizes: &[(f64, f64)], frame: Rect) -> Vec<Option<Place>> {
    let mut places: Vec<Option<Place>> = vec![None; circles.len()];
    let near = |a: &Circle, b: &Circle| (a.x - b.x).hypot(a.y - b.y) < a.r + b.r + 90.0;
    let crowd: Vec<usize> =
        circles.iter().map(|a| circles.iter().filter(|b| near(a, b)).count()).collect();
    let mut order: Vec<usize> = (0..circles.len().min(sizes.len())).collect();
    order.sort_by_key(|index| (std::cmp::Reverse(crowd[*index]), *index));
    for index in order {
        let taken: Vec<Place> = places.iter().copied().flatten().collect();
        let room = Room { circles, taken: &taken, frame };
        places[index] = room.best(index, sizes[index]);
    }
    places
}

struct Room<'a> {
    circles: &'a [Circle],
    taken: &'a [Place],
    frame: Rect,
}

impl Room<'_> {
    fn best(&self, index: usize, size: (f64, f64)) -> Option<Place> {
        let own = self.circles[index];
        let rings = DISTANCES.iter().flat_map(|distance| {
            (0..DIRECTIONS).map(move |step| candidate(own, size, *distance, step))
        });
        let scored = rings.filter_map(|(place, cost)| Some((place, cost + self.cost(place)?)));
        let best = scored.min_by(|a, b| a.1.total_cmp(&b.1));
        best.map(|(place, _)| place).or_else(|| self.anywhere(own, size))
    }

    /// `None` where the place is not allowed; more for what is only ugly.
    fn cost(&self, place: Place) -> Option<f64> {
        if !self.is_free(place.rect) {
            return None;
        }
        let covered = self.circles.iter().filter(|circle| place.rect.meets(circle, AIR));
        let mut cost = 2000.0 * covered.count() as f64;
        for other in self.taken {
            if place.leader.is_some_and(|leader| other.rect.is_crossed(leader)) {
                cost += 400.0;
            }
            if other.leader.is_some_and(|leader| place.rect.is_crossed(leader)) {
                cost += 400.0;
            }
            if let (Some(own), Some(others)) = (place.leader, other.leader)
                && cross(own, others)
            {
                cost += 150.0;
            }
        }
        if let Some((from, to)) = place.leader {
            let passed = self.circles.iter().filter(|c| distance_to((c.x, c.y), from, to) < c.r);
            cost += 300.0 * passed.count() as f64;
        }
        Some(cost)
    }

    fn is_free(&self, rect: Rect) -> bool {
        rect.is_inside(&self.frame) && self.taken.iter().all(|t| !rect.overlaps(&t.rect, AIR))
    }

    /// The nearest free place of the whole frame, for a picture that is nearly full.
    fn anywhere(&self, own: Circle, (w, h): (f64, f64)) -> Option<Place> {
        let steps = |length: f64, step: f64| 0..=(length / step).max(0.0) as usize;
        let frame = self.frame;
        let rects = steps(frame.h - h, h / 2.0).flat_map(|row| {
            steps(frame.w - w, 8.0).map(move |column| {
                let (x, y) = (frame.x + column as f64 * 8.0, frame.y + row as f64 * h / 2.0);
                Rect { x, y, w, h }
            })
        });
        let places = rects.map(|rect| joined(own, rect));
        let scored = places.filter_map(|(place, far)| Some((place, far + self.cost(place)?)));
        scored.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(place, _)| place)
    }
}

/// The label that touches the circle's ring of `distance` in one direction.
fn candidate(own: Circle, (w, h): (f64, f64), distance: f64, step: usize) -> (Place, f64) {
    let angle = step as f64 / DIRECTIONS as f64 * std::f64::consts::TAU;
    let (cos, sin) = (angle.cos(), angle.sin());
    let reach = own.r + distance;
    // Half the label's size is added where it points away, so that it never turns back in.
    let (x, y) = (own.x + reach * cos + w / 2.0 * cos, own.y + reach * sin + h / 2.0 * sin);
    let (place, _) = joined(own, Rect { x: x - w / 2.0, y: y - h / 2.0, w, h });
    // To the right reads best, then left, then above and below.
    let taste = if cos > 0.99 { 0.0 } else { 1.0 + 2.0 * sin.abs() + f64::from(cos < 0.0) };
    (place, distance * 1.5 + taste)
}

/// The place, with the leader it needs, and how far it is from its circle.
fn joined(own: Circle, rect: Rect) -> (Place, f64) {
    let nearest = rect.nearest((own.x, own.y));
    let (dx, dy) = (nearest.0 - own.x, nearest.1 - own.y);
    let far = dx.hypot(dy);
    let edge = (own.x + dx / far.max(1e-9) * own.r, own.y + dy / far.max(1e-9) * own.r);
    let gap = far - own.r;
    // A little off the letters.
    let from = (nearest.0 - dx / far.max(1e-9) * AIR, nearest.1 - dy / far.max(1e-9) * AIR);
    (Place { rect, leader: (gap > BESIDE).then_some((from, edge)) }, gap.max(0.0))
}

impl Rect {
    fn is_inside(&self, frame: &Self) -> bool {
        self.x >= frame.x + AIR
            && self.y >= frame.y + AIR
            && self.x + self.w <= frame.x + frame.w - AIR
            && self.y + self.h <= frame.y + frame.h - AIR
    }

    pub fn overlaps(&self, other: &Self, air: f64) -> bool {
        self.x < other.x + other.w + air
            && other.x < self.x + self.w + air
            && self.y < other.y + other.h + air
            && other.y < self.y + self.h + air
    }

    pub fn meets(&self, circle: &Circle, air: f64) -> bool {
        let (x, y) = self.nearest((circle.x, circle.y));
        (x - circle.x).hypot(y - circle.y) < circle.r + air
    }

    /// The point of the rectangle nearest to another.
    fn nearest(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let within = |value: f64, low: f64, size: f64| value.max(low).min(low + size);
        (within(x, self.x, self.w), within(y, self.y, self.h))
    }

    fn is_crossed(&self, (from, to): ((f64, f64), (f64, f64))) -> bool {
        // Samples every few pixels: labels are taller than that.
        let steps = ((to.0 - from.0).hypot(to.1 - from.1) / 4.0).ceil().max(1.0);
        (0..=steps as usize).any(|k| {
            let t = k as f64 / steps;
            let (x, y) = (from.0 + t * (to.0 - from.0), from.1 + t * (to.1 - from.1));
            let nearest = self.nearest((x, y));
            (nearest.0 - x).hypot(nearest.1 - y) < AIR
        })
    }
}

type Point = (f64, f64);

fn cross(a: (Point, Point), b: (Point, Point)) -> bool {
    let side = |p: Point, q: Point, r: Point| (q.0 - p.0) * (r.1 - p.1) - (q.1 - p.1) * (r.0 - p.0);
    side(a.0, a.1, b.0) * side(a.0, a.1, b.1) < 0.0
        && side(b.0, b.1, a.0) * side(b.0, b.1, a.1) < 0.0
}

fn distance_to(point: Point, from: Point, to: Point) -> f64 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let along = ((point.0 - from.0) * dx + (point.1 - from.1) * dy) / (dx * dx + dy * dy).max(1e-9);
    let t = along.clamp(0.0, 1.0);
    (from.0 + t * dx - point.0).hypot(from.1 + t * dy - point.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};

    const FRAME: Rect = Rect { x: 90.0, y: 100.0, w: 880.0, h: 560.0 };

    fn scatter(n: usize, seed: u64) -> (Vec<Circle>, Vec<(f64, f64)>) {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let circle = |random: &mut rand_chacha::ChaCha8Rng| Circle {
            x: random.random_range(FRAME.x + 30.0..FRAME.x + FRAME.w - 30.0),
            y: random.random_range(FRAME.y + 30.0..FRAME.y + FRAME.h - 30.0),
            r: random.random_range(2.0..24.0),
        };
        let circles = (0..n).map(|_| circle(&mut random)).collect();
        (circles, (0..n).map(|_| (random.random_range(40.0..130.0), 16.0)).collect())
    }

    #[test]
    fn forty_models_never_overlap() {
        for seed in 0..50 {
            let (circles, sizes) = scatter(40, seed);
            let places = place(&circles, &sizes, FRAME);
            assert_eq!(places, place(&circles, &sizes, FRAME), "deterministic");
            let rects: Vec<Rect> = places.iter().map(|p| p.unwrap().rect).collect();
            for (i, rect) in rects.iter().enumerate() {
                assert!(rect.is_inside(&FRAME), "seed {seed}: label {i} leaves the frame");
                for (j, other) in rects.iter().enumerate().skip(i + 1) {
                    assert!(!rect.overlaps(other, 0.0), "seed {seed}: labels {i} and {j}");
                }
                let hit = circles.iter().position(|circle| rect.meets(circle, 0.0));
                assert_eq!(hit, None, "seed {seed}: label {i} lies on a circle");
            }
        }
    }

    #[test]
    fn models_at_one_point_all_get_a_label() {
        let circles = vec![Circle { x: 500.0, y: 380.0, r: 20.0 }; 12];
        let places = place(&circles, &[(80.0, 16.0); 12], FRAME);
        let rects: Vec<Rect> = places.iter().map(|p| p.unwrap().rect).collect();
        for (i, rect) in rects.iter().enumerate() {
            assert!(rects.iter().skip(i + 1).all(|other| !rect.overlaps(other, 0.0)));
        }
    }

    #[test]
    fn a_full_frame_leaves_labels_out_instead_of_stacking_them() {
        let frame = Rect { x: 0.0, y: 0.0, w: 200.0, h: 60.0 };
        let circles = vec![Circle { x: 100.0, y: 30.0, r: 5.0 }; 20];
        let places = place(&circles, &[(90.0, 16.0); 20], frame);
        let rects: Vec<Rect> = places.iter().flatten().map(|p| p.rect).collect();
        assert!(!rects.is_empty() && rects.len() < 20);
        for (i, rect) in rects.iter().enumerate() {
            assert!(rects.iter().skip(i + 1).all(|other| !rect.overlaps(other, 0.0)));
        }
    }
}
