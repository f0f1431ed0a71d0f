//! One request, one configuration.

use super::section::{section, set};
use super::{Card, Dtype, RunConfig, RunSection};
use crate::error::{Error, Result};

/// What the command line asks for.
#[derive(Clone)]
pub struct Request<'a> {
    pub model: &'a str,
    /// What the attention has instead of a preset's base, as TOML.
    pub prefers: &'a str,
    /// Checks the attention's options and fills in their defaults.
    pub options: fn(&toml::Table) -> Result<toml::Table>,
    pub preset: &'a str,
    pub seed: u64,
    pub device: &'a str,
    pub dtype: Dtype,
    pub steps: Option<u64>,
    pub micro_batch: Option<usize>,
    pub recompute: bool,
    /// `section.key=value`, later ones win.
    pub sets: &'a [String],
}

/// Card, preset, per-model differences, `--set`, then flags: later ones win.
pub fn resolve(card: &Card, request: &Request) -> Result<RunConfig> {
    let mut tables = card.tables(request.preset, request.model, request.prefers)?;
    for assignment in request.sets {
        set(&mut tables, assignment)?;
    }
    let mut take = |name: &str| match tables.remove(name) {
        Some(toml::Value::Table(table)) => Ok(table),
        _ => Err(Error::config(name, "expected a table")),
    };
    let mut train: super::TrainSection = section("train", &take("train")?)?;
    if let Some(steps) = request.steps {
        train.steps = steps;
    }
    let config = RunConfig {
        run: RunSection {
            task: card.name.clone(),
            model: request.model.to_string(),
            preset: request.preset.to_string(),
            seed: request.seed,
            device: request.device.to_string(),
            dtype: request.dtype,
            micro_batch: request.micro_batch.unwrap_or(train.batch).min(train.batch),
            recompute: request.recompute,
        },
        model: section("model", &take("model")?)?,
        attention: (request.options)(&take("attention")?)?,
        data: take("data")?,
        train,
    };
    config.check()?;
    Ok(config)
}
