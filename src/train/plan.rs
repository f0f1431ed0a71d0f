//! What a configuration will take, known before anything of that size is made.

use crate::attention::{Cost, Variant};
use crate::config::{RunConfig, Sizes};
use crate::error::{Error, Result};
use crate::layers::Weights;
use crate::measure::free_memory;
use crate::models::Classifier;
use candle_core::Device;

/// Parameters, FLOPs and bytes of a configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Trained values.
    pub parameters: usize,
    /// Weights, gradients and two moments, in bytes.
    pub weights: f64,
    /// What one micro-batch keeps for the backward pass, in bytes.
    pub kept: f64,
    /// FLOPs of one example's forward pass; embedding and head left out.
    pub forward: f64,
}

/// The model with weights that take no memory.
fn unfilled(config: &RunConfig, variant: &Variant, sizes: Sizes) -> Result<(Classifier, Weights)> {
    let weights = Weights::unfilled();
    let kind = (config.run.dtype.candle(), &Device::Cpu);
    let (section, options) = (&config.model, &config.attention);
    let model = Classifier::new(section, variant, options, sizes, &weights, kind)?;
    Ok((model, weights))
}

/// The largest number of positions one output of the first layer depends on, of the longest
/// input.
pub fn receptive_field(config: &RunConfig, variant: &Variant, sizes: Sizes) -> Result<usize> {
    let (model, _) = unfilled(config, variant, sizes)?;
    let n = model.positions(config.model.length);
    Ok(model.attentions().next().map_or(0, |attention| attention.support(n).widest(n)))
}

/// The plan of a configuration, for inputs as long as the model takes.
pub fn plan(config: &RunConfig, variant: &Variant, sizes: Sizes) -> Result<Plan> {
    let (model, weights) = unfilled(config, variant, sizes)?;
    let section = &config.model;
    let bytes = config.run.dtype.candle().size_in_bytes() as f64;
    let Cost { flops, saved } = model.cost(section.length);
    let n = model.positions(section.length);
    // Recomputed layers keep their inputs and the values of one layer; reversible ones two
    // streams and the values of one.
    let inputs = (n * section.width * sizes.parts) as f64;
    let layers = section.layers as f64;
    let saved = match (section.reversible, config.run.recompute) {
        (true, _) => saved / layers + 4.0 * inputs,
        (false, true) => saved / layers + (layers + 2.0) * inputs,
        (false, false) => saved,
    };
    Ok(Plan {
        parameters: weights.count(),
        weights: 4.0 * bytes * weights.count() as f64,
        kept: bytes * saved * config.run.micro_batch as f64,
        forward: flops,
    })
}

impl Plan {
    /// An error where this machine has not the memory.
    pub fn check(&self) -> Result<()> {
        let needed = self.weights + self.kept;
        let gigabytes = |bytes: f64| format!("{:.1} GB", bytes / 1e9);
        match free_memory() {
            Some(free) if needed > free as f64 => Err(Error::OutOfMemory(format!(
                "{} parameters with gradients and moments take {}, what a micro-batch keeps {}: \
                 more than the {} that are free; lower --micro-batch, model.length or \
                 model.width, give --recompute, or take another --model",
                self.parameters,
                gigabytes(self.weights),
                gigabytes(self.kept),
                gigabytes(free as f64)
            ))),
            _ => Ok(()),
        }
    }
}
