//! Memory by the counting allocator: how it grows with the input and with the depth. One
//! test: others of this process would be counted.

mod common;

use candle_core::{DType, Device};
use common::{SIZES, batch, classifier, model};
use lra::attention::Registry;
use lra::bench;
use lra::config::{Card, ModelSection, Pooling, Positions, Request, resolve};
use lra::measure::{Counting, live, peak_live, reset_peak_live};
use lra::tasks;
use lra::testing::memory_growth;
use lra::train::{AdamW, build, gradients, plan, step};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What one step holds above what was held before, in bytes.
fn held(name: &str, options: &str, section: &ModelSection, recompute: bool) -> u64 {
    let variant = *Registry::builtin().get(name).unwrap();
    let (model, weights) = classifier(section, &variant, options, SIZES, DType::F32).unwrap();
    let (model, vars, batch) =
        (model.recomputing(recompute), weights.vars(), batch(&[section.length; 4], 1));
    reset_peak_live();
    let before = live().unwrap();
    gradients(&model, &vars, &batch, 4, (3, 1), &|| false).unwrap().unwrap();
    peak_live().unwrap() - before
}

/// What the plan of a model says against what training it holds, on `compact` text: the peak of
/// live bytes over two steps, less what was live before the model was built. A quarter is what
/// a plan made of whole tensors can miss: buffers of products, and what one op has let go of
/// before the next one begins.
fn plans_are_near() {
    let card = Card::of(tasks::find("text").unwrap()).unwrap();
    let mut far = Vec::new();
    for variant in Registry::builtin().iter() {
        for (n, examples) in [(1024, 4), (4096, 1)] {
            let sets = [format!("model.length={n}"), format!("train.batch={examples}")];
            let request = Request { sets: &sets, ..variant.request("compact") };
            let config = resolve(&card, &request).unwrap();
            let planned = plan(&config, variant, card.sizes()).unwrap().needed();
            reset_peak_live();
            let before = live().unwrap();
            let (model, weights) = build(&config, variant, card.sizes(), &Device::Cpu).unwrap();
            let mut optimiser = AdamW::new(weights.vars()).unwrap();
            let batch = bench::batch(&config, card.sizes(), n).unwrap();
            for at in 0..2 {
                step(&model, &mut optimiser, &batch, &config, at, &|| false).unwrap();
            }
            let held = (peak_live().unwrap() - before) as f64;
            let ratio = held / planned;
            println!(
                "{:<20} {n} x {examples}: planned {:8.1} MB, held {:8.1} MB, {ratio:.2}",
                variant.name,
                planned / 1e6,
                held / 1e6
            );
            if !(0.75..1.25).contains(&ratio) {
                far.push(format!("{} at {n}: {ratio:.2}", variant.name));
            }
        }
    }
    assert!(far.is_empty(), "{far:?}");
}

#[test]
fn memory_grows_as_claimed() {
    plans_are_near();
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
        held("reformer", "chunk = 32", &section(layers, reversible), recompute) as f64
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
