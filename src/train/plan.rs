//! What a configuration will take, known before anything of that size is made.

use crate::attention::Variant;
use crate::config::{RunConfig, RunSection, Sizes};
use crate::error::{Error, Result};
use crate::layers::Weights;
use crate::measure::{free_gpu_memory, free_memory};
use crate::models::Classifier;
use candle_core::Device;

/// Parameters, FLOPs and bytes of a configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Trained values.
    pub parameters: usize,
    /// Weights, gradients and two moments, in bytes.
    pub weights: f64,
    /// What a step over one micro-batch holds beside them at most, in bytes.
    pub step: f64,
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

/// The plan of a configuration, for inputs as long as the model takes, on its device and the
/// threads of this process.
pub fn plan(config: &RunConfig, variant: &Variant, sizes: Sizes) -> Result<Plan> {
    let (model, weights) = unfilled(config, variant, sizes)?;
    let model = model.recomputing(config.run.recompute);
    let dtype = config.run.dtype;
    let (bytes, exact) = (dtype.candle().size_in_bytes(), dtype.of_weights().size_in_bytes());
    let exact = exact as f64;
    // The streams of reversible layers keep what is added and subtracted in full.
    let bytes = if config.model.reversible { exact } else { bytes as f64 };
    let (n, micro) = (config.model.length, config.run.micro_batch);
    let threads = (config.run.device == "cpu").then(rayon::current_num_threads);
    Ok(Plan {
        parameters: weights.count(),
        weights: 4.0 * exact * weights.count() as f64,
        step: bytes * model.held(n, micro, threads),
        forward: model.cost(n).flops,
    })
}

/// An error where the device has not the memory, which names the micro-batch that would fit.
pub fn check_memory(
    config: &RunConfig,
    variant: &Variant,
    sizes: Sizes,
    device: &Device,
) -> Result<()> {
    let free = if device.is_cpu() { free_memory() } else { free_gpu_memory(device) };
    let Some(free) = free else { return Ok(()) };
    let of = |micro_batch| {
        let run = RunSection { micro_batch, ..config.run.clone() };
        plan(&RunConfig { run, ..config.clone() }, variant, sizes)
    };
    let whole = plan(config, variant, sizes)?;
    if whole.needed() <= free as f64 {
        return Ok(());
    }
    let (mut fits, mut does_not) = (0, config.run.micro_batch);
    while does_not - fits > 1 {
        let middle = fits + (does_not - fits) / 2;
        match of(middle)?.needed() <= free as f64 {
            true => fits = middle,
            false => does_not = middle,
        }
    }
    let gigabytes = |bytes: f64| format!("{:.2} GB", bytes / 1e9);
    let cure = match fits {
        0 => format!(
            "--micro-batch 1 would take {}; lower model.length or model.width, give --recompute, \
             or take another --model",
            gigabytes(of(1)?.needed())
        ),
        fits => format!("--micro-batch {fits} would fit"),
    };
    Err(Error::OutOfMemory(format!(
        "{} parameters with gradients and moments take {}, a step over a micro-batch of {} {}: \
         more than the {} that are free; {cure}",
        whole.parameters,
        gigabytes(whole.weights),
        config.run.micro_batch,
        gigabytes(whole.step),
        gigabytes(free as f64)
    )))
}

impl Plan {
    /// Bytes of a training at its peak.
    pub fn needed(&self) -> f64 {
        self.weights + self.step
    }
}
