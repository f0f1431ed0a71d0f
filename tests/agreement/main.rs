//! Agreement with PyTorch and public packages holding the same weights: the files of
//! `tests/golden/` and the scripts that made them.

#[path = "../common/mod.rs"]
mod common;

mod layers;

use candle_core::{DType, Device, Tensor, Var};
use common::{difference, largest, training};
use lra::attention::Registry;
use lra::config::{ModelSection, Pair, Pooling, Positions, Sizes};
use lra::data::Batch;
use lra::layers::Weights;
use lra::models::Classifier;
use lra::ops::kernel::Kind;
use lra::ops::{
    Attend, Blocks, Dropout, Features, Ids, Kernelised, Mask, attention, kernel_attention,
};
use lra::train::{AdamW, gradients};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

type Golden = HashMap<String, Tensor>;

fn golden(name: &str) -> Golden {
    let path = format!("{}/tests/golden/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn named(golden: &Golden, prefix: &str) -> BTreeMap<String, Tensor> {
    let own = golden.iter().filter_map(|(k, t)| Some((k.strip_prefix(prefix)?, t)));
    own.map(|(name, t)| (name.to_string(), t.clone())).collect()
}

fn batch(golden: &Golden, at: usize) -> Batch {
    let ids = golden[&format!("batch{at}.ids")].clone();
    // [b, n], or [b, 2, n] of two documents.
    let n = ids.dims()[ids.rank() - 1];
    let ids = ids.to_dtype(DType::U32).unwrap().flatten_all().unwrap().to_vec1::<u32>().unwrap();
    let labels = golden[&format!("batch{at}.labels")].to_dtype(DType::U32).unwrap();
    let labels = labels.to_vec1::<u32>().unwrap();
    let rows = ids.len() / n;
    Batch {
        mask: Mask::new(ids.iter().map(|&id| id > 0).collect(), rows, n).unwrap(),
        ids: Ids { ids: ids.into(), batch: rows, n },
        parts: rows / labels.len(),
        labels,
    }
}

/// The sizes of `tests/golden/lra_torch.py`; two documents where `pair` is given.
fn classifier(
    (pooling, positions, pair): (Pooling, Positions, Option<Pair>),
    before: &BTreeMap<String, Tensor>,
    dtype: DType,
) -> (Classifier, Weights) {
    let section = ModelSection {
        length: 12,
        dropout: 0.0,
        attention_dropout: 0.0,
        pair,
        ..common::model(pooling, positions)
    };
    let sizes = Sizes { parts: if pair.is_some() { 2 } else { 1 }, ..common::SIZES };
    let (registry, weights) = (Registry::builtin(), Weights::new(0));
    let variant = registry.get("transformer").unwrap();
    let kind = (dtype, &Device::Cpu);
    let none = toml::Table::new();
    let model = Classifier::new(&section, variant, &none, sizes, &weights, kind).unwrap();
    weights.set(before).unwrap();
    (model, weights)
}

/// f64 to rounding; f32 as far as torch's own f32 is from its f64, with room for another
/// order of the sums (tests/golden/README.md gives the measured distances).
const TOLERANCES: [(DType, f64, f64); 2] = [(DType::F64, 1e-11, 1e-10), (DType::F32, 4e-6, 2e-5)];

fn close(what: &str, ours: &Tensor, theirs: &Tensor, tolerance: f64) {
    let off = difference(ours, theirs) / largest(theirs).max(1e-3);
    assert!(off < tolerance, "{what}: off by {off:e} of the largest value");
}

/// Two training steps: loss, every gradient, every parameter.
fn two_training_steps(name: &str, pooling: Pooling, pair: Option<Pair>) {
    let golden = golden(name);
    for (dtype, values, slopes) in TOLERANCES {
        let before = named(&golden, "before.");
        let (model, weights) = classifier((pooling, Positions::Sinusoid, pair), &before, dtype);
        let mut optimiser = AdamW::new(weights.vars()).unwrap();
        for step in 1..=2 {
            let batch = batch(&golden, step);
            let found =
                gradients(&model, optimiser.vars(), &batch, 3, (0, 0), &|| false).unwrap().unwrap();
            let loss = golden[&format!("step{step}.loss")].to_scalar::<f64>().unwrap();
            let ours = found.loss().unwrap();
            assert!((ours - loss).abs() < values, "{dtype:?}: {ours} {loss}");
            let expected = named(&golden, &format!("step{step}.grad."));
            assert_eq!(found.by_name.len(), expected.len());
            for (name, gradient) in &expected {
                close(&format!("{dtype:?} {name}"), &found.by_name[name], gradient, slopes);
            }
            let update = step as u64 - 1;
            optimiser.update(&training(), update, 1e-3, &found).unwrap().unwrap();
            for (name, after) in &named(&golden, &format!("step{step}.after.")) {
                let off = difference(weights.vars()[name].as_tensor(), after);
                assert!(off < values, "{dtype:?} {name} after step {step}: {off:e}");
            }
        }
    }
}

#[test]
fn two_training_steps_of_the_transformer() {
    two_training_steps("transformer_step", Pooling::Cls, None);
}

/// Two documents, one encoder; the golden file's reads them in two calls.
#[test]
fn two_training_steps_of_the_dual_encoder() {
    two_training_steps("transformer_pair", Pooling::First, Some(Pair::Interaction));
}

/// Learned positions and the mean over valid positions.
#[test]
fn mean_pooling() {
    let golden = golden("transformer_mean");
    for (dtype, values, slopes) in TOLERANCES {
        let before = named(&golden, "before.");
        let (model, weights) =
            classifier((Pooling::Mean, Positions::Learned, None), &before, dtype);
        let batch = batch(&golden, 1);
        let vars = weights.vars();
        for micro in [3, 2, 1] {
            let found =
                gradients(&model, &vars, &batch, micro, (0, 0), &|| false).unwrap().unwrap();
            let loss = golden["step1.loss"].to_scalar::<f64>().unwrap();
            let ours = found.loss().unwrap();
            assert!((ours - loss).abs() < values, "{dtype:?}: {ours} {loss}");
            for (name, gradient) in &named(&golden, "step1.grad.") {
                close(&format!("{dtype:?} {name}"), &found.by_name[name], gradient, slopes);
            }
        }
    }
}

/// A file's mask, or one of nothing padded.
fn mask(golden: &Golden, b: usize, n: usize) -> Mask {
    let Some(mask) = golden.get("mask") else {
        return Mask::from_lengths(&vec![n; b], n).unwrap();
    };
    let valid = mask.to_dtype(DType::U32).unwrap().flatten_all().unwrap();
    let valid = valid.to_vec1::<u32>().unwrap().iter().map(|&v| v == 1).collect();
    Mask::new(valid, b, n).unwrap()
}

/// q, k, v as [b, n, heads * width], with the golden output and gradients.
fn check_attention(name: &str, run: impl Fn(&Golden, &[Tensor; 3], &Mask) -> Tensor) {
    let golden = golden(name);
    let (b, n, h, d) = golden["q"].dims4().unwrap();
    let mask = mask(&golden, b, n);
    for (dtype, values, slopes) in TOLERANCES {
        let join = |t: &Tensor| t.reshape((b, n, h * d)).unwrap().to_dtype(dtype).unwrap();
        let vars = ["q", "k", "v"].map(|x| Var::from_tensor(&join(&golden[x])).unwrap());
        let operands = [0, 1, 2].map(|i| vars[i].as_tensor().clone());
        let o = run(&golden, &operands, &mask);
        let real = mask.tensor(dtype, &Device::Cpu).unwrap().unsqueeze(2).unwrap();
        let expected = join(&golden["output"]).broadcast_mul(&real).unwrap();
        let ours = o.broadcast_mul(&real).unwrap();
        close(&format!("{name} {dtype:?}"), &ours, &expected, values);
        let grads = (o * join(&golden["g"])).unwrap().sum_all().unwrap().backward().unwrap();
        for (var, x) in vars.iter().zip(["q", "k", "v"]) {
            let expected = join(&golden[&format!("grad.{x}")]);
            let ours = grads.get(var.as_tensor()).unwrap();
            close(&format!("{name} {dtype:?} d{x}"), ours, &expected, slopes);
        }
    }
}

/// Softmax attention of heads of 8.
fn softmax(mask: &Mask, blocks: Blocks, [q, k, v]: &[Tensor; 3]) -> Tensor {
    let how = Attend {
        heads: q.dim(2).unwrap() / 8,
        blocks: Arc::new(blocks),
        mask: mask.clone(),
        keys: mask.clone(),
        scale: 8f64.powf(-0.5),
        dropout: Dropout::NONE,
    };
    attention(q, k, v, &how).unwrap()
}

#[test]
fn softmax_as_torch_sdpa() {
    check_attention("softmax", |_, x, mask| softmax(mask, Blocks::full(mask.n()), x));
}

#[test]
fn local_as_local_attention() {
    check_attention("local", |_, x, mask| softmax(mask, Blocks::local(mask.n(), 4), x));
}

fn kernelised([q, k, v]: &[Tensor; 3], mask: &Mask, features: Features, eps: f64) -> Tensor {
    let how = Kernelised { heads: 3, mask: mask.clone(), features, eps };
    kernel_attention(&Tensor::cat(&[q, k, v], 2).unwrap(), &how).unwrap()
}

#[test]
fn linear_as_fast_transformers() {
    check_attention("linear", |_, qkv, mask| kernelised(qkv, mask, Features::EluPlusOne, 1e-6));
}

#[test]
fn performer_as_performer_pytorch() {
    for (name, kind, eps) in
        [("performer", Kind::Positive, 1e-4), ("performer_relu", Kind::Relu, 1e-3)]
    {
        check_attention(name, |golden, qkv, mask| {
            let projection = golden["projection"].to_dtype(qkv[0].dtype()).unwrap();
            kernelised(qkv, mask, Features::Random { kind, projection, eps }, 0.0)
        });
    }
}
