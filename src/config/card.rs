//! Task cards: what `tasks/*.toml` say about a task and its presets.

use crate::error::{Error, Result};
use crate::tasks::Task;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// A parsed task card. Keys beside these describe the task to people.
#[derive(Debug, Clone, Deserialize)]
pub struct Card {
    pub name: String,
    pub title: String,
    pub description: String,
    /// Token ids, padding included.
    pub vocabulary: usize,
    pub classes: usize,
    /// Mean length of an example, in tokens.
    pub mean_length: usize,
    #[serde(default)]
    pub data: toml::Table,
    presets: BTreeMap<String, Preset>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Preset {
    description: String,
    #[serde(default)]
    data: toml::Table,
    model: toml::Table,
    #[serde(default)]
    attention: toml::Table,
    train: toml::Table,
    /// What differs for some attentions, by name.
    #[serde(default)]
    models: BTreeMap<String, toml::Table>,
}

/// A preset's name and what it is.
pub struct PresetInfo<'a> {
    pub name: &'a str,
    pub description: &'a str,
}

impl Card {
    /// Parses a card; `place` names it in errors.
    pub fn parse(text: &str, place: &Path) -> Result<Self> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().map_or("", |span| text.get(..span.start).unwrap_or(""));
            let line = before.matches('\n').count() as u64 + 1;
            let column = before.rsplit('\n').next().map_or(0, str::len) as u64 + 1;
            Error::data_at(place, line, Some(column), error.message())
        })
    }

    /// The card of a task.
    pub fn of(task: &dyn Task) -> Result<Self> {
        Self::parse(task.card(), Path::new(&format!("tasks/{}.toml", task.name())))
    }

    /// What a preset is, in one line.
    pub fn describe(&self, preset: &str) -> &str {
        self.presets.get(preset).map_or("", |p| &p.description)
    }

    pub fn presets(&self) -> impl Iterator<Item = PresetInfo<'_>> {
        self.presets
            .iter()
            .map(|(name, preset)| PresetInfo { name, description: &preset.description })
    }

    /// The configuration tables of a preset for one attention, before `--set`.
    pub(super) fn tables(&self, preset: &str, model: &str) -> Result<toml::Table> {
        let Some(chosen) = self.presets.get(preset) else {
            let known: Vec<_> = self.presets.keys().map(String::as_str).collect();
            return Err(Error::usage(format!(
                "--preset {preset}: task {} has no such preset; it has {}",
                self.name,
                known.join(", ")
            )));
        };
        let mut data = self.data.clone();
        merge(&mut data, &chosen.data);
        let mut tables = toml::Table::new();
        for (name, table) in [
            ("model", &chosen.model),
            ("attention", &chosen.attention),
            ("data", &data),
            ("train", &chosen.train),
        ] {
            tables.insert(name.into(), toml::Value::Table(table.clone()));
        }
        if let Some(differs) = chosen.models.get(model) {
            merge(&mut tables, differs);
        }
        Ok(tables)
    }
}

/// Lays `over` on `base`, table by table.
fn merge(base: &mut toml::Table, over: &toml::Table) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(toml::Value::Table(base)), toml::Value::Table(over)) => merge(base, over),
            _ => drop(base.insert(key.clone(), value.clone())),
        }
    }
}
