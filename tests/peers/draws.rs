//! What lra draws at random and is no weight, for the peer to use.

use candle_core::{Device, Tensor};
use lra::attention::{Support, projection};
use lra::config::RunConfig;
use lra::data::Batch;
use lra::layers::Context;
use lra::models::Classifier;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

pub const SEED: u64 = 11;
pub const STEP: u64 = 4;

/// By name; see `structure` in `benches/peers/attention/`.
pub fn drawn(config: &RunConfig, model: &Classifier, batch: &Batch) -> BTreeMap<String, Tensor> {
    let cx = Context::new(batch.mask.clone(), SEED).training(STEP, 0);
    let mut all = BTreeMap::new();
    for (layer, attention) in model.attentions().enumerate() {
        let cx = cx.enter("layer", layer);
        match config.run.model.as_str() {
            "performer" => {
                let key = cx.redrawn("features", integer(config, "redraw") as u64);
                let (m, width) =
                    (integer(config, "features"), config.model.qkv / config.model.heads);
                let drawn = projection(m, width, true, key).unwrap();
                all.insert(format!("projection.{layer}"), drawn);
            }
            "reformer" => {
                for (i, rotations) in rotations(config, &cx, model).into_iter().enumerate() {
                    all.insert(format!("rotations.{layer}.{i}"), rotations);
                }
            }
            "bigbird" => {
                let n = model.positions(config.model.length);
                let Support::Listed(blocks) = attention.support(n) else { unreachable!() };
                let size = integer(config, "block");
                let count = n.div_ceil(size);
                let heads = config.model.heads;
                let mut seen = Vec::with_capacity(heads * count * count);
                for head in 0..heads {
                    let dense = blocks.dense(0, head);
                    let at = |i: usize| dense[i / count * size * n + i % count * size] as u8;
                    seen.extend((0..count * count).map(at));
                }
                let seen = Tensor::from_vec(seen, (heads, count, count), &Device::Cpu).unwrap();
                all.insert(format!("support.{layer}"), seen);
            }
            _ => {}
        }
    }
    all
}

fn integer(config: &RunConfig, key: &str) -> usize {
    config.attention[key].as_integer().unwrap() as usize
}

/// For each factor of the buckets the rotations of all rounds, [rounds, heads, width, factor / 2].
fn rotations(config: &RunConfig, cx: &Context, model: &Classifier) -> Vec<Tensor> {
    let n = model.positions(config.model.length);
    let buckets = match integer(config, "buckets") {
        0 => 2 * n.div_ceil(integer(config, "chunk")),
        given => given,
    };
    // Above 128 buckets lra hashes by pairs of powers of two.
    let factors = match buckets {
        ..=128 => vec![buckets],
        _ => {
            let bits = buckets.next_power_of_two().ilog2();
            vec![1 << bits.div_ceil(2), 1 << (bits / 2)]
        }
    };
    let (rounds, heads) = (integer(config, "rounds"), config.model.heads);
    let width = config.model.qkv / heads;
    let mut rng = cx.drawn("rotations").stream();
    let mut values: Vec<Vec<f32>> = vec![Vec::new(); factors.len()];
    for _ in 0..rounds {
        for (values, factor) in values.iter_mut().zip(&factors) {
            values.extend((0..heads * width * factor / 2).map(|_| normal(&mut rng) as f32));
        }
    }
    let shaped = |(values, factor): (Vec<f32>, usize)| {
        Tensor::from_vec(values, (rounds, heads, width, factor / 2), &Device::Cpu).unwrap()
    };
    values.into_iter().zip(factors).map(shaped).collect()
}

/// As lra draws normals (Box and Muller).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
