//! Means, spreads and groups of a handful of runs.
//!
//! Spread of a mean is its standard error, `s / sqrt(n)` with the sample deviation `s`
//! (divisor n - 1); it is unknown for one run, and shown as unknown. Spread of a median is
//! the median absolute deviation, unscaled.

mod bootstrap;
mod growth;
mod student;

pub use bootstrap::{bootstrap, quantile};
pub use growth::exponent;
pub use student::{Welch, half_width, welch};

use serde::Serialize;
use std::collections::BTreeMap;

/// What one column of numbers comes to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    pub n: usize,
    pub mean: f64,
    /// `None` for a single value.
    pub standard_error: Option<f64>,
    pub median: f64,
    /// Median absolute deviation, unscaled.
    pub mad: f64,
    pub min: f64,
    pub max: f64,
}

/// `None` for no values.
pub fn summarise(values: &[f64]) -> Option<Summary> {
    let (mean, median) = (mean(values)?, median(values)?);
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some(Summary {
        n: values.len(),
        mean,
        standard_error: standard_error(values),
        median,
        mad: mad(values)?,
        min: least,
        max: most,
    })
}

pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Of the mean; `None` for fewer than two values.
pub fn standard_error(values: &[f64]) -> Option<f64> {
    let (n, mean) = (values.len() as f64, mean(values)?);
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (values.len() >= 2).then(|| (squares / (n - 1.0) / n).sqrt())
}

pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    if sorted.len() % 2 == 1 { Some(upper) } else { Some((sorted[half - 1] + upper) / 2.0) }
}

/// Median absolute deviation from the median.
pub fn mad(values: &[f64]) -> Option<f64> {
    let centre = median(values)?;
    let deviations: Vec<f64> = values.iter().map(|v| (v - centre).abs()).collect();
    median(&deviations)
}

/// `None` for no values, or where one is not above zero.
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    if values.iter().any(|v| v.is_nan() || *v <= 0.0) {
        return None;
    }
    let logs: Vec<f64> = values.iter().map(|v| v.ln()).collect();
    mean(&logs).map(f64::exp)
}

/// Groups items by a key, groups in key order, items in their own.
pub fn group_by<T, K: Ord>(
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> BTreeMap<K, Vec<T>> {
    let mut groups: BTreeMap<K, Vec<T>> = BTreeMap::new();
    for item in items {
        groups.entry(key(&item)).or_default().push(item);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_numbers_by_hand() {
        // Mean 5; squares 9 + 1 + 1 + 9 = 20; variance 20/3; error sqrt(20/3/4) = sqrt(5/3).
        let summary = summarise(&[8.0, 2.0, 6.0, 4.0]).unwrap();
        assert_eq!((summary.n, summary.mean, summary.median), (4, 5.0, 5.0));
        assert_eq!((summary.min, summary.max), (2.0, 8.0));
        assert!((summary.standard_error.unwrap() - (5.0f64 / 3.0).sqrt()).abs() < 1e-15);
        // Deviations from 5: 3, 3, 1, 1; their median (1 + 3) / 2.
        assert_eq!(summary.mad, 2.0);
    }

    #[test]
    fn an_outlier_moves_the_mean_and_not_the_median() {
        let summary = summarise(&[1.0, 2.0, 3.0, 4.0, 100.0]).unwrap();
        assert_eq!((summary.mean, summary.median, summary.mad), (22.0, 3.0, 1.0));
    }

    #[test]
    fn one_value_has_no_error_and_none_has_nothing() {
        let summary = summarise(&[7.0]).unwrap();
        assert_eq!((summary.standard_error, summary.mad), (None, 0.0));
        assert_eq!(summarise(&[]), None);
    }

    #[test]
    fn geometric_mean_of_powers() {
        assert!((geometric_mean(&[1.0, 100.0]).unwrap() - 10.0).abs() < 1e-12);
        assert_eq!(geometric_mean(&[1.0, 0.0]), None);
        assert_eq!(geometric_mean(&[]), None);
    }

    #[test]
    fn groups_keep_the_order_of_items() {
        let groups = group_by([("b", 2), ("a", 1), ("b", 1)], |item| item.0);
        let expected = BTreeMap::from([("a", vec![("a", 1)]), ("b", vec![("b", 2), ("b", 1)])]);
        assert_eq!(groups, expected);
    }
}
