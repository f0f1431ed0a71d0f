//! What is printed of results: the paper's Table 2, growth, and the peer's ratios.

use super::super::names::TRANSFORMER;
use super::super::tables::Table;
use super::growth::{self, lost};
use crate::bench::{Results, Row, Side};
use crate::records::statistics::{geometric_mean, median};
use std::collections::BTreeMap;

/// Markdown.
pub fn tables(results: &Results) -> String {
    let mut text = format!("{}: `{}`\n\n", machine(results), results.command);
    let groups = groups(results);
    for ((task, preset), rows) in &groups {
        text += &format!("{task}, preset {preset}:\n\n{}\n", speed(rows).markdown());
        if let Some(growth) = growth::table(rows) {
            text += &format!("{}\n", growth.markdown());
        }
    }
    if results.rows.iter().any(|row| !row.peers.is_empty()) {
        text += &format!("Beside PyTorch, in turns:\n\n{}\n", peers(results));
    }
    for row in &results.rows {
        for failure in &row.failures {
            text += &format!("{} at {}: {failure}\n", row.model, row.length);
        }
        if let Some(own) = row.own.as_ref().filter(|side| !side.memory.profile.is_empty()) {
            text +=
                &format!("\n{} at {}:\n\n{}", row.model, row.length, profile(row, own, results));
        }
    }
    if let Some(drift) = drift(results) {
        text += &format!("\n{drift}\n");
    }
    text
}

/// What the figures belong to.
pub fn machine(results: &Results) -> String {
    let e = &results.environment;
    if e.gpu.is_some() {
        let driver = e.gpu_driver.as_deref().unwrap_or("of unknown version");
        let tf32 = if e.tf32 == Some(true) { "with" } else { "without" };
        let processor = e.processor();
        return format!("{processor}, driver {driver}, {}, {tf32} TF32, lra {}", e.dtype, e.lra);
    }
    format!(
        "{}, {} threads of {} cores, {}, a matrix product reaches {:.0} GFLOP/s, lra {}",
        e.processor(),
        e.threads,
        e.cores,
        e.dtype,
        results.ceiling,
        e.lra
    )
}

pub type Groups<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a Row>>;

pub fn groups(results: &Results) -> Groups<'_> {
    let mut groups = Groups::new();
    for row in results.rows.iter().filter(|row| !row.repeated) {
        groups.entry((&row.task, &row.preset)).or_default().push(row);
    }
    groups
}

pub fn lengths(rows: &[&Row]) -> Vec<usize> {
    let mut lengths: Vec<usize> = rows.iter().map(|row| row.length).collect();
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

pub fn models<'a>(rows: &[&'a Row]) -> Vec<&'a str> {
    let mut models: Vec<&str> = Vec::new();
    for row in rows {
        if !models.contains(&row.model.as_str()) {
            models.push(&row.model);
        }
    }
    models
}

/// Steps per second and memory by length, with ratios to the Transformer's, or the batch where it
/// is not the heading's; and how much faster than training scoring is, where it was measured.
pub fn speed(rows: &[&Row]) -> Table {
    let lengths = lengths(rows);
    let batch = |n: usize| usual(rows, n).map_or(0, |row| row.batch);
    let mut header = vec!["Model".to_owned()];
    header.extend(lengths.iter().map(|&n| format!("{n} x {}: steps/s", batch(n))));
    header.extend(lengths.iter().map(|&n| format!("{n}: peak MB")));
    let scored = rows.iter().any(|row| evaluation(row).is_some());
    if scored {
        header.extend(lengths.iter().map(|&n| format!("{n}: evaluation / training")));
    }
    let mut table = Table::new(header);
    let rate = |side: &Side| {
        let (rate, spread) = side.rate();
        (rate, format!("{rate:.2} ± {spread:.2}"))
    };
    let memory = |side: &Side| {
        let taken = side.memory.taken() as f64;
        (taken, format!("{:.0}", taken / 1e6))
    };
    for model in models(rows) {
        let mut cells = vec![model.to_owned()];
        cells.extend(lengths.iter().map(|&n| beside(rows, model, n, &rate)));
        cells.extend(lengths.iter().map(|&n| beside(rows, model, n, &memory)));
        if scored {
            cells.extend(lengths.iter().map(|&n| {
                let ratio = find(rows, model, n).and_then(evaluation);
                ratio.map_or("-".to_owned(), |r| format!("{r:.2}x"))
            }));
        }
        table.push(cells);
    }
    table
}

fn evaluation(row: &Row) -> Option<f64> {
    row.own.as_ref().and_then(Side::evaluation)
}

fn find<'a>(rows: &[&'a Row], model: &str, length: usize) -> Option<&'a Row> {
    rows.iter().copied().find(|row| row.model == model && row.length == length)
}

/// The row whose batch the heading of a length names: a task's card may give each model its own.
fn usual<'a>(rows: &[&'a Row], length: usize) -> Option<&'a Row> {
    let first = || rows.iter().copied().find(|row| row.length == length);
    find(rows, TRANSFORMER, length).or_else(first)
}

/// A model's figure at a length and its ratio to the Transformer's, which is one of steps of the
/// same batch; or why there is no figure.
fn beside(
    rows: &[&Row],
    model: &str,
    length: usize,
    figure: &dyn Fn(&Side) -> (f64, String),
) -> String {
    let Some(row) = find(rows, model, length) else { return "-".to_owned() };
    let own = |row: &Row| row.own.as_ref().map(figure);
    let Some((value, text)) = own(row) else { return lost(row).unwrap_or("-").to_owned() };
    if usual(rows, length).is_some_and(|usual| usual.batch != row.batch) {
        return format!("{text} (batch {})", row.batch);
    }
    match find(rows, TRANSFORMER, length).and_then(own) {
        Some((base, _)) => format!("{text} ({:.2}x)", value / base),
        None => text,
    }
}

fn peers(results: &Results) -> String {
    let header = [
        "Model",
        "Length x batch",
        "lra steps/s",
        "torch eager",
        "torch compile",
        "Speed ratio (min to max)",
        "Memory ratio",
        "Torch attention",
    ];
    let mut table = Table::new(header.map(str::to_owned).to_vec());
    let (mut speeds, mut memories) = (Vec::new(), Vec::new());
    for row in results.rows.iter().filter(|row| !row.repeated) {
        let rate = |name: &str| {
            let side = row.peers.iter().find(|side| side.name == name);
            side.map_or("-".to_owned(), |side| format!("{:.3}", side.rate().0))
        };
        let ratios = row.ratios();
        let ratio = median(&ratios);
        let (low, high) =
            ratios.iter().fold((f64::INFINITY, 0.0f64), |(l, h), &r| (l.min(r), h.max(r)));
        speeds.extend(ratio);
        memories.extend(row.memory_ratio());
        table.push(vec![
            row.model.clone(),
            format!("{} {} {} x {}", row.task, row.preset, row.length, row.batch),
            row.own.as_ref().map_or("-".to_owned(), |side| format!("{:.3}", side.rate().0)),
            rate("torch eager"),
            rate("torch compile"),
            ratio.map_or("-".to_owned(), |r| format!("{r:.2} ({low:.2} to {high:.2})")),
            row.memory_ratio().map_or("-".to_owned(), |r| format!("{r:.2}")),
            row.peers.iter().find_map(|p| p.attention.clone()).unwrap_or_default(),
        ]);
    }
    let mean =
        |values: &[f64]| geometric_mean(values).map_or("-".to_owned(), |m| format!("{m:.2}"));
    let mut last = vec![String::new(); header.len()];
    last[0] = "(geometric mean)".to_owned();
    (last[5], last[6]) = (mean(&speeds), mean(&memories));
    table.push(last);
    table.markdown()
}

/// Where a step's time goes.
fn profile(row: &Row, own: &Side, results: &Results) -> String {
    let header = ["Op", "Calls per step", "ms per step", "Share", "GFLOP/s", "Of the ceiling"];
    let mut table = Table::new(header.map(str::to_owned).to_vec());
    let steps: u64 = own.train.iter().map(|w| w.steps).sum();
    let seconds: f64 = own.train.iter().map(|w| w.seconds).sum();
    let line = |op: &str, calls: f64, spent: f64, flops: f64| {
        let rate = flops / spent / 1e9;
        let (speed, share) = match flops > 0.0 {
            true => (format!("{rate:.0}"), format!("{:.0} %", 100.0 * rate / results.ceiling)),
            false => ("-".to_owned(), "-".to_owned()),
        };
        vec![
            op.to_owned(),
            format!("{:.0}", calls / steps as f64),
            format!("{:.2}", 1e3 * spent / steps as f64),
            format!("{:.1} %", 100.0 * spent / seconds),
            speed,
            share,
        ]
    };
    let shares = &own.memory.profile;
    for share in shares {
        table.push(line(&share.op, share.calls as f64, share.seconds, share.flops));
    }
    let known: f64 = shares.iter().map(|s| s.seconds).sum();
    table.push(line("(graph and composed ops)", 0.0, seconds - known, 0.0));
    table.push(line("(whole step, declared FLOPs)", 0.0, seconds, row.flops * steps as f64));
    table.markdown()
}

pub fn drift(results: &Results) -> Option<String> {
    let again = results.rows.iter().find(|row| row.repeated)?;
    let first = results
        .rows
        .iter()
        .find(|row| !row.repeated && (&row.model, row.length) == (&again.model, again.length))?;
    let (before, after) = (first.own.as_ref()?.rate().0, again.own.as_ref()?.rate().0);
    Some(format!(
        "drift: the first cell ({} at {}) measured again at the end: {:+.1} %",
        again.model,
        again.length,
        100.0 * (after / before - 1.0)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Memory, Window};

    fn side(name: &str, rates: [f64; 3], taken: u64) -> Side {
        let window = |rate: f64| Window { steps: 10, seconds: 10.0 / rate };
        Side {
            name: name.to_owned(),
            attention: None,
            train: rates.map(window).to_vec(),
            evaluate: Vec::new(),
            memory: Memory { peak: 500 + taken, base: 500, ..Memory::default() },
        }
    }

    /// Turn by turn against the faster peer of that turn; memory against the leaner.
    #[test]
    fn ratios_are_of_one_turn() {
        let row = Row {
            model: "linear".to_owned(),
            task: "text".to_owned(),
            preset: "lra".to_owned(),
            length: 64,
            batch: 2,
            parameters: 1,
            flops: 1.0,
            own: Some(side("lra", [4.0, 6.0, 8.0], 300)),
            peers: vec![
                side("torch eager", [2.0, 2.0, 1.0], 900),
                side("torch compile", [1.0, 3.0, 2.0], 600),
            ],
            failures: Vec::new(),
            repeated: false,
        };
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        row.ratios().into_iter().zip([2.0, 2.0, 4.0]).for_each(|(a, b)| near(a, b));
        near(row.memory_ratio().unwrap(), 0.5);
        near(row.own.as_ref().unwrap().rate().0, 6.0);
    }
}
