//! Linformer against its formula in dense, composed operations, and its sharing modes.

use super::common::{build, difference, flat, layer, random, two_layers};
use candle_core::{D, DType, Device, Tensor, Var};
use lra::attention::Registry;
use lra::layers::{Context, Weights};
use lra::ops::Mask;
use std::collections::BTreeMap;

/// n is less than the model's 64 positions, so E is cut.
const N: usize = 20;

fn mask(lengths: &[usize]) -> Mask {
    Mask::from_lengths(lengths, N).unwrap()
}

/// E and F of a head, [N, k]; names as in checkpoints.
fn mixers(vars: &BTreeMap<String, Var>, sharing: &str, head: usize) -> [Tensor; 2] {
    let names = match sharing {
        "none" => ["key", "value"].map(|x| format!("attention.mix_{x}.{head}.weight")),
        "headwise" => ["key", "value"].map(|x| format!("attention.mix_{x}.weight")),
        "kv" => ["attention.mix.weight"; 2].map(String::from),
        _ => ["shared.mix.weight"; 2].map(String::from),
    };
    names.map(|name| vars[&name].as_tensor().narrow(0, 0, N).unwrap())
}

/// Head by head: `softmax(Q (Eᵀ m K)ᵀ / 2) (Fᵀ m V)`, head width 4.
fn dense(vars: &BTreeMap<String, Var>, sharing: &str, x: &Tensor, mask: &Mask) -> Tensor {
    let weight = |name: &str| vars[&format!("attention.{name}.weight")].as_tensor().t().unwrap();
    let real = mask.tensor(DType::F64, &Device::Cpu).unwrap();
    let mut rows = Vec::new();
    for b in 0..x.dim(0).unwrap() {
        let real = real.get(b).unwrap().unsqueeze(1).unwrap();
        let project = |name, head| {
            let y = x.get(b).unwrap().matmul(&weight(name)).unwrap();
            y.narrow(1, 4 * head, 4).unwrap()
        };
        let heads: Vec<_> = (0..2)
            .map(|head| {
                let [e, f] = mixers(vars, sharing, head).map(|e| e.t().unwrap());
                let real = |y: Tensor| y.broadcast_mul(&real).unwrap();
                let k = e.matmul(&real(project("key", head))).unwrap();
                let v = f.matmul(&real(project("value", head))).unwrap();
                let scores =
                    (project("query", head).matmul(&k.t().unwrap()).unwrap() / 2.0).unwrap();
                let p = candle_nn::ops::softmax(&scores, D::Minus1).unwrap();
                real(p.matmul(&v).unwrap())
            })
            .collect();
        rows.push(Tensor::cat(&heads, 1).unwrap().matmul(&weight("output")).unwrap());
    }
    Tensor::stack(&rows, 0).unwrap()
}

/// Values and the gradient of every weight, padding included, in every mode.
#[test]
fn linformer_is_its_formula() {
    for sharing in ["none", "headwise", "kv", "layerwise"] {
        let options = format!("k = 5\nsharing = \"{sharing}\"");
        let (mixer, weights) = layer(Registry::builtin().get("linformer").unwrap(), &options);
        let (vars, mask) = (weights.vars(), mask(&[N, 13]));
        let x = random(&[2, N, 12], 1);
        let y = mixer.forward(&x, &Context::new(mask.clone(), 1)).unwrap();
        let expected = dense(&vars, sharing, &x, &mask);
        assert!(difference(&y, &expected) < 1e-13, "{sharing}");
        let slopes =
            |y: &Tensor| (y * random(y.dims(), 5)).unwrap().sum_all().unwrap().backward().unwrap();
        let (ours, theirs) = (slopes(&y), slopes(&expected));
        for (name, var) in &vars {
            let of = |g: &candle_core::backprop::GradStore| g.get(var.as_tensor()).unwrap().clone();
            let off = difference(&of(&ours), &of(&theirs));
            assert!(off < 1e-12, "{sharing} {name}: {off:e}");
        }
    }
}

/// As many mixtures as positions, each of one position, are full attention.
#[test]
fn linformer_with_identities_is_full_attention() {
    let x = random(&[2, N, 12], 1);
    let cx = Context::new(mask(&[N, N]), 1);
    let (full, _) = layer(Registry::builtin().get("transformer").unwrap(), "");
    let (mixer, weights) =
        layer(Registry::builtin().get("linformer").unwrap(), &format!("k = {N}"));
    let y = full.forward(&x, &cx).unwrap();
    assert!(difference(&mixer.forward(&x, &cx).unwrap(), &y) > 1e-3);
    let identity: Vec<f64> = (0..64 * N).map(|i| f64::from(i / N == i % N)).collect();
    let identity = Tensor::from_vec(identity, (64, N), &Device::Cpu).unwrap();
    weights.vars()["attention.mix.weight"].set(&identity).unwrap();
    // Rounding only: the reference sums in the same order, but not in the same blocks.
    assert!(difference(&mixer.forward(&x, &cx).unwrap(), &y) < 1e-13);
}

/// Two layers of a model of 64 positions, width 12 and 2 heads, k = 5.
fn two(sharing: &str) -> ([Box<dyn lra::attention::Attention>; 2], Weights) {
    let registry = Registry::builtin();
    let options = format!("k = 5\nsharing = \"{sharing}\"");
    two_layers(registry.get("linformer").unwrap(), &options)
}

/// `2 heads layers`, `2 layers`, `layers` and 1 projections of 64 x 5.
#[test]
fn sharing_modes_have_their_projections() {
    for (sharing, count) in [("none", 8), ("headwise", 4), ("kv", 2), ("layerwise", 1)] {
        let (_, weights) = two(sharing);
        assert_eq!(weights.count(), count * 64 * 5 + 2 * 4 * 12 * 8, "{sharing}");
    }
}

/// The gradient of a projection that layers share is the slope of the whole model, and
/// rows of E beyond the input get none.
#[test]
fn layers_share_a_gradient() {
    let (layers, weights) = two("layerwise");
    let (x, cx) = (random(&[1, N, 12], 1), Context::new(mask(&[N]), 1));
    let loss = || {
        let y = layers.iter().fold(x.clone(), |x, layer| layer.forward(&x, &cx).unwrap());
        (&y * random(y.dims(), 5)).unwrap().sum_all().unwrap()
    };
    let var = weights.vars()["shared.mix.weight"].clone();
    let gradient = flat(loss().backward().unwrap().get(var.as_tensor()).unwrap());
    let values = flat(var.as_tensor());
    for i in [0, 7, 52, 5 * N - 1, 5 * N] {
        let at = |step: f64| {
            let mut moved = values.clone();
            moved[i] += step;
            var.set(&Tensor::from_vec(moved, (64, 5), &Device::Cpu).unwrap()).unwrap();
            loss().to_scalar::<f64>().unwrap()
        };
        // Central differences: h² f'''/6 + 1e-16 / h.
        let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
        assert!((slope - gradient[i]).abs() < 1e-8, "{i}: {slope} {}", gradient[i]);
        assert_eq!(gradient[i] == 0.0, i >= 5 * N, "{i}");
    }
}

#[test]
fn impossible_numbers_of_mixtures_are_refused() {
    let registry = Registry::builtin();
    for k in [0, 65] {
        let options = format!("k = {k}");
        let variant = registry.get("linformer").unwrap();
        let error = build(variant, &options, (0, 1), 64, &Weights::new(1)).err().unwrap();
        let text = error.to_string();
        assert!(text.contains("attention.k") && text.contains(&format!("got {k}")), "{text}");
    }
}

/// Weights that are set after a layer was built, as training and checkpoints do, are read.
#[test]
fn mixtures_are_those_of_now() {
    let registry = Registry::builtin();
    for sharing in ["none", "headwise", "kv", "layerwise"] {
        let options = format!("k = 5\nsharing = \"{sharing}\"");
        let (attention, weights) = layer(registry.get("linformer").unwrap(), &options);
        let (x, mask) = (random(&[2, N, 12], 1), mask(&[N, N]));
        let before = attention.forward(&x, &Context::new(mask.clone(), 0)).unwrap();
        for (name, var) in weights.vars().iter().filter(|(name, _)| name.contains(".mix")) {
            assert!(var.set(&(var.as_tensor() * 2.0).unwrap()).is_ok(), "{name}");
        }
        let after = attention.forward(&x, &Context::new(mask, 0)).unwrap();
        assert!(difference(&before, &after) > 1e-3, "{sharing}");
    }
}
