//! Learning rates: `base * min(1, step / warmup) * factor`, step counted from 0, so the
//! very first update has rate 0 when there is a warm-up (LRA's `create_learning_rate_scheduler`).

use crate::config::{Schedule, TrainSection};

/// The rate of the update that makes step `step + 1` of the run.
pub fn learning_rate(train: &TrainSection, step: u64) -> f64 {
    let (at, warmup) = (step as f64, train.warmup as f64);
    let warm = if train.warmup == 0 { 1.0 } else { (at / warmup).min(1.0) };
    let span = (train.steps.saturating_sub(train.warmup)).max(1) as f64;
    let progress = ((at - warmup) / span).clamp(0.0, 1.0);
    let factor = match train.schedule {
        Schedule::Constant => 1.0,
        Schedule::Rsqrt => at.max(warmup).max(1.0).powf(-0.5),
        Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        Schedule::Linear => 1.0 - progress,
    };
    train.learning_rate * warm * factor
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Pad;
    use crate::records::Selection;

    fn train(schedule: Schedule, learning_rate: f64, warmup: u64, steps: u64) -> TrainSection {
        TrainSection {
            batch: 32,
            steps,
            evaluate_every: 50,
            evaluate_examples: 0,
            checkpoint_every: 100,
            selection: Selection::Last,
            pad: Pad::Length,
            learning_rate,
            schedule,
            warmup,
            beta1: 0.9,
            beta2: 0.98,
            eps: 1e-9,
            weight_decay: 0.1,
            clip: 0.0,
        }
    }

    /// LRA's ListOps: 0 at first, 1.58e-3 at step 1000, 7.1e-4 at step 5000.
    #[test]
    fn rsqrt_matches_lra() {
        let t = train(Schedule::Rsqrt, 0.05, 1000, 5000);
        assert_eq!(learning_rate(&t, 0), 0.0);
        assert!((learning_rate(&t, 1000) - 1.5811e-3).abs() < 1e-7);
        assert!((learning_rate(&t, 500) - 1.5811e-3 / 2.0).abs() < 1e-7);
        assert!((learning_rate(&t, 5000) - 7.0711e-4).abs() < 1e-7);
    }

    /// LRA's Image: 5e-4 after one epoch of 175 steps, 0 at the end.
    #[test]
    fn cosine_and_linear_end_at_zero() {
        for schedule in [Schedule::Cosine, Schedule::Linear] {
            let t = train(schedule, 5e-4, 175, 35_000);
            assert_eq!(learning_rate(&t, 175), 5e-4);
            assert!((learning_rate(&t, 17_587) - 2.5e-4).abs() < 1e-7);
            assert!(learning_rate(&t, 35_000) < 1e-15);
        }
        assert_eq!(learning_rate(&train(Schedule::Constant, 0.1, 0, 10), 0), 0.1);
    }
}
