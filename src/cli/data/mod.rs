//! `lra data`: prepare, verify, export and look at the tasks' data.

mod list;
mod sheet;
mod show;

use super::out;
use crate::config::{Card, set};
use crate::data::places;
use crate::error::{Error, Result};
use crate::printable;
use crate::progress::Progress;
use crate::tasks::{self, Dataset, Places, Task};
use clap::{Args, Subcommand};
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
    /// Print examples as text, and draw those that are pictures
    Show {
        #[command(flatten)]
        chosen: Chosen,
        #[command(flatten)]
        which: show::Which,
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
    /// Folder with the official files, or their archive [env: LRA_DATA]
    #[arg(long, visible_alias = "from", value_name = "PATH")]
    data_dir: Option<PathBuf>,
    /// Seed of generated data; short for `--set data.seed=N`
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Set a data option, e.g. `data.train=1000`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
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
                    let file = printable::line(&file.display().to_string());
                    writeln!(out, "{file}: {count} examples, every label right")?;
                }
                Ok(())
            })
        }
        Verb::Export { chosen, folder } => {
            let (task, data) = chosen.load(progress)?;
            let written = task.export(&data, folder, progress)?;
            out::print(|out| {
                let mut names =
                    written.iter().map(|path| printable::line(&path.display().to_string()));
                names.try_for_each(|name| writeln!(out, "{name}"))
            })
        }
        Verb::Show { chosen, which } => {
            let (task, data) = chosen.load(progress)?;
            show::show(task, &data, which)
        }
        Verb::List { json } => list::list(*json),
        Verb::Path => {
            let cache = places(None)?.cache;
            out::print(|out| writeln!(out, "{}", cache.display()))
        }
    }
}

fn summary(out: &mut dyn Write, task: &dyn Task, data: &Dataset) -> io::Result<()> {
    writeln!(out, "{} ({})", task.name(), printable::line(&data.source))?;
    for (name, split) in data.splits() {
        let (count, longest) = (split.len(), split.max_tokens());
        writeln!(out, "  {name:<10} {count:>7} examples, at most {longest} tokens")?;
    }
    writeln!(out, "  SHA-256    {}", data.checksum)
}
