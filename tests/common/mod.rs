//! What several test binaries share: random tensors and small models.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use candle_core::{DType, Device, Tensor};
use lra::attention::{Attention, Build, Variant};
use lra::config::{ModelSection, Pad, Pooling, Positions, Schedule, Sizes, TrainSection};
use lra::data::Batch;
use lra::layers::Weights;
use lra::ops::{Ids, Mask};
use lra::random::Key;
use lra::records::Selection;
use rand::Rng;

/// A task with one sequence, as its models see it.
pub const SIZES: Sizes = Sizes { vocabulary: 17, classes: 10, parts: 1 };

/// Uniform in [-1, 1), f64.
pub fn random(shape: &[usize], salt: u64) -> Tensor {
    let mut rng = Key::new(99).index(salt).stream();
    let values: Vec<f64> =
        (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

pub fn flat(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The largest difference, absolute.
pub fn difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    flat(a).iter().zip(flat(b)).fold(0.0, |worst, (a, b)| {
        let off = (a - b).abs();
        if off.is_nan() || off > worst { off } else { worst }
    })
}

/// The largest absolute value.
pub fn largest(x: &Tensor) -> f64 {
    flat(x).iter().fold(0.0, |a, x| a.max(x.abs()))
}

pub fn model(pooling: Pooling, positions: Positions) -> ModelSection {
    ModelSection {
        length: 24,
        layers: 2,
        width: 16,
        qkv: 24,
        heads: 4,
        feed_forward: 20,
        dropout: 0.1,
        attention_dropout: 0.1,
        positions,
        pooling,
        pair: None,
    }
}

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

/// Random ids of these lengths, padded to the longest, of a vocabulary of 17.
pub fn batch(lengths: &[usize], salt: u64) -> Batch {
    let n = lengths.iter().copied().max().unwrap();
    let mut rng = Key::new(7).index(salt).stream();
    let mut ids = vec![0u32; lengths.len() * n];
    for (row, &len) in ids.chunks_exact_mut(n).zip(lengths) {
        row[..len].iter_mut().for_each(|id| *id = rng.random_range(1..17));
    }
    Batch {
        ids: Ids { ids: ids.into(), batch: lengths.len(), n },
        mask: Mask::from_lengths(lengths, n).unwrap(),
        labels: (0..lengths.len()).map(|_| rng.random_range(0..10)).collect(),
        parts: 1,
    }
}

/// One attention layer of width 12, 2 heads of 4, f64, in a model of up to 64 positions.
pub fn layer(variant: &Variant, options: &str) -> (Box<dyn Attention>, Weights) {
    let weights = Weights::new(1);
    let vb = weights.builder(DType::F64, &Device::Cpu);
    let options: toml::Table = options.parse().unwrap();
    let build = Build {
        width: 12,
        qkv: 8,
        heads: 2,
        dropout: 0.0,
        n: 64,
        layer: 0,
        depth: 1,
        weights: vb.pp("attention"),
        shared: vb.pp("shared"),
        options: &options,
    };
    ((variant.build)(&build).unwrap(), weights)
}
