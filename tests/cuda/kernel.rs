//! Kernelised attention.

use crate::agree::{agree, agree_within, bound};
use crate::common::random;
use candle_core::{DType, Result, Tensor};
use lra::ops::kernel::Kind;
use lra::ops::{self, Dropout, Features, Kernelised, Layer, Mask, Mixing};
use lra::random::Key;

/// The first example whole, the second of very few tokens, the last with a hole.
fn mask(n: usize) -> Mask {
    let mut valid = vec![true; 3 * n];
    valid[n + n.min(3)..2 * n].fill(false);
    valid[2 * n + n - n / 3..].fill(false);
    if n > 9 {
        valid[2 * n + 5..2 * n + 8].fill(false);
    }
    Mask::new(valid, 3, n).unwrap()
}

/// Every map for heads of w, with the scale of its operands: that of a trigonometric estimate,
/// which has both signs, keeps denominators away from zero.
fn maps(w: usize) -> Vec<(Features, f64)> {
    let random = |kind, m, eps| {
        let projection = lra::attention::projection(m, w, true, Key::new(3)).unwrap();
        Features::Random { kind, projection, eps }
    };
    vec![
        (Features::EluPlusOne, 1.0),
        (random(Kind::Positive, 64, 1e-6), 1.0),
        (random(Kind::Positive, 150, 1e-2), 1.0),
        (random(Kind::Positive, 2, 1e-2), 1.0),
        (random(Kind::Relu, 100, 1e-3), 1.0),
        (random(Kind::Trigonometric, 100, 0.0), 0.5),
    ]
}

fn name(features: &Features) -> String {
    match features {
        Features::EluPlusOne => "elu + 1".into(),
        Features::Random { kind, projection, .. } => format!("{kind:?} {:?}", projection.shape()),
    }
}

#[test]
fn kernel_attention() {
    let h = 2;
    for (w, n) in [8, 16, 24, 64, 128].into_iter().flat_map(|w| [203, 1, 1000].map(|n| (w, n))) {
        for ((features, scale), eps) in maps(w).into_iter().zip([1e-6, 0.0].into_iter().cycle()) {
            let name = format!("{}, {n} positions of {w}", name(&features));
            let how = Kernelised { heads: h, mask: mask(n), features, eps };
            let qkv = (random(&[3, n, 3 * h * w], w as u64) * scale).unwrap();
            agree(&name, &[qkv], &|x| ops::kernel_attention(&x[0], &how));
        }
    }
}

/// More tiles than a GPU has room for: blocks take several of them.
#[test]
fn many_heads() {
    let (h, w, n) = (16, 8, 3000);
    for (features, scale) in maps(w) {
        let name = format!("{}, {n} positions of {w} in {h} heads", name(&features));
        let how = Kernelised { heads: h, mask: mask(n), features, eps: 1e-6 };
        let qkv = (random(&[3, n, 3 * h * w], 1) * scale).unwrap();
        agree(&name, &[qkv], &|x| ops::kernel_attention(&x[0], &how));
    }
}

/// Heads that the kernels do not take go through Candle's ops.
#[test]
fn other_widths() {
    let (h, w, n) = (2, 6, 50);
    let how = Kernelised { heads: h, mask: mask(n), features: Features::EluPlusOne, eps: 1e-6 };
    let qkv = random(&[3, n, 3 * h * w], 1);
    agree("heads of 6", &[qkv], &|x| ops::kernel_attention(&x[0], &how));
}

#[test]
fn attention_layer() {
    let n = 150;
    for (d, h) in [(32, 2), (96, 3), (256, 4)] {
        let a = 2 * d;
        let shapes: [&[usize]; 7] = [&[3, n, d], &[d], &[d], &[a, d], &[a, d], &[a, d], &[d, a]];
        let small = |x: Tensor| (x * (2.0 / (d as f64).sqrt())).unwrap();
        let mut inputs = vec![random(shapes[0], 1)];
        inputs.extend((2..).zip(&shapes[1..]).map(|(salt, shape)| small(random(shape, salt))));
        for ((features, _), residual) in
            maps(a / h).into_iter().zip([true, false].into_iter().cycle())
        {
            let name = format!("layer of {d}, {}", name(&features));
            let how = Kernelised { heads: h, mask: mask(n), features, eps: 1e-6 };
            // The slope of the queries' weights, operand 3, is what is left of two sums that all but
            // cancel where features are nearly alike: a two-thousandth of that of the values'. With
            // products of bf16 it is a tenth off; that of fast-transformers under PyTorch's autocast
            // is 0.22 off on the same sizes.
            let bounds = |dtype, operand| match (dtype, operand) {
                (DType::BF16, Some(3)) => 0.2,
                _ => bound(dtype, operand),
            };
            agree_within(bounds, |_| 1e-6, &name, &inputs, &|x| {
                // Weights stay f32 where layers are bf16.
                let exact = |x: &Tensor| match x.dtype() {
                    DType::BF16 => x.to_dtype(DType::F32),
                    _ => Ok(x.clone()),
                };
                let w = x.iter().map(exact).collect::<Result<Vec<_>>>()?;
                let layer = Layer {
                    norm: (&w[1], &w[2]),
                    eps: 1e-6,
                    into: [&w[3], &w[4], &w[5]],
                    out: &w[6],
                    mixing: Mixing::Kernel(how.clone()),
                    drop: Dropout { p: 0.3, key: Key::new(5), first_example: 3 },
                    residual,
                };
                ops::attention_layer(&x[0], &layer)
            });
        }
    }
}
