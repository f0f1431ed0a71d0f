//! Means, errors, intervals, tests, quantiles and fits against scipy's
//! (`tests/golden/scipy_statistics.py`).

use lra::records::statistics::{
    bootstrap, exponent, geometric_mean, half_width, mad, mean, median, quantile, standard_error,
    welch,
};
use serde_json::Value;

/// Relative. Both sides add in f64 in an order of their own; the t distribution's tail and
/// quantile are series that end at 1e-10 or better.
const SUMS: f64 = 1e-12;
const SERIES: f64 = 1e-9;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/statistics.json")).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn near(what: &str, ours: f64, theirs: &Value, tolerance: f64) {
    let theirs = number(theirs);
    let off = (ours - theirs).abs() / theirs.abs().max(f64::MIN_POSITIVE);
    assert!(off <= tolerance, "{what}: {ours}, scipy {theirs}, off by {off:e}");
}

#[test]
fn one_sample() {
    let golden = golden();
    let levels = numbers(&golden["levels"]);
    for sample in list(&golden["samples"]) {
        let values = numbers(&sample["values"]);
        near("mean", mean(&values).unwrap(), &sample["mean"], SUMS);
        near("error", standard_error(&values).unwrap(), &sample["standard_error"], SUMS);
        near("median", median(&values).unwrap(), &sample["median"], SUMS);
        near("MAD", mad(&values).unwrap(), &sample["mad"], SUMS);
        near("geometric", geometric_mean(&values).unwrap(), &sample["geometric_mean"], SUMS);
        for (level, theirs) in levels.iter().zip(list(&sample["half_widths"])) {
            near("half width", half_width(&values, *level).unwrap(), theirs, SERIES);
        }
        let mut sorted = values;
        sorted.sort_by(f64::total_cmp);
        for pair in list(&sample["quantiles"]) {
            near("quantile", quantile(&sorted, number(&pair[0])).unwrap(), &pair[1], SUMS);
        }
    }
}

#[test]
fn two_samples() {
    let golden = golden();
    let levels = numbers(&golden["levels"]);
    for pair in list(&golden["pairs"]) {
        let test = welch(&numbers(&pair["first"]), &numbers(&pair["second"])).unwrap();
        near("difference", test.difference, &pair["difference"], SUMS);
        near("freedom", test.freedom, &pair["freedom"], SERIES);
        near("p", test.below(0.0), &pair["below_0"], SERIES);
        // The second mean half a unit higher is the question whether it lies below -0.5.
        near("p of a shift", test.below(-0.5), &pair["below_minus_half"], SERIES);
        for (level, theirs) in levels.iter().zip(list(&pair["intervals"])) {
            let (low, high) = test.interval(*level);
            near("low", low, &theirs[0], SERIES);
            near("high", high, &theirs[1], SERIES);
        }
    }
}

/// scipy's ends are of a million draws, ours of ten thousand: a share of 0.005 is then known
/// to 0.0007 at one standard error, which at the tail of a normal distribution moves the end
/// by about 0.05 of its standard deviation. Four of these are 0.2 deviations of a width of
/// 5.2, or 4 %.
#[test]
fn drawn_again() {
    let golden = golden();
    let levels = numbers(&golden["levels"]);
    for case in list(&golden["bootstrap"]) {
        let values = numbers(&case["values"]);
        for (level, theirs) in levels.iter().zip(list(&case["intervals"])) {
            let (a, b) = (number(&theirs[0]), number(&theirs[1]));
            let (low, high) = bootstrap([&values], *level, |[v]| mean(v).unwrap()).unwrap();
            let off = (low - a).abs().max((high - b).abs()) / (b - a);
            assert!(off < 0.04, "{level}: {low} to {high}, scipy {a} to {b}: {off}");
        }
    }
}

#[test]
fn slopes_of_logarithms() {
    for fit in list(&golden()["fits"]) {
        let points: Vec<_> = numbers(&fit["x"]).into_iter().zip(numbers(&fit["y"])).collect();
        // The logarithms of neighbours nearly cancel, so a few digits go.
        near("exponent", exponent(&points).unwrap(), &fit["exponent"], 1e-11);
    }
}
