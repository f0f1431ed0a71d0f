//! Speed on a machine that others use: two programs, or a program and a matrix product, in
//! short turns of each other, so that a slow moment hits both. Steps are divided by the seconds
//! that their process computed, not by those it waited for a processor; a cell has one thread
//! and waits for nothing else.
//!
//! A round is a pair of fresh processes (where they lie in memory moves a speed by some percent
//! for as long as they live) and its figure the median over its turns. Rounds are drawn again
//! for an interval of the ratio; a regression is an interval that lies wholly below the
//! tolerance.

use super::finding::{Finding, Verdict, percent};
use crate::bench::{Cell, Window, Worker};
use crate::error::{Error, Result};
use crate::records::statistics::{bootstrap, median};
use std::path::Path;
use std::time::Duration;

/// Of the interval.
const LEVEL: f64 = 0.99;

/// Turns of a round, and the seconds of a window, at least.
const TURNS: usize = 9;
const SECONDS: f64 = 0.05;

/// After this long a process that has answered sleeps, and the kernel has counted all it did.
const SETTLED: Duration = Duration::from_millis(2);

/// Fewer rounds have no interval worth the name.
const LEAST: usize = 5;

/// How many rounds, and what slowdown is let pass.
#[derive(Debug, Clone, Copy)]
pub struct Pairs {
    pub rounds: usize,
    pub tolerance: f64,
}

impl Pairs {
    pub fn check(&self) -> Result<()> {
        if self.rounds < LEAST {
            let message = format!("--pairs {}: expected at least {LEAST}", self.rounds);
            return Err(Error::usage(message));
        }
        if !(0.0..1.0).contains(&self.tolerance) {
            let message = format!("--speed-tolerance {}: expected 0 to 1", self.tolerance);
            return Err(Error::usage(message));
        }
        Ok(())
    }
}

/// Steps, or products, for each second that the process computed in a window.
fn rate(worker: &mut Worker, run: fn(&mut Worker, f64) -> Result<Window>) -> Result<f64> {
    let before = worker.computed();
    let window = run(worker, SECONDS)?;
    std::thread::sleep(SETTLED);
    let spent = worker.computed().zip(before).map(|(now, before)| now - before);
    Ok(window.steps as f64 / spent.filter(|spent| *spent > 0.0).unwrap_or(window.seconds))
}

/// Steps of the cell in the time of a matrix product, one figure a round.
pub fn calibrated(cell: &Cell, rounds: usize) -> Result<Vec<f64>> {
    let round = |_| {
        let mut worker = Worker::own(cell)?;
        let mut turn =
            || Ok(rate(&mut worker, Worker::train)? / rate(&mut worker, Worker::calibrate)?);
        Ok(middle(&(0..TURNS).map(|_| turn()).collect::<Result<Vec<_>>>()?))
    };
    (0..rounds).map(round).collect()
}

/// This program's steps in the time of another's, one figure a round.
pub fn against(program: &Path, cell: &Cell, rounds: usize) -> Result<Vec<f64>> {
    let round = |round: usize| {
        let (mut own, mut other) = (Worker::own(cell)?, Worker::lra(program, cell)?);
        let turn = |turn: usize| {
            // Who goes first changes: the second finds the machine as the first left it.
            let own_first = (round + turn).is_multiple_of(2);
            let mut theirs = || rate(&mut other, Worker::train);
            let before = if own_first { None } else { Some(theirs()?) };
            let mine = rate(&mut own, Worker::train)?;
            Ok(mine / before.map_or_else(theirs, Ok)?)
        };
        Ok(middle(&(0..TURNS).map(turn).collect::<Result<Vec<_>>>()?))
    };
    (0..rounds).map(round).collect()
}

/// NaN where there is none.
fn middle(values: &[f64]) -> f64 {
    median(values).unwrap_or(f64::NAN)
}

/// What the rounds say of a model's speed now, over what it was. `before` is empty where the
/// rounds are ratios already.
pub fn judge(subject: &str, measure: &str, before: &[f64], now: &[f64], pairs: Pairs) -> Finding {
    let interval = match before {
        [] => bootstrap([now], LEVEL, |[now]| middle(now)),
        _ => bootstrap([before, now], LEVEL, |[was, is]| middle(is) / middle(was)),
    };
    let Some((low, high)) = interval.filter(|_| now.len() >= LEAST) else {
        return Finding::untold(subject, measure, format!("fewer than {LEAST} rounds"));
    };
    let (was, is) = match before {
        [] => (1.0, middle(now)),
        _ => (middle(before), middle(now)),
    };
    let (verdict, said) = match pairs.tolerance {
        tolerance if high < 1.0 - tolerance => (Verdict::Regression, ""),
        tolerance if low > 1.0 + tolerance => (Verdict::Better, ""),
        tolerance if low >= 1.0 - tolerance => (Verdict::Same, ""),
        _ => (Verdict::Untold, "; not enough pairs to tell"),
    };
    Finding {
        subject: subject.to_owned(),
        measure: measure.to_owned(),
        verdict,
        before: format!("{was:.4}"),
        now: format!("{is:.4}"),
        change: percent(is / was),
        certainty: format!(
            "{:.0} % interval {} to {} from {} rounds; {:.0} % slower is let pass{said}",
            100.0 * LEVEL,
            percent(low),
            percent(high),
            now.len(),
            100.0 * pairs.tolerance
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Key;
    use rand::Rng;

    const PAIRS: Pairs = Pairs { rounds: 10, tolerance: 0.03 };

    /// Ratios of turns that differ by up to a third, as on a machine that others use, in rounds
    /// whose processes lie up to 1 % better or worse.
    fn rounds(seed: u64, speed: f64) -> Vec<f64> {
        let mut rng = Key::new(seed).named("turns").stream();
        let mut round = || {
            let place = rng.random_range(0.99..1.01);
            let turns: Vec<f64> = (0..TURNS)
                .map(|_| {
                    let slow = if rng.random_bool(0.1) { 0.7 } else { 1.0 };
                    speed * place * slow * rng.random_range(0.97..1.03)
                })
                .collect();
            median(&turns).unwrap()
        };
        (0..PAIRS.rounds).map(|_| round()).collect()
    }

    fn verdicts(speed: f64) -> Vec<Verdict> {
        let judged = |seed| judge("m", "speed", &[], &rounds(seed, speed), PAIRS).verdict;
        (0..200).map(judged).collect()
    }

    #[test]
    fn no_false_alarm_and_a_tenth_is_caught() {
        let same = verdicts(1.0);
        assert!(!same.contains(&Verdict::Regression) && !same.contains(&Verdict::Better));
        assert!(verdicts(0.9).iter().all(|&v| v == Verdict::Regression));
        assert!(verdicts(1.1).iter().all(|&v| v == Verdict::Better));
    }

    #[test]
    fn what_was_before_is_drawn_again_too() {
        let before: Vec<f64> = rounds(1000, 0.25);
        let judged = |speed: f64| judge("m", "s", &before, &rounds(7, 0.25 * speed), PAIRS);
        assert_eq!(judged(1.0).verdict, Verdict::Same);
        assert_eq!(judged(0.9).verdict, Verdict::Regression);
    }

    #[test]
    fn a_spread_that_hides_the_answer_is_said() {
        let now = [0.8, 1.2, 0.85, 1.1, 0.9];
        let found = judge("m", "s", &[], &now, PAIRS);
        assert_eq!(found.verdict, Verdict::Untold);
        assert!(found.certainty.contains("not enough pairs"), "{}", found.certainty);
        assert_eq!(judge("m", "s", &[], &now[..4], PAIRS).verdict, Verdict::Untold);
    }
}
