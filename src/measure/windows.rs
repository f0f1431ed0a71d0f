//! Windows of steps, the warm-up before them, and what they say of speed.

use crate::records::Speed;
use crate::records::statistics::{mad, median};

/// A window is full at this many steps or this many seconds, whichever comes first: long
/// enough that the clock and the synchronisation at its edges do not count.
const STEPS: u64 = 10;
const SECONDS: f64 = 0.5;

/// Warm-up ends after this many steps, or sooner when this many windows agree this well.
const WARM_STEPS: u64 = 10;
const AGREEING: usize = 3;
const AGREEMENT: f64 = 0.05;

/// How many of the latest windows the running rate looks at.
const RECENT: usize = 5;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Window {
    pub steps: u64,
    pub examples: u64,
    pub tokens: u64,
    pub seconds: f64,
}

impl Window {
    /// Whether a window of this size is over. One without a tick of the clock never is.
    pub fn is_full(&self) -> bool {
        self.seconds >= SECONDS || (self.steps >= STEPS && self.seconds > 0.0)
    }

    fn rate(&self, count: u64) -> f64 {
        count as f64 / self.seconds
    }
}

#[derive(Debug, Default)]
pub(super) struct Windows {
    warm_up: Option<u64>,
    steps: u64,
    full: Vec<Window>,
}

impl Windows {
    pub fn push(&mut self, window: Window) {
        self.steps += window.steps;
        self.full.push(window);
        if self.warm_up.is_none() && (self.steps >= WARM_STEPS || self.agree()) {
            self.warm_up = Some(self.steps);
            self.full.clear();
        }
    }

    fn agree(&self) -> bool {
        let Some(last) = self.full.last_chunk::<AGREEING>() else { return false };
        let rates = last.map(|w| w.rate(w.steps));
        let (low, high) = rates.iter().fold((f64::MAX, 0.0), |(l, h), &r| (r.min(l), r.max(h)));
        high - low <= AGREEMENT * high
    }

    /// Steps per second over the latest windows, warm or not.
    pub fn recent(&self) -> Option<f64> {
        let recent = &self.full[self.full.len().saturating_sub(RECENT)..];
        let sum = recent.iter().fold((0, 0.0), |(n, t), w| (n + w.steps, t + w.seconds));
        (sum.0 > 0).then(|| sum.0 as f64 / sum.1)
    }

    /// Of the full windows since the warm-up. Where there is none, of `rest`, the window that
    /// was cut off; a run that never left the warm-up has all its windows taken, and says so
    /// by `warmup_steps: 0`.
    pub fn speed(&self, rest: Window) -> Option<Speed> {
        let mut taken = self.full.clone();
        if rest.steps > 0 && rest.seconds > 0.0 && (taken.is_empty() || self.warm_up.is_none()) {
            taken.push(rest);
        }
        let rates = |count: fn(&Window) -> u64| -> Vec<f64> {
            taken.iter().map(|w| w.rate(count(w))).collect()
        };
        let steps = rates(|w| w.steps);
        Some(Speed {
            steps_per_second: median(&steps)?,
            steps_per_second_mad: mad(&steps)?,
            steps_per_second_min: steps.iter().copied().fold(f64::MAX, f64::min),
            examples_per_second: median(&rates(|w| w.examples))?,
            tokens_per_second: median(&rates(|w| w.tokens))?,
            windows: u32::try_from(taken.len()).unwrap_or(u32::MAX),
            warmup_steps: self.warm_up.unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(steps: u64, seconds: f64) -> Window {
        Window { steps, examples: 4 * steps, tokens: 100 * steps, seconds }
    }

    #[test]
    fn slow_steps_end_the_warm_up_when_three_agree() {
        let mut windows = Windows::default();
        for seconds in [9.0, 2.0, 1.04, 1.0] {
            windows.push(window(1, seconds));
            assert_eq!(windows.warm_up, None);
        }
        windows.push(window(1, 1.02));
        assert_eq!(windows.warm_up, Some(5));
        assert!(windows.full.is_empty());
    }

    #[test]
    fn ten_steps_end_the_warm_up_in_any_case() {
        let mut windows = Windows::default();
        for i in 0..9 {
            windows.push(window(1, f64::from(1 + i % 2)));
            assert_eq!(windows.warm_up, None);
        }
        windows.push(window(1, 5.0));
        assert_eq!(windows.warm_up, Some(10));
    }

    #[test]
    fn statistics_are_over_windows_after_the_warm_up() {
        let mut windows = Windows::default();
        windows.push(window(10, 100.0));
        for seconds in [1.0, 2.0, 1.0, 4.0, 1.0] {
            windows.push(window(10, seconds));
        }
        let speed = windows.speed(window(3, 1000.0)).unwrap();
        assert_eq!((speed.windows, speed.warmup_steps), (5, 10));
        assert_eq!(speed.steps_per_second, 10.0);
        assert_eq!(speed.steps_per_second_mad, 0.0);
        assert_eq!(speed.steps_per_second_min, 2.5);
        assert_eq!(speed.examples_per_second, 40.0);
        assert_eq!(speed.tokens_per_second, 1000.0);
        assert_eq!(windows.recent(), Some(50.0 / 9.0));
    }

    #[test]
    fn short_runs_say_what_they_can() {
        let mut windows = Windows::default();
        assert_eq!(windows.speed(Window::default()), None);
        assert_eq!(windows.recent(), None);
        let speed = windows.speed(window(4, 0.2)).unwrap();
        assert_eq!((speed.windows, speed.warmup_steps, speed.steps_per_second), (1, 0, 20.0));
        windows.push(window(1, 1.0));
        let speed = windows.speed(window(1, 0.25)).unwrap();
        assert_eq!((speed.windows, speed.warmup_steps, speed.steps_per_second), (2, 0, 2.5));
        windows.push(window(9, 1.0));
        assert_eq!(windows.speed(Window::default()), None);
        let speed = windows.speed(window(2, 1.0)).unwrap();
        assert_eq!((speed.windows, speed.warmup_steps, speed.steps_per_second), (1, 10, 2.0));
    }
}
