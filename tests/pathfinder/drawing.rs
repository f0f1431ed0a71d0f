//! One picture: a function of its key, made of paddles that Pillow would draw alike.

use super::generator;
use lra::tasks::pathfinder::{Difficulty, Options, Stamp};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

/// Any order, any threads, alone or among others.
#[test]
fn a_picture_is_a_function_of_seed_and_index() {
    let first = generator(32, Difficulty::Nine, 3);
    let forward: Vec<_> = (0..40).map(|i| first.sample(i).unwrap()).collect();
    let second = generator(32, Difficulty::Nine, 3);
    let backward: Vec<_> =
        (0..40usize).into_par_iter().rev().map(|i| second.sample(i as u64).unwrap()).collect();
    assert!(forward.iter().eq(backward.iter().rev()));
    assert_eq!(second.sample(1_000_000_007).unwrap(), first.sample(1_000_000_007).unwrap());
    assert_ne!(generator(32, Difficulty::Nine, 4).sample(0).unwrap(), forward[0]);
    assert!(forward.windows(2).all(|pair| pair[0].pixels != pair[1].pixels));
}

/// Frozen: when this fails on purpose, raise `GENERATOR_VERSION` and the card's version.
#[test]
fn the_pictures_of_a_seed_are_frozen() {
    let mut hash = Sha256::new();
    for (resolution, count) in [(32, 20), (128, 2), (256, 2)] {
        let generator = generator(resolution, Difficulty::Fourteen, 0);
        for i in 0..count {
            let sample = generator.sample(i).unwrap();
            hash.update(&sample.pixels);
            hash.update([sample.label as u8]);
        }
    }
    assert_eq!(
        format!("{:x}", hash.finalize()),
        "95c888e2f7a2d5470a10e9d3c0b27a81fbe494ba33c81e9d256d91531ab71210"
    );
}

/// Strokes and masks of all whole degrees are Pillow's, byte for byte: hashes by
/// `tests/golden/pathfinder_stamps.py`.
#[test]
fn paddles_are_those_of_pillow() {
    for line in include_str!("../golden/pathfinder_stamps.txt").lines() {
        let [resolution, margin, expected] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let options = Options { resolution: resolution.parse().unwrap(), ..Options::default() };
        let shape = options.shape().unwrap();
        let mut hash = Sha256::new();
        for degree in -180..180 {
            let orientation = f64::from(degree) * std::f64::consts::PI / 180.0;
            let stamp = Stamp::new(&shape, margin.parse().unwrap(), orientation);
            hash.update(&stamp.line.pixels);
            hash.update(&stamp.mask.pixels);
        }
        assert_eq!(format!("{:x}", hash.finalize()), expected, "{resolution}, margin {margin}");
    }
}

/// The middle of a disc is as bright as can be, but for the resampling's ripple, where no
/// stroke is brighter (128); at 32 strokes have 1.5 times the contrast before the stretch.
#[test]
fn discs_lie_where_they_are_said_to() {
    for (resolution, least) in [(32, 120), (128, 250)] {
        let generator = generator(resolution, Difficulty::Fourteen, 5);
        for i in 0..20 {
            let sample = generator.sample(i).unwrap();
            for (y, x) in sample.discs {
                let middle = sample.pixels[y as usize * resolution + x as usize];
                assert!(middle >= least, "{resolution} {i}: {middle}");
            }
        }
    }
}

#[test]
fn impossible_options_name_their_key() {
    let check = |options: Options, key: &str| {
        let error = options.shape().unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains(key), "{error}");
    };
    let usual = Options::default();
    check(Options { resolution: 48, ..usual.clone() }, "`data.resolution`");
    check(Options { contour_length: Some(1), ..usual.clone() }, "`data.contour_length`");
    for radius in [0.4, 8.5, f64::NAN] {
        check(Options { marker_radius: Some(radius), ..usual.clone() }, "`data.marker_radius`");
    }
    check(Options { distractor_length: Some(0), ..usual.clone() }, "`data.distractor_length`");
    check(Options { distractors: Some(5000), ..usual.clone() }, "`data.distractors`");
    check(Options { test: 0, ..usual.clone() }, "`data.test`");
    // Short contours have distractors of one paddle: a third of two would be none.
    let short = Options { contour_length: Some(2), ..usual.clone() }.shape().unwrap();
    assert_eq!((short.distractor_length, short.distractors), (1, 20));
    // 64 paddles do not fit into 32 x 32 pixels: given up, and said.
    let long = Options { contour_length: Some(64), ..usual };
    let generator = lra::tasks::pathfinder::Generator::new(long.shape().unwrap(), 0);
    let text = generator.sample(0).unwrap_err().to_string();
    assert!(text.contains("`data.contour_length`") && text.contains("shorter"), "{text}");
}
