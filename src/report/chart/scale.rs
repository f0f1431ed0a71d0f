//! An axis: values to pixels, with round ticks.

use super::super::tables::figure;

/// Beyond this ratio of largest to smallest, small values would crowd at zero.
const LOG_FROM: f64 = 8.0;

#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    pub log: bool,
    /// The axis' ends, in the axis' own measure (the logarithm where `log`).
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// Maps `values` into `from..to` pixels, at least `margin` pixels from either end.
    /// `least` is the narrowest range shown: a lone value gets some air.
    /// With `may_log`, positive values that span widely get a logarithmic axis.
    pub fn new(
        values: &[f64],
        (from, to): (f64, f64),
        margin: f64,
        least: f64,
        may_log: bool,
    ) -> Self {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log = may_log && low > 0.0 && high / low > LOG_FROM;
        let (low, high) = match (low <= high, log) {
            (false, _) => (0.0, 1.0),
            (true, true) => (low.log10(), high.log10()),
            (true, false) => {
                // Never nothing, even where all values are one and the caller asks for none.
                let least = least.max(high.abs() * 1e-9).max(1e-12);
                let air = (least - (high - low)).max(0.0) / 2.0;
                (low - air, high + air)
            }
        };
        let room = (to - from).abs();
        // The data gets what the margins leave, however little.
        let per_pixel = (high - low) / (room - 2.0 * margin).max(room / 10.0);
        let wider = per_pixel * margin.min(room * 0.45);
        Self { log, low: low - wider, high: high + wider, from, to }
    }

    /// Logarithmic whatever the range; values must be above zero.
    pub fn logarithmic(values: &[f64], (from, to): (f64, f64), margin: f64) -> Self {
        let logs: Vec<f64> = values.iter().map(|value| value.log10()).collect();
        // A lone value gets half a decade.
        Self { log: true, ..Self::new(&logs, (from, to), margin, 0.5, false) }
    }

    pub fn pixel(&self, value: f64) -> f64 {
        let value = if self.log { value.log10() } else { value };
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// About `wanted` round values inside the axis, with their labels.
    pub fn ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        let values = if self.log { self.log_ticks(wanted) } else { self.linear_ticks(wanted) };
        let inside = values.into_iter().filter(|value| {
            let at = if self.log { value.log10() } else { *value };
            // A tick at the very end counts, whatever its last binary digit.
            let slack = (self.high - self.low) * 1e-9;
            (self.low - slack..=self.high + slack).contains(&at)
        });
        inside.map(|value| (value, label(value))).collect()
    }

    fn linear_ticks(&self, wanted: usize) -> Vec<f64> {
        let step = round_up((self.high - self.low) / wanted.max(1) as f64);
        let first = (self.low / step).ceil() as i64;
        (0..=2 * wanted as i64).map(|k| (first + k) as f64 * step).collect()
    }

    fn log_ticks(&self, wanted: usize) -> Vec<f64> {
        let decades = self.low.floor() as i32..=self.high.ceil() as i32;
        let many = self.high - self.low > wanted as f64 / 2.0;
        let steps: &[f64] = if many { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let every = ((self.high - self.low) / wanted.max(1) as f64).ceil().max(1.0) as usize;
        let decades = decades.step_by(every);
        decades.flat_map(|d| steps.iter().map(move |step| step * 10f64.powi(d))).collect()
    }
}

/// 1, 2 or 5 times a power of ten, not below `value`.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let times = [1.0, 2.0, 5.0].into_iter().find(|times| times * power >= value * 0.999_999);
    times.unwrap_or(10.0) * power
}

/// 1, 2 or 5 times a power of ten, not above `value`.
pub fn round_down(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let times = [5.0, 2.0].into_iter().find(|times| times * power <= value * 1.000_001);
    times.unwrap_or(1.0) * power
}

/// Ticks are round: what binary fractions add behind the last digit is not shown.
fn label(value: f64) -> String {
    if value != 0.0 && !(1e-4..1e6).contains(&value.abs()) {
        return figure(value);
    }
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.replace('-', "−") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<String> {
        scale.ticks(6).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn values_stay_within_the_margins() {
        for values in [vec![3.0], vec![40.0, 60.0], vec![1.0, 900.0], vec![0.1, 0.1]] {
            for (from, to) in [(100.0, 900.0), (700.0, 100.0)] {
                let scale = Scale::new(&values, (from, to), 50.0, 1.0, true);
                for value in &values {
                    let at = scale.pixel(*value);
                    let (left, right) = (f64::min(from, to), f64::max(from, to));
                    assert!((left + 49.9..=right - 49.9).contains(&at), "{values:?}: {at}");
                }
            }
        }
    }

    #[test]
    fn ticks_are_round() {
        let linear = Scale::new(&[40.0, 60.0], (0.0, 800.0), 0.0, 1.0, true);
        assert_eq!(labels(&linear), ["40", "45", "50", "55", "60"]);
        let log = Scale::new(&[1.0, 90.0], (0.0, 800.0), 0.0, 1.0, true);
        assert_eq!(labels(&log), ["1", "2", "5", "10", "20", "50"]);
        let wide = Scale::new(&[1.0, 1e12], (0.0, 800.0), 0.0, 1.0, true);
        assert!(labels(&wide).len() <= 8, "{:?}", labels(&wide));
        let fine = Scale::new(&[0.1, 0.3], (0.0, 800.0), 0.0, 0.1, true);
        assert_eq!(labels(&fine), ["0.1", "0.15", "0.2", "0.25", "0.3"]);
    }

    #[test]
    fn a_narrow_range_may_be_logarithmic_too() {
        let scale = Scale::logarithmic(&[2.0, 8.0], (0.0, 100.0), 10.0);
        let at = [2.0, 4.0, 8.0].map(|value| scale.pixel(value).round());
        assert_eq!(at, [10.0, 50.0, 90.0]);
        assert_eq!(labels(&scale), ["2", "5"]);
    }

    #[test]
    fn nothing_to_show_is_still_an_axis() {
        let scale = Scale::new(&[], (0.0, 800.0), 50.0, 1.0, true);
        assert!(scale.pixel(0.5).is_finite() && !scale.ticks(6).is_empty());
        assert_eq!([1.0, 4.9, 0.07].map(round_down), [1.0, 2.0, 0.05]);
    }
}
