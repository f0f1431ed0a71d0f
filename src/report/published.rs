//! The papers' numbers, one per line of `results/published.csv`, each with its source.

use super::names::task_order;
use crate::error::{Error, IoContext, Result};
use serde::Deserialize;
use std::path::Path;

/// What the binary carries; `--published` reads another file of the same form.
const COMPILED_IN: &str = include_str!("../../results/published.csv");

/// In the column `task`: the paper's average, and later papers' with Path-X.
pub const AVERAGE: &str = "average";
pub const AVERAGE_OF_SIX: &str = "average-6";

/// How the models of a protocol were made and trained.
const PROTOCOLS: [(&str, &str); 5] = [
    ("lra-paper", "the paper's own sizes and training, which its public code does not follow"),
    (
        "compact",
        "the protocol of Xiong et al. 2021 (preset `compact`): 2 layers, width 64, 2 heads",
    ),
    (
        "flashattention",
        "hyper-parameters of LRA and Xiong et al., tuned, mixed precision; where a \
                        baseline was not reached, the better of two published numbers",
    ),
    ("lra-sizes", "sizes near the paper's, own training"),
    (
        "large",
        "larger, tuned models, mostly trained longer, with pixels as numbers; the averages \
               are not comparable with the paper's",
    ),
];

/// What a protocol's name stands for; the name itself where it is not known here.
pub fn protocol(name: &str) -> String {
    let known = PROTOCOLS.iter().find(|(known, _)| *known == name);
    format!("Protocol {name}{}.", known.map_or(String::new(), |(_, what)| format!(": {what}")))
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub table: String,
    pub protocol: String,
    /// The name in this program; `title` is as printed. `all`: a statistic over the models.
    pub model: String,
    pub title: String,
    /// A task, or an average.
    pub task: String,
    pub metric: String,
    pub length: Option<u64>,
    /// Empty for a failure, which `notes` says.
    pub value: Option<f64>,
    pub unit: String,
    pub notes: String,
    pub paper: String,
    pub arxiv: String,
    pub place: String,
    /// As printed in the file, with its trailing zeros.
    #[serde(skip)]
    pub printed: String,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Published(pub Vec<Line>);

impl Published {
    pub fn compiled_in() -> Result<Self> {
        Self::parse(COMPILED_IN, Path::new("results/published.csv (compiled in)"))
    }

    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&std::fs::read_to_string(path).at("read", path)?, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let refuse = |error: csv::Error| {
            let line = error.position().map_or(1, |place| place.line());
            Error::data_at(path, line, None, format!("expected a published value: {error}"))
        };
        let header = reader.headers().map_err(refuse)?.clone();
        let value_column = header.iter().position(|name| name == "value");
        let mut lines = Vec::new();
        for row in reader.records() {
            let row = row.map_err(refuse)?;
            let mut line: Line = row.deserialize(Some(&header)).map_err(refuse)?;
            line.printed = match (line.value, value_column.and_then(|at| row.get(at))) {
                (Some(_), Some(printed)) => printed.to_owned(),
                _ if line.notes.is_empty() => "-".to_owned(),
                _ => line.notes.split(';').next().unwrap_or("-").trim().to_owned(),
            };
            lines.push(line);
        }
        Ok(Self(lines))
    }

    /// The distinct (protocol, source) pairs that hold one of `metrics`, in file order.
    pub fn tables(&self, metrics: &[&str]) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = Vec::new();
        for line in self.0.iter().filter(|line| metrics.contains(&line.metric.as_str())) {
            let pair = (line.protocol.clone(), line.source());
            if !found.contains(&pair) {
                found.push(pair);
            }
        }
        found
    }

    /// The lines of one table's metric, without statistics over models.
    pub fn of<'a>(
        &'a self,
        protocol: &'a str,
        source: &'a str,
        metric: &'a str,
    ) -> impl Iterator<Item = &'a Line> {
        self.0.iter().filter(move |line| {
            let of_table = line.protocol == protocol && line.source() == source;
            of_table && line.metric == metric && line.model != "all"
        })
    }
}

impl Line {
    pub fn source(&self) -> String {
        format!("{}, arXiv:{}, {}", self.paper, self.arxiv, self.place)
    }

    /// Sorts columns: tasks in the paper's order, averages last.
    pub fn column(&self) -> (usize, String) {
        match self.task.as_str() {
            AVERAGE | AVERAGE_OF_SIX => (usize::MAX, self.task.clone()),
            task => task_order(task),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_one_averages_as_printed_and_notes_the_one_that_does_not() {
        let published = Published::compiled_in().unwrap();
        let accuracies: Vec<&Line> = published
            .0
            .iter()
            .filter(|l| l.protocol == "lra-paper" && l.metric == "accuracy")
            .collect();
        assert_eq!(accuracies.len(), 11 * 7);
        for average in accuracies.iter().filter(|l| l.task == "average") {
            let of_model = accuracies.iter().filter(|l| l.model == average.model);
            let five: Vec<f64> =
                of_model.filter(|l| l.task != "average").filter_map(|l| l.value).collect();
            assert_eq!(five.len(), 5, "{}: Path-X is a FAIL", average.model);
            let differs = (five.iter().sum::<f64>() / 5.0 - average.value.unwrap()).abs() > 0.0051;
            assert_eq!(differs, average.notes.contains("51.48"), "{}", average.model);
            assert_eq!(differs, average.model == "sinkhorn");
        }
    }

    /// Averages were printed from unrounded accuracies, so half of the last printed digit counts.
    #[test]
    fn averages_follow_from_their_accuracies_or_say_that_they_do_not() {
        let published = Published::compiled_in().unwrap();
        let is_average = |l: &&Line| l.task.starts_with(AVERAGE) && l.metric == "accuracy";
        assert!(published.0.iter().any(|l| is_average(&l)));
        for average in published.0.iter().filter(is_average) {
            let same = |l: &&Line| {
                (&l.title, l.source(), &l.protocol, &l.metric)
                    == (&average.title, average.source(), &average.protocol, &average.metric)
                    && !l.task.starts_with(AVERAGE)
            };
            let six = average.task == AVERAGE_OF_SIX;
            let counted = |l: &&Line| l.metric == "accuracy" && (six || l.task != "pathx");
            let of: Vec<f64> = published
                .0
                .iter()
                .filter(same)
                .filter(counted)
                .map(|l| l.value.unwrap_or(50.0))
                .collect();
            assert_eq!(of.len(), if six { 6 } else { 5 }, "{average:?}");
            let digits = average.printed.split('.').nth(1).map_or(0, str::len) as i32;
            let mean = of.iter().sum::<f64>() / of.len() as f64;
            let differs = (mean - average.value.unwrap()).abs() > 0.51 * 10f64.powi(-digits);
            assert_eq!(differs, average.notes.contains("as printed"), "{average:?}: {mean}");
        }
    }

    #[test]
    fn table_two_ratios_follow_from_its_speeds() {
        let published = Published::compiled_in().unwrap();
        let find = |model: &str, metric: &str, length| {
            let mut lines = published.0.iter();
            lines.find(|l| l.model == model && l.metric == metric && l.length == length)
        };
        let ratios: Vec<&Line> = published.0.iter().filter(|l| l.metric == "speed_ratio").collect();
        assert_eq!(ratios.len(), 8 * 4);
        for ratio in ratios {
            let speed = |model| find(model, "steps_per_second", ratio.length).unwrap().value;
            let quotient = speed(&ratio.model).unwrap() / speed("transformer").unwrap();
            // Both speeds are printed with one decimal, so the quotient is only near.
            assert!((quotient - ratio.value.unwrap()).abs() < 0.13, "{ratio:?}: {quotient}");
        }
        let memory = published.0.iter().filter(|l| l.metric == "peak_memory_gb");
        assert_eq!(memory.count(), 9 * 4);
    }

    #[test]
    fn a_wrong_file_is_named_with_its_line() {
        let text = COMPILED_IN.replacen("64.27", "sixty", 1);
        let error = Published::parse(&text, Path::new("other.csv")).unwrap_err();
        assert!(error.to_string().starts_with("other.csv:3"), "{error}");
        assert_eq!(error.exit_code(), 3);
    }
}
