//! What is odd about a group of runs that one number is made of.
//!
//! Runs that share a preset should differ in their seed only. Where they do not, the number
//! is still shown, with a note that says what differs and in which runs.

use crate::records::{Record, Run, Selection};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// More configuration keys than this are counted, not listed.
const KEYS_LISTED: usize = 6;
/// Likewise of seeds or models that share a value.
const NAMES_LISTED: usize = 4;
/// Keys of the configuration that always differ, or change nothing.
const KEYS_IGNORED: [&str; 2] = ["run.seed", "run.device"];

/// A section's notes, each text once, numbered from 1.
#[derive(Debug, Default)]
pub struct Notes(Vec<String>);

impl Notes {
    pub fn number(&mut self, text: String) -> usize {
        let known = self.0.iter().position(|note| *note == text);
        known.unwrap_or_else(|| {
            self.0.push(text);
            self.0.len() - 1
        }) + 1
    }

    pub fn into_texts(self) -> Vec<String> {
        self.0
    }
}

/// What differs among runs that make one mean.
pub fn within_cell(runs: &[&Run]) -> Vec<String> {
    let mut found = data_differences(runs, &seed_of);
    let mut look = |what: &str, value: &dyn Fn(&Record) -> String| {
        found.extend(difference(what, runs, value, &seed_of));
    };
    look("numbers of steps", &|r| r.steps.to_string());
    look("numbers of parameters", &|r| r.parameters.to_string());
    look("checkpoint rules", &|r| selection(r).to_owned());
    look("devices", &|r| r.environment.processor());
    look("numbers of threads", &|r| r.environment.threads.to_string());
    look("number formats", &|r| r.environment.dtype.clone());
    look("versions of lra", &version);
    found.extend(config_differences(runs));
    found
}

/// What differs among the models of one task: the examples they were trained and tested on.
pub fn within_task(runs: &[&Run]) -> Vec<String> {
    data_differences(runs, &|r| r.model.clone())
}

fn seed_of(record: &Record) -> String {
    format!("seed {}", record.seed)
}

fn selection(record: &Record) -> &'static str {
    match record.selection {
        Selection::Last => "last",
        Selection::BestValidation => "best validation",
    }
}

fn version(record: &Record) -> String {
    match &record.environment.git {
        Some(git) => format!("{} ({git})", record.environment.lra),
        None => record.environment.lra.clone(),
    }
}

fn data_differences(runs: &[&Run], who: &dyn Fn(&Record) -> String) -> Vec<String> {
    let mut found = Vec::new();
    let mut look = |what: &str, value: &dyn Fn(&Record) -> String| {
        found.extend(difference(what, runs, value, who));
    };
    look("data sources", &|r| r.data.source.clone());
    look("data versions", &|r| r.data.version.to_string());
    look("data checksums", &|r| r.data.checksum.chars().take(12).collect());
    found
}

/// `different steps: 100 (seed 1, seed 2); 200 (seed 3)`, or `None` where all agree.
fn difference(
    what: &str,
    runs: &[&Run],
    value: &dyn Fn(&Record) -> String,
    who: &dyn Fn(&Record) -> String,
) -> Option<String> {
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for run in runs {
        groups.entry(value(&run.record)).or_default().insert(who(&run.record));
    }
    let told = groups.iter().map(|(value, of)| {
        let listed: Vec<&str> = of.iter().map(String::as_str).take(NAMES_LISTED).collect();
        let more = match of.len() - listed.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{value} ({}{more})", listed.join(", "))
    });
    (groups.len() > 1).then(|| format!("different {what}: {}", told.collect::<Vec<_>>().join("; ")))
}

fn config_differences(runs: &[&Run]) -> Option<String> {
    let mut values: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut holders: BTreeMap<String, usize> = BTreeMap::new();
    for run in runs {
        for (key, value) in leaves(&run.record.config) {
            values.entry(key.clone()).or_default().insert(value);
            *holders.entry(key).or_default() += 1;
        }
    }
    let differs = |key: &String, found: &BTreeSet<String>| {
        found.len() > 1 || holders.get(key) != Some(&runs.len())
    };
    let differing: Vec<String> =
        values.into_iter().filter(|(k, v)| differs(k, v)).map(|(k, _)| format!("`{k}`")).collect();
    let more = differing.len().saturating_sub(KEYS_LISTED);
    let listed = differing.iter().take(KEYS_LISTED).cloned().collect::<Vec<_>>().join(", ");
    match (differing.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(format!("different configurations: {listed}")),
        (false, _) => Some(format!("different configurations: {listed} and {more} more")),
    }
}

/// Every scalar of the configuration under its dotted key.
fn leaves(config: &Value) -> Vec<(String, String)> {
    let (mut found, mut open) = (Vec::new(), vec![(String::new(), config)]);
    // A stack of its own: a hostile record may nest as deep as the parser allows.
    while let Some((key, value)) = open.pop() {
        let below = |name: &str| {
            if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") }
        };
        match value {
            Value::Object(map) => {
                let named = map.iter().map(|(name, value)| (below(name), value));
                open.extend(named.filter(|(key, _)| !KEYS_IGNORED.contains(&key.as_str())));
            }
            Value::Array(list) => {
                let numbered = list.iter().enumerate();
                open.extend(numbered.map(|(i, value)| (below(&i.to_string()), value)));
            }
            scalar => found.push((key, scalar.to_string())),
        }
    }
    found
}
