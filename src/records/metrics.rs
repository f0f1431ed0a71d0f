//! The figures of an event by the names that other tools show.

use super::events::Event;

/// The step and its figures; `None` for an event without figures.
pub fn scalars(event: &Event) -> Option<(u64, Vec<(&'static str, f64)>)> {
    Some(match *event {
        Event::Train { step, loss, lr, gradient_norm } => {
            let figures = [
                ("train/loss", loss),
                ("train/learning_rate", lr),
                ("train/gradient_norm", gradient_norm),
            ];
            (step, figures.to_vec())
        }
        Event::Evaluation { step, train_loss, loss, accuracy, .. } => {
            let figures = [
                ("validation/loss", loss),
                ("validation/accuracy", accuracy),
                ("train/mean_loss", train_loss),
            ];
            (step, figures.to_vec())
        }
        Event::Speed { step, steps_per_second, examples_per_second, tokens_per_second } => {
            let figures = [
                ("speed/steps_per_second", steps_per_second),
                ("speed/examples_per_second", examples_per_second),
                ("speed/tokens_per_second", tokens_per_second),
            ];
            (step, figures.to_vec())
        }
        Event::Start { .. }
        | Event::Resumed { .. }
        | Event::Checkpoint { .. }
        | Event::End { .. } => return None,
    })
}
