//! From a `[data]` table to a task's options, with errors that name the full key.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;

/// Reads `table` into `T`, a struct with serde's `default` and `deny_unknown_fields`.
///
/// Each key is first tried alone: serde's own message does not say which key had the
/// wrong type.
pub fn parse_options<T: DeserializeOwned>(table: &toml::Table) -> Result<T> {
    let read = |table: toml::Table| table.try_into::<T>();
    for (key, value) in table {
        let alone = toml::Table::from_iter([(key.clone(), value.clone())]);
        read(alone).map_err(|e| fault(key, &e))?;
    }
    read(table.clone()).map_err(|e| Error::config("data", first_line(&e)))
}

fn fault(key: &str, error: &toml::de::Error) -> Error {
    let message = first_line(error);
    // `unknown field `x`, expected one of ...`: the key is named by the error itself.
    let message = match message.strip_prefix("unknown field ") {
        Some(rest) => match rest.split_once(", ") {
            Some((_, expected)) => format!("unknown; {expected}"),
            None => "unknown".into(),
        },
        None => message,
    };
    Error::config(format!("data.{}", key.escape_debug()), message)
}

fn first_line(error: &toml::de::Error) -> String {
    error.message().lines().next().unwrap_or_default().to_string()
}
