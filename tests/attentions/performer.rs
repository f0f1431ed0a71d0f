//! FAVOR+: an unbiased estimate of the softmax kernel that converges.

use super::common::{difference, flat, layer, random};
use candle_core::{DType, Device, Tensor};
use lra::attention::{Registry, projection};
use lra::layers::Context;
use lra::ops::kernel::Kind;
use lra::ops::{Attend, Blocks, Dropout, Features, Kernelised, Mask, attention, kernel_attention};
use lra::random::Key;
use std::sync::Arc;

const WIDTH: usize = 16;
const DRAWS: u64 = 16_000;

fn inputs(n: usize) -> [Tensor; 3] {
    // Uniform in [-1, 1) has deviation 0.577: near the 0.5 at which the estimate is good.
    [1, 2, 3].map(|salt| random(&[1, n, WIDTH], salt))
}

/// Without the stabiliser the mean of `f(q) . f(k)` over draws is exp(q . k / sqrt d).
/// 16,000 independent blocks; the tolerance is 5 standard errors, measured in the test,
/// and below the 4.5 % by which a projection from a plain QR is off.
#[test]
fn the_kernel_is_unbiased() {
    let n = 6;
    let [q, k, _] = inputs(n);
    let (q, k) = (flat(&q), flat(&k));
    let row = |x: &[f64], i: usize| x[i * WIDTH..][..WIDTH].to_vec();
    for orthogonal in [true, false] {
        for (i, j) in [(0, 1), (2, 2), (5, 3)] {
            let (q, k) = (row(&q, i), row(&k, j));
            let root = (WIDTH as f64).powf(-0.25);
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let exact = (dot(&q, &k) * root * root).exp();
            let half = 0.5 * root * root * (dot(&q, &q) + dot(&k, &k));
            let sums: Vec<f64> = (0..DRAWS)
                .map(|draw| {
                    let w = projection(WIDTH, WIDTH, orthogonal, Key::new(5).index(draw)).unwrap();
                    let w = w.to_vec2::<f64>().unwrap();
                    let term = |w: &Vec<f64>| (root * (dot(w, &q) + dot(w, &k)) - half).exp();
                    w.iter().map(term).sum::<f64>() / WIDTH as f64
                })
                .collect();
            let mean = sums.iter().sum::<f64>() / DRAWS as f64;
            let variance =
                sums.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (DRAWS - 1) as f64;
            let error = (variance / DRAWS as f64).sqrt();
            assert!((mean - exact).abs() < 5.0 * error, "{mean} {exact} ± {error}");
            assert!(5.0 * error < 0.045 * exact, "{error} of {exact}");
        }
    }
}

/// The output approaches softmax attention, the error falling like 1/sqrt(m).
#[test]
fn attention_converges_to_softmax() {
    let n = 32;
    let [q, k, v] = inputs(n);
    let mask = Mask::from_lengths(&[n], n).unwrap();
    let how = Attend {
        heads: 1,
        blocks: Arc::new(Blocks::full(n)),
        mask: mask.clone(),
        keys: mask.clone(),
        scale: (WIDTH as f64).powf(-0.5),
        dropout: Dropout::NONE,
    };
    let exact = attention(&q, &k, &v, &how).unwrap();
    let qkv = Tensor::cat(&[&q, &k, &v], 2).unwrap();
    let norm = |x: &Tensor| flat(x).iter().map(|x| x * x).sum::<f64>().sqrt();
    // Root mean square over draws: a single draw is too noisy to show a slope.
    let error = |m: usize| {
        let square = (0..32u64).map(|draw| {
            let w = projection(m, WIDTH, true, Key::new(draw).index(m as u64)).unwrap();
            let features = Features::Random { kind: Kind::Positive, projection: w, eps: 0.0 };
            let how = Kernelised { heads: 1, mask: mask.clone(), features, eps: 0.0 };
            let o = kernel_attention(&qkv, &how).unwrap();
            (norm(&(o - &exact).unwrap()) / norm(&exact)).powi(2)
        });
        (square.sum::<f64>() / 32.0).sqrt()
    };
    let (few, many) = (error(64), error(4096));
    assert!(many < 0.1, "{many}");
    // 64 times the features: 1/8 of the error, within the noise of 32 draws.
    let slope = (many / few).log2() / 6.0;
    assert!((slope + 0.5).abs() < 0.1, "{few} -> {many}: slope {slope}");
}

/// Rows of a block are orthogonal, and their norms are those of Gaussian vectors.
#[test]
fn projections_are_orthogonal() {
    let w = projection(4 * WIDTH + 5, WIDTH, true, Key::new(1)).unwrap();
    let w = w.to_vec2::<f64>().unwrap();
    for block in w.chunks(WIDTH) {
        for (i, a) in block.iter().enumerate() {
            for b in &block[..i] {
                let dot: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                assert!(dot.abs() < 1e-12, "{dot}");
            }
        }
    }
    let w = projection(64 * WIDTH, WIDTH, true, Key::new(1)).unwrap();
    let squares = w.sqr().unwrap().sum(1).unwrap().to_vec1::<f64>().unwrap();
    // Chi-squared with 16 degrees of freedom: mean 16, variance 32, over 1,024 rows.
    let mean = squares.iter().sum::<f64>() / 1024.0;
    assert!((mean - 16.0).abs() < 5.0 * (32.0f64 / 1024.0).sqrt(), "{mean}");
    let variance = squares.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 1023.0;
    // The variance of a chi-squared sample variance: about 2 var² (1 + 6/16) / 1024.
    assert!((variance - 32.0).abs() < 5.0 * 32.0 * (2.75f64 / 1024.0).sqrt(), "{variance}");
}

/// A redraw changes the output at the ends of intervals and nowhere else, in training and
/// in evaluation.
#[test]
fn projections_are_redrawn_at_intervals() {
    let registry = Registry::builtin();
    let (performer, _) = layer(registry.get("performer").unwrap(), "redraw = 10");
    let x = random(&[1, 20, 12], 1);
    let mask = Mask::from_lengths(&[20], 20).unwrap();
    let at = |step: u64, train: bool| {
        let cx = Context::new(mask.clone(), 1);
        let cx = if train { cx.training(step, 0) } else { cx.evaluating(step) };
        performer.forward(&x, &cx).unwrap()
    };
    for train in [true, false] {
        assert_eq!(difference(&at(10, train), &at(19, train)), 0.0);
        assert!(difference(&at(9, train), &at(10, train)) > 1e-6);
    }
    assert_eq!(difference(&at(10, true), &at(10, false)), 0.0);
    let (never, _) = layer(registry.get("performer").unwrap(), "redraw = 0");
    let cx = |step| Context::new(mask.clone(), 1).training(step, 0);
    let (a, b) = (never.forward(&x, &cx(0)).unwrap(), never.forward(&x, &cx(5000)).unwrap());
    assert_eq!(difference(&a, &b), 0.0);
}

/// ReLU features are at least eps, so no row is without weight.
#[test]
fn relu_kernel_gives_finite_rows() {
    let registry = Registry::builtin();
    let (relu, _) = layer(registry.get("performer").unwrap(), "kernel = \"relu\"");
    let zeros = Tensor::zeros((1, 20, 12), DType::F64, &Device::Cpu).unwrap();
    let cx = Context::new(Mask::from_lengths(&[20], 20).unwrap(), 1);
    assert!(flat(&relu.forward(&zeros, &cx).unwrap()).iter().all(|x| x.is_finite()));
}
