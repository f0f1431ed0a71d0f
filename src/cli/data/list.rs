//! `lra data list`.

use super::super::out;
use crate::config::Card;
use crate::data::{Split, checksum, places, prepared};
use crate::error::Result;
use crate::printable;
use crate::tasks;
use serde_json::json;
use std::io::{self, Write};

/// Every task and what is prepared of it, with sizes, sources and checksums.
pub(super) fn list(json: bool) -> Result<()> {
    let cache = places(None)?.cache;
    let mut entries = Vec::new();
    for task in tasks::all() {
        let folders = prepared(&cache, task.name()).into_iter().map(|(folder, about, splits)| {
            let mut entry = json!({
                "folder": folder.to_string_lossy(),
                "source": about.source,
                "version": about.version,
                "inputs": about.inputs,
            });
            match splits {
                Ok(splits) => {
                    entry["examples"] = splits.each_ref().map(Split::len).as_slice().into();
                    entry["bytes"] = splits.iter().map(Split::bytes).sum::<usize>().into();
                    entry["checksum"] = checksum(&splits).into();
                }
                Err(error) => entry["damaged"] = error.to_string().into(),
            }
            entry
        });
        let folders: Vec<_> = folders.collect();
        let source = Card::of(*task)?.source;
        entries.push(json!({ "task": task.name(), "from": source, "prepared": folders }));
    }
    out::print(|out| {
        if json {
            serde_json::to_writer_pretty(&mut *out, &entries)?;
            return writeln!(out);
        }
        entries.iter().try_for_each(|entry| list_task(out, entry))
    })
}

fn list_task(out: &mut dyn Write, entry: &serde_json::Value) -> io::Result<()> {
    let text = |value: &serde_json::Value| printable::line(value.as_str().unwrap_or_default());
    writeln!(out, "{}, from {}", text(&entry["task"]), text(&entry["from"]))?;
    let prepared = entry["prepared"].as_array().map_or(&[][..], Vec::as_slice);
    if prepared.is_empty() {
        writeln!(out, "  nothing prepared")?;
    }
    for one in prepared {
        writeln!(out, "  {}", text(&one["folder"]))?;
        if one["damaged"].is_string() {
            writeln!(out, "    {}", text(&one["damaged"]))?;
            continue;
        }
        let examples = one["examples"].as_array().into_iter().flatten();
        let examples: Vec<_> = examples.map(ToString::to_string).collect();
        let megabytes = one["bytes"].as_f64().unwrap_or_default() / 1e6;
        writeln!(
            out,
            "    {}, {} examples, {megabytes:.1} MB, SHA-256 {:.16}",
            text(&one["source"]),
            examples.join(" + "),
            text(&one["checksum"]),
        )?;
    }
    Ok(())
}
