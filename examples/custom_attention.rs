//! A new attention from outside the crate, with the whole command line and the same proof:
//!
//! ```sh
//! cargo run --release --example custom_attention -- run --model gated-mean --task listops
//! cargo test --release --example custom_attention
//! ```
//!
//! A toy: every position gets the mean of all values behind a gate of its own.

use candle_core::Tensor;
use lra::attention::{Attention, Build, Cost, Registry, Variant};
use lra::config::resolved;
use lra::layers::{Context, Linear};
use serde::{Deserialize, Serialize};

const GATED_MEAN: Variant = Variant {
    name: "gated-mean",
    title: "Gated mean",
    paper: "none; an example",
    summary: "mean of all values behind a gate of each position; linear time",
    keys: &[("shift", "added to the gate's argument")],
    normalised: false,
    options: |table| resolved::<Options>("attention", table),
    build: |build| Ok(Box::new(GatedMean::new(build)?)),
    ..Variant::PLAIN
};

/// `--set attention.shift=2`; an unknown key is an error.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(default)]
    shift: f64,
}

struct GatedMean {
    parts: [Linear; 3],
    shift: f64,
    cost: Cost,
}

impl GatedMean {
    fn new(build: &Build) -> lra::Result<Self> {
        let Options { shift } = build.options()?;
        let (d, a) = (build.width, build.qkv);
        // The prefix becomes the weight's name in checkpoints: layers.0.attention.gate.weight
        let linear = |name, from, to| Linear::without_bias(from, to, build.weights.pp(name));
        let parts = [linear("gate", d, a)?, linear("value", d, a)?, linear("output", a, d)?];
        let (flops, saved) = ((6 * d * a + 2 * a) as f64, (3 * a) as f64);
        let cost = Cost { flops, saved, ..Cost::default() };
        Ok(Self { parts, shift, cost })
    }
}

impl Attention for GatedMean {
    fn forward(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        let [gate, value, output] = &self.parts;
        let valid = cx.mask.tensor(x.dtype(), x.device())?; // [b, n]
        let share = valid.broadcast_div(&valid.sum_keepdim(1)?)?.unsqueeze(1)?; // [b, 1, n]
        let mean = share.matmul(&value.forward(x)?)?; // [b, 1, qkv]
        let gate = candle_nn::ops::sigmoid(&(gate.forward(x)? + self.shift)?)?;
        output.forward(&gate.broadcast_mul(&mean)?)
    }

    fn cost(&self, n: usize) -> Cost {
        let Cost { flops, saved, .. } = self.cost;
        Cost { flops: n as f64 * flops, saved: n as f64 * saved, ..Cost::default() }
    }
}

#[global_allocator]
static ALLOCATOR: lra::measure::Counting = lra::measure::Counting;

fn main() -> std::process::ExitCode {
    lra::cli::main(&Registry::builtin().with(GATED_MEAN))
}

#[test]
fn gated_mean_passes_the_battery() {
    lra::testing::battery(&GATED_MEAN, "shift = 2.0");
}
