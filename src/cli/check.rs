//! `lra check`: the regression gate.

use super::out;
use crate::attention::Registry;
use crate::check::{
    Baseline, Entry, Finding, Format, Pairs, Verdict, against, calibrated, count, groups,
    judge_accuracy, judge_counters, judge_speed, kind, markdown, text,
};
use crate::error::{Error, IoContext, Result};
use crate::measure;
use crate::progress::Progress;
use crate::records::{Loaded, load};
use candle_core::{DType, Device};
use clap::Args;
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// What to compare with (`lra baseline save`)
    #[arg(long, value_name = "FILE", default_value = "results/baseline.json")]
    baseline: PathBuf,
    /// Folders with the runs to compare; `results` where it exists
    #[arg(long, value_name = "DIR", num_args = 1..)]
    current: Vec<PathBuf>,
    /// Only these models, or `all`
    #[arg(long, value_delimiter = ',', default_value = "all")]
    models: Vec<String>,
    /// Measure speed in turns with this `lra`, of another version
    #[arg(long, value_name = "BINARY")]
    against: Option<PathBuf>,
    /// Measure speed beside a matrix product, where the baseline has it
    #[arg(long)]
    speed: bool,
    /// Rounds of speed, each two fresh processes in turns, or one and a matrix product
    #[arg(long, default_value_t = 10)]
    pairs: usize,
    /// The share by which a model may be slower
    #[arg(long, default_value_t = 0.03)]
    speed_tolerance: f64,
    /// The drop of accuracy, in percent, that seeds have to exclude
    #[arg(long, default_value_t = 1.0)]
    points: f64,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub fn run(args: &CheckArgs, registry: &Registry, progress: &Progress) -> Result<()> {
    let pairs = Pairs { rounds: args.pairs, tolerance: args.speed_tolerance };
    pairs.check()?;
    if !(args.points > 0.0 && args.points.is_finite()) {
        return Err(Error::usage(format!("--points {}: expected more than 0", args.points)));
    }
    if let Some(program) = args.against.as_ref().filter(|program| !program.is_file()) {
        let message = format!("--against {}: there is no such program", program.display());
        return Err(Error::usage(message));
    }
    let baseline = Baseline::load(&args.baseline)?;
    let here = measure::observe(&Device::Cpu, DType::F32, 1);
    let Some((machine, elsewhere)) = baseline.machine(&kind(&here.cpu, &measure::cpu_kind()))
    else {
        let message = "`machines` is empty; make it anew with `lra baseline save`";
        return Err(Error::data(&args.baseline, message));
    };
    let chosen = registry.names(&args.models);
    chosen.iter().try_for_each(|name| registry.get(name).map(|_| ()))?;
    // A model that is gone is a regression, unless others were asked for.
    let all = args.models.iter().any(|model| model == "all");
    let wanted = |name: &str| all || chosen.iter().any(|chosen| chosen == name);
    let entries: Vec<&Entry> = machine.cells.iter().filter(|entry| wanted(entry.model())).collect();
    let loaded = records(args)?;
    loaded.skipped.iter().for_each(|line| progress.say(&format!("skipped {line}")));

    let bar = progress.bar("check", "cells", entries.len() as u64);
    let mut findings = Vec::new();
    for entry in &entries {
        bar.note(entry.model());
        findings.extend(cell(args, entry, registry, elsewhere.as_deref(), pairs));
        bar.advance(1);
    }
    drop(bar);
    for name in &chosen {
        if !entries.iter().any(|entry| entry.model() == name) {
            findings.push(Finding::untold(name, "counters", "not in the baseline"));
        }
    }
    let before: Vec<_> =
        baseline.records.iter().filter(|group| wanted(&group.model)).cloned().collect();
    if loaded.runs.is_empty() && !before.is_empty() {
        progress.say("no records here: accuracy is not compared");
    } else {
        findings.extend(judge_accuracy(&before, &groups(&loaded), args.points));
    }
    tell(args, &findings)?;
    match findings.iter().filter(|found| found.verdict == Verdict::Regression).count() {
        0 => Ok(()),
        count => Err(Error::Regression { count, baseline: args.baseline.clone() }),
    }
}

fn records(args: &CheckArgs) -> Result<Loaded> {
    let usual = Path::new("results");
    match args.current.as_slice() {
        [] if usual.is_dir() => load(&[usual.to_path_buf()]),
        [] => Ok(Loaded::default()),
        given => load(given),
    }
}

/// Everything about one cell. What cannot be run any more is a regression too.
fn cell(
    args: &CheckArgs,
    entry: &Entry,
    registry: &Registry,
    elsewhere: Option<&str>,
    pairs: Pairs,
) -> Vec<Finding> {
    let name = entry.model();
    let mut findings = match count(&entry.cell, entry.steps, registry) {
        Ok(now) => judge_counters(entry, &now, elsewhere),
        Err(error) => return vec![Finding::broken(name, "counters", error.to_string())],
    };
    if let Some(program) = &args.against {
        const MEASURE: &str = "speed over the other binary's";
        findings.push(match against(program, &entry.cell, pairs.rounds) {
            Ok(ratios) => judge_speed(name, MEASURE, &[], &ratios, pairs),
            Err(error) => Finding::untold(name, MEASURE, error.to_string()),
        });
    }
    if args.speed {
        const MEASURE: &str = "steps in the time of a matrix product";
        findings.push(match (entry.paces.as_slice(), elsewhere) {
            ([], _) => Finding::untold(name, MEASURE, "not in the baseline"),
            (_, Some(why)) => Finding::untold(name, MEASURE, why),
            (before, None) => match calibrated(&entry.cell, pairs.rounds) {
                Ok(now) => judge_speed(name, MEASURE, before, &now, pairs),
                Err(error) => Finding::broken(name, MEASURE, error.to_string()),
            },
        });
    }
    findings
}

fn tell(args: &CheckArgs, findings: &[Finding]) -> Result<()> {
    let name = args.baseline.to_string_lossy();
    let said = text(args.format, findings, &name)?;
    out::print(|to| to.write_all(said.as_bytes()))?;
    let summary = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty());
    if let (Format::Github, Some(path)) = (args.format, summary) {
        let path = PathBuf::from(path);
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&path);
        let written = file.and_then(|mut file| {
            file.write_all(format!("{}\n", markdown(findings, &name)).as_bytes())
        });
        written.at("write", &path)?;
    }
    Ok(())
}
