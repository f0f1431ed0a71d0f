//! Memory of training on a GPU. The pool is the whole process's, so this test is alone in one:
//! `cargo test --release --features cuda --test cuda_memory`.

mod common;
#[path = "cuda/gpu.rs"]
mod gpu;
#[path = "cuda/models.rs"]
mod models;
#[path = "common/skip.rs"]
mod skip;

use gpu::gpu;
use lra::attention::Registry;
use lra::config::{Dtype, ModelSection};
use lra::train::{AdamW, step};
use models::{config, model, section, tokens};

/// What is told before the start is near what a step takes of the pool: not less, but for a
/// tenth, and not three times as much.
#[test]
fn memory_is_as_planned() {
    let Some(gpu) = gpu() else { return };
    let registry = Registry::builtin();
    let mut far = Vec::new();
    for variant in registry.iter() {
        for dtype in [Dtype::F32, Dtype::Bf16] {
            let (model_section, sizes) = section(variant);
            let wide = ModelSection {
                length: 2048,
                width: 256,
                qkv: 256,
                feed_forward: 1024,
                ..model_section.clone()
            };
            let mut config = config(variant, wide.clone());
            (config.run.dtype, config.run.micro_batch) = (dtype, 8);
            config.attention = (variant.options)(&toml::Table::new()).unwrap();
            let plan = lra::train::plan(&config, variant, sizes).unwrap();
            let (model, weights) = model(variant, &(wide, sizes), (dtype.candle(), &gpu));
            let mut optimiser = AdamW::new(weights.vars()).unwrap();
            let batch = tokens(&[2048; 8]);
            lra::measure::reset_peak_pool(&gpu);
            for at in 0..2 {
                step(&model, &mut optimiser, &batch, &config, at, &|| false).unwrap().unwrap();
            }
            let taken = lra::measure::peak_pool(&gpu).unwrap() as f64;
            let ratio = plan.needed() / taken;
            println!("{} {dtype:?}: {:.0} MB, planned {ratio:.2} of it", variant.name, taken / 1e6);
            if !(0.9..3.0).contains(&ratio) {
                far.push(format!("{} {dtype:?}: {ratio:.2}", variant.name));
            }
        }
    }
    assert!(far.is_empty(), "{far:?}");
}
