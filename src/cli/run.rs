//! `lra run`: one model, one task, one record.

use super::{estimate, out, start_threads};
use crate::attention::Registry;
use crate::config::{Card, Dtype, Request, RunConfig, resolve};
use crate::data::places;
use crate::device;
use crate::error::{Error, Result};
use crate::measure::Stop;
use crate::printable;
use crate::progress::Progress;
use crate::records::{Record, RunFolder, Status};
use crate::tasks;
use crate::train::{Setting, micro_batch, run as train};
use candle_core::Device;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct RunArgs {
    /// The attention, e.g. performer (`lra list models`)
    #[arg(long)]
    model: String,
    /// The task, e.g. listops (`lra list tasks`)
    #[arg(long)]
    task: String,
    /// The protocol; `lra` on a GPU and `quick` on a CPU unless given
    #[arg(long)]
    preset: Option<String>,
    /// Decides weights, order and dropout; the data have a seed of their own
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// `cpu`, `cuda:N`, or `auto`: the first GPU if there is one
    #[arg(long, default_value = "auto")]
    device: String,
    #[arg(long, value_enum, default_value_t = DtypeArg::F32)]
    dtype: DtypeArg,
    /// Threads on the CPU; all by default. Results do not depend on it
    #[arg(long)]
    threads: Option<usize>,
    /// Training steps, instead of the preset's
    #[arg(long)]
    steps: Option<u64>,
    /// Examples per forward pass; less takes less memory
    #[arg(long)]
    micro_batch: Option<usize>,
    /// Compute layers again in the backward pass: less memory, more time, the same gradients
    #[arg(long)]
    recompute: bool,
    /// Change a value of the configuration, e.g. model.layers=2; may be repeated
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Folder with the official files, or their archive [env: LRA_DATA]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The run's folder; results/runs/<task>-<model>-<preset>-s<seed> by default
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write an event file for TensorBoard into the run's folder
    #[arg(long)]
    tensorboard: bool,
    /// Print the record as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum DtypeArg {
    F32,
    F64,
    /// Layers in bf16, weights, sums and the optimiser in f32; on a GPU
    Bf16,
}

impl DtypeArg {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Bf16 => "bf16",
        }
    }

    /// On a device of this name.
    pub(super) fn on(self, device: &str) -> Result<Dtype> {
        match self {
            Self::F32 => Ok(Dtype::F32),
            Self::F64 => Ok(Dtype::F64),
            Self::Bf16 if device == "cpu" => Err(Error::usage(
                "--dtype bf16: on a GPU alone; give --device cuda:0, or --dtype f32",
            )),
            Self::Bf16 => Ok(Dtype::Bf16),
        }
    }
}

pub fn run(args: &RunArgs, registry: &Registry, progress: &Progress) -> Result<()> {
    let stop = Stop::install()?;
    let task = tasks::find(&args.task)?;
    let variant = registry.get(&args.model)?;
    let card = Card::of(task)?;
    start_threads(args.threads)?;
    let device = device::open(&args.device, progress)?;
    let place = match &device {
        Device::Cpu => "cpu".to_string(),
        _ => args.device.replace("auto", "cuda:0"),
    };
    let dtype = args.dtype.on(&place)?;
    let usual = if device.is_cpu() { "quick" } else { "lra" };
    let mut request = Request {
        seed: args.seed,
        device: &place,
        dtype,
        steps: args.steps,
        micro_batch: args.micro_batch,
        recompute: args.recompute,
        sets: &args.set,
        ..variant.request(args.preset.as_deref().unwrap_or(usual))
    };
    let mut config = resolve(&card, &request)?;
    let folder = args.out.clone().unwrap_or_else(|| folder_of(&config));
    RunFolder::check_free(&folder)?;
    let chosen = format!("preset {}: {}", request.preset, card.describe(request.preset));
    if args.preset.is_none() && request.preset != "lra" {
        (request.preset, request.sets, request.steps) = ("lra", &[], None);
        let full = resolve(&card, &request)?;
        let would = match estimate::seconds(&full, variant, &card, &device) {
            Ok(seconds) => format!(
                "would take about {} of training here (measured on one example)",
                estimate::duration(seconds)
            ),
            Err(error @ Error::OutOfMemory(_)) => format!("does not fit here ({error})"),
            Err(error) => return Err(error),
        };
        progress.say(&format!(
            "{chosen} (taken because there is no GPU); the full one, `--preset lra`, {would}"
        ));
    } else {
        progress.say(&chosen);
    }
    if args.micro_batch.is_none() {
        config.run.micro_batch = micro_batch(&config, variant, card.sizes(), &device)?;
    }
    let places = places(args.data_dir.as_deref())?;
    let setting = Setting {
        task,
        variant,
        places: &places,
        folder: &folder,
        device: &device,
        progress,
        stop: &stop,
        tensorboard: args.tensorboard,
    };
    let record = train(&config, &setting)?;
    out::print(|to| {
        if args.json {
            let text = serde_json::to_string_pretty(&record).map_err(std::io::Error::from)?;
            writeln!(to, "{text}")
        } else {
            writeln!(to, "{}", summary(&record))?;
            writeln!(
                to,
                "record: {}",
                printable::line(&folder.join("record.json").to_string_lossy())
            )
        }
    })?;
    match record.status {
        // As it was said when it happened.
        Status::Diverged => {
            let reason = record.reason.unwrap_or_default();
            let (head, what) = reason.split_once(": ").unwrap_or(("", &reason));
            let step = head.rsplit(' ').next().and_then(|step| step.parse().ok());
            let step = step.unwrap_or(record.steps + 1);
            Err(Error::Diverged { step, what: what.to_owned() })
        }
        _ => Ok(()),
    }
}

fn folder_of(config: &RunConfig) -> PathBuf {
    let run = &config.run;
    let name = format!("{}-{}-{}-s{}", run.task, run.model, run.preset, run.seed);
    PathBuf::from("results/runs").join(name)
}

/// What a person wants to know first.
pub(super) fn summary(record: &Record) -> String {
    let mut parts = Vec::new();
    match &record.final_metrics {
        Some(metrics) => parts.push(format!(
            "test accuracy {:.2} % (validation {:.2} %, majority class {:.2} %)",
            metrics.test.accuracy * 100.0,
            metrics.validation.accuracy * 100.0,
            record.data.majority * 100.0
        )),
        None => parts.push(record.reason.clone().unwrap_or_default()),
    }
    if let Some(speed) = &record.speed {
        parts.push(format!(
            "{:.2} steps/s (± {:.2}), {:.0} examples/s",
            speed.steps_per_second, speed.steps_per_second_mad, speed.examples_per_second
        ));
    }
    if let Some(peak) = record.memory.peak_pool_used.or(record.memory.peak_live) {
        parts.push(format!("peak memory {:.0} MB", peak as f64 / 1e6));
    }
    parts.push(format!("{} parameters", record.parameters));
    format!("{} on {}: {}", record.model, record.task, parts.join(", "))
}
