//! `lra data`: prepare, verify, export and look at the tasks' data.

use super::out;
use crate::config::{Card, set};
use crate::data::{Split, checksum, places, prepared};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::tasks::{self, Dataset, Places, Task};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct DataArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Read or generate a task's data, so that runs start at once
    Prepare {
        #[command(flatten)]
        chosen: Chosen,
    },
    /// Hold every label against the task's own rule
    Verify {
        #[command(flatten)]
        chosen: Chosen,
    },
    /// Write a task's data in the official form
    Export {
        #[command(flatten)]
        chosen: Chosen,
        /// Folder for the files; made if it is not there
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Print examples as text
    Show {
        #[command(flatten)]
        chosen: Chosen,
        #[arg(long, value_enum, default_value_t = SplitName::Train)]
        split: SplitName,
        /// The first example to print, from 0
        #[arg(long, default_value_t = 0)]
        index: usize,
        /// How many
        #[arg(short, long, default_value_t = 1, value_name = "N")]
        number: usize,
    },
    /// List the tasks and what is prepared of them
    List {
        /// As one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Print the folder of prepared data
    Path,
}

const DATA: &str = "data";

/// A task and where its data comes from.
#[derive(Debug, Args)]
struct Chosen {
    /// The task, e.g. `listops`
    task: String,
    /// Folder with the official files [env: LRA_DATA]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Seed of generated data; short for `--set data.seed=N`
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Set a data option, e.g. `data.train=1000`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SplitName {
    Train,
    Validation,
    Test,
}

impl SplitName {
    fn of(self, data: &Dataset) -> (&'static str, &Split) {
        let [train, validation, test] = data.splits();
        match self {
            Self::Train => train,
            Self::Validation => validation,
            Self::Test => test,
        }
    }
}

impl Chosen {
    /// The task, its data options and its places.
    fn resolve(&self) -> Result<(&'static dyn Task, toml::Table, Places)> {
        let task = tasks::find(&self.task)?;
        let card = toml::Value::Table(Card::of(task)?.data);
        let mut tables = toml::Table::from_iter([(DATA.to_string(), card)]);
        for setting in &self.set {
            if !setting.trim_start().starts_with("data.") || !setting.contains('=') {
                return Err(Error::usage(format!("--set {setting}; expected data.KEY=VALUE")));
            }
            set(&mut tables, setting)?;
        }
        let Some(toml::Value::Table(mut options)) = tables.remove(DATA) else {
            return Err(Error::config(DATA, "expected a table"));
        };
        if let Some(seed) = self.seed {
            let seed = i64::try_from(seed).map_err(|_| {
                Error::usage(format!("--seed {seed}; expected at most {}", i64::MAX))
            })?;
            options.insert("seed".into(), toml::Value::Integer(seed));
        }
        Ok((task, options, places(self.data_dir.as_deref())?))
    }

    fn load(&self, progress: &Progress) -> Result<(&'static dyn Task, Dataset)> {
        let (task, options, places) = self.resolve()?;
        Ok((task, task.load(&options, &places, progress)?))
    }
}

pub fn run(args: &DataArgs, progress: &Progress) -> Result<()> {
    match &args.verb {
        Verb::Prepare { chosen } => {
            let (task, data) = chosen.load(progress)?;
            out::print(|out| summary(out, task, &data))
        }
        Verb::Verify { chosen } => {
            let (task, options, places) = chosen.resolve()?;
            let verified = task.verify(&options, &places, progress)?;
            out::print(|out| {
                for (file, count) in &verified.files {
                    let file = out::line(&file.display().to_string());
                    writeln!(out, "{file}: {count} examples, every label right")?;
                }
                Ok(())
            })
        }
        Verb::Export { chosen, folder } => {
            let (task, data) = chosen.load(progress)?;
            let written = task.export(&data, folder, progress)?;
            out::print(|out| {
                let mut names = written.iter().map(|path| out::line(&path.display().to_string()));
                names.try_for_each(|name| writeln!(out, "{name}"))
            })
        }
        Verb::Show { chosen, split, index, number } => {
            let (task, data) = chosen.load(progress)?;
            let (name, split) = split.of(&data);
            if *index >= split.len() {
                return Err(Error::usage(format!(
                    "--index {index}; expected 0 to {}: {name} has {} examples",
                    split.len().saturating_sub(1),
                    split.len()
                )));
            }
            let end = index.saturating_add(*number).min(split.len());
            out::print(|out| {
                for i in *index..end {
                    let length: usize = (0..split.parts()).map(|p| split.tokens(i, p).len()).sum();
                    let (label, text) = (split.label(i), task.text(split, i));
                    writeln!(out, "{name}[{i}] label {label} length {length}: {text}")?;
                }
                Ok(())
            })
        }
        Verb::List { json } => list(*json),
        Verb::Path => {
            let cache = places(None)?.cache;
            out::print(|out| writeln!(out, "{}", cache.display()))
        }
    }
}

fn summary(out: &mut dyn Write, task: &dyn Task, data: &Dataset) -> io::Result<()> {
    writeln!(out, "{} ({})", task.name(), out::line(&data.source))?;
    for (name, split) in data.splits() {
        let (count, longest) = (split.len(), split.max_tokens());
        writeln!(out, "  {name:<10} {count:>7} examples, at most {longest} tokens")?;
    }
    writeln!(out, "  SHA-256    {}", data.checksum)
}

fn list(json: bool) -> Result<()> {
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
        entries.push(json!({ "task": task.name(), "prepared": folders }));
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
    let text = |value: &serde_json::Value| out::line(value.as_str().unwrap_or_default());
    writeln!(out, "{}", text(&entry["task"]))?;
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
