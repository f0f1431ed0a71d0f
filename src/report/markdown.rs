//! `report.md`, and its shorter form for the terminal.
//!
//! Per preset: the paper's Table 1 form with the published rows in a block of their own below
//! it, the paper's Table 2 form likewise, and the notes the cells refer to.

use super::aggregate::{Report, Section};
use super::average::FAILED_PATHX;
use super::escape::{code, line, markdown};
use super::names::{model_title, task_title};
use super::published::{Line, Published};
use super::speed::{Meter, SpeedRow, same_block};
use super::table::Table;
use super::{File, Room};
use crate::error::Result;
use crate::records::statistics::group_by;
use std::fmt::Write;

pub fn export(report: &Report) -> Result<Vec<File>> {
    let mut text = format!("# Results\n\n{}\n", summary(report));
    for section in &report.sections {
        let own = section_text(section, Some(&report.published));
        let _ = write!(text, "\n## Preset {}\n\n{own}", code(&section.preset));
    }
    text.push_str(&left_out(report));
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
        let own = section_text(section, None);
        let _ = write!(text, "Preset {}\n\n{own}\n", code(&section.preset));
    }
    let _ = writeln!(text, "{}", summary(report));
    text.push_str(&left_out(report));
    text
}

fn summary(report: &Report) -> String {
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

fn section_text(section: &Section, published: Option<&Published>) -> String {
    let mut text = "Test accuracy in %: mean ± standard error over seeds (n).\n\n".to_owned();
    text.push_str(&accuracy(section).text());
    let _ = writeln!(
        text,
        "\n`-` was not run. FAIL: diverged. OOM: out of memory. An average is shown only where \
         every task is complete;\nin the six-task one a Path-X run that failed counts \
         {FAILED_PATHX} %, as in later papers."
    );
    if let Some(published) = published {
        text.push_str(&published_accuracy(published));
    }
    if !section.speed.is_empty() {
        text.push_str("\n### Speed and memory\n");
    }
    for block in section.speed.chunk_by(same_block) {
        if let Some(first) = block.first() {
            let length = first.length.map(|n| format!(", length {n}")).unwrap_or_default();
            let (task, on) = (task_title(&first.task), markdown(&first.machine.text()));
            let _ = write!(text, "\n{}{length}; {on}\n\n", markdown(task));
            text.push_str(&speed(block).text());
        }
    }
    if !section.speed.is_empty() {
        text.push_str(
            "\nMedian ± median absolute deviation, over runs, or over windows of a single run. \
             Ratios are to the Transformer's\nrow: speed in examples/s, memory by the first meter \
             both rows have. 1 GB is 10^9 bytes.\n",
        );
        if let Some(published) = published {
            text.push_str(&published_speed(published));
        }
    }
    if !section.notes.is_empty() {
        text.push_str("\n### Notes\n\n");
        for (number, note) in section.notes.iter().enumerate() {
            let _ = writeln!(text, "{}. {}", number + 1, line(note).replace(['<', '|'], " "));
        }
    }
    text
}

/// ` [1] [3]` after what the notes are about.
fn marks(notes: &[usize]) -> String {
    notes.iter().fold(String::new(), |text, number| format!("{text} [{number}]"))
}

fn accuracy(section: &Section) -> Table {
    let task =
        |task: &super::Task| format!("{}{}", markdown(task_title(&task.name)), marks(&task.notes));
    let mut header = vec!["Model".to_owned()];
    header.extend(section.tasks.iter().map(task));
    header.extend(["Average of 5".to_owned(), "Average of 6".to_owned()]);
    let mut table = Table::new(header);
    for row in &section.rows {
        let mut cells = vec![markdown(model_title(&row.model))];
        cells.extend(row.cells.iter().map(|c| format!("{}{}", c.text(), marks(&c.notes))));
        cells.extend([row.five_tasks.text(), row.six_tasks.text()]);
        table.push(cells);
    }
    let mut majority = vec!["(majority class)".to_owned()];
    majority.extend((0..section.tasks.len()).map(|column| {
        let found = section.rows.iter().filter_map(|row| row.cells.get(column)?.majority);
        let both = found.reduce(|(a, b), (c, d)| (a.min(c), b.max(d)));
        match both {
            Some((least, most)) if least == most => format!("{least:.2}"),
            Some((least, most)) => format!("{least:.2} to {most:.2}"),
            None => "-".to_owned(),
        }
    }));
    table.push(majority);
    table
}

fn speed(block: &[SpeedRow]) -> Table {
    let meters: Vec<Meter> = Meter::ALL
        .into_iter()
        .filter(|meter| block.iter().any(|row| row.memory(*meter).is_some()))
        .collect();
    let fixed = ["Model", "Runs", "Steps/s", "Examples/s", "Tokens/s", "Speed ratio"];
    let mut header: Vec<String> = fixed.map(str::to_owned).to_vec();
    header.extend(meters.iter().map(|meter| format!("Peak GB, {}", meter.title())));
    header.push("Memory ratio".to_owned());
    let mut table = Table::new(header);
    for row in block {
        let missing = || (if row.out_of_memory > 0 { "OOM" } else { "-" }).to_owned();
        let steps = row.steps_per_second.map(|steps| match row.steps_per_second_mad {
            Some(mad) => format!("{} ± {}", figure(steps), figure(mad)),
            None => figure(steps),
        });
        let number = |value: Option<f64>| value.map(figure).unwrap_or_else(missing);
        let runs = match row.left_out {
            0 => row.runs.to_string(),
            lost => format!("{} of {}", row.runs, row.runs + lost),
        };
        let mut cells =
            vec![markdown(model_title(&row.model)), runs, steps.unwrap_or_else(missing)];
        cells.push(number(row.examples_per_second));
        cells.push(number(row.tokens_per_second));
        cells.push(row.speed_ratio.map_or("-".to_owned(), |r| format!("{}x", figure(r))));
        cells.extend(meters.iter().map(|m| number(row.memory(*m).map(|b| b as f64 / 1e9))));
        cells.push(row.memory_ratio.map_or("-".to_owned(), |r| format!("{}x", figure(r))));
        table.push(cells);
    }
    table
}

/// Three significant digits, without an exponent in the range people measure.
pub fn figure(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1e9 || (magnitude > 0.0 && magnitude < 1e-6) {
        return format!("{value:.2e}");
    }
    let digits = if magnitude > 0.0 { 2 - magnitude.log10().floor() as i32 } else { 0 };
    format!("{value:.*}", digits.max(0) as usize)
}

fn published_accuracy(published: &Published) -> String {
    let mut text = String::new();
    for (_, source) in published.tables(&["accuracy"]) {
        let lines: Vec<&Line> = published.of(&source, "accuracy").collect();
        let title = |l: &Line| match l.task.as_str() {
            "average" => "Average of 5".to_owned(),
            task => task_title(task).to_owned(),
        };
        let value = |l: &Line| l.printed.clone();
        let _ = write!(text, "\nPublished, not measured here: {}.\n\n", markdown_source(&source));
        text.push_str(&pivot(&lines, title, |l| (l.column(), 0), value).text());
        for sinkhorn in lines.iter().filter(|l| l.notes.contains("as printed")) {
            let _ = writeln!(text, "\n{}: {}.", markdown(&sinkhorn.title), line(&sinkhorn.notes));
        }
    }
    text
}

fn published_speed(published: &Published) -> String {
    let mut text = String::new();
    for (_, source) in published.tables(&["steps_per_second", "peak_memory_gb"]) {
        let speeds = published.of(&source, "steps_per_second");
        let lines: Vec<&Line> = speeds.chain(published.of(&source, "peak_memory_gb")).collect();
        let hardware = lines.first().map(|l| l.notes.as_str()).unwrap_or_default();
        let title = |l: &Line| {
            let unit = if l.metric == "peak_memory_gb" { "GB" } else { "steps/s" };
            format!("{unit}, n={}", super::optional(l.length))
        };
        let ratio = |l: &Line| {
            let mut ratios = published.of(&source, "speed_ratio");
            ratios.find(|r| (&r.model, &r.task, r.length) == (&l.model, &l.task, l.length))
        };
        let value = |l: &Line| match ratio(l).filter(|_| l.metric == "steps_per_second") {
            Some(ratio) => format!("{} ({}x)", l.printed, ratio.printed),
            None => l.printed.clone(),
        };
        let is_memory = |l: &Line| usize::from(l.metric == "peak_memory_gb");
        let key = |l: &Line| ((is_memory(l), String::new()), l.length.unwrap_or(0));
        let _ = write!(
            text,
            "\nPublished, not measured here: {} ({}; memory per device; ratio to the Transformer).\n\n",
            markdown_source(&source),
            line(hardware)
        );
        text.push_str(&pivot(&lines, title, key, value).text());
    }
    text
}

/// The source is ours or from a file the user named: one line, and its bars cannot break it.
fn markdown_source(source: &str) -> String {
    line(source).replace('|', "\\|")
}

type ColumnKey = ((usize, String), u64);

/// Models down in file order, columns across in key order; what a source lacks is `-`.
fn pivot(
    lines: &[&Line],
    title: impl Fn(&Line) -> String,
    key: impl Fn(&Line) -> ColumnKey,
    value: impl Fn(&Line) -> String,
) -> Table {
    let columns = group_by(lines.iter().copied(), |l| key(l));
    let mut header = vec!["Model".to_owned()];
    header.extend(columns.values().filter_map(|of| of.first()).map(|l| markdown(&title(l))));
    let mut table = Table::new(header);
    let mut models: Vec<(&str, &str)> = Vec::new();
    for l in lines {
        if !models.iter().any(|(model, _)| *model == l.model) {
            models.push((&l.model, &l.title));
        }
    }
    for (model, printed) in models {
        let mut row = vec![markdown(printed)];
        row.extend(columns.values().map(|of| {
            let found = of.iter().find(|l| l.model == model);
            found.map_or("-".to_owned(), |l| markdown(&value(l)))
        }));
        table.push(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        let texts = [0.0, 0.01234, 1.234, 12.34, 1234.6, 5e12].map(figure);
        assert_eq!(texts, ["0", "0.0123", "1.23", "12.3", "1235", "5.00e12"]);
    }

    #[test]
    fn published_tables_are_whole() {
        let published = Published::compiled_in().unwrap();
        let text = published_accuracy(&published);
        assert!(text.contains("|   FAIL |        54.39 |"), "{text}");
        assert!(text.contains("51.48"), "the discrepancy is told: {text}");
        let text = published_speed(&published);
        assert!(text.contains("8.0 (5.7x)"), "{text}");
        assert!(text.contains(" 9.48 |"), "{text}");
    }
}
