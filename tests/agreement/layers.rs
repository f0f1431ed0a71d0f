//! Whole layers, or their patterns, that hold the weights of public packages.

use super::{TOLERANCES, check_attention, close, golden, mask, softmax};
use candle_core::{DType, Device, Tensor, Var};
use lra::attention::{Attention, Build, Registry, sorted};
use lra::layers::{Context, Weights};
use lra::ops::attention::{Entry, Rule};
use lra::ops::{Blocks, Mask};
use std::ops::Range;

/// A layer of width 16 with 2 heads, over up to n positions.
fn layer(name: &str, options: &str, n: usize, dtype: DType) -> (Box<dyn Attention>, Weights) {
    let weights = Weights::new(0);
    let vb = weights.builder(dtype, &Device::Cpu);
    let options: toml::Table = options.parse().unwrap();
    let build = Build {
        width: 16,
        qkv: 16,
        heads: 2,
        dropout: 0.0,
        n,
        layer: 0,
        depth: 1,
        weights: vb.pp("attention"),
        shared: vb.pp("shared"),
        options: &options,
    };
    ((Registry::builtin().get(name).unwrap().build)(&build).unwrap(), weights)
}

/// A layer with the golden weights, `(ours, theirs)`: its outputs, and the gradients of the
/// input and of every weight. Without an output projection of theirs, ours is the identity.
fn check_layer(name: &str, layer_options: (&str, &str), weights_of: &[(&str, &str)], output: &str) {
    let golden = golden(name);
    let (_, n, _) = golden["x"].dims3().unwrap();
    for (dtype, values, slopes) in TOLERANCES {
        let (attention, weights) = layer(layer_options.0, layer_options.1, n, dtype);
        let vars = weights.vars();
        for (ours, theirs) in weights_of {
            let value = golden[*theirs].to_dtype(dtype).unwrap();
            vars[*ours].set(&value.reshape(vars[*ours].shape()).unwrap()).unwrap();
        }
        if output == "output" {
            vars["attention.output.weight"]
                .set(&Tensor::eye(16, dtype, &Device::Cpu).unwrap())
                .unwrap();
        }
        let x = Var::from_tensor(&golden["x"].to_dtype(dtype).unwrap()).unwrap();
        let mask = mask(&golden, 2, n);
        let y = attention.forward(&x, &Context::new(mask.clone(), 1)).unwrap();
        let real = mask.tensor(dtype, &Device::Cpu).unwrap().unsqueeze(2).unwrap();
        let ours = y.broadcast_mul(&real).unwrap();
        let theirs = golden[output].to_dtype(dtype).unwrap().broadcast_mul(&real).unwrap();
        close(&format!("{name} {dtype:?}"), &ours, &theirs, values);
        let g = golden["g"].to_dtype(dtype).unwrap();
        let grads = (y * g).unwrap().sum_all().unwrap().backward().unwrap();
        let theirs = golden["grad.x"].to_dtype(dtype).unwrap();
        close(&format!("{name} {dtype:?} dx"), grads.get(&x).unwrap(), &theirs, slopes);
        // A weight that holds the part of two has the sum of their gradients.
        let mut sums: std::collections::BTreeMap<&str, Tensor> = Default::default();
        for (ours, theirs) in weights_of {
            let gradient = grads.get(&vars[*ours]).unwrap().flatten_all().unwrap();
            let sum = match sums.remove(theirs) {
                Some(sum) => (sum + gradient).unwrap(),
                None => gradient,
            };
            sums.insert(theirs, sum);
        }
        for (name_, sum) in sums {
            let theirs = golden[&format!("grad.{name_}")].flatten_all().unwrap();
            close(
                &format!("{name} {dtype:?} d{name_}"),
                &sum,
                &theirs.to_dtype(dtype).unwrap(),
                slopes,
            );
        }
    }
}

const QKV: [(&str, &str); 3] = [
    ("attention.query.weight", "query"),
    ("attention.key.weight", "key"),
    ("attention.value.weight", "value"),
];

#[test]
fn longformer_as_transformers() {
    let weights = [
        ("attention.global_query.weight", "query_global"),
        ("attention.global_key.weight", "key_global"),
        ("attention.global_value.weight", "value_global"),
    ];
    let weights = [&QKV[..], &weights].concat();
    check_layer("longformer", ("longformer", "window = 8\nglobal = 2"), &weights, "output");
}

#[test]
fn linformer_as_linformer() {
    let weights = [
        ("attention.output.weight", "output"),
        ("attention.mix_key.weight", "mix_key"),
        ("attention.mix_value.weight", "mix_value"),
    ];
    let weights = [&QKV[..], &weights].concat();
    check_layer("linformer", ("linformer", "k = 6\nsharing = \"headwise\""), &weights, "y");
    // The package shares the projection with the mixture.
    let weights = [
        ("attention.query.weight", "query"),
        ("attention.key.weight", "key"),
        ("attention.value.weight", "key"),
        ("attention.output.weight", "output"),
        ("attention.mix.weight", "mix_key"),
    ];
    check_layer("linformer_kv", ("linformer", "k = 6\nsharing = \"kv\""), &weights, "y");
}

#[test]
fn transformer_xl_as_xlnet() {
    let weights = [
        ("attention.relative.weight", "relative"),
        ("shared.content_bias", "u"),
        ("shared.position_bias", "v"),
    ];
    let weights = [&QKV[..], &weights].concat();
    check_layer("xlnet", ("transformer-xl", "segment = 6\nmemory = 6"), &weights, "output");
}

/// The pattern with the package's random blocks.
#[test]
fn bigbird_as_transformers() {
    check_attention("bigbird", |golden, x, mask| {
        let random = golden["random_blocks"].to_dtype(DType::U32).unwrap();
        let random = random.to_vec3::<u32>().unwrap();
        let range = |i: usize| -> Range<usize> { 4 * i..4 * i + 4 };
        let list = |head: usize| {
            let entry = |i: usize| {
                let mut seen = match i {
                    0 | 7 => (0..8).collect(),
                    _ => vec![0, i - 1, i, i + 1, 7, random[head][i - 1][0] as usize],
                };
                seen.sort_unstable();
                seen.dedup();
                let keys = seen.into_iter().map(|j| (range(j).into(), Rule::All)).collect();
                Entry { queries: range(i).into(), keys }
            };
            vec![(0..8).map(entry).collect()]
        };
        softmax(mask, Blocks::per_head(32, 32, vec![list(0), list(1)]), x)
    });
}

/// The package's buckets; its scale. With several rounds its chunks form one ring, which
/// `reformer_two` cannot tell from a ring in each round.
#[test]
fn reformer_as_reformer_pytorch() {
    for name in ["reformer_one", "reformer_two"] {
        let golden = golden(name);
        let (b, n, _) = golden["qk"].dims3().unwrap();
        let buckets = golden["buckets"].transpose(0, 1).unwrap();
        let buckets = buckets.to_dtype(DType::U32).unwrap();
        let buckets = buckets.reshape(((), b, 1, n)).unwrap();
        let count = 1 + crate::common::largest(&buckets) as usize;
        let mask = Mask::from_lengths(&vec![n; b], n).unwrap();
        let blocks = sorted(&buckets, count, &mask, (4, 1, 0)).unwrap();
        for (dtype, values, slopes) in TOLERANCES {
            let of = |x: &str| golden[x].to_dtype(dtype).unwrap();
            let [qk, v] = ["qk", "v"].map(|x| Var::from_tensor(&of(x)).unwrap());
            let length = qk.sqr().unwrap().sum_keepdim(2).unwrap().sqrt().unwrap();
            let k = qk.broadcast_div(&length).unwrap();
            let x = [qk.as_tensor().clone(), k, v.as_tensor().clone()];
            let o = softmax(&mask, blocks.clone(), &x);
            close(&format!("{name} {dtype:?}"), &o, &of("output"), values);
            let grads = (o * of("g")).unwrap().sum_all().unwrap().backward().unwrap();
            for (var, x) in [(&qk, "qk"), (&v, "v")] {
                let (ours, theirs) = (grads.get(var).unwrap(), of(&format!("grad.{x}")));
                close(&format!("{name} {dtype:?} d{x}"), ours, &theirs, slopes);
            }
        }
    }
}
