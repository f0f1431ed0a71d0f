//! What is drawn: LRA's four sizes and three difficulties, and departures from them.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The `[data]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The generator's seed.
    pub seed: u64,
    /// Pictures of each split; of official files, those of train, validation and test are
    /// eight, one and one tenth of all.
    pub train: u64,
    pub validation: u64,
    pub test: u64,
    /// Pixels of a side.
    pub resolution: usize,
    pub difficulty: Difficulty,
    /// Paddles of a target contour, instead of the difficulty's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contour_length: Option<usize>,
    /// Paddles of a distractor; a third of the contour's by default, at least one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distractor_length: Option<usize>,
    /// Distractors asked for; those that find no room are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distractors: Option<usize>,
    /// Radius of the discs in pixels, instead of the resolution's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marker_radius: Option<f64>,
}

/// The release's folders: curv_baseline, curv_contour_length_9, curv_contour_length_14.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Difficulty {
    #[serde(rename = "baseline")]
    Baseline,
    #[serde(rename = "9")]
    Nine,
    #[serde(rename = "14")]
    Fourteen,
}

impl Difficulty {
    /// The folder of the release.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Baseline => "curv_baseline",
            Self::Nine => "curv_contour_length_9",
            Self::Fourteen => "curv_contour_length_14",
        }
    }

    fn contour_length(self) -> usize {
        match self {
            Self::Baseline => 6,
            Self::Nine => 9,
            Self::Fourteen => 14,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 0,
            train: 160_000,
            validation: 20_000,
            test: 20_000,
            resolution: 32,
            difficulty: Difficulty::Fourteen,
            contour_length: None,
            distractor_length: None,
            distractors: None,
            marker_radius: None,
        }
    }
}

/// The generator's parameters: LRA's doc strings, and the original's defaults where those are
/// silent. Lengths in pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    pub side: usize,
    /// Width of the frame that contours keep out of.
    pub padding: usize,
    /// Room around a paddle; one of these for each picture.
    pub margins: &'static [usize],
    pub seed_distance: usize,
    pub marker_radius: f64,
    /// Paddles of a target contour and of a distractor.
    pub contour_length: usize,
    pub distractor_length: usize,
    pub distractors: usize,
    pub paddle_length: usize,
    pub paddle_thickness: f64,
    /// Larger is straighter.
    pub continuity: f64,
    pub snake_contrast: f64,
    pub paddle_contrast: f64,
}

impl Options {
    /// The parameters, or what is impossible of them.
    pub fn shape(&self) -> Result<Shape> {
        let contour_length = self.contour_length.unwrap_or(self.difficulty.contour_length());
        let distractor_length = self.distractor_length.unwrap_or((contour_length / 3).max(1));
        let (budget, mut shape) = match self.resolution {
            32 => (
                20,
                Shape {
                    side: 32,
                    padding: 1,
                    margins: &[1],
                    seed_distance: 7,
                    marker_radius: 1.5,
                    paddle_length: 2,
                    paddle_thickness: 0.5,
                    continuity: 1.0,
                    snake_contrast: 2.0,
                    paddle_contrast: 0.75,
                    contour_length,
                    distractor_length,
                    distractors: 0,
                },
            ),
            64 => (
                22,
                Shape {
                    side: 64,
                    padding: 1,
                    margins: &[1],
                    seed_distance: 12,
                    marker_radius: 2.5,
                    paddle_length: 5,
                    paddle_thickness: 1.0,
                    continuity: 1.8,
                    snake_contrast: 0.8,
                    paddle_contrast: 1.0,
                    contour_length,
                    distractor_length,
                    distractors: 0,
                },
            ),
            128 => (
                35,
                Shape {
                    side: 128,
                    padding: 1,
                    margins: &[2, 3],
                    seed_distance: 20,
                    marker_radius: 3.0,
                    paddle_length: 5,
                    paddle_thickness: 1.5,
                    continuity: 1.8,
                    snake_contrast: 0.9,
                    paddle_contrast: 1.0,
                    contour_length,
                    distractor_length,
                    distractors: 0,
                },
            ),
            256 => (
                30,
                Shape {
                    side: 256,
                    padding: 22,
                    margins: &[3],
                    seed_distance: 27,
                    marker_radius: 5.0,
                    paddle_length: 5,
                    paddle_thickness: 2.0,
                    continuity: 1.8,
                    snake_contrast: 1.0,
                    paddle_contrast: 1.0,
                    contour_length,
                    distractor_length,
                    distractors: 0,
                },
            ),
            other => {
                let message = format!("expected 32, 64, 128 or 256, got {other}");
                return Err(Error::config("data.resolution", message));
            }
        };
        for (key, value, least) in [
            ("data.contour_length", contour_length, 2),
            ("data.distractor_length", distractor_length, 1),
        ] {
            if !(least..=64).contains(&value) {
                return Err(Error::config(key, format!("expected {least} to 64, got {value}")));
            }
        }
        shape.distractors = self.distractors.unwrap_or(budget / distractor_length);
        if shape.distractors > 1000 {
            let message = format!("expected at most 1000, got {}", shape.distractors);
            return Err(Error::config("data.distractors", message));
        }
        if let Some(radius) = self.marker_radius {
            let most = (shape.side / 4) as f64;
            if !(0.5..=most).contains(&radius) {
                let message = format!("expected 0.5 to {most} pixels, got {radius}");
                return Err(Error::config("data.marker_radius", message));
            }
            shape.marker_radius = radius;
        }
        for (key, value) in [
            ("data.train", self.train),
            ("data.validation", self.validation),
            ("data.test", self.test),
        ] {
            if !(1..=1 << 32).contains(&value) {
                return Err(Error::config(key, format!("expected 1 to 2^32, got {value}")));
            }
        }
        Ok(shape)
    }
}
