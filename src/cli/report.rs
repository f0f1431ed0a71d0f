//! `lra report`: from run folders to tables and pictures.

use super::out;
use crate::atomic::write_atomic;
use crate::error::{Error, IoContext, Result};
use crate::printable;
use crate::progress::Progress;
use crate::records;
use crate::report::{self, Document, Published, Report, bench};
use clap::Args;
use std::path::{Path, PathBuf};

/// Read what was run and measured; write tables (CSV, Markdown, LaTeX) and charts (SVG, PNG)
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// Folders to search for run folders and for results of `lra bench`, at any depth
    /// [default: results/runs results/bench]
    #[arg(value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    /// Folder for the tables
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub out: PathBuf,
    /// Folder for the charts
    #[arg(long, value_name = "DIR", default_value = "plots")]
    pub plots: PathBuf,
    /// Published numbers to show beside the own ones, in the form of results/published.csv
    /// [default: those compiled in]
    #[arg(long, value_name = "FILE")]
    pub published: Option<PathBuf>,
    /// Only the runs of this preset
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
    /// Print the aggregate as JSON instead of tables
    #[arg(long)]
    pub json: bool,
    /// Write one HTML page with charts and tables to search instead
    /// [default: report.html in --out]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "readme"])]
    pub page: Option<Option<PathBuf>>,
    /// Write into this document instead, between its markers, what they name:
    /// `<!-- lra:NAME -->` to `<!-- /lra -->`, with NAME one of `accuracy PRESET`,
    /// `speed PRESET TASK`, `ratios`, `picture FILE WORDS...`
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub readme: Vec<PathBuf>,
    /// Write nothing; exit with 7 where the document is not what the records say
    #[arg(long, requires = "readme")]
    pub check: bool,
}

pub fn run(args: &ReportArgs, progress: &Progress) -> Result<()> {
    let published = match &args.published {
        Some(path) => Published::read(path)?,
        None => Published::compiled_in()?,
    };
    let report = read(args, published)?;
    let is_empty = report.runs_read == 0 && report.bench.is_empty();
    if is_empty || args.json {
        // The tables end with these lines; without tables they are told here.
        report.skipped.iter().for_each(|line| progress.say(&format!("skipped {line}")));
    }
    if is_empty {
        return Err(nothing_found(args, &report));
    }
    if let Some(path) = page_file(args) {
        return page(&report, &path);
    }
    if !args.readme.is_empty() {
        return splice(args, &report);
    }
    let files = report::files(&report)?;
    let written = report::write(&files, &args.out, &args.plots)?;
    if args.json {
        let json = serde_json::to_string_pretty(&report)
            .map_err(|error| std::io::Error::other(error.to_string()))
            .at("write", "standard output")?;
        return out::print(|to| writeln!(to, "{json}"));
    }
    let mut text = report::terminal(&report);
    text.push_str("\nWritten:\n");
    for path in written {
        text.push_str(&format!("  {}\n", path.display()));
    }
    out::print(|to| to.write_all(text.as_bytes()))
}

fn page_file(args: &ReportArgs) -> Option<PathBuf> {
    let named = args.page.as_ref()?;
    Some(named.clone().unwrap_or_else(|| args.out.join("report.html")))
}

fn page(report: &Report, path: &Path) -> Result<()> {
    let page = report::page(report)?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).at("create", folder)?;
    }
    write_atomic(path, |to| to.write_all(page.as_bytes()))?;
    out::print(|to| writeln!(to, "Written: {}", printable::line(&path.to_string_lossy())))
}

/// Each document is read before any is written: all are right, or none is touched.
fn splice(args: &ReportArgs, report: &Report) -> Result<()> {
    let read = args.readme.iter().map(|path| Document::read(path, report));
    let documents = read.collect::<Result<Vec<_>>>()?;
    if args.check {
        let command = &report.command;
        return documents.iter().try_for_each(|document| document.check(command));
    }
    for document in &documents {
        let told = document.write()?;
        out::print(|to| writeln!(to, "{}", printable::line(&told)))?;
    }
    Ok(())
}

/// Everything below the folders, in one report.
fn read(args: &ReportArgs, published: Published) -> Result<Report> {
    let dirs = dirs(args);
    let (mut bench, skipped) = bench::load(&dirs);
    // A file of results that was named itself is no record.
    let is_bench = |dir: &PathBuf| bench.iter().any(|file| Path::new(&file.name) == dir);
    let others: Vec<PathBuf> = dirs.iter().filter(|dir| !is_bench(dir)).cloned().collect();
    let mut loaded = records::load(&others).map_err(|error| match error {
        Error::Data { place, message } => {
            Error::Data { place, message: format!("{message}; {}", how_to_make_one(args)) }
        }
        error => error,
    })?;
    loaded.skipped.extend(skipped);
    let preset = args.preset.as_deref();
    for file in &mut bench {
        file.results.rows.retain(|row| preset.is_none_or(|wanted| row.preset == wanted));
    }
    bench.retain(|file| !file.results.rows.is_empty());
    Ok(Report { bench, ..Report::new(loaded, published, command(args), preset) })
}

/// The folders given, or those of the two usual ones that are there.
fn dirs(args: &ReportArgs) -> Vec<PathBuf> {
    if !args.dirs.is_empty() {
        return args.dirs.clone();
    }
    let usual = USUAL.map(PathBuf::from).to_vec();
    let there: Vec<PathBuf> = usual.iter().filter(|dir| dir.exists()).cloned().collect();
    if there.is_empty() { usual } else { there }
}

const USUAL: [&str; 2] = ["results/runs", "results/bench"];

fn how_to_make_one(args: &ReportArgs) -> String {
    let preset = args.preset.as_deref().unwrap_or("quick");
    format!("`lra run --model transformer --task listops --preset {}` makes a run", quoted(preset))
}

fn nothing_found(args: &ReportArgs, report: &Report) -> Error {
    let mut message = match &args.preset {
        Some(preset) => format!("no records of preset {} here", quoted(preset)),
        None => "no records here".to_owned(),
    };
    if !report.unfinished.is_empty() {
        message.push_str(&format!(", {} unfinished", report.unfinished.len()));
    }
    if !report.skipped.is_empty() {
        message.push_str(&format!(", {} unreadable", report.skipped.len()));
    }
    let dirs: Vec<String> = dirs(args).iter().map(|dir| dir.display().to_string()).collect();
    Error::data(dirs.join(", "), format!("{message}; {}", how_to_make_one(args)))
}

/// The command that makes this report again, from the arguments that matter.
fn command(args: &ReportArgs) -> String {
    let mut words = vec!["lra".to_owned(), "report".to_owned()];
    words.extend(args.dirs.iter().map(|dir| quoted(&dir.display().to_string())));
    let mut option = |name: &str, value: &str| words.extend([name.to_owned(), quoted(value)]);
    // A page has no files beside it, and a document has its pictures where it says.
    if args.page.is_none() && args.readme.is_empty() {
        option("--out", &args.out.display().to_string());
        option("--plots", &args.plots.display().to_string());
    }
    if let Some(path) = &args.published {
        option("--published", &path.display().to_string());
    }
    if let Some(preset) = &args.preset {
        option("--preset", preset);
    }
    if let Some(path) = page_file(args) {
        option("--page", &path.display().to_string());
    }
    for path in &args.readme {
        option("--readme", &path.display().to_string());
    }
    words.join(" ")
}

/// For a shell, quoted only where it must be.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
