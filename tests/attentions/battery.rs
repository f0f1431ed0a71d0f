//! What holds for every attention of the registry; new ones are covered unasked.

use super::common::{SIZES, batch, difference, largest, layer, model, random};
use candle_core::{DType, Device, Tensor};
use lra::attention::Registry;
use lra::config::{ModelSection, Pair, Pooling, Positions, Sizes};
use lra::data::Batch;
use lra::layers::{Context, Weights};
use lra::models::Classifier;
use lra::ops::Mask;
use lra::train::gradients;

/// Models of one sequence, and of two that meet in the head.
fn models() -> Vec<(ModelSection, Sizes)> {
    let pair =
        |pooling, pair| ModelSection { pair: Some(pair), ..model(pooling, Positions::Sinusoid) };
    let two = Sizes { parts: 2, ..SIZES };
    vec![
        (model(Pooling::Cls, Positions::Learned), SIZES),
        (model(Pooling::Mean, Positions::Sinusoid), SIZES),
        (pair(Pooling::Mean, Pair::Concatenate), two),
        (pair(Pooling::First, Pair::Interaction), two),
    ]
}

/// Six rows of tokens: as many examples, or three of two documents.
fn rows(parts: usize) -> Batch {
    let mut batch = batch(&[24, 11, 17, 5, 24, 9], 1);
    batch.labels.truncate(6 / parts);
    Batch { parts, ..batch }
}

/// Every variable of every model gets a finite gradient that is not zero, in training
/// mode, with padding, whatever the pooling, the positions and the number of documents.
#[test]
fn every_weight_gets_a_gradient() {
    let registry = Registry::builtin();
    for variant in registry.iter() {
        for (section, sizes) in models() {
            let weights = Weights::new(3);
            let kind = (DType::F32, &Device::Cpu);
            let none = toml::Table::new();
            let model = Classifier::new(&section, variant, &none, sizes, &weights, kind);
            let batch = rows(sizes.parts);
            // Step 1: the CLS vector and the biases start at zero, not their gradients.
            let found = gradients(&model.unwrap(), &weights.vars(), &batch, 6, (3, 1), &|| false);
            let found = found.unwrap().unwrap();
            assert!(found.loss.is_finite(), "{}: loss {}", variant.name, found.loss);
            for (name, gradient) in &found.by_name {
                let size = largest(gradient);
                assert!(size.is_finite() && size > 0.0, "{}: {name}: {size}", variant.name);
            }
            assert_eq!(found.by_name.len(), weights.vars().len());
        }
    }
}

/// Gradients of a batch taken in parts, dropout on, are those of the whole, to rounding.
#[test]
fn micro_batches_change_nothing() {
    for (variant, (section, sizes)) in
        Registry::builtin().iter().flat_map(|v| models().into_iter().map(move |m| (v, m)))
    {
        let weights = Weights::new(3);
        let kind = (DType::F64, &Device::Cpu);
        let none = toml::Table::new();
        let model = Classifier::new(&section, variant, &none, sizes, &weights, kind).unwrap();
        let (vars, batch) = (weights.vars(), rows(sizes.parts));
        let of =
            |micro| gradients(&model, &vars, &batch, micro, (3, 7), &|| false).unwrap().unwrap();
        let whole = of(6);
        for micro in [1, 2, 3] {
            let parts = of(micro);
            assert!((whole.loss - parts.loss).abs() < 1e-13, "{} by {micro}", variant.name);
            for (name, gradient) in &whole.by_name {
                let off = difference(gradient, &parts.by_name[name]);
                assert!(off < 1e-13, "{}: {name} by {micro}: {off:e}", variant.name);
            }
        }
    }
}

/// The model's answers change neither with what stands at padded positions nor, beyond
/// rounding, with how many there are.
#[test]
fn padding_changes_nothing() {
    for variant in Registry::builtin().iter() {
        let (attention, _) = layer(variant, "");
        let (len, n) = (9, 14);
        let x = random(&[2, n, 12], 1);
        let lengths = [len, n];
        let cx = |n| Context::new(Mask::from_lengths(&lengths, n).unwrap(), 1);
        let y = attention.forward(&x, &cx(n)).unwrap();
        let valid = |y: &Tensor| y.narrow(0, 0, 1).unwrap().narrow(1, 0, len).unwrap();

        let garbage = (random(&[1, n - len, 12], 2) * 50.0).unwrap();
        let first = Tensor::cat(&[&valid(&x), &garbage], 1).unwrap();
        let dirty = Tensor::cat(&[&first, &x.narrow(0, 1, 1).unwrap()], 0).unwrap();
        let y_dirty = attention.forward(&dirty, &cx(n)).unwrap();
        assert_eq!(difference(&valid(&y), &valid(&y_dirty)), 0.0, "{}: contents", variant.name);

        let more = Tensor::cat(&[&x, &random(&[2, 6, 12], 3)], 1).unwrap();
        let y_more = attention.forward(&more, &cx(n + 6)).unwrap();
        let off = difference(&valid(&y), &valid(&y_more));
        assert!(off < 1e-12, "{}: {off:e} by more padding", variant.name);
    }
}

/// A row of the batch does not depend on the others, to the bit.
#[test]
fn examples_are_independent() {
    for variant in Registry::builtin().iter() {
        let (attention, _) = layer(variant, "");
        let x = random(&[3, 20, 12], 1);
        let cx = Context::new(Mask::from_lengths(&[20; 3], 20).unwrap(), 1);
        let second = |x: &Tensor| x.narrow(0, 1, 1).unwrap();
        let others = |salt| (random(&[1, 20, 12], salt) * 9.0).unwrap();
        let moved = Tensor::cat(&[&others(2), &second(&x), &others(3)], 0).unwrap();
        let [y, y_moved] = [x, moved].map(|x| second(&attention.forward(&x, &cx).unwrap()));
        assert_eq!(difference(&y, &y_moved), 0.0, "{}", variant.name);
    }
}

/// Which outputs change with which input, against the declared receptive field; the
/// whole row of outputs must also feel its own token.
#[test]
fn support_is_as_declared() {
    let n = 24;
    for variant in Registry::builtin().iter() {
        let options = if variant.name == "local" { "block = 5" } else { "" };
        let (attention, _) = layer(variant, options);
        let cx = Context::new(Mask::from_lengths(&[n], n).unwrap(), 1);
        let x = random(&[1, n, 12], 1);
        let y = attention.forward(&x, &cx).unwrap().squeeze(0).unwrap();
        let mut seen = vec![0; n];
        for j in 0..n {
            let mut rows: Vec<Vec<f64>> = x.squeeze(0).unwrap().to_vec2().unwrap();
            rows[j].iter_mut().for_each(|v| *v += 0.5);
            let moved = Tensor::new(rows, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
            let moved = attention.forward(&moved, &cx).unwrap().squeeze(0).unwrap();
            for (i, seen) in seen.iter_mut().enumerate() {
                let row = |y: &Tensor| y.get(i).unwrap();
                let changed = difference(&row(&y), &row(&moved)) != 0.0;
                *seen += usize::from(changed);
                assert!(changed || i != j, "{}: {i} does not feel itself", variant.name);
            }
        }
        let widest = seen.into_iter().max().unwrap();
        assert_eq!(widest, attention.receptive_field(n), "{}", variant.name);
    }
}

/// The same context gives the same bytes, and evaluation does not depend on the step as
/// long as nothing is redrawn.
#[test]
fn calls_repeat() {
    for variant in Registry::builtin().iter() {
        let (attention, _) = layer(variant, "");
        let x = random(&[2, 20, 12], 1);
        let mask = Mask::from_lengths(&[20, 13], 20).unwrap();
        let y = |cx: Context| attention.forward(&x, &cx).unwrap();
        let train = || Context::new(mask.clone(), 1).training(5, 0);
        assert_eq!(difference(&y(train()), &y(train())), 0.0, "{}", variant.name);
        let at = |step| y(Context::new(mask.clone(), 1).evaluating(step));
        assert_eq!(difference(&at(3), &at(997)), 0.0, "{}", variant.name);
    }
}

/// FLOPs at n, 2n, 4n: a variant that says it is linear must be.
#[test]
fn declared_costs_grow_as_claimed() {
    for variant in Registry::builtin().iter() {
        let (attention, _) = layer(variant, "");
        let flops = |n| attention.cost(n).flops;
        let saved = |n| attention.cost(n).saved;
        let slope = |f: &dyn Fn(usize) -> f64| (f(16384) / f(4096)).log2() / 2.0;
        if variant.summary.contains("linear time") {
            assert!(slope(&flops) < 1.05, "{}: {}", variant.name, slope(&flops));
        } else {
            assert!(slope(&flops) > 1.5, "{}: {}", variant.name, slope(&flops));
        }
        assert!(slope(&saved) < 1.05, "{}: {}", variant.name, slope(&saved));
    }
}
