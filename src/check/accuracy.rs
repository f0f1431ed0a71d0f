//! Runs over seeds: accuracy by Welch's one-sided test, memory by its median.

use super::finding::{Finding, Verdict, percent};
use crate::records::statistics::{group_by, mean, median, welch};
use crate::records::{Loaded, Run, differences};
use crate::report::{Outcome, seeds};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// How seldom the test may be wrong, over all groups of one check together.
const ALPHA: f64 = 0.002;

/// The interval that has to exclude a drop, before there is said to be none.
const LEVEL: f64 = 0.90;

/// Shares of the peak that may differ. On one thread only names and dates do.
const ONE_THREAD: f64 = 0.01;

/// Several threads take memory in another order each time: 48 short runs of ListOps (linear,
/// transformer, reformer; 2, 4 and 8 threads; 6 to 8 seeds of each) lay within 1 % of the
/// least of their group. Five times that, since a median may be of a few runs, and other tasks
/// were not measured.
const THREADS: f64 = 0.05;

/// The runs of one configuration, which differ in their seed alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub task: String,
    pub model: String,
    pub preset: String,
    /// Without the seed.
    pub config: Value,
    /// Of the data.
    pub checksum: String,
    pub threads: u32,
    pub runs: Vec<Held>,
}

/// What is kept of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    pub seed: u64,
    /// Test accuracy in percent; `None` where the run did not get there.
    pub accuracy: Option<f64>,
    pub peak_live: Option<u64>,
}

impl Group {
    fn name(&self) -> String {
        format!("{} {} {}", self.task, self.model, self.preset)
    }

    fn same_run(&self, other: &Self) -> bool {
        let name = |g: &Self| (g.task.clone(), g.model.clone(), g.preset.clone());
        name(self) == name(other)
    }

    fn scores(&self) -> Vec<f64> {
        self.runs.iter().filter_map(|run| run.accuracy).collect()
    }

    fn peak(&self) -> Option<f64> {
        let peaks: Vec<f64> =
            self.runs.iter().filter_map(|run| Some(run.peak_live? as f64)).collect();
        median(&peaks)
    }
}

/// Records by what they are of; of a seed that was run twice one counts, as in a report.
pub fn groups(loaded: &Loaded) -> Vec<Group> {
    let key = |run: &&Run| {
        let record = &run.record;
        let config = without_seed(&record.config).to_string();
        let (data, threads) = (record.data.checksum.clone(), record.environment.threads);
        (record.task.clone(), record.model.clone(), record.preset.clone(), config, data, threads)
    };
    let group = |((task, model, preset, _, checksum, threads), runs): (_, Vec<&Run>)| {
        let found = seeds::resolve(&runs, &[]);
        let held = |(outcome, run): (&Outcome, &&Run)| Held {
            seed: run.record.seed,
            accuracy: match outcome {
                Outcome::Scored(percent) => Some(*percent),
                _ => None,
            },
            peak_live: run.record.memory.peak_live,
        };
        let config = runs.first().map_or(Value::Null, |run| without_seed(&run.record.config));
        let runs = found.outcomes.iter().zip(&found.runs).map(held).collect();
        Group { task, model, preset, config, checksum, threads, runs }
    };
    group_by(&loaded.runs, key).into_iter().map(group).collect()
}

fn without_seed(config: &Value) -> Value {
    let mut config = config.clone();
    if let Some(run) = config.get_mut("run").and_then(Value::as_object_mut) {
        run.shift_remove("seed");
    }
    config
}

/// Every group of the baseline beside what is here. `points` is the drop, in percent, that has
/// to be excluded before the verdict is that nothing changed.
pub fn judge(before: &[Group], now: &[Group], points: f64) -> Vec<Finding> {
    // One of many tests is low by chance: each gets its share.
    let alpha = ALPHA / before.len().max(1) as f64;
    before.iter().flat_map(|was| compared(was, now, alpha, points)).collect()
}

fn compared(was: &Group, now: &[Group], alpha: f64, points: f64) -> Vec<Finding> {
    const ACCURACY: &str = "test accuracy, %";
    let name = was.name();
    let Some(near) = now.iter().find(|is| is.same_run(was)) else {
        return vec![Finding::untold(&name, ACCURACY, "no records of it here")];
    };
    let same =
        |is: &&Group| is.same_run(was) && is.checksum == was.checksum && is.config == was.config;
    let found: Vec<&Group> = now.iter().filter(same).collect();
    if found.is_empty() {
        let other = differences(&was.config, &near.config);
        let why = match other.first() {
            Some(difference) => format!("another configuration: {difference}"),
            None => "other data: the checksums differ".to_owned(),
        };
        return vec![Finding::untold(&name, ACCURACY, why)];
    }
    // Threads change no accuracy.
    let runs = found.iter().flat_map(|group| group.runs.clone()).collect();
    let is = Group { runs, ..(*found[0]).clone() };
    let mut findings = vec![accuracy(&name, ACCURACY, was, &is, alpha, points)];
    let alike = found.into_iter().find(|is| is.threads == was.threads);
    findings.extend(alike.and_then(|is| memory(&name, was, is)));
    findings
}

fn accuracy(
    name: &str,
    measure: &str,
    was: &Group,
    is: &Group,
    alpha: f64,
    points: f64,
) -> Finding {
    let (before, now) = (was.scores(), is.scores());
    let lost = lost_seeds(was, is);
    if !lost.is_empty() {
        let why = format!("without an accuracy now, and with one before: seeds {lost:?}");
        return Finding::broken(name, measure, why);
    }
    let said = |scores: &[f64]| {
        mean(scores).map_or("-".to_owned(), |m| format!("{m:.2} (n={})", scores.len()))
    };
    let change = match (mean(&before), mean(&now)) {
        (Some(a), Some(b)) => format!("{:+.2} points", b - a),
        _ => "-".to_owned(),
    };
    let (verdict, certainty) = match welch(&before, &now) {
        None => (Verdict::Untold, "not enough seeds to tell: two of each are the least".to_owned()),
        Some(test) => {
            let (below, (low, high)) = (test.below(0.0), test.interval(LEVEL));
            let verdict = match () {
                () if below < alpha => Verdict::Regression,
                () if 1.0 - below < alpha => Verdict::Better,
                () if low > -points => Verdict::Same,
                () => Verdict::Untold,
            };
            let few = match verdict {
                Verdict::Untold => {
                    format!("; not enough seeds to tell a drop of {points} points")
                }
                _ => String::new(),
            };
            let interval = format!("{:.0} % interval {low:+.2} to {high:+.2}", 100.0 * LEVEL);
            let test = format!("p = {below:.2e} that it is no lower, {alpha:.1e} would alarm");
            (verdict, format!("{interval}; {test}{few}"))
        }
    };
    Finding {
        subject: name.to_owned(),
        measure: measure.to_owned(),
        verdict,
        before: said(&before),
        now: said(&now),
        change,
        certainty,
    }
}

/// Seeds that had an accuracy and now have none, though they were run.
fn lost_seeds(was: &Group, is: &Group) -> Vec<u64> {
    let scored = |group: &Group, scored: bool| -> BTreeSet<u64> {
        let runs = group.runs.iter().filter(|run| run.accuracy.is_some() == scored);
        runs.map(|run| run.seed).collect()
    };
    let again = scored(is, true);
    let lost = scored(was, true).intersection(&scored(is, false)).copied().collect::<Vec<_>>();
    lost.into_iter().filter(|seed| !again.contains(seed)).collect()
}

fn memory(name: &str, was: &Group, is: &Group) -> Option<Finding> {
    let (before, now) = (was.peak()?, is.peak()?);
    let allowed = if was.threads == 1 { ONE_THREAD } else { THREADS };
    let verdict = match now / before {
        ratio if ratio > 1.0 + allowed => Verdict::Regression,
        ratio if ratio < 1.0 - allowed => Verdict::Better,
        _ => Verdict::Same,
    };
    let threads = if was.threads == 1 { "one thread" } else { "several threads" };
    Some(Finding {
        subject: name.to_owned(),
        measure: "peak live bytes, median".to_owned(),
        verdict,
        before: before.to_string(),
        now: now.to_string(),
        change: percent(now / before),
        certainty: format!("repeats within {} % on {threads}", 100.0 * allowed),
    })
}
