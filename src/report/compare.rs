//! Two groups of runs side by side: what they reached, and how their configurations differ.
//!
//! Over several seeds an interval is Student's, of the difference Welch's. One run has no
//! spread over seeds: its accuracy gets the interval of its test examples, and its speed and
//! memory none.

use super::tables::Table;
use super::{escape, seeds};
use crate::records::statistics::{group_by, half_width, mean, welch};
use crate::records::{Difference, Record, Run, differences};
use serde::Serialize;
use serde_json::Value;

/// Of every interval.
const LEVEL: f64 = 0.95;

/// Quantile of the normal distribution for it.
const NORMAL: f64 = 1.959_963_984_540_054;

#[derive(Debug, Serialize)]
pub struct Comparison {
    pub a: String,
    pub b: String,
    pub metrics: Vec<Metric>,
    pub differences: Vec<Difference>,
}

/// A figure on both sides. `None` where a side has none.
#[derive(Debug, Serialize)]
pub struct Metric {
    pub name: &'static str,
    pub a: Option<Side>,
    pub b: Option<Side>,
    /// B less A, with half the width of its interval where there is one.
    pub difference: Option<(f64, Option<f64>)>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    pub n: usize,
    pub mean: f64,
    /// Half the width of its interval.
    pub half_width: Option<f64>,
}

type Figure = (&'static str, fn(&Record) -> Option<f64>);

const FIGURES: [Figure; 10] = [
    (ACCURACY, |r| Some(100.0 * r.final_metrics.as_ref()?.test.accuracy)),
    ("test loss", |r| Some(r.final_metrics.as_ref()?.test.loss)),
    ("validation accuracy, %", |r| Some(100.0 * r.final_metrics.as_ref()?.validation.accuracy)),
    ("steps/s", |r| Some(r.speed.as_ref()?.steps_per_second)),
    ("examples/s", |r| Some(r.speed.as_ref()?.examples_per_second)),
    ("peak live heap, MB", |r| Some(r.memory.peak_live? as f64 / 1e6)),
    ("peak resident, MB", |r| Some(r.memory.peak_resident? as f64 / 1e6)),
    ("training, s", |r| Some(r.wall.train)),
    ("parameters", |r| Some(r.parameters as f64)),
    ("steps", |r| Some(r.steps as f64)),
];

const ACCURACY: &str = "test accuracy, %";

/// What is compared with what: groups of one task, model and preset that both sides have, or
/// where each side has one group, these. Then the groups of one side alone.
pub fn compare(a: &[Run], b: &[Run]) -> (Vec<Comparison>, Vec<String>) {
    let key = |run: &&Run| {
        let Record { task, model, preset, .. } = &run.record;
        format!("{task} {model} {preset}")
    };
    let (a, b) = (group_by(a, key), group_by(b, key));
    if let ([(name_a, runs_a)], [(name_b, runs_b)]) =
        (Vec::from_iter(&a).as_slice(), Vec::from_iter(&b).as_slice())
    {
        return (vec![pair(name_a, runs_a, name_b, runs_b)], Vec::new());
    }
    let both = a.iter().filter_map(|(name, runs)| Some(pair(name, runs, name, b.get(name)?)));
    let only_a = a.keys().filter(|name| !b.contains_key(*name)).map(|n| format!("only in A: {n}"));
    let only_b = b.keys().filter(|name| !a.contains_key(*name)).map(|n| format!("only in B: {n}"));
    (both.collect(), only_a.chain(only_b).collect())
}

fn pair(name_a: &str, a: &[&Run], name_b: &str, b: &[&Run]) -> Comparison {
    // Of a seed that was run twice one counts, as in a report.
    let (a, b) = (seeds::resolve(a, &[]).runs, seeds::resolve(b, &[]).runs);
    let config = |runs: &[&Run]| runs.first().map_or(Value::Null, |run| run.record.config.clone());
    let seeds = a.len() > 1 || b.len() > 1;
    let found = differences(&config(&a), &config(&b)).into_iter();
    Comparison {
        a: format!("{name_a} (n={})", a.len()),
        b: format!("{name_b} (n={})", b.len()),
        metrics: FIGURES.iter().map(|figure| metric(*figure, &a, &b)).collect(),
        differences: found.filter(|d| !(seeds && d.key == "run.seed")).collect(),
    }
}

fn metric((name, figure): Figure, a: &[&Run], b: &[&Run]) -> Metric {
    let values =
        |runs: &[&Run]| -> Vec<f64> { runs.iter().filter_map(|run| figure(&run.record)).collect() };
    let (of_a, of_b) = (values(a), values(b));
    let side = |runs: &[&Run], values: &[f64]| {
        let one = || (name == ACCURACY).then(|| of_examples(runs.first()?)).flatten();
        let half_width = half_width(values, LEVEL).or_else(one);
        Some(Side { n: values.len(), mean: mean(values)?, half_width })
    };
    let (side_a, side_b) = (side(a, &of_a), side(b, &of_b));
    let difference = side_a.as_ref().zip(side_b.as_ref()).map(|(a, b)| {
        let half = match welch(&of_a, &of_b) {
            Some(test) => {
                let (low, high) = test.interval(LEVEL);
                Some((high - low) / 2.0)
            }
            // Independent errors add in squares.
            None if a.n == 1 && b.n == 1 => a.half_width.zip(b.half_width).map(|(a, b)| a.hypot(b)),
            None => None,
        };
        (b.mean - a.mean, half)
    });
    Metric { name, a: side_a, b: side_b, difference }
}

/// What another draw of as many test examples would move an accuracy in percent by.
fn of_examples(run: &Run) -> Option<f64> {
    let test = run.record.final_metrics.as_ref()?.test;
    let variance = test.accuracy * (1.0 - test.accuracy) / test.examples.max(1) as f64;
    Some(100.0 * NORMAL * variance.sqrt())
}

impl Comparison {
    /// Markdown.
    pub fn text(&self) -> String {
        let header = ["", "A", "B", "B - A", "B / A"];
        let mut table = Table::new(header.map(str::to_owned).to_vec());
        for Metric { name, a, b, difference } in &self.metrics {
            let side = |side: &Option<Side>| {
                side.as_ref().map_or("-".to_owned(), |s| spread(&number(s.mean), s.half_width))
            };
            let ratio = a.as_ref().zip(b.as_ref()).map(|(a, b)| b.mean / a.mean);
            table.push(vec![
                (*name).to_owned(),
                side(a),
                side(b),
                difference.map_or("-".to_owned(), |(d, half)| spread(&signed(d), half)),
                ratio.filter(|r| r.is_finite()).map_or("-".to_owned(), |r| format!("{r:.3}x")),
            ]);
        }
        let (a, b) = (escape::markdown(&self.a), escape::markdown(&self.b));
        let mut text = format!("A: {a}\nB: {b}\n\n{}\n", table.markdown());
        text += &format!("± is half of a {:.0} % interval", 100.0 * LEVEL);
        text += match self.metrics.iter().flat_map(|m| [&m.a, &m.b]).flatten().any(|s| s.n > 1) {
            true => " over seeds.\n",
            false => ", of the test examples: one run on each side says nothing about seeds.\n",
        };
        if self.differences.is_empty() {
            return text + "The configurations are the same.\n";
        }
        text += "\nConfigurations:\n\n";
        let mut table = Table::new(["Key", "A", "B"].map(str::to_owned).to_vec());
        for Difference { key, there, here } in &self.differences {
            table.push([key, there, here].map(String::clone).to_vec());
        }
        text + &table.markdown()
    }
}

/// Enough digits for a figure of any size.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 1000.0 => format!("{value:.0}"),
        middle if middle >= 1.0 || middle == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn signed(value: f64) -> String {
    if value > 0.0 { format!("+{}", number(value)) } else { number(value) }
}

fn spread(text: &str, half_width: Option<f64>) -> String {
    half_width.map_or(text.to_owned(), |half| format!("{text} ± {}", number(half)))
}
