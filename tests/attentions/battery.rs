//! The battery over the registry; new attentions are covered unasked.

use lra::attention::Registry;
use lra::testing::battery;

/// Options under which the patterns show in 40 positions, and every named option is used.
const OPTIONS: [(&str, &[&str]); 10] = [
    ("local", &["block = 5"]),
    (
        "transformer-xl",
        &["segment = 7\nmemory = 10", "segment = 6\nmemory = 0\ncausal = true\ntied = false"],
    ),
    (
        "sparse-transformer",
        &[
            "stride = 6\nsummary = 2",
            "stride = 6\nsummary = 2\ncombine = \"heads\"\ncausal = true",
            "stride = 6\nsummary = 2\ncombine = \"layers\"",
            "pattern = \"strided\"\nstride = 6\nsummary = 1",
            "pattern = \"strided\"\nstride = 6\nsummary = 1\ncausal = true",
            "pattern = \"strided\"\nstride = 6\nsummary = 1\ncombine = \"layers\"\ncausal = true",
            "pattern = \"strided\"\nstride = 6\nsummary = 1\ncombine = \"heads\"",
        ],
    ),
    (
        "longformer",
        &[
            "window = 6\nglobal = 0",
            "window = [4, 8]\nglobal = 2",
            "window = 4\ndilation = [1, 3]\ndilated_heads = 1",
            "window = 4\ndilation = 3\ndilated_heads = 2\nglobal = 3",
        ],
    ),
    ("bigbird", &["block = 4\nrandom = 2", "form = \"etc\"\ntokens = 3\nblock = 4\nrandom = 1"]),
    ("reformer", &["chunk = 4\nbuckets = 6\nrounds = 3", "chunk = 5\nback = 1\nahead = 1"]),
    (
        "linformer",
        &["k = 5\nsharing = \"none\"", "k = 4\nsharing = \"headwise\"", "sharing = \"layerwise\""],
    ),
    (
        "performer",
        &["kernel = \"relu\"", "kernel = \"trigonometric\"", "features = 20\northogonal = false"],
    ),
    (
        "sinkhorn",
        &["block = 6\ngumbel = false", "block = 5\niterations = 3\ncut = 2\ntemperature = 1.0"],
    ),
    (
        "synthesizer",
        &[
            "dot = false",
            "kinds = [\"dense\"]\ndot = false",
            "kinds = [\"factorised-random\"]\ndot = false\nrank = 3",
            "kinds = [\"factorised-dense\"]\ndot = false",
            "kinds = [\"random\", \"dense\"]\nweighted = true",
            "trained = false",
        ],
    ),
];

#[test]
fn every_attention_passes() {
    let registry = Registry::builtin();
    for variant in registry.iter() {
        battery(variant, "");
    }
}

#[test]
fn every_option_passes() {
    let registry = Registry::builtin();
    for (name, sets) in OPTIONS {
        for options in sets {
            battery(registry.get(name).unwrap(), options);
        }
    }
}
