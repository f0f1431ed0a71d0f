//! How far rounding moves the loss that `lra check` compares: the tolerance for another type of
//! CPU is ten times what the whole of f32's rounding does.

use candle_core::Device;
use lra::attention::Registry;
use lra::bench::batch;
use lra::check::{LOSS, STEPS, cells};
use lra::config::Dtype;
use lra::train::{AdamW, build, step};

#[test]
fn f64_ends_near_f32() {
    let registry = Registry::builtin();
    let cells = cells(&registry, &registry.names(&["all".to_owned()])).unwrap();
    let mut worst = (0.0, String::new());
    for cell in &cells {
        let variant = registry.get(&cell.config.run.model).unwrap();
        let loss = |dtype: Dtype| {
            let mut config = cell.config.clone();
            config.run.dtype = dtype;
            let (model, weights) = build(&config, variant, cell.sizes, &Device::Cpu).unwrap();
            let mut optimiser = AdamW::new(weights.vars()).unwrap();
            let batch = batch(&config, cell.sizes, config.model.length).unwrap();
            // With the three that warm up.
            let mut one = |at| step(&model, &mut optimiser, &batch, &config, at, &|| false);
            let losses = (0..STEPS + 3).map(|at| one(at).unwrap().unwrap().loss);
            losses.last().unwrap()
        };
        let (single, double) = (loss(Dtype::F32), loss(Dtype::F64));
        let off = (single - double).abs() / double;
        println!("{}: {single} in f32, {double} in f64, off by {off:.1e}", variant.name);
        if off > worst.0 {
            worst = (off, variant.name.to_owned());
        }
    }
    assert!(worst.0 > 0.0 && worst.0 < LOSS / 10.0, "{worst:?}");
}
