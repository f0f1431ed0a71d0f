//! Variants that must coincide, and normalisation.

use super::common::{difference, flat, layer, random};
use candle_core::{DType, Device, Tensor};
use lra::attention::{Attention, Registry};
use lra::layers::{Context, Weights};
use lra::ops::{Attend, Blocks, Dropout, Features, Kernelised, Mask, attention, kernel_attention};
use std::sync::Arc;

fn build(name: &str, options: &str) -> (Box<dyn Attention>, Weights) {
    layer(Registry::builtin().get(name).unwrap(), options)
}

/// The same seed gives both layers the same weights, their names being equal.
#[test]
fn local_with_one_block_is_full_attention() {
    let (full, _) = build("transformer", "");
    let x = random(&[2, 20, 12], 1);
    let cx = Context::new(Mask::from_lengths(&[20, 13], 20).unwrap(), 1);
    let y = full.forward(&x, &cx).unwrap();
    for block in [20, 64] {
        let (local, _) = build("local", &format!("block = {block}"));
        assert_eq!(difference(&local.forward(&x, &cx).unwrap(), &y), 0.0, "block {block}");
    }
    let (local, _) = build("local", "block = 19");
    assert!(difference(&local.forward(&x, &cx).unwrap(), &y) > 1e-3);
}

/// Permuting whole blocks permutes outputs.
#[test]
fn local_blocks_do_not_know_their_place() {
    let (local, _) = build("local", "block = 5");
    let cx = Context::new(Mask::from_lengths(&[20], 20).unwrap(), 1);
    let x = random(&[1, 20, 12], 1);
    let swap = |x: &Tensor| {
        let part = |i: usize| x.narrow(1, 5 * i, 5).unwrap();
        Tensor::cat(&[part(2), part(0), part(3), part(1)], 1).unwrap()
    };
    let y = swap(&local.forward(&x, &cx).unwrap());
    assert!(difference(&local.forward(&swap(&x), &cx).unwrap(), &y) < 1e-14);
}

/// Full attention and linear attention do not know positions at all.
#[test]
fn full_and_linear_are_equivariant() {
    for name in ["transformer", "linear", "performer"] {
        let (mixer, _) = build(name, "");
        let cx = Context::new(Mask::from_lengths(&[20], 20).unwrap(), 1);
        let x = random(&[1, 20, 12], 1);
        let roll = |x: &Tensor| {
            let part = |at, len| x.narrow(1, at, len).unwrap();
            Tensor::cat(&[part(7, 13), part(0, 7)], 1).unwrap()
        };
        let y = roll(&mixer.forward(&x, &cx).unwrap());
        assert!(difference(&mixer.forward(&roll(&x), &cx).unwrap(), &y) < 1e-12, "{name}");
    }
}

/// Linear attention against its n x n form, written from the formula:
/// `w_ij = f(q_i) . f(k_j)`, `o_i = sum w_ij v_j / (sum w_ij + eps)`.
#[test]
fn linear_is_its_explicit_form() {
    let (n, h, d, eps) = (17, 2, 4, 1e-6);
    let [q, k, v] = [1, 2, 3].map(|salt| random(&[1, n, h * d], salt));
    let mask = Mask::from_lengths(&[13], n).unwrap();
    let how = Kernelised { heads: h, mask, features: Features::EluPlusOne, eps };
    let o = kernel_attention(&Tensor::cat(&[&q, &k, &v], 2).unwrap(), &how).unwrap();
    let f = |x: &f64| if *x > 0.0 { x + 1.0 } else { x.exp() };
    let features = |x: &Tensor| flat(x).iter().map(f).collect::<Vec<_>>();
    let (fq, fk, v, o) = (features(&q), features(&k), flat(&v), flat(&o));
    for i in 0..13 {
        for head in 0..h {
            let at = |j: usize| (j * h + head) * d;
            let w: Vec<f64> =
                (0..13).map(|j| (0..d).map(|c| fq[at(i) + c] * fk[at(j) + c]).sum()).collect();
            let total: f64 = w.iter().sum::<f64>() + eps;
            for c in 0..d {
                let expected = (0..13).map(|j| w[j] * v[at(j) + c]).sum::<f64>() / total;
                assert!((o[at(i) + c] - expected).abs() < 1e-12);
            }
        }
    }
}

/// Where every value is 1 every valid output is 1: weights sum to one.
#[test]
fn weights_sum_to_one() {
    let (n, h) = (22, 2);
    let [q, k] = [1, 2].map(|salt| random(&[2, n, 8], salt));
    let ones = Tensor::ones((2, n, 8), DType::F64, &Device::Cpu).unwrap();
    let mask = Mask::from_lengths(&[n, 9], n).unwrap();
    let expected =
        ones.broadcast_mul(&mask.tensor(DType::F64, &Device::Cpu).unwrap().unsqueeze(2).unwrap());
    let expected = expected.unwrap();
    for blocks in [Blocks::full(n), Blocks::local(n, 5)] {
        let how = Attend {
            heads: h,
            blocks: Arc::new(blocks),
            mask: mask.clone(),
            keys: mask.clone(),
            scale: 3.0,
            dropout: Dropout::NONE,
        };
        let o = attention(&q, &k, &ones, &how).unwrap();
        assert!(difference(&o, &expected) < 1e-14);
    }
    let how = Kernelised { heads: h, mask, features: Features::EluPlusOne, eps: 0.0 };
    let o = kernel_attention(&Tensor::cat(&[&q, &k, &ones], 2).unwrap(), &how).unwrap();
    assert!(difference(&o, &expected) < 1e-14);
}
