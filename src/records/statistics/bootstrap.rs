//! Intervals of figures that no formula gives one for, by drawing the sample again.

use crate::random::Key;
use rand::Rng;

/// Enough that the ends of a 99 % interval move by less than its width's hundredth.
const RESAMPLES: usize = 10_000;

/// The value below which a share of `sorted` lies, linear between neighbours; `None` for none.
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let at = share.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    Some(sorted[low] + (sorted[high] - sorted[low]) * (at - low as f64))
}

/// The percentile interval of `statistic` over samples drawn with replacement, each from
/// itself. The draws are the same in every call. `None` where a sample is empty.
pub fn bootstrap<const N: usize>(
    samples: [&[f64]; N],
    level: f64,
    statistic: impl Fn([&[f64]; N]) -> f64,
) -> Option<(f64, f64)> {
    if samples.iter().any(|sample| sample.is_empty()) {
        return None;
    }
    let mut rng = Key::new(0).named("bootstrap").stream();
    let mut drawn = samples.map(<[f64]>::to_vec);
    let mut found: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            for (to, from) in drawn.iter_mut().zip(samples) {
                to.iter_mut().for_each(|value| *value = from[rng.random_range(0..from.len())]);
            }
            statistic(std::array::from_fn(|i| drawn[i].as_slice()))
        })
        .collect();
    found.sort_by(f64::total_cmp);
    let outside = (1.0 - level) / 2.0;
    Some((quantile(&found, outside)?, quantile(&found, 1.0 - outside)?))
}

#[cfg(test)]
mod tests {
    use super::super::{mean, median};
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
        assert_eq!(quantile(&[7.0], 0.3), Some(7.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn what_does_not_vary_has_no_width() {
        let ratio = |[a, b]: [&[f64]; 2]| median(a).unwrap() / median(b).unwrap();
        assert_eq!(bootstrap([&[3.0; 4], &[2.0; 9]], 0.99, ratio), Some((1.5, 1.5)));
        assert_eq!(bootstrap([&[3.0], &[]], 0.99, ratio), None);
    }

    /// Of twenty values the interval of the mean is close to that of the normal distribution:
    /// 1.96 deviations / sqrt(20), within the 5 % that twenty values and 10,000 draws leave.
    #[test]
    fn a_mean_has_the_width_it_should_have() {
        let values: Vec<f64> = (0..20).map(|i| f64::from(i % 5)).collect();
        let (low, high) = bootstrap([&values], 0.95, |[v]| mean(v).unwrap_or(f64::NAN)).unwrap();
        let expected = 2.0 * 1.96 * 2.0f64.sqrt() / 20.0f64.sqrt();
        assert!(((high - low) / expected - 1.0).abs() < 0.05, "{low} {high} {expected}");
    }
}
