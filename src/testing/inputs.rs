//! Random tensors and small models.

use crate::attention::{Attention, Build, Variant};
use crate::config::{ModelSection, Pooling, Positions, Sizes};
use crate::data::Batch;
use crate::error::Result;
use crate::layers::Weights;
use crate::models::Classifier;
use crate::ops::{Ids, Mask};
use crate::random::Key;
use candle_core::{DType, Device, Tensor};
use rand::Rng;

/// A task with one sequence, as its models see it.
pub const SIZES: Sizes = Sizes { vocabulary: 17, classes: 10, parts: 1 };

/// Uniform in [-1, 1), f64.
pub fn random(shape: &[usize], salt: u64) -> Tensor {
    let mut rng = Key::new(99).index(salt).stream();
    let values: Vec<f64> =
        (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).expect("as many values as the shape has")
}

/// All values, in f64.
pub fn flat(x: &Tensor) -> Vec<f64> {
    let values = || x.to_dtype(DType::F64)?.flatten_all()?.to_vec1();
    values().expect("a tensor that can be read")
}

/// The largest difference, absolute; NaN if there is one.
pub fn difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    flat(a).iter().zip(flat(b)).fold(0.0, |worst, (a, b)| {
        let off = (a - b).abs();
        if off.is_nan() || off > worst { off } else { worst }
    })
}

/// The largest absolute value; NaN if there is one.
pub fn largest(x: &Tensor) -> f64 {
    flat(x).iter().fold(0.0, |a, x| if x.is_nan() || x.abs() > a { x.abs() } else { a })
}

/// Two layers of width 16 with 4 heads of 6, dropout everywhere, for up to 72 tokens.
pub fn model(pooling: Pooling, positions: Positions) -> ModelSection {
    ModelSection {
        length: 72,
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
        reversible: false,
        feed_forward_chunks: 1,
    }
}

/// The model of a variant with these options, and its weights of seed 3.
pub fn classifier(
    section: &ModelSection,
    variant: &Variant,
    options: &str,
    sizes: Sizes,
    dtype: DType,
) -> Result<(Classifier, Weights)> {
    let weights = Weights::new(3);
    let options = (variant.options)(&table(options))?;
    let kind = (dtype, &Device::Cpu);
    Ok((Classifier::new(section, variant, &options, sizes, &weights, kind)?, weights))
}

/// Random ids of these lengths, padded to the longest, of a vocabulary of 17.
pub fn batch(lengths: &[usize], salt: u64) -> Batch {
    let n = lengths.iter().copied().max().unwrap_or(1);
    let mut rng = Key::new(7).index(salt).stream();
    let mut ids = vec![0u32; lengths.len() * n];
    for (row, &len) in ids.chunks_exact_mut(n).zip(lengths) {
        row[..len].iter_mut().for_each(|id| *id = rng.random_range(1..17));
    }
    Batch {
        ids: Ids { ids: ids.into(), batch: lengths.len(), n },
        mask: Mask::from_lengths(lengths, n).expect("lengths up to the longest"),
        labels: (0..lengths.len()).map(|_| rng.random_range(0..10)).collect(),
        parts: 1,
    }
}

fn table(options: &str) -> toml::Table {
    options.parse().expect("options are TOML")
}

/// The `layer`-th of `depth` attention layers of width 12, 2 heads of 4, f64, in a model of
/// up to `n` positions.
pub fn build(
    variant: &Variant,
    options: &str,
    (layer, depth): (usize, usize),
    n: usize,
    weights: &Weights,
) -> Result<Box<dyn Attention>> {
    let vb = weights.builder(DType::F64, &Device::Cpu);
    let name = if layer == 0 { "attention".into() } else { format!("attention{layer}") };
    (variant.build)(&Build {
        width: 12,
        qkv: 8,
        heads: 2,
        dropout: 0.0,
        n,
        layer,
        depth,
        weights: vb.pp(name),
        shared: vb.pp("shared"),
        options: &table(options),
    })
}

/// One attention layer of up to 64 positions; see [`build()`].
pub fn layer(variant: &Variant, options: &str) -> (Box<dyn Attention>, Weights) {
    let weights = Weights::new(1);
    let layer = build(variant, options, (0, 1), 64, &weights);
    (layer.unwrap_or_else(|e| panic!("{}: {e}", variant.name)), weights)
}

/// The two layers of a model of up to 64 positions.
pub fn two_layers(variant: &Variant, options: &str) -> ([Box<dyn Attention>; 2], Weights) {
    let weights = Weights::new(1);
    let layer = |i| build(variant, options, (i, 2), 64, &weights);
    let layers = [0, 1].map(|i| layer(i).unwrap_or_else(|e| panic!("{}: {e}", variant.name)));
    (layers, weights)
}
