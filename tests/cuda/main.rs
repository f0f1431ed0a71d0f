//! The CUDA face of every op, and every model on a GPU, against the CPU. Without a GPU, or in a
//! binary without CUDA, the tests say so and pass:
//! `cargo test --release --features cuda --test cuda`.

mod agree;
mod blocks;
#[path = "../common/mod.rs"]
mod common;
mod few;
mod gpu;
mod kernel;
mod libraries;
mod models;
#[path = "../common/skip.rs"]
mod skip;

use agree::{agree, off, values};
use candle_core::{DType, Device, Tensor, Var};
use common::random;
use gpu::gpu;
use lra::attention::Registry;
use lra::config::{Card, Dtype, ModelSection, Pair, Pooling, Request, Sizes, resolve};
use lra::layers::Weights;
use lra::models::Classifier;
use lra::ops::attention::{Entry, Order, Rule, Span, blocks};
use lra::ops::{self, Attend, Blocks, Dropout, Extra, FeedForward, Ids, Layer, Mask, Mixing};
use lra::random::Key;
use lra::train::{AdamW, gradients, step};
use models::{config, model, section, tokens};
use std::sync::Arc;

fn drop(p: f64, name: &str) -> Dropout {
    Dropout { p, key: Key::new(5).named(name), first_example: 3 }
}

/// Lists of every kind that a variant has.
fn lists(b: usize, h: usize, n: usize) -> Vec<(&'static str, Blocks)> {
    let window = |reach: usize| {
        let entry = |block: std::ops::Range<usize>| {
            let around = block.start.saturating_sub(reach)..(block.end + reach).min(n);
            let rule = Rule::Within(-(reach as isize), reach as isize);
            Entry {
                queries: block.into(),
                keys: vec![
                    (around.into(), rule),
                    ((0..1).into(), Rule::Beyond(-(reach as isize), reach as isize)),
                ],
            }
        };
        blocks(n, 50).map(entry).collect::<Vec<_>>()
    };
    let columns = |l: usize| {
        let span = |r: usize| Span::new(r, (n - r).div_ceil(l), l);
        let far = Rule::Beyond(1 - l as isize, l as isize - 1);
        (0..l).map(|r| Entry { queries: span(r), keys: vec![(span(r), far)] }).collect::<Vec<_>>()
    };
    let summaries = |l: usize| {
        let span = |r: usize| Span::new(r, (n - r).div_ceil(l), l);
        let entry = |block: std::ops::Range<usize>| Entry {
            queries: block.clone().into(),
            keys: vec![
                ((block.start..(block.start + l - 2).min(n)).into(), Rule::All),
                (span(l - 2), Rule::All),
                (span(l - 1), Rule::All),
            ],
        };
        blocks(n, l).map(entry).collect::<Vec<_>>()
    };
    let by_head = (0..h).map(|head| vec![window(3 + 9 * head)]).collect();
    let both = (0..b * h).map(|i| vec![summaries(5 + i)]).collect();
    let causal =
        Entry { queries: (0..n).into(), keys: vec![((0..n).into(), Rule::Within(isize::MIN, 0))] };
    vec![
        ("full", Blocks::full(n)),
        ("local", Blocks::local(n, 50)),
        ("window", Blocks::new(n, n, vec![window(16)])),
        ("two parts", Blocks::new(n, n, vec![window(6), columns(7)])),
        ("summaries", Blocks::new(n, n, vec![summaries(9)])),
        ("causal", Blocks::new(n, n, vec![vec![causal]])),
        ("by head", Blocks::per_head(n, n, by_head)),
        ("by both", Blocks::each(n, n, h, both)),
        ("sorted", sorted(b, h, n)),
    ]
}

/// Two rounds of chunks of positions in another order, padding behind.
fn sorted(b: usize, h: usize, n: usize) -> Blocks {
    lra::attention::sorted(&buckets(b, h, n, &Device::Cpu), 8, &mask(b, n), (32, 1, 0)).unwrap()
}

fn buckets(b: usize, h: usize, n: usize, device: &Device) -> Tensor {
    let all = (0..2 * b * h * n).map(|i| (i as u32).wrapping_mul(2_654_435_761) >> 29);
    Tensor::from_vec(all.collect::<Vec<_>>(), (2, b, h, n), device).unwrap()
}

/// Sorting on the GPU is that of the CPU, also of more positions than a block has threads.
#[test]
fn orders_by_bucket() {
    let Some(gpu) = gpu() else { return };
    for n in [1, 31, 203, 9000] {
        let of = |device| {
            let order = Order::by_bucket(&buckets(3, 2, n, device), 8, &mask(3, n)).unwrap();
            order.tensor(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<u32>().unwrap()
        };
        assert_eq!(of(&gpu), of(&Device::Cpu), "{n} positions");
    }
}

/// The first example whole, others shorter and shorter.
fn mask(b: usize, n: usize) -> Mask {
    let lengths: Vec<usize> = (0..b).map(|i| n - i * n / (b + 2)).collect();
    Mask::from_lengths(&lengths, n).unwrap()
}

fn attend(h: usize, w: usize, blocks: Blocks, mask: Mask, p: f64) -> Attend {
    Attend {
        heads: h,
        blocks: Arc::new(blocks),
        keys: mask.clone(),
        mask,
        scale: (w as f64).powf(-0.5),
        dropout: drop(p, "weights"),
    }
}

#[test]
fn attention_over_every_kind_of_list() {
    let (b, h, n) = (3, 2, 203);
    for w in [8, 16, 24, 64, 128] {
        let qkv = random(&[b, n, 3 * h * w], w as u64);
        for (name, blocks) in lists(b, h, n) {
            for p in [0.0, 0.3] {
                let how = attend(h, w, blocks.clone(), mask(b, n), p);
                agree(&format!("{name} {w} {p}"), std::slice::from_ref(&qkv), &|x| {
                    ops::attention_joined(&x[0], &how)
                });
            }
        }
    }
}

#[test]
fn attention_with_operands_apart_and_terms() {
    let (b, h, n, m, w) = (3, 2, 150, 211, 32);
    let how = |examples: usize| {
        let how = attend(h, w, Blocks::rectangle(n, m), mask(examples, n), 0.2);
        Attend { keys: mask(examples, m), ..how }
    };
    let inputs = |wide: usize| {
        vec![random(&[b, n, h * w], 1), random(&[b, m, h * w], 2), random(&[b, m, h * wide], 3)]
    };
    agree("apart", &inputs(w), &|x| ops::attention(&x[0], &x[1], &x[2], &how(b)));
    agree("wider values", &inputs(2 * w), &|x| ops::attention(&x[0], &x[1], &x[2], &how(b)));
    for examples in [1, b] {
        let inputs = [
            random(&[b, n, h * w], 1),
            random(&[b, m, 2 * h * w], 2),
            random(&[examples, m, h], 3),
        ];
        agree("terms", &inputs, &|x| {
            ops::attention_kv(&x[0], &x[1], Some((Extra::Keys, &x[2])), &how(b))
        });
    }
}

/// Terms of pairs, for each example and for all, with scores of queries and keys and without.
#[test]
fn attention_with_pairs() {
    let (b, h, n, m, w) = (3, 2, 100, 133, 16);
    let how = attend(h, w, Blocks::rectangle(n, m), mask(b, n), 0.2);
    let how = Attend { keys: mask(b, m), ..how };
    for examples in [1, b] {
        let pairs = random(&[examples, h, n, m], 4);
        let inputs = [
            random(&[b, n, h * w], 1),
            random(&[b, m, h * w], 2),
            random(&[b, m, h * w], 3),
            pairs.clone(),
        ];
        agree(&format!("pairs of {examples}"), &inputs, &|x| {
            ops::attention_with(Some((&x[0], &x[1])), &x[2], (Extra::Pairs, &x[3]), &how)
        });
        let inputs = [random(&[b, m, h * w], 3), pairs];
        agree(&format!("pairs of {examples} alone"), &inputs, &|x| {
            ops::attention_with(None, &x[0], (Extra::Pairs, &x[1]), &how)
        });
    }
}

/// Segments and the keys before them, by distance: lengths that tiles divide and do not.
#[test]
fn attention_by_distance() {
    let (b, h) = (3, 2);
    for (n, segment, memory) in [(150, 40, 30), (256, 128, 128), (203, 64, 100)] {
        let entry = |block: std::ops::Range<usize>| {
            let before = block.start.saturating_sub(memory)..block.start;
            let mut keys = vec![(block.clone().into(), Rule::All)];
            if !before.is_empty() {
                keys.push(((n + before.start..n + before.end).into(), Rule::All));
            }
            Entry { queries: block.into(), keys }
        };
        let blocks = Blocks::new(n, 2 * n, vec![blocks(n, segment).map(entry).collect()]);
        let distances = memory + 2 * segment - 1;
        for w in [16, 64] {
            let how = attend(h, w, blocks.clone(), mask(b, n), 0.2);
            let how = Attend { keys: how.mask.twice().unwrap(), ..how };
            let inputs = [
                random(&[b, n, h * w], 1),
                random(&[b, 2 * n, 2 * h * w], 2),
                random(&[1, distances, h * (w + 1)], 3),
            ];
            agree(&format!("distances {n} {segment} {memory} {w}"), &inputs, &|x| {
                let extra = (Extra::Distances { zero: segment - 1 }, &x[2]);
                ops::attention_kv(&x[0], &x[1], Some(extra), &how)
            });
        }
    }
}

#[test]
fn layers() {
    let (b, n) = (3, 90);
    for (d, m, h) in [(32, 128, 2), (96, 36, 1), (512, 1024, 8)] {
        let weights = [
            random(&[d], 2),
            random(&[d], 3),
            random(&[m, d], 4),
            random(&[m], 5),
            random(&[d, m], 6),
            random(&[d], 7),
        ];
        let small = |x: &Tensor| (x * (2.0 / (d as f64).sqrt())).unwrap();
        let mut inputs = vec![random(&[b, n, d], 1)];
        inputs.extend(weights.iter().map(small));
        for (p, residual) in [(0.0, true), (0.4, true), (0.4, false)] {
            agree(&format!("feed-forward {d} {p}"), &inputs, &|x| {
                let exact = exact(x);
                let how = FeedForward {
                    norm: (&exact[1], &exact[2]),
                    eps: 1e-6,
                    up: (&exact[3], &exact[4]),
                    down: (&exact[5], &exact[6]),
                    drop: (drop(p, "hidden"), drop(p, "output")),
                    residual,
                };
                ops::feed_forward(&x[0], &how)
            });
            let a = 2 * d;
            let projections = [
                random(&[a, d], 11),
                random(&[a, d], 12),
                random(&[a, d], 13),
                random(&[d, a], 14),
            ];
            let mut inputs = inputs[..3].to_vec();
            inputs.extend(projections.iter().map(small));
            agree(&format!("attention layer {d} {p}"), &inputs, &|x| {
                let exact = exact(x);
                let how = Layer {
                    norm: (&exact[1], &exact[2]),
                    eps: 1e-6,
                    into: [&exact[3], &exact[4], &exact[5]],
                    out: &exact[6],
                    mixing: Mixing::Softmax(attend(h, a / h, Blocks::local(n, 33), mask(b, n), p)),
                    drop: drop(p, "output"),
                    residual,
                };
                ops::attention_layer(&x[0], &how)
            });
        }
    }
}

/// Weights stay f32 where layers are bf16.
fn exact(x: &[Tensor]) -> Vec<Tensor> {
    let exact = |x: &Tensor| match x.dtype() {
        DType::BF16 => x.to_dtype(DType::F32).unwrap(),
        _ => x.clone(),
    };
    x.iter().map(exact).collect()
}

#[test]
fn rows() {
    for d in [7, 32, 100, 512, 1500] {
        let inputs = [random(&[3, 41, d], 1), random(&[d], 2), random(&[d], 3)];
        agree("layer norm", &inputs, &|x| {
            let exact = exact(x);
            ops::layer_norm(&x[0], &exact[1], &exact[2], 1e-6)
        });
        let inputs = [random(&[3, 41, d], 1), random(&[3, 41, d], 2)];
        agree("residual", &inputs, &|x| ops::add_dropout(&x[0], &x[1], drop(0.3, "drop")));
        agree("dropout", &inputs[..1], &|x| ops::dropout(&x[0], drop(0.3, "drop")));
        let inputs = [random(&[3, 41, d], 1), random(&[24, d], 2), random(&[24], 3)];
        agree("linear", &inputs, &|x| ops::linear(&x[0], &exact(x)[1], Some(&exact(x)[2])));
        agree("linear without bias", &inputs[..2], &|x| ops::linear(&x[0], &exact(x)[1], None));
        let inputs = [random(&[3, 41, d], 1), random(&[50, 9], 2)];
        for mask in [mask(3, 41), Mask::from_lengths(&[41; 3], 41).unwrap()] {
            agree("mix", &inputs, &|x| ops::mix(&x[0], &exact(x)[1], &mask));
        }
        let inputs = [random(&[11, d], 1), random(&[50, d], 2), random(&[1, d], 3)];
        let ids: Vec<u32> = (0..3 * 41).map(|i| i * 7 % 11).collect();
        let ids = Ids { ids: ids.into(), batch: 3, n: 41 };
        agree("embedding", &inputs, &|x| {
            let exact = exact(x);
            ops::embed(&ids, &exact[0], &exact[1], Some(&exact[2]))
        });
    }
}

/// Loss and gradients of all weights of every variant: f32 as the CPU's f32, bf16 near it, and
/// both the same twice.
#[test]
fn every_model() {
    let Some(gpu) = gpu() else { return };
    let registry = Registry::builtin();
    for variant in registry.iter() {
        let mut kinds = vec![section(variant)];
        let (two, sizes) = section(variant);
        let pair = ModelSection { pair: Some(Pair::Concatenate), pooling: Pooling::Mean, ..two };
        kinds.push((pair, Sizes { parts: 2, ..sizes }));
        for kind in &kinds {
            let mut batch = tokens(&[150, 71, 150, 9, 100, 149]);
            batch.parts = kind.1.parts;
            batch.labels.truncate(6 / batch.parts);
            let of = |dtype, device: &Device| {
                let (model, weights) = model(variant, kind, (dtype, device));
                let found = gradients(&model, &weights.vars(), &batch, 6, (3, 1), &|| false);
                let found = found.unwrap().unwrap();
                (found.loss().unwrap(), found.by_name)
            };
            let (loss, right) = of(DType::F32, &Device::Cpu);
            let whole = right.values().map(|g| norm(g).powi(2)).sum::<f64>().sqrt();
            for (dtype, tolerance) in [(DType::F32, 1e-4), (DType::BF16, 0.5)] {
                let (found, all) = of(dtype, &gpu);
                let (again, twice) = of(dtype, &gpu);
                assert_eq!(found.to_bits(), again.to_bits(), "{}: {dtype:?} loss", variant.name);
                let by = (found - loss).abs() / loss;
                assert!(by < tolerance, "{} {dtype:?}: the loss is off by {by:e}", variant.name);
                let mut square = 0.0;
                for (name, gradient) in &all {
                    assert_eq!(gradient.dtype(), DType::F32);
                    let same = off(gradient, &twice[name], 1e-6) == 0.0;
                    assert!(same, "{} {dtype:?}: {name} is not the same twice", variant.name);
                    let size = norm(&right[name]);
                    let far = off(gradient, &right[name], 1e-6) * size.max(1e-6);
                    square += far * far;
                    // Of weights whose gradient is all but nothing, what is left is rounding.
                    let by = far / size.max(1e-3 * whole);
                    let right = dtype == DType::BF16 || by < tolerance;
                    assert!(right, "{} {dtype:?}: {name} is off by {by:e}", variant.name);
                }
                // In bf16 units of the head's ReLU fall on the other side of zero: each is a
                // tenth of an example's slope. A slope of the wrong sign or size is 1 off.
                let by = square.sqrt() / whole;
                let what = "the whole gradient";
                assert!(by < tolerance, "{} {dtype:?}: {what} is off by {by:e}", variant.name);
            }
            println!("{}: {} documents", variant.name, kind.1.parts);
        }
    }
}

fn norm(x: &Tensor) -> f64 {
    agree::norm(values(x).into_iter())
}

/// Ten steps of training on the GPU as on the CPU: the fused update, clipped.
#[test]
fn training_follows_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let registry = Registry::builtin();
    let variant = registry.get("transformer").unwrap();
    let batch = tokens(&[150, 71, 150, 9, 100, 149]);
    let config = config(variant, section(variant).0);
    let losses = |device: &Device| {
        let (model, weights) = model(variant, &section(variant), (DType::F32, device));
        let mut optimiser = AdamW::new(weights.vars()).unwrap();
        let mut one = |at| {
            let done = step(&model, &mut optimiser, &batch, &config, at, &|| false);
            done.unwrap().unwrap()
        };
        (0..10)
            .map(|at| {
                let done = one(at);
                (done.loss, done.gradient_norm)
            })
            .collect::<Vec<_>>()
    };
    for ((loss, norm), (right, right_norm)) in losses(&gpu).into_iter().zip(losses(&Device::Cpu)) {
        assert!((loss - right).abs() < 1e-3 * right, "{loss} {right}");
        assert!((norm - right_norm).abs() < 1e-3 * right_norm, "{norm} {right_norm}");
    }
}

/// Which of the directions and their opposites a row is nearest to.
#[test]
fn nearest_directions() {
    let Some(gpu) = gpu() else { return };
    for f in [1, 5, 32, 64, 100] {
        let x = random(&[2, 300, f], f as u64).to_dtype(DType::F32).unwrap();
        let of = |device: &Device, dtype| {
            let x = x.to_dtype(DType::BF16).unwrap().to_dtype(dtype).unwrap();
            let found = ops::nearest_direction(&x.to_device(device).unwrap()).unwrap();
            found.flatten_all().unwrap().to_vec1::<u32>().unwrap()
        };
        assert_eq!(of(&gpu, DType::F32), of(&Device::Cpu, DType::F32), "{f} directions");
        assert_eq!(of(&gpu, DType::BF16), of(&Device::Cpu, DType::F32), "{f} directions in bf16");
    }
}

/// A task that can be learned, trained for 60 steps: the loss of bf16 stays as near to that of
/// f32 as other seeds of f32 do.
#[test]
fn bf16_trains_as_f32() {
    let Some(gpu) = gpu() else { return };
    let registry = Registry::builtin();
    for name in ["transformer", "linear", "reformer"] {
        let variant = registry.get(name).unwrap();
        let (model_section, sizes) = section(variant);
        let config = config(variant, model_section.clone());
        let curve = |dtype, seed| {
            let weights = Weights::new(seed);
            let options = (variant.options)(&toml::Table::new()).unwrap();
            let kind = (dtype, &gpu);
            let model =
                Classifier::new(&model_section, variant, &options, sizes, &weights, kind).unwrap();
            let mut optimiser = AdamW::new(weights.vars()).unwrap();
            let mut config = config.clone();
            config.run.seed = seed;
            let one = |at: u64| {
                // The label is the most frequent of ten tokens.
                let mut batch = tokens(&[150; 16]);
                let mut rng = Key::new(seed).named("curve").index(at).stream();
                let mut ids = Vec::new();
                for label in &mut batch.labels {
                    *label = rand::Rng::random_range(&mut rng, 0..10);
                    ids.extend((0..150).map(|_| match rand::Rng::random_bool(&mut rng, 0.5) {
                        true => *label + 1,
                        false => rand::Rng::random_range(&mut rng, 1..17),
                    }));
                }
                batch.ids.ids = ids.into();
                step(&model, &mut optimiser, &batch, &config, at, &|| false).unwrap().unwrap().loss
            };
            let losses: Vec<f64> = (0..60).map(one).collect();
            losses[40..].iter().sum::<f64>() / 20.0
        };
        let exact: Vec<f64> = (0..5).map(|seed| curve(DType::F32, seed)).collect();
        let half: Vec<f64> = (0..5).map(|seed| curve(DType::BF16, seed)).collect();
        let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        let centre = mean(&exact);
        let spread = exact.iter().map(|x| (x - centre).powi(2)).sum::<f64>() / 4.0;
        let by = (mean(&half) - centre).abs();
        println!("{name}: f32 {exact:.4?}, bf16 {half:.4?}");
        assert!(by < spread.sqrt(), "{name}: f32 {exact:?}, bf16 {half:?}");
    }
}

/// Two steps of every model on every task's sizes, in f32 and in bf16, twice: the same losses and
/// weights. The batch is two examples; what does not fit the card's memory is told.
#[test]
fn every_model_of_every_task() {
    let Some(gpu) = gpu() else { return };
    let registry = Registry::builtin();
    for task in lra::tasks::all() {
        let card = Card::of(*task).unwrap();
        for variant in registry.iter() {
            for (dtype, name) in [(Dtype::F32, "f32"), (Dtype::Bf16, "bf16")] {
                let sets = ["train.batch=2".to_owned()];
                let request =
                    Request { sets: &sets, device: "cuda:0", dtype, ..variant.request("lra") };
                let config = resolve(&card, &request).unwrap();
                let what = format!("{} on {} in {name}", variant.name, card.name);
                let fits = lra::train::check_memory(&config, variant, card.sizes(), &gpu);
                if let Err(error) = fits {
                    skip::skip(format!("{what}: {error}"));
                    continue;
                }
                let once = || {
                    let (model, weights) =
                        lra::train::build(&config, variant, card.sizes(), &gpu).unwrap();
                    let mut optimiser = AdamW::new(weights.vars()).unwrap();
                    let batch =
                        lra::bench::batch(&config, card.sizes(), config.model.length).unwrap();
                    let one = |at| {
                        let done = step(&model, &mut optimiser, &batch, &config, at, &|| false);
                        done.unwrap().unwrap().loss.to_bits()
                    };
                    let losses: Vec<u64> = (0..2).map(one).collect();
                    let sum = |(_, v): (_, Var)| {
                        v.as_tensor().abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()
                    };
                    let weights: Vec<u32> =
                        weights.vars().into_iter().map(|x| sum(x).to_bits()).collect();
                    (losses, weights)
                };
                assert!(once() == once(), "{what}: not the same twice");
            }
        }
        println!("{}", card.name);
    }
}
