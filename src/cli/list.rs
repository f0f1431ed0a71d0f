//! `lra list`: models with what they cost and their options, tasks with their presets.

use super::out;
use crate::attention::{Registry, Variant};
use crate::config::{Card, Request, RunConfig, resolve};
use crate::error::{Error, Result};
use crate::tasks;
use crate::train::{Plan, plan, receptive_field};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub struct ListArgs {
    /// What to list; everything by default
    #[arg(value_enum)]
    what: Option<What>,
    /// The task whose models are counted
    #[arg(long, default_value = "listops")]
    task: String,
    /// The preset they are counted in
    #[arg(long, default_value = "lra")]
    preset: String,
    /// Tokens of the input, instead of the preset's model.length
    #[arg(long)]
    n: Option<usize>,
    /// As one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    Models,
    Tasks,
}

pub fn run(args: &ListArgs, registry: &Registry) -> Result<()> {
    let models = args.what != Some(What::Tasks);
    let tasks = args.what != Some(What::Models);
    let mut document = serde_json::Map::new();
    let mut text = String::new();
    if models {
        let (json, lines) = list_models(args, registry)?;
        document.insert("models".into(), json);
        text += &lines;
    }
    if tasks {
        let (json, lines) = list_tasks()?;
        document.insert("tasks".into(), json);
        text += &lines;
    }
    out::print(|to| {
        if args.json { writeln!(to, "{:#}", Value::Object(document)) } else { write!(to, "{text}") }
    })
}

/// LRA's rule: no model may have more parameters than the base Transformer by this factor.
const MORE: f64 = 1.10;

/// The plan of a model on a task, one example at a time.
fn plan_of(args: &ListArgs, card: &Card, variant: &Variant) -> Result<(RunConfig, Plan)> {
    let sets: Vec<String> = args.n.iter().map(|n| format!("model.length={n}")).collect();
    let request = variant.request(&args.preset);
    let config = resolve(card, &Request { micro_batch: Some(1), sets: &sets, ..request })?;
    let plan = plan(&config, variant, card.sizes())?;
    Ok((config, plan))
}

/// Tokens of an input whose every pair can still be counted in seconds: twice Path-256's.
const MOST: usize = 1 << 17;

fn list_models(args: &ListArgs, registry: &Registry) -> Result<(Value, String)> {
    if let Some(n) = args.n.filter(|n| !(1..=MOST).contains(n)) {
        return Err(Error::usage(format!("--n {n}: expected 1 to {MOST}")));
    }
    let card = Card::of(tasks::find(&args.task)?)?;
    let base = plan_of(args, &card, registry.get("transformer")?)?.1.parameters;
    let (mut json, mut text) = (Vec::new(), String::new());
    for variant in registry.iter() {
        let (config, plan) = plan_of(args, &card, variant)?;
        if text.is_empty() {
            text = format!(
                "models, on {} with preset {} at {} tokens ({} layers, width {})\n",
                args.task,
                args.preset,
                config.model.length,
                config.model.layers,
                config.model.width
            );
        }
        let seen = receptive_field(&config, variant, card.sizes())?;
        let defaults = (variant.options)(&toml::Table::new())?;
        let more = plan.parameters as f64 / base as f64;
        let rule = if more > MORE { ", above LRA's limit of 10 %" } else { "" };
        text += &format!("  {:<18} {}\n", variant.name, variant.summary);
        text += &format!("  {:<18} {}: {}\n", "", variant.title, variant.paper);
        text += &format!(
            "  {:<18} {} parameters ({:+.1} % of the Transformer's{rule}); an example takes {} in \
             training, holds {}, sees {} positions\n",
            "",
            plan.parameters,
            100.0 * (more - 1.0),
            scaled(3.0 * plan.forward, "FLOP"),
            scaled(plan.step, "B"),
            seen,
        );
        let mut options = Vec::new();
        for (key, meaning) in variant.keys {
            let default = defaults.get(*key);
            let shown = default.map_or(String::new(), |value| format!(" = {value}"));
            text += &format!("  {:<18} --set attention.{key}{shown}: {meaning}\n", "");
            options.push(json!({ "key": key, "default": default, "meaning": meaning }));
        }
        json.push(json!({
            "name": variant.name, "title": variant.title, "paper": variant.paper,
            "summary": variant.summary, "options": options, "parameters": plan.parameters,
            "parameters_of_transformer": base, "tokens": config.model.length,
            "training_flops": 3.0 * plan.forward, "step_bytes": plan.step,
            "receptive_field": seen,
        }));
    }
    Ok((Value::Array(json), text))
}

/// `12.3 GFLOP`, `45.6 MB`.
fn scaled(value: f64, unit: &str) -> String {
    let scales = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match scales.into_iter().find(|(scale, _)| value >= *scale) {
        Some((scale, prefix)) => format!("{:.1} {prefix}{unit}", value / scale),
        None => format!("{value:.0} {unit}"),
    }
}

fn list_tasks() -> Result<(Value, String)> {
    let (mut json, mut text) = (Vec::new(), String::from("tasks\n"));
    for task in tasks::all() {
        let card = Card::of(*task)?;
        text += &format!("  {:<18} {}: {}\n", card.name, card.title, card.description);
        let mut presets = Vec::new();
        for preset in card.presets() {
            text += &format!("  {:<18} --preset {}: {}\n", "", preset.name, preset.description);
            presets.push(json!({ "name": preset.name, "description": preset.description }));
        }
        json.push(json!({
            "name": card.name, "title": card.title, "description": card.description,
            "presets": presets,
        }));
    }
    Ok((Value::Array(json), text))
}
