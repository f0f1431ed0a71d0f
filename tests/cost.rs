//! Memory by the counting allocator: how it grows with the input and with the depth. One
//! test: others of this process would be counted.

mod common;

use candle_core::DType;
use common::{SIZES, batch, classifier, model};
use lra::attention::Registry;
use lra::config::{ModelSection, Pooling, Positions};
use lra::measure::{Counting, live, peak_live, reset_peak_live};
use lra::testing::memory_growth;
use lra::train::gradients;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What one step holds above what was held before, in bytes.
fn step(name: &str, options: &str, section: &ModelSection, recompute: bool) -> u64 {
    let variant = *Registry::builtin().get(name).unwrap();
    let (model, weights) = classifier(section, &variant, options, SIZES, DType::F32).unwrap();
    let (model, vars, batch) =
        (model.recomputing(recompute), weights.vars(), batch(&[section.length; 4], 1));
    reset_peak_live();
    let before = live().unwrap();
    gradients(&model, &vars, &batch, 4, (3, 1), &|| false).unwrap().unwrap();
    peak_live().unwrap() - before
}

#[test]
fn memory_grows_as_claimed() {
    for variant in Registry::builtin().iter() {
        // The random logits of 8,192 positions would take gigabytes: quadratic, as it says.
        if !variant.summary.contains("linear") {
            continue;
        }
        let power = memory_growth(variant, "").unwrap();
        println!("{}: memory grows like n^{power:.2}", variant.name);
        assert!(power < 1.15, "{}: n^{power:.2}", variant.name);
    }

    // Reversible layers keep two streams, whatever the depth; plain ones keep every layer.
    let section = |layers, reversible| ModelSection {
        length: 500,
        layers,
        width: 64,
        reversible,
        ..model(Pooling::Mean, Positions::Sinusoid)
    };
    let of = |layers, reversible, recompute| {
        step("reformer", "chunk = 32", &section(layers, reversible), recompute) as f64
    };
    let [reversible, plain, recomputed] = [(true, false), (false, false), (false, true)]
        .map(|(reversible, recompute)| [2, 4, 8].map(|layers| of(layers, reversible, recompute)));
    println!(
        "bytes at 2, 4 and 8 layers: reversible {reversible:?}, plain {plain:?}, recomputed {recomputed:?}"
    );
    // The gradients of more weights are all that grows.
    assert!(reversible[2] < 1.25 * reversible[0], "{reversible:?}");
    let growth = |bytes: [f64; 3]| bytes[2] - bytes[0];
    assert!(growth(reversible) < 0.1 * growth(plain), "{reversible:?} {plain:?}");
    // One input for each layer.
    assert!(recomputed[2] < 1.8 * recomputed[0], "{recomputed:?}");
    assert!(recomputed[2] < 0.5 * plain[2], "{recomputed:?} {plain:?}");
}
