//! `report.md`, and its shorter form for the terminal.
//!
//! Per preset: the paper's Table 1 form, speed and memory of the same runs, and the notes the
//! cells refer to. Then the paper's Table 2 form, of `lra bench`, and at the end the published
//! tables.

use super::aggregate::{Report, Section};
use super::average::FAILED_PATHX;
use super::bench::ratios_of;
use super::escape::{code, line};
use super::tables::{self, Titled};
use super::{File, Room};
use crate::error::Result;
use std::fmt::Write;

pub fn export(report: &Report) -> Result<Vec<File>> {
    let mut text = format!("# Results\n\n{}\n", summary(report));
    for section in &report.sections {
        let own = section_text(section);
        let _ = write!(text, "\n## Preset {}\n\n{own}", code(&section.preset));
    }
    text.push_str(&left_out(report));
    text.push_str(&chapter("Measured by `lra bench`", &tables::measured(&report.bench)));
    if let Some(ratios) = ratios_of(&report.bench) {
        let _ = write!(text, "\n## Beside PyTorch\n\n{ratios}");
    }
    text.push_str(&chapter("Published, not measured here", &tables::published(&report.published)));
    let _ = write!(
        text,
        "\n## How this was made\n\n    {}\n\nwith lra {}; every run is a line of `runs.csv`.\n",
        line(&report.command),
        report.lra
    );
    Ok(vec![File { room: Room::Results, name: "report.md".into(), bytes: text.into_bytes() }])
}

/// What standard output shows: the own tables, without the published ones.
pub fn terminal(report: &Report) -> String {
    let mut text = String::new();
    for section in &report.sections {
        let own = section_text(section);
        let _ = write!(text, "Preset {}\n\n{own}\n", code(&section.preset));
    }
    let _ = writeln!(text, "{}", summary(report));
    text.push_str(&left_out(report));
    text
}

fn chapter(title: &str, tables: &[Titled]) -> String {
    let all: String = tables.iter().map(|table| format!("\n{}", table.markdown())).collect();
    if tables.is_empty() { all } else { format!("\n## {title}\n{all}") }
}

/// What was read, in a line.
pub fn summary(report: &Report) -> String {
    let (read, skipped) = (report.runs_read, report.skipped.len());
    let unfinished = report.unfinished.iter().filter(|folder| !folder.damaged).count();
    let word = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let mut text = word(read, "record", "records");
    if unfinished > 0 {
        let folders = word(unfinished, "run folder", "run folders");
        let _ = write!(text, ", {folders} without a record (unfinished)");
    }
    if skipped > 0 {
        let _ = write!(text, ", {} (listed below)", word(skipped, "file skipped", "files skipped"));
    }
    text.push('.');
    text
}

fn left_out(report: &Report) -> String {
    let mut text = String::new();
    let nameless = report.unfinished.iter().filter(|unfinished| unfinished.run.is_none());
    let nameless: Vec<_> = nameless.map(|unfinished| &unfinished.folder).collect();
    if !nameless.is_empty() {
        text.push_str("\n## Unfinished, of an unknown run\n\n");
        for folder in nameless {
            let _ = writeln!(text, "- {}", code(&folder.display().to_string()));
        }
    }
    if !report.skipped.is_empty() {
        text.push_str("\n## Skipped\n\n");
        for reason in &report.skipped {
            let _ = writeln!(text, "- {}", line(reason));
        }
    }
    text
}

fn section_text(section: &Section) -> String {
    let mut text = "Test accuracy in %: mean ± standard error over seeds (n).\n\n".to_owned();
    text.push_str(&tables::accuracy(section).markdown());
    let _ = writeln!(
        text,
        "\n`-` was not run. FAIL: diverged. OOM: out of memory. An average is shown only where \
         every task is complete;\nthe paper's is of five tasks; in the six-task one a Path-X run \
         that failed counts {FAILED_PATHX} %, as in later papers."
    );
    if !section.speed.is_empty() {
        text.push_str("\n### Speed and memory\n");
    }
    for block in tables::blocks(section, None) {
        let _ = write!(text, "\n{}", block.markdown());
    }
    if !section.speed.is_empty() {
        text.push_str(
            "\nMedian ± median absolute deviation, over runs, or over windows of a single run. \
             Ratios are to the Transformer's\nrow: speed in examples/s, memory by the first meter \
             both rows have. 1 GB is 10^9 bytes.\n",
        );
    }
    text.push_str(&notes(section, "### Notes\n\n"));
    text
}

/// What the numbers in cells refer to, numbered, below `heading`; nothing where there are none.
pub fn notes(section: &Section, heading: &str) -> String {
    let text = |note: &String| line(note).replace(['<', '|'], " ");
    let numbered = (1..).zip(&section.notes);
    let lines: String = numbered.map(|(n, note)| format!("{n}. {}\n", text(note))).collect();
    if lines.is_empty() { lines } else { format!("\n{heading}{lines}") }
}
