//! Models of every variant, with heads that the kernels take.

use crate::common;
use candle_core::{DType, Device};
use lra::attention::Variant;
use lra::config::{
    Dtype, ModelSection, Pooling, Positions, RunConfig, RunSection, Sizes, TrainSection,
};
use lra::data::Batch;
use lra::layers::Weights;
use lra::models::Classifier;
use lra::ops::{Ids, Mask};

/// Two layers of 4 heads of 16, dropout everywhere, for up to 150 tokens.
pub fn section(variant: &Variant) -> (ModelSection, Sizes) {
    let prefers: toml::Table = variant.prefers.parse().unwrap();
    let prefers = |key: &str| prefers.get("model").and_then(|model| model.get(key)).cloned();
    let pooling = if prefers("pooling").is_some() { Pooling::Mean } else { Pooling::Cls };
    let section = ModelSection {
        length: 150,
        layers: 2,
        width: 32,
        qkv: 64,
        heads: 4,
        feed_forward: 48,
        dropout: 0.1,
        attention_dropout: 0.1,
        positions: Positions::Learned,
        pooling,
        pair: None,
        reversible: prefers("reversible").is_some(),
        feed_forward_chunks: 1,
    };
    (section, Sizes { vocabulary: 17, classes: 10, parts: 1 })
}

pub fn tokens(lengths: &[usize]) -> Batch {
    let n = lengths.iter().copied().max().unwrap();
    let ids: Vec<u32> = (0..lengths.len() * n)
        .map(|i| {
            if i % n < lengths[i / n] { 1 + (i as u32).wrapping_mul(2_654_435_761) % 16 } else { 0 }
        })
        .collect();
    Batch {
        ids: Ids { ids: ids.into(), batch: lengths.len(), n },
        mask: Mask::from_lengths(lengths, n).unwrap(),
        labels: (0..lengths.len() as u32).map(|i| i % 10).collect(),
        parts: 1,
    }
}

pub fn model(
    variant: &Variant,
    (section, sizes): &(ModelSection, Sizes),
    kind: (DType, &Device),
) -> (Classifier, Weights) {
    let weights = Weights::new(3);
    let options = (variant.options)(&toml::Table::new()).unwrap();
    let model = Classifier::new(section, variant, &options, *sizes, &weights, kind).unwrap();
    (model, weights)
}

pub fn config(variant: &Variant, model: ModelSection) -> RunConfig {
    RunConfig {
        run: RunSection {
            task: "text".into(),
            model: variant.name.into(),
            preset: "quick".into(),
            seed: 3,
            device: "cuda:0".into(),
            dtype: Dtype::F32,
            micro_batch: 64,
            recompute: false,
        },
        model,
        attention: toml::Table::new(),
        data: toml::Table::new(),
        train: TrainSection { clip: 0.5, ..common::training() },
    }
}
