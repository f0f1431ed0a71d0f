//! `lra list`: models with their options, tasks with their presets.

use super::out;
use crate::attention::Registry;
use crate::config::Card;
use crate::error::Result;
use crate::tasks;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub struct ListArgs {
    /// What to list; everything by default
    #[arg(value_enum)]
    what: Option<What>,
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
        let (json, lines) = list_models(registry)?;
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

fn list_models(registry: &Registry) -> Result<(Value, String)> {
    let (mut json, mut text) = (Vec::new(), String::from("models\n"));
    for variant in registry.iter() {
        let defaults = (variant.options)(&toml::Table::new())?;
        text += &format!("  {:<14} {}\n", variant.name, variant.summary);
        text += &format!("  {:<14} {}: {}\n", "", variant.title, variant.paper);
        let mut options = Vec::new();
        for (key, meaning) in variant.keys {
            let default = defaults.get(*key);
            let shown = default.map_or(String::new(), |value| format!(" = {value}"));
            text += &format!("  {:<14} --set attention.{key}{shown}: {meaning}\n", "");
            options.push(json!({ "key": key, "default": default, "meaning": meaning }));
        }
        json.push(json!({
            "name": variant.name, "title": variant.title, "paper": variant.paper,
            "summary": variant.summary, "options": options,
        }));
    }
    Ok((Value::Array(json), text))
}

fn list_tasks() -> Result<(Value, String)> {
    let (mut json, mut text) = (Vec::new(), String::from("tasks\n"));
    for task in tasks::all() {
        let card = Card::of(*task)?;
        text += &format!("  {:<14} {}: {}\n", card.name, card.title, card.description);
        let mut presets = Vec::new();
        for preset in card.presets() {
            text += &format!("  {:<14} --preset {}: {}\n", "", preset.name, preset.description);
            presets.push(json!({ "name": preset.name, "description": preset.description }));
        }
        json.push(json!({
            "name": card.name, "title": card.title, "description": card.description,
            "presets": presets,
        }));
    }
    Ok((Value::Array(json), text))
}
