//! Attention of few queries with wide heads.

use crate::agree::{Op, agree_within, bound, norm, values};
use crate::common::random;
use candle_core::Tensor;
use lra::ops::{self, Attend, Blocks, Dropout, Mask};
use lra::random::Key;
use std::sync::Arc;

/// Where there is one key its weight is 1, and the slopes of its score are zero but for rounding:
/// they are measured by the output.
fn few(name: &str, inputs: &[Tensor], op: Op) {
    let one = inputs[1].dims()[1] == 1;
    let least = |y: &Tensor| if one { norm(values(y).into_iter()) } else { 1e-6 };
    agree_within(bound, least, name, inputs, op);
}

/// Of n queries the last is padding in every example but the first.
fn queries(b: usize, n: usize) -> Mask {
    let valid = (0..b * n).map(|i| i < n || n == 1 || i % n < n - 1);
    Mask::new(valid.collect(), b, n).unwrap()
}

/// The first example whole, the last with up to two tokens.
fn keys(b: usize, m: usize) -> Mask {
    let lengths: Vec<usize> =
        (0..b).map(|i| if i + 1 == b { m.min(2) } else { m - i * m / b }).collect();
    Mask::from_lengths(&lengths, m).unwrap()
}

fn attend(h: usize, w: usize, (queries, keys): (Mask, Mask), p: f64) -> Attend {
    Attend {
        heads: h,
        blocks: Arc::new(Blocks::rectangle(queries.n(), keys.n())),
        mask: queries,
        keys,
        scale: (w as f64).powf(-0.5),
        dropout: Dropout { p, key: Key::new(5).named("weights"), first_example: 3 },
    }
}

/// Heads of 64, and in f32 of 12, are those of other kernels, in bf16 12 and all wider ones of
/// these.
#[test]
fn few_queries_over_all_keys() {
    let b = 3;
    for h in [1, 2] {
        for w in [12, 132, 512] {
            for n in [1, 4, 7, 19] {
                for (m, p) in [(1, 0.0), (150, 0.3), (1000, 0.3)] {
                    let how = attend(h, w, (queries(b, n), keys(b, m)), p);
                    let name = format!("{h} heads of {w}, {n} queries, {m} keys, {p}");
                    let inputs = [
                        random(&[b, n, h * w], 1),
                        random(&[b, m, h * w], 2),
                        random(&[b, m, h * w], 3),
                    ];
                    if m < 1000 || h == 1 {
                        few(&name, &inputs, &|x| ops::attention(&x[0], &x[1], &x[2], &how));
                    }
                    if m == 150 {
                        few(&format!("{name}, one operand"), &inputs[..2], &|x| {
                            ops::attention(&x[0], &x[1], &x[1], &how)
                        });
                    }
                }
            }
        }
    }
}

/// More chunks than a warp has lanes, and of more examples longer chunks.
#[test]
fn few_queries_over_many_keys() {
    for (b, m) in [(2, 4097), (9, 8000)] {
        for (n, w) in [(4, 256), (16, 512)] {
            // Of many examples in f64 on the CPU the narrow ones are enough.
            let w = if b > 2 { 132 } else { w };
            for p in [0.0, 0.3] {
                let how = attend(1, w, (queries(b, n), keys(b, m)), p);
                let inputs = [random(&[b, n, w], 1), random(&[b, m, w], 2)];
                few(&format!("{b} x {m} keys, {n} queries of {w}, {p}"), &inputs, &|x| {
                    ops::attention(&x[0], &x[1], &x[1], &how)
                });
            }
        }
    }
}

/// Values of another width, and an example without a key.
#[test]
fn few_queries_with_other_values() {
    let (b, h, n, m) = (3, 2, 5, 150);
    for (a, av) in [(256, 64), (64, 256), (4, 1024)] {
        let none = Mask::new((0..b * m).map(|i| i / m != 1).collect(), b, m).unwrap();
        let how = attend(h, a, (queries(b, n), none), 0.3);
        let inputs =
            [random(&[b, n, h * a], 1), random(&[b, m, h * a], 2), random(&[b, m, h * av], 3)];
        few(&format!("{a} and {av}"), &inputs, &|x| ops::attention(&x[0], &x[1], &x[2], &how));
    }
}
