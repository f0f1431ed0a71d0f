//! `lra compare`: two runs, or groups of runs, side by side.

use super::out;
use crate::error::{Error, Result};
use crate::printable;
use crate::progress::Progress;
use crate::records::{Run, load};
use crate::report::compare;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct CompareArgs {
    /// A run's folder, a record, or a folder of runs; `MODEL@DIR` takes that model's runs alone
    #[arg(value_name = "A")]
    a: String,
    /// Likewise
    #[arg(value_name = "B")]
    b: String,
    /// Only the runs of this preset
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Print one JSON document instead of tables
    #[arg(long)]
    json: bool,
}

pub fn run(args: &CompareArgs, progress: &Progress) -> Result<()> {
    let (a, b) = (runs(args, &args.a, progress)?, runs(args, &args.b, progress)?);
    let (comparisons, alone) = compare(&a, &b);
    if comparisons.is_empty() {
        return Err(Error::usage(format!(
            "nothing to compare: no task, model and preset is in both; {}",
            alone.join(", ")
        )));
    }
    let document = json!({ "comparisons": comparisons, "alone": alone });
    out::print(|to| {
        if args.json {
            return writeln!(to, "{document:#}");
        }
        let texts: Vec<String> = comparisons.iter().map(|found| found.text()).collect();
        write!(to, "{}", texts.join("\n"))?;
        alone.iter().try_for_each(|line| writeln!(to, "{}", printable::line(line)))
    })
}

/// The runs of one side; at least one.
fn runs(args: &CompareArgs, given: &str, progress: &Progress) -> Result<Vec<Run>> {
    let whole = PathBuf::from(given);
    let (model, path) = match given.split_once('@') {
        // A folder may be called so.
        Some((model, path)) if !whole.exists() => (Some(model), PathBuf::from(path)),
        _ => (None, whole),
    };
    let loaded = load(std::slice::from_ref(&path))?;
    loaded.skipped.iter().for_each(|line| progress.say(&format!("skipped {line}")));
    let mut runs = loaded.runs;
    runs.retain(|run| model.is_none_or(|model| run.record.model == model));
    runs.retain(|run| args.preset.as_ref().is_none_or(|preset| run.record.preset == *preset));
    match runs.is_empty() {
        true => Err(Error::data(given, "no records here; expected a run's folder or several")),
        false => Ok(runs),
    }
}
