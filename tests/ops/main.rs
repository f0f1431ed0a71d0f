//! Every op: the fused face against the composed one (values and gradients, f64 and
//! f32), and the fused face against finite differences in f64.

#[path = "../common/mod.rs"]
mod common;

mod attention;

use candle_core::{DType, Device, Result, Tensor, Var};
use common::random;
use lra::ops::features::{self, Favor, Side};
use lra::ops::{self, Dropout, Ids, Kernelised, Mask};
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

fn check(name: &str, inputs: &[Tensor], fused: Op, reference: Op) {
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
        let gelu = |t: &[Tensor]| ops::gelu_dropout(&t[0], drop(p));
        check("gelu", &inputs[..1], &gelu, &|t| {
            ops::dropout::gelu_dropout_reference(&t[0], drop(p))
        });
        let add = |t: &[Tensor]| ops::add_dropout(&t[0], &t[1], drop(p));
        check("add", &inputs, &add, &|t| {
            ops::dropout::add_dropout_reference(&t[0], &t[1], drop(p))
        });
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

#[test]
fn kernel_attention() {
    let n = 14;
    // Features are positive in use: keep the denominators away from zero.
    let positive = |salt| (random(&[3, n, 10], salt) + 1.2).unwrap();
    let inputs = [positive(1), positive(2), random(&[3, n, 6], 3)];
    for eps in [0.0, 1e-2] {
        let how = Kernelised { heads: 2, mask: masks(n), eps };
        let fused = |t: &[Tensor]| ops::kernel_attention(&t[0], &t[1], &t[2], &how);
        check("kernel_attention", &inputs, &fused, &|t| {
            ops::kernel_attention::reference(&t[0], &t[1], &t[2], &how)
        });
    }
}

#[test]
fn elu_plus_one() {
    let inputs = [random(&[3, 40, 9], 1)];
    check("elu", &inputs, &|t| features::elu_plus_one(&t[0]), &|t| {
        features::elu_plus_one_reference(&t[0])
    });
}

fn favor(side: Side, n: usize, eps: f64) -> Favor {
    Favor { heads: 2, projection: random(&[7, 4], 77), eps, side, mask: masks(n) }
}

/// The stabiliser is a constant to the gradient, so finite differences hold only for the
/// ratio, in which it cancels; faces are compared on the features themselves.
#[test]
fn positive_features() {
    let n = 14;
    let x = [random(&[3, n, 8], 1)];
    let valid = masks(n).tensor(DType::F64, &Device::Cpu).unwrap().reshape((3, n, 1)).unwrap();
    for side in [Side::Query, Side::Key] {
        let on_valid =
            |y: Result<Tensor>, t: &Tensor| y?.broadcast_mul(&valid.to_dtype(t.dtype())?);
        let how = |t: &Tensor| {
            let how = favor(side, n, 1e-3);
            Favor { projection: how.projection.to_dtype(t.dtype()).unwrap(), ..how }
        };
        for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 2e-5)] {
            let x = [x[0].to_dtype(dtype).unwrap()];
            let fused =
                |t: &[Tensor]| on_valid(features::positive_features(&t[0], &how(&t[0])), &t[0]);
            let composed = |t: &[Tensor]| {
                on_valid(features::positive_features_reference(&t[0], &how(&t[0])), &t[0])
            };
            let ((y, g), (y_ref, g_ref)) = (run(&fused, &x), run(&composed, &x));
            assert!(difference(&y, &y_ref) < tolerance, "{side:?} {dtype:?}");
            assert!(difference(&g[0], &g_ref[0]) < tolerance, "{side:?} {dtype:?}");
        }
    }
    let inputs = [random(&[3, n, 8], 1), random(&[3, n, 8], 2), random(&[3, n, 6], 3)];
    finite_differences("favor", &inputs, &|t| {
        let fq = features::positive_features(&t[0], &favor(Side::Query, n, 0.0))?;
        let fk = features::positive_features(&t[1], &favor(Side::Key, n, 0.0))?;
        ops::kernel_attention(&fq, &fk, &t[2], &Kernelised { heads: 2, mask: masks(n), eps: 0.0 })
    });
}

#[test]
fn relu_features() {
    let n = 14;
    let x = [random(&[3, n, 8], 1)];
    finite_differences("relu", &x, &|t| {
        features::relu_features(&t[0], &favor(Side::Query, n, 1e-3))
    });
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
    let kernel = Kernelised { heads: 2, mask: masks(n), eps: 1e-6 };
    let net = |t: &[Tensor]| {
        let x = ops::layer_norm(&t[0], &t[4], &t[4], 1e-6)?;
        let x = ops::gelu_dropout(&ops::linear(&x, &t[3], Some(&t[4]))?, drop(0.1))?;
        let a = ops::attention(&x, &t[1], &t[2], &how)?;
        let f = features::elu_plus_one(&x)?;
        ops::add_dropout(&a, &ops::kernel_attention(&f, &f, &t[2], &kernel)?, drop(0.2))
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
