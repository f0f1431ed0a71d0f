//! Every op: the fused face against the composed one (values and gradients, f64 and
//! f32), and the fused face against finite differences in f64.

#[path = "../common/mod.rs"]
mod common;

mod attention;

use candle_core::{DType, Device, Result, Tensor, Var};
use common::random;
use lra::ops::kernel::Kind;
use lra::ops::{self, Dropout, Features, Ids, Kernelised, Mask, Mixing};
use lra::random::Key;
use std::sync::Arc;

/// Value and gradients of `sum(op(inputs) * cotangent)`.
fn run(op: &dyn Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor]) -> (Tensor, Vec<Tensor>) {
    let vars: Vec<Var> = inputs.iter().map(|t| Var::from_tensor(t).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let y = op(&tensors).unwrap();
    let cotangent = random(y.dims(), 1000).to_dtype(y.dtype()).unwrap();
    let grads = (&y * cotangent).unwrap().sum_all().unwrap().backward().unwrap();
    let of = |v: &Var| grads.get(v.as_tensor()).expect("a gradient for every operand").clone();
    (y, vars.iter().map(of).collect())
}

/// The largest difference, in units of the largest value.
fn difference(a: &Tensor, b: &Tensor) -> f64 {
    common::difference(a, b) / common::largest(b).max(1e-3)
}

type Op<'a> = &'a dyn Fn(&[Tensor]) -> Result<Tensor>;

/// The faces have the same values and gradients.
fn agree(name: &str, inputs: &[Tensor], fused: Op, reference: Op) {
    // f64: rounding only. f32: about 1e3 terms of 6e-8 each.
    for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 2e-5)] {
        let inputs: Vec<Tensor> = inputs.iter().map(|t| t.to_dtype(dtype).unwrap()).collect();
        let (y, grads) = run(fused, &inputs);
        let (y_ref, grads_ref) = run(reference, &inputs);
        let off = difference(&y, &y_ref);
        assert!(off < tolerance, "{name} {dtype:?}: values differ by {off:e}");
        for (i, (g, g_ref)) in grads.iter().zip(&grads_ref).enumerate() {
            let off = difference(g, g_ref);
            assert!(off < tolerance, "{name} {dtype:?}: gradient {i} differs by {off:e}");
        }
    }
}

fn check(name: &str, inputs: &[Tensor], fused: Op, reference: Op) {
    agree(name, inputs, fused, reference);
    finite_differences(name, inputs, fused);
}

/// Central differences with step h err by h² f'''/6 + 1e-16/h, about 1e-9 at h = 1e-5.
fn finite_differences(name: &str, inputs: &[Tensor], op: Op) {
    let (y, grads) = run(op, inputs);
    let cotangent = random(y.dims(), 1000);
    let loss = |inputs: &[Tensor]| {
        let y = op(inputs).unwrap();
        (y * &cotangent).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap()
    };
    let h = 1e-5;
    for (which, grad) in grads.iter().enumerate() {
        let values = inputs[which].flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let grad = grad.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let largest = grad.iter().fold(0f64, |a, g| a.max(g.abs()));
        assert!(largest > 1e-6, "{name}: gradient {which} is zero");
        for i in (0..values.len()).step_by(1 + values.len() / 60) {
            let at = |x: f64| {
                let mut moved = values.clone();
                moved[i] = x;
                let mut inputs = inputs.to_vec();
                inputs[which] =
                    Tensor::from_vec(moved, inputs[which].shape(), &Device::Cpu).unwrap();
                loss(&inputs)
            };
            let slope = (at(values[i] + h) - at(values[i] - h)) / (2.0 * h);
            let off = (slope - grad[i]).abs() / largest;
            assert!(off < 1e-7, "{name}: d/d{which}[{i}] is {slope}, backward says {}", grad[i]);
        }
    }
}

/// One full row, one short one, one with a hole.
fn masks(n: usize) -> Mask {
    let mut valid = vec![true; 3 * n];
    valid[n + n / 2..2 * n].fill(false);
    valid[2 * n + 1] = false;
    valid[2 * n + n - 2..].fill(false);
    Mask::new(valid, 3, n).unwrap()
}

fn drop(p: f64) -> Dropout {
    Dropout { p, key: Key::new(5), first_example: 3 }
}

#[test]
fn linear() {
    let inputs = [random(&[3, 7, 5], 1), random(&[4, 5], 2), random(&[4], 3)];
    let with = |t: &[Tensor]| ops::linear(&t[0], &t[1], Some(&t[2]));
    check("linear", &inputs, &with, &|t| ops::linear::reference(&t[0], &t[1], Some(&t[2])));
    let without = |t: &[Tensor]| ops::linear(&t[0], &t[1], None);
    check("linear", &inputs[..2], &without, &|t| ops::linear::reference(&t[0], &t[1], None));
}

#[test]
fn layer_norm() {
    let inputs = [random(&[2, 5, 19], 1), random(&[19], 2), random(&[19], 3)];
    let fused = |t: &[Tensor]| ops::layer_norm(&t[0], &t[1], &t[2], 1e-6);
    check("layer_norm", &inputs, &fused, &|t| {
        ops::layer_norm::reference(&t[0], &t[1], &t[2], 1e-6)
    });
}

#[test]
fn elementwise_with_dropout() {
    let inputs = [random(&[3, 40, 9], 1), random(&[3, 40, 9], 2)];
    for p in [0.0, 0.3] {
        let (fused, composed) = (|t: &[Tensor]| ops::dropout(&t[0], drop(p)), drop(p));
        check("dropout", &inputs[..1], &fused, &|t| {
            ops::composed(|| ops::dropout(&t[0], composed))
        });
        let add = |t: &[Tensor]| ops::add_dropout(&t[0], &t[1], drop(p));
        check("add", &inputs, &add, &|t| {
            ops::dropout::add_dropout_reference(&t[0], &t[1], drop(p))
        });
    }
}

#[test]
fn feed_forward() {
    // More rows than a task takes, the last task's fewer than the others'.
    let (d, m) = (6, 10);
    let shapes: [&[usize]; 7] = [&[3, 45, d], &[d], &[d], &[m, d], &[m], &[d, m], &[d]];
    let inputs: Vec<Tensor> = (1..).zip(shapes).map(|(salt, shape)| random(shape, salt)).collect();
    for (p, residual) in [(0.0, true), (0.3, true), (0.3, false)] {
        let how = |t: &[Tensor], f: &dyn Fn(&Tensor, &ops::FeedForward) -> Result<Tensor>| {
            let drop = (drop(p), Dropout { key: Key::new(6), ..drop(p) });
            let (norm, up, down) = ((&t[1], &t[2]), (&t[3], &t[4]), (&t[5], &t[6]));
            f(&t[0], &ops::FeedForward { norm, eps: 1e-6, up, down, drop, residual })
        };
        let fused = |t: &[Tensor]| how(t, &ops::feed_forward);
        check("feed_forward", &inputs, &fused, &|t| how(t, &ops::feed_forward::reference));
    }
}

#[test]
fn mix() {
    // More positions and columns than a task takes, and weights of a longer input.
    let inputs = [random(&[3, 70, 67], 1), random(&[75, 5], 2)];
    let fused = |t: &[Tensor]| ops::mix(&t[0], &t[1], &masks(70));
    check("mix", &inputs, &fused, &|t| ops::mix::reference(&t[0], &t[1], &masks(70)));
}

#[test]
fn unit_heads() {
    let inputs = [random(&[3, 200, 10], 1)];
    let fused = |t: &[Tensor]| ops::unit_heads(&t[0], 2);
    check("unit", &inputs, &fused, &|t| ops::unit::reference(&t[0], 2));
    // Rows of zeros have no direction and no NaN.
    let zeros = [inputs[0].zeros_like().unwrap()];
    agree("unit of zeros", &zeros, &fused, &|t| ops::unit::reference(&t[0], 2));
}

#[test]
fn sort_of_blocks() {
    // Blocks of 4 of 14 positions, the last one short; P has no zeros and no fixed sums.
    let p = random(&[3, 2, 4, 4], 2).exp().unwrap();
    let inputs = [random(&[3, 14, 12], 1), p];
    for parts in [1, 2] {
        let fused = |t: &[Tensor]| ops::sort_blocks(&t[0], parts, &t[1], 4, &masks(14));
        check("sort", &inputs, &fused, &|t| {
            ops::sort::reference(&t[0], parts, &t[1], 4, &masks(14))
        });
    }
}

#[test]
fn attention_layer() {
    let (n, d, a) = (14, 6, 8);
    let shapes: [&[usize]; 7] = [&[3, n, d], &[d], &[d], &[a, d], &[a, d], &[a, d], &[d, a]];
    let inputs: Vec<Tensor> = (1..).zip(shapes).map(|(salt, shape)| random(shape, salt)).collect();
    let features = Features::EluPlusOne;
    let kernel = Kernelised { heads: 2, mask: masks(n), features, eps: 1e-6 };
    let softmax = attention::attend(n, ops::Blocks::local(n, 5), 0.2);
    let mixings = [Mixing::Kernel(kernel), Mixing::Softmax(softmax)];
    for (mixing, residual) in mixings.into_iter().flat_map(|m| [(m.clone(), true), (m, false)]) {
        let how = |t: &[Tensor], f: &dyn Fn(&Tensor, &ops::Layer) -> Result<Tensor>| {
            let (norm, into, out) = ((&t[1], &t[2]), [&t[3], &t[4], &t[5]], &t[6]);
            let (mixing, drop) = (mixing.clone(), drop(0.3));
            f(&t[0], &ops::Layer { norm, eps: 1e-6, into, out, mixing, drop, residual })
        };
        let fused = |t: &[Tensor]| how(t, &ops::attention_layer);
        check("attention_layer", &inputs, &fused, &|t| how(t, &ops::layer::reference));
    }
}

#[test]
fn dropout_keeps_its_share_and_its_mean() {
    let ones = Tensor::ones((8, 50_000), DType::F32, &Device::Cpu).unwrap();
    let y = ops::dropout(&ones, drop(0.1)).unwrap();
    // 5 standard errors of 400,000 draws of variance p / (1 - p).
    let mean = y.mean_all().unwrap().to_scalar::<f32>().unwrap() as f64;
    assert!((mean - 1.0).abs() < 5.0 * (0.1f64 / 0.9 / 4e5).sqrt(), "{mean}");
    let rows = y.to_vec2::<f32>().unwrap();
    assert!(rows.windows(2).all(|w| w[0] != w[1]), "examples share a mask");
}

#[test]
fn dropout_does_not_depend_on_the_micro_batch() {
    let x = random(&[6, 11, 4], 1);
    let whole = ops::dropout(&x, drop(0.5)).unwrap();
    let part = Dropout { first_example: 3 + 2, ..drop(0.5) };
    let part = ops::dropout(&x.narrow(0, 2, 3).unwrap(), part).unwrap();
    assert_eq!(difference(&part, &whole.narrow(0, 2, 3).unwrap()), 0.0);
}

#[test]
fn embedding() {
    let ids: Arc<[u32]> = vec![1, 2, 0, 3, 3, 1, 4, 0].into();
    let ids = Ids { ids, batch: 2, n: 4 };
    let inputs = [random(&[5, 18], 1), random(&[5, 18], 2), random(&[1, 18], 3)];
    let fused = |t: &[Tensor]| ops::embed(&ids, &t[0], &t[1], Some(&t[2]));
    check("embed", &inputs, &fused, &|t| {
        ops::embedding::reference(&ids, &t[0], &t[1], Some(&t[2]))
    });
    let fused = |t: &[Tensor]| ops::embed(&ids, &t[0], &t[1], None);
    check("embed", &inputs[..2], &fused, &|t| ops::embedding::reference(&ids, &t[0], &t[1], None));
    let outside = Ids { ids: vec![5; 8].into(), ..ids };
    let message = ops::embed(&outside, &inputs[0], &inputs[1], None).unwrap_err().to_string();
    assert!(message.contains("token id 5 outside the vocabulary of 5"), "{message}");
}

/// The stabiliser of features is a constant to the gradient: finite differences hold without
/// eps, where it cancels.
#[test]
fn kernel_attention() {
    let random_features =
        |kind| move |m, eps| Features::Random { kind, projection: random(&[m, 4], 77), eps };
    let kinds = [Kind::Positive, Kind::Trigonometric, Kind::Relu].map(random_features);
    let check_of = |name: &str, n: usize, features: Features, eps: f64, differences: bool| {
        let how = Kernelised { heads: 2, mask: masks(n), features, eps };
        let typed = |t: &Tensor| {
            let mut how = how.clone();
            if let Features::Random { projection, .. } = &mut how.features {
                *projection = projection.to_dtype(t.dtype()).unwrap();
            }
            how
        };
        let fused = |t: &[Tensor]| ops::kernel_attention(&t[0], &typed(&t[0]));
        let composed = |t: &[Tensor]| ops::kernel::reference(&t[0], &typed(&t[0]));
        // Half the scale keeps the estimates of a few features away from zero.
        let inputs = [(random(&[3, n, 24], 1) * 0.5).unwrap()];
        match differences {
            true => check(name, &inputs, &fused, &composed),
            false => agree(name, &inputs, &fused, &composed),
        }
    };
    check_of("elu", 14, Features::EluPlusOne, 0.0, true);
    check_of("elu, eps", 14, Features::EluPlusOne, 1e-2, true);
    check_of("elu, blocks of 1,024 rows", 1100, Features::EluPlusOne, 1e-2, false);
    for features in &kinds {
        let name = format!("{:?}", features(1, 0.0));
        check_of(&name, 14, features(7, 1e-9), 0.0, true);
        check_of(&format!("{name}, eps"), 14, features(7, 1e-2), 1e-2, false);
        check_of(&format!("{name}, blocks of 64 rows"), 200, features(1100, 1e-2), 1e-2, false);
    }
}

/// Same bytes for any number of threads, forward and backward.
#[test]
fn threads_change_nothing() {
    let n = 600;
    let inputs: Vec<Tensor> = (1..4)
        .map(|i| random(&[3, n, 32], i).to_dtype(DType::F32).unwrap())
        .chain([random(&[32, 32], 9).to_dtype(DType::F32).unwrap()])
        .chain([random(&[32], 10).to_dtype(DType::F32).unwrap()])
        .collect();
    let how = attention::attend(n, ops::Blocks::full(n), 0.1);
    let features = Features::EluPlusOne;
    let kernel = Kernelised { heads: 2, mask: masks(n), features, eps: 1e-6 };
    let net = |t: &[Tensor]| {
        let x = ops::layer_norm(&t[0], &t[4], &t[4], 1e-6)?;
        let x = ops::linear(&x, &t[3], Some(&t[4]))?;
        let (norm, both) = ((&t[4], &t[4]), (&t[3], &t[4]));
        let (drop_, residual) = ((drop(0.1), drop(0.2)), true);
        let layer =
            ops::FeedForward { norm, eps: 1e-6, up: both, down: both, drop: drop_, residual };
        let x = ops::feed_forward(&x, &layer)?;
        let a = ops::attention(&x, &t[1], &t[2], &how)?;
        let qkv = Tensor::cat(&[&x, &t[1], &t[2]], 2)?;
        ops::add_dropout(&a, &ops::kernel_attention(&qkv, &kernel)?, drop(0.2))
    };
    let bytes = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (y, grads) = pool.install(|| run(&net, &inputs));
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let all: Vec<u32> =
            std::iter::once(&y).chain(&grads).flat_map(flat).map(f32::to_bits).collect();
        all
    };
    let one = bytes(1);
    for threads in [2, 3, 5] {
        assert!(one == bytes(threads), "{threads} threads give other bytes");
    }
}

/// Half of the channels are the row's sinusoids, half the column's, in row-major order.
#[test]
fn sinusoids_of_a_picture_are_those_of_its_rows_and_columns() {
    let (side, d, like) = (5, 12, (DType::F64, &Device::Cpu));
    let picture = ops::sinusoid_2d(side, d, like).unwrap();
    assert_eq!(picture.dims(), [side * side, d]);
    let rows = |t: &Tensor| t.to_vec2::<f64>().unwrap();
    let line = rows(&ops::sinusoid(side, d / 2, like).unwrap());
    for (i, pixel) in rows(&picture).iter().enumerate() {
        let (row, column) = pixel.split_at(d / 2);
        assert_eq!((row, column), (&line[i / side][..], &line[i % side][..]), "pixel {i}");
    }
}
