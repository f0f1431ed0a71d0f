//! How time and memory of one example grow with its length.

use super::super::tables::Table;
use crate::bench::{Row, Side};
use crate::records::statistics::exponent;

/// One model's points, by length, and the power they follow.
#[derive(Debug, Clone, PartialEq)]
pub struct Growth {
    pub model: String,
    /// Seconds of a training step over its examples.
    pub time: Series,
    /// Bytes taken over the examples of a step.
    pub memory: Series,
    /// Lengths without a figure, and the word for why.
    pub lost: Vec<(usize, &'static str)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub points: Vec<(f64, f64)>,
    pub exponent: Option<f64>,
}

impl Series {
    fn of(mut points: Vec<(f64, f64)>) -> Self {
        points.retain(|(_, y)| y.is_finite() && *y > 0.0);
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { exponent: exponent(&points), points }
    }
}

/// Models in the order of the rows; none where they have a single length.
pub fn growth(rows: &[&Row]) -> Vec<Growth> {
    if super::tables::lengths(rows).len() < 2 {
        return Vec::new();
    }
    let of = |model: &str| {
        let own: Vec<&Row> = rows.iter().copied().filter(|row| row.model == model).collect();
        let series = |value: &dyn Fn(&Side) -> f64| {
            let point = |row: &&Row| {
                let side = row.own.as_ref()?;
                Some((row.length as f64, value(side) / row.batch as f64))
            };
            Series::of(own.iter().filter_map(point).collect())
        };
        Growth {
            model: model.to_owned(),
            time: series(&|side| 1.0 / side.rate().0),
            memory: series(&|side| side.memory.taken() as f64),
            lost: own.iter().filter_map(|row| Some((row.length, lost(row)?))).collect(),
        }
    };
    super::tables::models(rows).into_iter().map(of).collect()
}

/// The word for a cell without a figure; `None` where there is one.
pub fn lost(row: &Row) -> Option<&'static str> {
    let own = || row.failures.iter().filter(|line| line.starts_with("lra: "));
    match &row.own {
        Some(_) => None,
        None if own().any(|line| line.contains("out of memory")) => Some("OOM"),
        None => Some("error"),
    }
}

/// The exponents; `None` where there are none.
pub fn table(rows: &[&Row]) -> Option<Table> {
    let header = ["Model", "Time of an example grows as", "Memory of an example grows as"];
    let mut table = Table::new(header.map(str::to_owned).to_vec());
    let all = growth(rows);
    for one in &all {
        table.push(vec![one.model.clone(), power(&one.time), power(&one.memory)]);
    }
    (!all.is_empty()).then_some(table)
}

/// `n^1.53`.
pub fn power(series: &Series) -> String {
    series.exponent.map_or("-".to_owned(), |power| format!("n^{power:.2}"))
}
