//! Tables of the configuration as typed sections, with errors that name the full key.

use crate::error::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The table `name` as a struct. Derive `Deserialize` with `deny_unknown_fields`.
pub fn section<T: DeserializeOwned>(name: &str, table: &toml::Table) -> Result<T> {
    serde_path_to_error::deserialize(toml::Value::Table(table.clone())).map_err(|error| {
        let path = error.path().to_string();
        let message = error.into_inner().to_string();
        let message = message.lines().next().unwrap_or("invalid");
        // serde names the key once more in ``unknown field `x`, expected one of ...``.
        let message = match message.strip_prefix("unknown field ").and_then(|m| m.split_once(", "))
        {
            Some((_, expected)) => format!("unknown; {expected}"),
            None => message.to_string(),
        };
        // A missing key is reported at the table itself.
        let key = if path == "." { name.to_string() } else { format!("{name}.{path}") };
        Error::config(key, message)
    })
}

/// The table with the struct's defaults filled in, keys checked.
pub fn resolved<T: DeserializeOwned + Serialize>(
    name: &str,
    table: &toml::Table,
) -> Result<toml::Table> {
    let typed: T = section(name, table)?;
    toml::Table::try_from(typed).map_err(|error| Error::config(name, error.to_string()))
}

/// Applies one `--set key=value` to a configuration. The value is TOML (`2`, `0.1`,
/// `true`, `"cls"`); anything else is taken as a string.
pub fn set(config: &mut toml::Table, assignment: &str) -> Result<()> {
    let bad = |message: String| Error::usage(format!("--set {assignment}: {message}"));
    let Some((path, value)) = assignment.split_once('=') else {
        return Err(bad("expected section.key=value, e.g. model.layers=2".into()));
    };
    let (path, value) = (path.trim(), value.trim());
    let keys: Vec<&str> = path.split('.').collect();
    let [head, .., last] = keys.as_slice() else {
        return Err(bad("expected section.key=value, e.g. model.layers=2".into()));
    };
    if *head == "run" {
        let flags = "--task --model --preset --seed --device --dtype --micro-batch";
        return Err(bad(format!("the run section is set by flags: {flags}")));
    }
    if !["model", "attention", "data", "train"].contains(head) {
        let known = "model, attention, data, train";
        return Err(bad(format!("unknown section `{head}`; known are {known}")));
    }
    let parsed = toml::from_str::<toml::Table>(&format!("value = {value}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.to_string()));
    let mut table = config;
    for key in &keys[..keys.len() - 1] {
        let entry = table.entry(*key).or_insert_with(|| toml::Value::Table(Default::default()));
        table = match entry {
            toml::Value::Table(inner) => inner,
            _ => return Err(bad(format!("`{key}` is a value, not a section"))),
        };
    }
    table.insert(last.to_string(), parsed);
    Ok(())
}
