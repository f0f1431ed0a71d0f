//! `lra show`: pictures of what models do.

mod panels;

use super::out;
use crate::atomic::write_atomic;
use crate::attention::{Registry, Support, Variant};
use crate::config::{Card, Pad, Request, RunConfig, Sizes, resolve};
use crate::data::{Batch, places};
use crate::error::{Error, IoContext, Result};
use crate::layers::Context;
use crate::measure::free_memory;
use crate::models::Classifier;
use crate::ops::{Ids, Mask};
use crate::printable;
use crate::progress::Progress;
use crate::random::Key;
use crate::records::read_record;
use crate::report::chart::png;
use crate::tasks;
use crate::train::{build, check_memory, load_weights};
use candle_core::{DType, Device, Tensor};
use clap::{Args, Subcommand};
use panels::{Panel, draw};
use rand::Rng;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Draw which positions see which, for each layer and head, as SVG and PNG
    Attention(AttentionArgs),
}

#[derive(Debug, Args)]
struct AttentionArgs {
    /// The attention, or `all` for the first layer and head of each
    #[arg(long, required_unless_present = "run")]
    model: Option<String>,
    /// The task whose configuration is drawn
    #[arg(long, default_value = "listops")]
    task: String,
    #[arg(long, default_value = "quick")]
    preset: String,
    /// Tokens of the input
    #[arg(long, default_value_t = 256)]
    n: usize,
    /// Change a value of the configuration, e.g. attention.block=16; may be repeated
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// A run's folder: the weights it trained, on a test example
    #[arg(long, value_name = "DIR", conflicts_with_all = ["model", "set"])]
    run: Option<PathBuf>,
    /// The test example of --run, from 0
    #[arg(long, default_value_t = 0, requires = "run")]
    index: usize,
    /// Folder with the official files of the run's task [env: LRA_DATA]
    #[arg(long, value_name = "DIR", requires = "run")]
    data_dir: Option<PathBuf>,
    /// The picture's name without its ending; plots/attention-<model> by default
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Larger maps take gigabytes.
const MOST: usize = 4096;
/// Maps of one picture.
const PANELS: usize = 256;

pub fn run(args: &ShowArgs, registry: &Registry, progress: &Progress) -> Result<()> {
    let What::Attention(args) = &args.what;
    if args.n == 0 || args.n > MOST {
        return Err(Error::usage(format!("--n {}: expected 1 to {MOST}", args.n)));
    }
    let (name, title, panels) = match (&args.run, args.model.as_deref()) {
        (Some(folder), _) => trained(args, folder, registry, progress)?,
        (None, Some("all")) => {
            let mut panels = Vec::new();
            for variant in registry.iter() {
                let first = patterns(args, variant)?.into_iter().next();
                panels.extend(first.map(|panel| Panel { title: variant.title.into(), ..panel }));
            }
            ("all".into(), format!("Which of {} positions see which", args.n), panels)
        }
        (None, Some(model)) => {
            let variant = registry.get(model)?;
            let title = format!("{}: which of {} positions see which", variant.title, args.n);
            (model.to_string(), title, patterns(args, variant)?)
        }
        (None, None) => return Err(Error::usage("show attention: give --model or --run")),
    };
    let stem = args.out.clone().unwrap_or_else(|| format!("plots/attention-{name}").into());
    let refuse = |error| Error::data(&stem, format!("not drawn: {error}"));
    let svg = draw(&title, &panels).map_err(refuse)?;
    let png = png::render(&svg, &stem.to_string_lossy())?;
    if let Some(folder) = stem.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).at("create", folder)?;
    }
    let mut written = Vec::new();
    for (ending, bytes) in [("svg", svg.as_bytes()), ("png", &png)] {
        let path = PathBuf::from(format!("{}.{ending}", stem.display()));
        write_atomic(&path, |to| to.write_all(bytes))?;
        written.push(path);
    }
    out::print(|to| {
        written
            .iter()
            .try_for_each(|path| writeln!(to, "{}", printable::line(&path.to_string_lossy())))
    })
}

/// What is declared, or where the input decides or all see all, the weights of an untrained
/// model on random tokens.
fn patterns(args: &AttentionArgs, variant: &Variant) -> Result<Vec<Panel>> {
    let card = Card::of(tasks::find(&args.task)?)?;
    let mut sets = vec![format!("model.length={}", args.n)];
    sets.extend(args.set.iter().cloned());
    let request = variant.request(&args.preset);
    let config = resolve(&card, &Request { micro_batch: Some(1), sets: &sets, ..request })?;
    fits(&config, variant, card.sizes(), args.n)?;
    let (model, _) = build(&config, variant, card.sizes(), &Device::Cpu)?;
    let n = model.positions(args.n);
    let mut rng = Key::new(0).named("show").stream();
    let sizes = card.sizes();
    let rows = sizes.parts;
    let ids = (0..rows * args.n).map(|_| rng.random_range(1..sizes.vocabulary as u32)).collect();
    let ids = Ids { ids, batch: rows, n: args.n };
    let cx = Context::new(Mask::from_lengths(&vec![args.n; rows], args.n)?, 0);
    let weights = maps(&model, &ids, &cx)?;
    let mut panels = Vec::new();
    for (layer, (attention, weights)) in model.attentions().zip(weights).enumerate() {
        let listed = match attention.support(n) {
            Support::Listed(blocks) => Some(blocks),
            Support::All | Support::Chosen => None,
        };
        for (head, values) in weights.into_iter().enumerate() {
            let values = match &listed {
                Some(blocks) => {
                    let dense = blocks.dense(0, head);
                    let m = blocks.m();
                    let see = |at: usize| {
                        (at % n..m).step_by(n).map(|j| dense[at / n * m + j]).sum::<f32>().min(1.0)
                    };
                    (0..n * n).map(see).collect()
                }
                None => values,
            };
            let title = format!("layer {}, head {}", layer + 1, head + 1);
            panels.push(Panel { title, n, values });
        }
    }
    Ok(panels)
}

/// Maps that can be drawn, of a model that can be built.
fn fits(config: &RunConfig, variant: &Variant, sizes: Sizes, n: usize) -> Result<()> {
    check_memory(config, variant, sizes, &Device::Cpu)?;
    let count = config.model.layers * config.model.heads;
    let bytes = 8.0 * (config.model.heads * n) as f64 * n as f64 * 4.0;
    if count > PANELS || free_memory().is_some_and(|free| bytes > free as f64) {
        return Err(Error::usage(format!(
            "{count} maps of {n} x {n}: expected at most {PANELS}, and memory for those of a \
             layer; lower --n, model.layers or model.heads"
        )));
    }
    Ok(())
}

/// Weights of each layer and head, n x n.
fn maps(model: &Classifier, ids: &Ids, cx: &Context) -> Result<Vec<Vec<Vec<f32>>>> {
    let heads = |map: Tensor| -> candle_core::Result<Vec<Vec<f32>>> {
        let head = |h| map.get(h)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1();
        (0..map.dim(0)?).map(head).collect()
    };
    Ok(model.maps(ids, cx)?.into_iter().map(heads).collect::<candle_core::Result<_>>()?)
}

/// The weights that a run trained, on one of its test examples.
fn trained(
    args: &AttentionArgs,
    folder: &std::path::Path,
    registry: &Registry,
    progress: &Progress,
) -> Result<(String, String, Vec<Panel>)> {
    let record = read_record(&folder.join("record.json"))?;
    let config: RunConfig = serde_json::from_value(record.config.clone()).map_err(|e| {
        Error::data(folder.join("record.json"), format!("its configuration cannot be read: {e}"))
    })?;
    // A record may have been written by hand.
    config.check()?;
    let variant = registry.get(&config.run.model)?;
    let task = tasks::find(&config.run.task)?;
    let data = task.load(&config.data, &places(args.data_dir.as_deref())?, progress)?;
    if args.index >= data.test.len() {
        let count = data.test.len();
        let message = format!("--index {}: expected below {count}, the test examples", args.index);
        return Err(Error::usage(message));
    }
    let length = config.model.length.min(args.n);
    fits(&config, variant, data.sizes(), length)?;
    let (model, weights) = build(&config, variant, data.sizes(), &Device::Cpu)?;
    let path = folder.join("model.safetensors");
    weights.set(&load_weights(&path, &Device::Cpu)?.0).map_err(|error| {
        // With a backtrace the rest would follow.
        let error = error.to_string();
        let reason = error.lines().next().unwrap_or_default();
        let message = format!("not the weights of the record beside it: {reason}");
        Error::Checkpoint { path, message }
    })?;
    let batch = Batch::gather(&data.test, &[args.index], length, Pad::Longest)?;
    let cx = Context::new(batch.mask.clone(), config.run.seed).evaluating(record.steps);
    let mut panels = Vec::new();
    for (layer, heads) in maps(&model, &batch.ids, &cx)?.into_iter().enumerate() {
        for (head, values) in heads.into_iter().enumerate() {
            let title = format!("layer {}, head {}", layer + 1, head + 1);
            panels.push(Panel { title, n: values.len().isqrt(), values });
        }
    }
    let (model, task) = (&record.model, &record.task);
    let title = format!("{}: weights on {task}, test example {}", variant.title, args.index);
    Ok((format!("{model}-{task}-{}", args.index), title, panels))
}
