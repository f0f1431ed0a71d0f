//! What several test binaries share.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]

use lra::config::{Pad, Schedule, TrainSection};
use lra::records::Selection;

pub use lra::testing::{
    SIZES, batch, build, classifier, difference, flat, largest, layer, model, random, two_layers,
};

pub fn training() -> TrainSection {
    TrainSection {
        batch: 5,
        steps: 10,
        evaluate_every: 5,
        evaluate_examples: 0,
        checkpoint_every: 5,
        selection: Selection::Last,
        pad: Pad::Longest,
        learning_rate: 1e-3,
        schedule: Schedule::Constant,
        warmup: 0,
        beta1: 0.9,
        beta2: 0.98,
        eps: 1e-9,
        weight_decay: 0.1,
        clip: 0.0,
    }
}
