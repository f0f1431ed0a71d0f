//! Task cards: what `tasks/*.toml` say about a task and its presets.

use crate::error::{Error, Result};
use crate::tasks::Task;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// A parsed task card. Keys beside these describe the task to people.
#[derive(Debug, Clone, Deserialize)]
pub struct Card {
    pub name: String,
    pub title: String,
    pub description: String,
    /// Where its data comes from.
    pub source: String,
    /// Token ids, padding included.
    pub vocabulary: usize,
    pub classes: usize,
    /// Sequences of an example.
    #[serde(default = "one")]
    pub parts: usize,
    /// Mean length of an example, in tokens.
    pub mean_length: usize,
    #[serde(default)]
    pub data: toml::Table,
    presets: BTreeMap<String, Preset>,
}

/// A task as its models see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Token ids, padding included.
    pub vocabulary: usize,
    pub classes: usize,
    /// Sequences of an example: 1, or 2 that one encoder reads.
    pub parts: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Preset {
    description: String,
    /// The preset that this one is laid on.
    extends: Option<String>,
    #[serde(default)]
    data: toml::Table,
    #[serde(default)]
    model: toml::Table,
    #[serde(default)]
    attention: toml::Table,
    #[serde(default)]
    train: toml::Table,
    /// What differs for some attentions, by name.
    #[serde(default)]
    models: BTreeMap<String, toml::Table>,
}

fn one() -> usize {
    1
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

    /// What a model is told of the task.
    pub fn sizes(&self) -> Sizes {
        let Self { vocabulary, classes, parts, .. } = *self;
        Sizes { vocabulary, classes, parts }
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
    pub(super) fn tables(&self, preset: &str, model: &str, prefers: &str) -> Result<toml::Table> {
        let chain = self.chain(preset)?;
        let mut tables = toml::Table::new();
        for name in ["model", "attention", "data", "train"] {
            tables.insert(name.into(), toml::Value::Table(toml::Table::new()));
        }
        let over = |name: &str, table: &toml::Table| {
            toml::Table::from_iter([(name.to_string(), toml::Value::Table(table.clone()))])
        };
        merge(&mut tables, &over("data", &self.data));
        for preset in &chain {
            merge(&mut tables, &over("model", &preset.model));
            merge(&mut tables, &over("attention", &preset.attention));
            merge(&mut tables, &over("data", &preset.data));
            merge(&mut tables, &over("train", &preset.train));
        }
        let prefers = prefers.parse().map_err(|e: toml::de::Error| {
            Error::usage(format!("--model {model}: its preferences: {}", e.message()))
        })?;
        merge(&mut tables, &prefers);
        // After all of them: what an attention needs, it needs in whatever is laid on it.
        for differs in chain.iter().filter_map(|preset| preset.models.get(model)) {
            merge(&mut tables, differs);
        }
        Ok(tables)
    }

    /// A preset after those it extends.
    fn chain(&self, preset: &str) -> Result<Vec<&Preset>> {
        let mut chain = Vec::new();
        let mut next = Some(preset);
        while let Some(name) = next {
            let Some(found) = self.presets.get(name) else {
                let known: Vec<_> = self.presets.keys().map(String::as_str).collect();
                return Err(Error::usage(format!(
                    "--preset {name}: task {} has no such preset; it has {}",
                    self.name,
                    known.join(", ")
                )));
            };
            if chain.len() == self.presets.len() {
                let message = format!("preset {preset} extends itself");
                return Err(Error::data(format!("tasks/{}.toml", self.name), message));
            }
            chain.push(found);
            next = found.extends.as_deref();
        }
        chain.reverse();
        Ok(chain)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn card(presets: &str) -> Card {
        let head = "name = \"t\"\ntitle = \"\"\ndescription = \"\"\nsource = \"\"\nvocabulary = 1\nclasses = 1\n\
                    mean_length = 1\n";
        Card::parse(&format!("{head}{presets}"), Path::new("t.toml")).unwrap()
    }

    /// Later presets win over those they extend, an attention's own values over both.
    #[test]
    fn a_preset_is_laid_on_the_one_it_extends() {
        let card = card(
            "[data]\nd = 1\n\
             [presets.a]\ndescription = \"\"\nmodel = { x = 1, y = 1 }\ntrain = { s = 1 }\n\
             models.m.model = { x = 9 }\n\
             [presets.b]\ndescription = \"\"\nextends = \"a\"\nmodel = { x = 2 }\n\
             data = { d = 2 }\nmodels.n.train = { s = 8 }\n",
        );
        let value = |model: &str, table: &str, key: &str| {
            card.tables("b", model, "").unwrap()[table][key].as_integer().unwrap()
        };
        assert_eq!((value("o", "model", "x"), value("o", "model", "y")), (2, 1));
        assert_eq!((value("o", "data", "d"), value("o", "train", "s")), (2, 1));
        assert_eq!((value("m", "model", "x"), value("n", "train", "s")), (9, 8));
        assert_eq!(card.tables("a", "o", "").unwrap()["data"]["d"].as_integer(), Some(1));
    }

    #[test]
    fn a_circle_of_presets_is_an_error() {
        let circle = card(
            "[presets.a]\ndescription = \"\"\nextends = \"b\"\n\
             [presets.b]\ndescription = \"\"\nextends = \"a\"\n",
        );
        let text = circle.tables("a", "m", "").unwrap_err().to_string();
        assert!(text.contains("preset a extends itself"), "{text}");
    }
}
