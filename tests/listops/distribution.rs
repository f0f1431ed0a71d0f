//! The generator against two references: figures measured on 20,000 accepted samples of
//! an independent implementation, and the exact law of lengths.

use lra::progress::Progress;
use lra::tasks::listops::{Operator, Options, evaluate, generate};

const SAMPLES: u64 = 20_000;

/// 20,000 examples: symbols and label.
fn samples() -> Vec<(Vec<u8>, u32)> {
    let options =
        Options { seed: 1, train: SAMPLES - 2, validation: 1, test: 1, ..Options::default() };
    let splits = generate(&options, &Progress::silent()).unwrap();
    let all = splits
        .iter()
        .flat_map(|split| (0..split.len()).map(|i| (split.tokens(i, 0).to_vec(), split.label(i))));
    all.collect()
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, square.sqrt())
}

/// Both sides are means over `SAMPLES`: the tolerance is 5 standard errors of their
/// difference, and half a unit of the reference's last printed digit.
fn close(what: &str, ours: f64, reference: f64, deviation: f64, digit: f64) {
    let tolerance = 5.0 * deviation * (2.0 / SAMPLES as f64).sqrt() + digit / 2.0;
    assert!(
        (ours - reference).abs() < tolerance,
        "{what}: {ours} is not {reference} +- {tolerance}"
    );
}

#[test]
fn as_the_independent_measurement() {
    let samples = samples();
    assert_eq!(samples.len() as u64, SAMPLES);
    let lengths: Vec<f64> = samples.iter().map(|(s, _)| s.len() as f64).collect();

    let (mean, deviation) = mean_and_deviation(&lengths);
    close("mean length", mean, 1035.0, deviation, 1.0);
    // With some 0.0013 of the mass on each of the first lengths and 0.0003 on each of the
    // last, 20,000 samples miss an end with probability below 1 %; the seed is fixed.
    let (least, most) = lengths.iter().fold((f64::MAX, 0f64), |(a, b), &l| (a.min(l), b.max(l)));
    assert_eq!((least, most), (501.0, 1999.0));

    // Deciles by the share of samples below them, which is binomial. The quantile is
    // printed as an integer: half a step of it moves the share by under 0.001.
    let deciles = [578., 659., 748., 844., 953., 1074., 1221., 1408., 1648.];
    for (i, decile) in deciles.iter().enumerate() {
        let p = (i + 1) as f64 / 10.0;
        let below = lengths.iter().filter(|l| *l <= decile).count() as f64 / SAMPLES as f64;
        close(&format!("share up to {decile}"), below, p, (p * (1.0 - p)).sqrt(), 0.002);
    }

    let frequencies = [0.168, 0.093, 0.073, 0.082, 0.089, 0.088, 0.077, 0.075, 0.085, 0.170];
    for (label, p) in frequencies.into_iter().enumerate() {
        let count = samples.iter().filter(|(_, l)| *l == label as u32).count() as f64;
        let deviation = f64::sqrt(p * (1.0 - p));
        close(&format!("label {label}"), count / SAMPLES as f64, p, deviation, 0.001);
    }

    let operators: Vec<f64> = samples
        .iter()
        .map(|(s, _)| s.iter().filter(|c| Operator::from_symbol(**c).is_some()).count() as f64)
        .collect();
    let (mean, deviation) = mean_and_deviation(&operators);
    close("operators", mean, 147.0, deviation, 1.0);

    // Printed as 100 %, so at least 99.5 %; never deeper, the depth being bounded.
    let depths: Vec<usize> = samples.iter().map(|(s, _)| depth(s)).collect();
    assert!(depths.iter().all(|d| *d <= 9));
    let deepest = depths.iter().filter(|d| **d == 9).count() as f64 / SAMPLES as f64;
    assert!(deepest >= 0.995, "{deepest}");
}

/// The operators are equally frequent: of some 2.9 million, each is a quarter within 5
/// standard errors. Arguments of an operator are 2 to 10; every example is well formed.
#[test]
fn operators_and_arguments() {
    let mut operators = [0u64; 4];
    for (symbols, label) in samples() {
        assert_eq!(evaluate(&symbols).map(u32::from), Ok(label));
        let mut open = Vec::new();
        for symbol in symbols {
            if symbol == 14 {
                let arguments: u32 = open.pop().unwrap();
                assert!((2..=10).contains(&arguments), "{arguments}");
                continue;
            }
            if let Some(arguments) = open.last_mut() {
                *arguments += 1;
            }
            if let Some(operator) = Operator::from_symbol(symbol) {
                operators[operator as usize] += 1;
                open.push(0);
            }
        }
    }
    let total = operators.iter().sum::<u64>() as f64;
    let tolerance = 5.0 * (0.25 * 0.75 / total).sqrt();
    for count in operators {
        assert!((count as f64 / total - 0.25).abs() < tolerance, "{operators:?}");
    }
}

fn depth(symbols: &[u8]) -> usize {
    let (mut open, mut deepest) = (0usize, 0);
    for &symbol in symbols {
        match symbol {
            10..14 => open += 1,
            14 => open -= 1,
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest
}

/// P(length = l) of a node at each depth, by convolution from the deepest up. A node is a
/// digit with probability 3/4 (1 at the deepest), or 2 tokens and 2 to 10 children.
fn length_law() -> Vec<f64> {
    const BOUND: usize = 2000;
    let mut law = vec![0.0; BOUND];
    law[1] = 1.0;
    for _ in 1..10 {
        let (mut power, mut node) = (law.clone(), vec![0.0; BOUND]);
        node[1] = 0.75;
        for _ in 2..=10 {
            let mut next = vec![0.0; BOUND];
            for (a, pa) in power.iter().enumerate().filter(|(_, p)| **p > 0.0) {
                for (to, pb) in next[a..].iter_mut().zip(&law) {
                    *to += pa * pb;
                }
            }
            power = next;
            for (to, p) in node[2..].iter_mut().zip(&power) {
                *to += 0.25 / 9.0 * p;
            }
        }
        law = node;
    }
    law
}

/// No second sample here: the largest gap between the observed and the exact distribution
/// (Kolmogorov) stays below 2.23 / sqrt(n), which chance exceeds once in 10,000.
#[test]
fn lengths_follow_the_exact_law() {
    let law = length_law();
    let accepted: f64 = law[501..2000].iter().sum();
    // The share the independent implementation printed.
    assert!((accepted - 0.082).abs() < 0.0025, "{accepted}");
    let mut counts = vec![0u64; 2000];
    samples().iter().for_each(|(symbols, _)| counts[symbols.len()] += 1);
    let (mut seen, mut expected, mut gap) = (0.0, 0.0, 0f64);
    for length in 501..2000 {
        seen += counts[length] as f64 / SAMPLES as f64;
        expected += law[length] / accepted;
        gap = gap.max((seen - expected).abs());
    }
    assert!((expected - 1.0).abs() < 1e-9 && (seen - 1.0).abs() < 1e-9);
    assert!(gap < 2.23 / (SAMPLES as f64).sqrt(), "{gap}");
}
