//! The attention primitive in everything a pattern may ask of it.

use super::{check, difference, drop, masks, run};
use crate::common::random;
use candle_core::Tensor;
use lra::ops::attention::{
    Attend, Blocks, Entry, Extra, Order, Part, Rule, Span, attention, attention_with, blocks,
    reference, reference_with,
};
use rand::Rng;
use std::sync::Arc;

pub fn attend(n: usize, blocks: Blocks, p: f64) -> Attend {
    let (mask, keys) = (masks(n), masks(blocks.m()));
    Attend { heads: 2, blocks: Arc::new(blocks), mask, keys, scale: 0.4, dropout: drop(p) }
}

fn inputs(n: usize, m: usize) -> [Tensor; 3] {
    [random(&[3, n, 8], 1), random(&[3, m, 8], 2), random(&[3, m, 6], 3)]
}

fn agree(name: &str, how: &Attend) {
    let inputs = inputs(how.mask.n(), how.keys.n());
    check(name, &inputs, &|t| attention(&t[0], &t[1], &t[2], how), &|t| {
        reference(&t[0], &t[1], &t[2], how)
    });
}

#[test]
fn blocks_of_the_sequence() {
    let n = 22;
    for p in [0.0, 0.25] {
        for blocks in [Blocks::full(n), Blocks::local(n, 5), Blocks::local(n, 4)] {
            agree("attention", &attend(n, blocks, p));
        }
    }
}

/// Keys of their own, fewer and more than queries, and a mask of their own.
#[test]
fn rectangles() {
    for (n, m) in [(22, 7), (9, 31)] {
        for p in [0.0, 0.25] {
            agree("rectangle", &attend(n, Blocks::rectangle(n, m), p));
        }
        let [q, k, v] = inputs(n, m);
        let error = attention(&q, &k, &v, &attend(n, Blocks::full(n), 0.0)).unwrap_err();
        assert!(error.to_string().contains("blocks over"), "{error}");
    }
}

/// Residue classes modulo `step`, each seeing itself.
fn classes(n: usize, step: usize, rule: Rule) -> Part {
    let class = |r: usize| Span::new(r, (n - r).div_ceil(step), step);
    (0..step).map(|r| Entry { queries: class(r), keys: vec![(class(r), rule)] }).collect()
}

/// Blocks that see their neighbours under a rule.
fn bands(n: usize, size: usize, rule: Rule) -> Part {
    let around = |b: std::ops::Range<usize>| b.start.saturating_sub(size)..(b.end + size).min(n);
    blocks(n, size)
        .map(|b| Entry { queries: b.clone().into(), keys: vec![(around(b).into(), rule)] })
        .collect()
}

#[test]
fn steps_and_rules() {
    let n = 22;
    let rules = [
        ("all", Rule::All),
        ("window", Rule::Within(-4, 3)),
        ("causal", Rule::Within(isize::MIN, 0)),
        ("beyond", Rule::Beyond(-3, 0)),
        ("others first", Rule::OthersFirst),
    ];
    for (name, rule) in rules {
        for part in [classes(n, 3, rule), bands(n, 5, rule)] {
            for p in [0.0, 0.25] {
                agree(name, &attend(n, Blocks::new(n, n, vec![part.clone()]), p));
            }
        }
    }
}

/// Keys that many queries see, in several short lists: they are laid out once and collected from
/// there.
#[test]
fn many_lists_of_keys_seen_often() {
    let n = 22;
    let lists = |i: usize| vec![(Span::new(i % 3, 4, 2), Rule::All), ((12..17).into(), Rule::All)];
    let entry = |i: usize| Entry { queries: (i..i + 2).into(), keys: lists(i) };
    let part: Vec<Entry> = (0..n).step_by(2).map(entry).collect();
    for p in [0.0, 0.25] {
        agree("lists", &attend(n, Blocks::new(n, n, vec![part.clone()]), p));
    }
}

/// A query alone with itself has weight 1 there; one with company has none.
#[test]
fn last_resorts() {
    let n = 6;
    let alone = |i: usize| (Span::from(i..i + 1), Rule::OthersFirst);
    let pair = Entry { queries: (1..3).into(), keys: vec![((1..3).into(), Rule::OthersFirst)] };
    let single = Entry { queries: (0..1).into(), keys: vec![alone(0)] };
    let how = Attend {
        mask: lra::ops::Mask::from_lengths(&[n; 3], n).unwrap(),
        keys: lra::ops::Mask::from_lengths(&[n; 3], n).unwrap(),
        ..attend(n, Blocks::new(n, n, vec![vec![single, pair]]), 0.0)
    };
    let [q, k, v] = inputs(n, n);
    let o = attention(&q, &k, &v, &how).unwrap();
    let row = |x: &Tensor, i| x.narrow(1, i, 1).unwrap();
    assert_eq!(difference(&row(&o, 0), &row(&v, 0)), 0.0);
    assert_eq!(difference(&row(&o, 1), &row(&v, 2)), 0.0);
    assert_eq!(difference(&row(&o, 2), &row(&v, 1)), 0.0);
}

/// Parts are one softmax over the union, and each head may have a list of its own.
#[test]
fn parts_and_heads() {
    let n = 22;
    let merged = vec![bands(n, 5, Rule::Within(-2, 2)), classes(n, 3, Rule::Beyond(-2, 2))];
    let union = Blocks::new(n, n, merged.clone());
    for p in [0.0, 0.25] {
        agree("merged", &attend(n, union.clone(), p));
        let lists = vec![merged.clone(), vec![classes(n, 4, Rule::All)]];
        agree("heads", &attend(n, Blocks::per_head(n, n, lists), p));
    }
    // By the rule alone, in one part.
    let dense = union.dense(0, 0);
    for i in 0..n {
        for j in 0..n {
            let near = i.abs_diff(j) <= 2;
            let seen = near || i % 3 == j % 3;
            assert_eq!(dense[i * n + j], f32::from(seen), "{i} {j}");
        }
    }
}

/// Rounds over another order of each head and example, in which a pair may be met twice.
fn shuffled(n: usize, ends: [usize; 3], size: usize) -> Blocks {
    let mut rng = lra::random::Key::new(3).stream();
    let valid = masks(n);
    let mut positions = Vec::new();
    for _round in 0..2 {
        for (b, &end) in ends.iter().enumerate() {
            for _head in 0..2 {
                let (mut real, padded): (Vec<u32>, Vec<u32>) =
                    (0..n as u32).partition(|&p| valid.row(b)[p as usize]);
                assert_eq!(real.len(), end);
                for i in (1..real.len()).rev() {
                    real.swap(i, rng.random_range(0..=i));
                }
                positions.extend(real.into_iter().chain(padded));
            }
        }
    }
    let order = Order::new(positions, (2, 3, 2, n)).unwrap();
    let round = |end: usize| bands(end, size, Rule::OthersFirst);
    Blocks::sorted(order, ends.map(|end| vec![round(end); 2]).to_vec())
}

#[test]
fn sorted_rounds() {
    let n = 22;
    for p in [0.0, 0.25] {
        agree("sorted", &attend(n, shuffled(n, [22, 11, 19], 4), p));
    }
}

#[test]
fn terms_for_pairs_and_keys() {
    let (n, m) = (13, 22);
    for (blocks, m) in [
        (Blocks::rectangle(n, m), m),
        (Blocks::new(n, n, vec![classes(n, 3, Rule::All), bands(n, 4, Rule::Beyond(0, 0))]), n),
        (shuffled(n, [13, 6, 10], 4), n),
    ] {
        let how = attend(n, blocks, 0.25);
        for examples in [1, 3] {
            let terms = random(&[examples, 2, n, m], 4);
            let [q, k, v] = inputs(n, m);
            let four = [q, k, v.clone(), terms.clone()];
            let run =
                |t: &[Tensor], f: Face| f(Some((&t[0], &t[1])), &t[2], (Extra::Pairs, &t[3]), &how);
            check("pairs", &four, &|t| run(t, attention_with), &|t| run(t, reference_with));
            let two = [v, terms];
            let run = |t: &[Tensor], f: Face| f(None, &t[0], (Extra::Pairs, &t[1]), &how);
            check("pairs alone", &two, &|t| run(t, attention_with), &|t| run(t, reference_with));
            let [q, k, v] = inputs(n, m);
            let four = [q, k, v, random(&[examples, m, 2], 4)];
            let run =
                |t: &[Tensor], f: Face| f(Some((&t[0], &t[1])), &t[2], (Extra::Keys, &t[3]), &how);
            check("keys", &four, &|t| run(t, attention_with), &|t| run(t, reference_with));
        }
    }
}

type Face = fn(
    Option<(&Tensor, &Tensor)>,
    &Tensor,
    (Extra, &Tensor),
    &Attend,
) -> candle_core::Result<Tensor>;

/// Blocks that see themselves and, among copies of the keys, the block before.
#[test]
fn terms_for_distances() {
    let (n, size) = (22, 5);
    let entry = |b: std::ops::Range<usize>| {
        let mut keys = vec![(Span::from(b.clone()), Rule::All)];
        if b.start > 0 {
            keys.push(((n + b.start - size..n + b.start).into(), Rule::All));
        }
        Entry { queries: b.into(), keys }
    };
    let blocks = Blocks::new(n, 2 * n, vec![blocks(n, size).map(entry).collect()]);
    let how = Attend {
        keys: {
            let valid = |b: usize| [masks(n).row(b), masks(n).row(b)].concat();
            lra::ops::Mask::new((0..3).flat_map(valid).collect(), 3, 2 * n).unwrap()
        },
        ..attend(n, blocks, 0.25)
    };
    let extra = Extra::Distances { zero: size - 1 };
    let [q, k, v] = inputs(n, 2 * n);
    let four = [q, k, v, random(&[1, 3 * size - 1, 10], 4)];
    let run = |t: &[Tensor], f: Face| f(Some((&t[0], &t[1])), &t[2], (extra, &t[3]), &how);
    check("distances", &four, &|t| run(t, attention_with), &|t| run(t, reference_with));
}

/// Several tiles per head: longer than the largest tile, rows of unequal tiles.
#[test]
fn several_tiles() {
    let n = 700;
    let inputs = [random(&[3, n, 4], 1), random(&[3, n, 4], 2), random(&[3, n, 4], 3)];
    let bands = Blocks::new(n, n, vec![bands(n, 300, Rule::Within(-250, 290))]);
    for blocks in [Blocks::full(n), bands] {
        let how = attend(n, blocks, 0.1);
        let fused = |t: &[Tensor]| attention(&t[0], &t[1], &t[2], &how);
        let (y, grads) = run(&fused, &inputs);
        let (y_ref, grads_ref) = run(&|t| reference(&t[0], &t[1], &t[2], &how), &inputs);
        assert!(difference(&y, &y_ref) < 1e-11);
        for (g, g_ref) in grads.iter().zip(&grads_ref) {
            assert!(difference(g, g_ref) < 1e-11);
        }
    }
}

#[test]
fn an_order_must_be_one() {
    for positions in [vec![0, 1, 1], vec![0, 1, 3], vec![0, 1]] {
        let error = Order::new(positions, (1, 1, 1, 3)).unwrap_err().to_string();
        assert!(error.contains("order"), "{error}");
    }
}
