//! A new attention from outside the crate, with the whole command line:
//!
//! ```sh
//! cargo run --release --example custom_attention -- run --model gated-mean --task listops
//! cargo run --release --example custom_attention -- list models
//! ```
//!
//! Everything `lra` does for its own attentions it does for this one: runs, checkpoints,
//! records, reports. The mixer itself is a toy: every position gets the mean of all
//! values, weighted by a gate of its own.

use lra::attention::{Attention, Build, Cost, Registry, Variant};
use lra::config::resolved;
use lra::layers::{Context, Linear};
use serde::{Deserialize, Serialize};
use std::process::ExitCode;

/// How the variant is called, explained and built.
const GATED_MEAN: Variant = Variant {
    name: "gated-mean",
    title: "Gated mean",
    paper: "none; an example",
    summary: "mean of all values behind a gate of each position; linear time",
    keys: &[("sharpness", "multiplies the gate's argument")],
    options: |table| resolved::<Options>("attention", table),
    build: |build| Ok(Box::new(GatedMean::new(build)?)),
};

/// `--set attention.sharpness=2`; an unknown key is an error.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    sharpness: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { sharpness: 1.0 }
    }
}

struct GatedMean {
    gate: Linear,
    value: Linear,
    output: Linear,
    width: usize,
    qkv: usize,
    sharpness: f64,
}

impl GatedMean {
    fn new(build: &Build) -> lra::Result<Self> {
        let Options { sharpness } = build.options()?;
        let (d, a) = (build.width, build.qkv);
        // The prefix becomes the weight's name in checkpoints: layers.0.attention.gate.weight
        let weights = |name| build.weights.pp(name);
        Ok(Self {
            gate: Linear::without_bias(d, a, weights("gate"))?,
            value: Linear::without_bias(d, a, weights("value"))?,
            output: Linear::without_bias(a, d, weights("output"))?,
            width: d,
            qkv: a,
            sharpness,
        })
    }
}

impl Attention for GatedMean {
    /// `x` [b, n, width] -> [b, n, width].
    fn forward(
        &self,
        x: &candle_core::Tensor,
        cx: &Context,
    ) -> candle_core::Result<candle_core::Tensor> {
        let valid = cx.mask.tensor(x.dtype(), x.device())?; // [b, n]
        let share = valid.broadcast_div(&valid.sum_keepdim(1)?)?.unsqueeze(1)?; // [b, 1, n]
        let mean = share.matmul(&self.value.forward(x)?)?; // [b, 1, qkv]
        let gate = candle_nn::ops::sigmoid(&(self.gate.forward(x)? * self.sharpness)?)?;
        self.output.forward(&gate.broadcast_mul(&mean)?)
    }

    fn cost(&self, n: usize) -> Cost {
        let (n, d, a) = (n as f64, self.width as f64, self.qkv as f64);
        Cost { flops: 6.0 * n * d * a + 2.0 * n * a, saved: 3.0 * n * a }
    }

    fn receptive_field(&self, n: usize) -> usize {
        n
    }
}

// The same allocator as the binary's: peak memory is counted.
#[global_allocator]
static ALLOCATOR: lra::measure::Counting = lra::measure::Counting;

fn main() -> ExitCode {
    lra::cli::main(&Registry::builtin().with(GATED_MEAN))
}
