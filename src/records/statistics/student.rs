//! Intervals and one-sided tests for means of a few runs, by Student's t distribution.
//!
//! Two groups are compared by Welch's test, which does not take their spreads for equal.

use super::{mean, standard_error};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Half the width of the two-sided interval of a mean; `None` for fewer than two values.
pub fn half_width(values: &[f64], level: f64) -> Option<f64> {
    let freedom = values.len() as f64 - 1.0;
    Some(standard_error(values)? * quantile(freedom, 0.5 + level / 2.0)?)
}

/// The value that a t distribution stays below with this probability.
fn quantile(freedom: f64, probability: f64) -> Option<f64> {
    Some(StudentsT::new(0.0, 1.0, freedom).ok()?.inverse_cdf(probability))
}

/// How two means differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Welch {
    /// The second mean less the first.
    pub difference: f64,
    /// Its standard error.
    pub error: f64,
    /// Degrees of freedom; without meaning where the error is zero.
    pub freedom: f64,
}

/// `None` where a group has fewer than two values.
pub fn welch(first: &[f64], second: &[f64]) -> Option<Welch> {
    let difference = mean(second)? - mean(first)?;
    let (a, b) = (standard_error(first)?.powi(2), standard_error(second)?.powi(2));
    let share = |square: f64, values: &[f64]| square.powi(2) / (values.len() as f64 - 1.0);
    let freedom = (a + b).powi(2) / (share(a, first) + share(b, second));
    Some(Welch { difference, error: (a + b).sqrt(), freedom })
}

impl Welch {
    /// The probability of a difference as low as this one, or lower, were the true one `least`:
    /// a small value says that it lies below.
    pub fn below(&self, least: f64) -> f64 {
        let off = self.difference - least;
        if self.error == 0.0 {
            // Values that do not vary: any distance is certain.
            return if off < 0.0 { 0.0 } else { 1.0 };
        }
        let t = StudentsT::new(0.0, 1.0, self.freedom);
        t.map_or(f64::NAN, |t| t.cdf(off / self.error))
    }

    /// The two-sided interval of the difference.
    pub fn interval(&self, level: f64) -> (f64, f64) {
        let reach = match self.error {
            0.0 => 0.0,
            error => error * quantile(self.freedom, 0.5 + level / 2.0).unwrap_or(f64::NAN),
        };
        (self.difference - reach, self.difference + reach)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_values_say_nothing() {
        assert_eq!(half_width(&[1.0], 0.95), None);
        assert_eq!(welch(&[1.0, 2.0], &[1.0]), None);
        assert_eq!(welch(&[], &[]), None);
    }

    #[test]
    fn values_that_do_not_vary_are_certain() {
        let test = welch(&[2.0, 2.0], &[1.0, 1.0, 1.0]).unwrap();
        assert_eq!((test.difference, test.error), (-1.0, 0.0));
        assert_eq!((test.below(0.0), test.below(-2.0)), (0.0, 1.0));
        assert_eq!(test.interval(0.95), (-1.0, -1.0));
        assert_eq!(welch(&[2.0, 2.0], &[2.0, 2.0]).unwrap().below(0.0), 1.0);
    }
}
