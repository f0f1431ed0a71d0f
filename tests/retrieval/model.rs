//! The encoder of two documents.

use super::common::{SIZES, flat, model};
use candle_core::{DType, Device, Tensor};
use lra::attention::Registry;
use lra::config::{ModelSection, Pair, Pooling, Positions, Sizes};
use lra::layers::{Context, Weights};
use lra::models::Classifier;
use lra::ops::{Ids, Mask};

const TWO: Sizes = Sizes { vocabulary: 257, classes: 2, parts: 2 };

fn build(section: &ModelSection, sizes: Sizes) -> lra::Result<(Classifier, Weights)> {
    let (registry, weights) = (Registry::builtin(), Weights::new(0));
    let variant = registry.get("transformer").unwrap();
    let kind = (DType::F32, &Device::Cpu);
    let none = toml::Table::new();
    Ok((Classifier::new(section, variant, &none, sizes, &weights, kind)?, weights))
}

/// LRA's public configuration, whose 1.087 million parameters users of its code reported,
/// and the head of the paper's appendix on it.
#[test]
fn the_transformer_has_its_parameters() {
    for (pair, parameters) in [
        (None, 1_087_618),
        (Some(Pair::Concatenate), 1_087_618),
        (Some(Pair::Interaction), 1_218_690),
    ] {
        let section = ModelSection {
            length: 4000,
            layers: 4,
            width: 128,
            qkv: 128,
            heads: 4,
            feed_forward: 512,
            pair,
            ..model(Pooling::First, Positions::Sinusoid)
        };
        assert_eq!(build(&section, TWO).unwrap().1.count(), parameters, "{pair:?}");
    }
}

#[test]
fn what_one_document_or_two_cannot_have_is_named() {
    let pair = |pooling, pair| ModelSection { pair, ..model(pooling, Positions::Sinusoid) };
    for (section, sizes, parts) in [
        (pair(Pooling::Mean, Some(Pair::Concatenate)), SIZES, ["`model.pair`", "one document"]),
        (pair(Pooling::Cls, None), TWO, ["`model.pooling`", "first or mean"]),
    ] {
        let error = build(&section, sizes).err().unwrap();
        let said = error.to_string();
        assert_eq!(error.exit_code(), 2);
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
}

/// The same document twice, and a head that sees only `x1 - x2`: nothing without dropout,
/// something with it, since each document has draws of its own.
#[test]
fn two_documents_have_different_dropout() {
    for (dropout, attention_dropout) in [(0.5, 0.0), (0.0, 0.5)] {
        let section = ModelSection {
            dropout,
            attention_dropout,
            pair: Some(Pair::Interaction),
            ..model(Pooling::Mean, Positions::Sinusoid)
        };
        let (model, weights) = build(&section, TWO).unwrap();
        let hidden = &weights.vars()["head.hidden.weight"];
        let (rows, columns) = hidden.dims2().unwrap();
        let seen = hidden.narrow(1, columns - section.width, section.width).unwrap();
        let blank = Tensor::zeros((rows, columns - section.width), DType::F32, &Device::Cpu);
        hidden.set(&Tensor::cat(&[&blank.unwrap(), &seen], 1).unwrap()).unwrap();

        let document = [5, 200, 7, 7, 31, 2, 90, 111];
        let ids = Ids { ids: document.repeat(2).into(), batch: 2, n: document.len() };
        let cx = Context::new(Mask::from_lengths(&[8, 8], 8).unwrap(), 1);
        let scores = |cx| flat(&model.forward(&ids, &cx).unwrap());
        assert_eq!(scores(cx.clone().evaluating(3)), [0.0; 2]);
        let trained = scores(cx.training(3, 0));
        assert!(trained.iter().all(|s| *s != 0.0), "{dropout} {attention_dropout}: {trained:?}");
    }
}

/// Which document comes first matters to no order of the batch: every pair is scored alone.
#[test]
fn a_pair_is_scored_as_if_alone() {
    let section = ModelSection { length: 6, ..model(Pooling::First, Positions::Learned) };
    let (model, _) = build(&section, TWO).unwrap();
    let rows: [[u32; 6]; 4] =
        [[1, 2, 3, 4, 5, 6], [9, 9, 9, 0, 0, 0], [7, 0, 0, 0, 0, 0], [8, 256, 3, 2, 1, 0]];
    let scores = |rows: &[[u32; 6]]| {
        let lengths: Vec<_> = rows.iter().map(|r| r.iter().filter(|&&id| id > 0).count()).collect();
        let cx = Context::new(Mask::from_lengths(&lengths, 6).unwrap(), 1);
        let ids = Ids { ids: rows.concat().into(), batch: rows.len(), n: 6 };
        flat(&model.forward(&ids, &cx).unwrap())
    };
    let both = scores(&rows);
    let apart = [scores(&rows[..2]), scores(&rows[2..])].concat();
    // Other sums in matrix products of another height: rounding of f32 scores near 1.
    let off = both.iter().zip(&apart).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(off < 1e-6, "{off:e}");
    let swapped = [rows[1], rows[0]];
    assert_ne!(scores(&swapped), both[..2], "concatenation knows which is which");
}

/// Two documents cost twice one.
#[test]
fn cost_counts_both_documents() {
    let section = model(Pooling::Mean, Positions::Sinusoid);
    let one = build(&section, SIZES).unwrap().0.cost(20);
    let two = build(&section, TWO).unwrap().0.cost(20);
    assert_eq!((two.flops, two.saved), (2.0 * one.flops, 2.0 * one.saved));
}
