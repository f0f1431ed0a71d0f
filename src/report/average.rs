//! Averages over tasks, only where all their tasks are there.

use super::cell::Cell;
use super::names::{PATHX, TASKS, in_five};
use crate::records::statistics::Summary;
use serde::Serialize;

/// What a Path-X run counts that diverged or ran out of memory: chance, in percent.
pub const FAILED_PATHX: f64 = 50.0;

/// The mean of some tasks' mean accuracies, in percent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Average {
    /// `None` unless every task is present.
    pub mean: Option<f64>,
    /// Of the mean; `None` also where a task has a single seed.
    pub standard_error: Option<f64>,
    pub present: usize,
    pub needed: usize,
}

impl Average {
    /// The paper's: ListOps, Text, Retrieval, Image, Pathfinder.
    pub fn five<'a>(cell: impl Fn(&str) -> Option<&'a Cell>) -> Self {
        let five = TASKS.iter().filter(|(task, _)| in_five(task));
        Self::of(five.map(|(task, _)| cell(task).and_then(|c| c.complete().copied())))
    }

    /// Later papers': the five and Path-X, on which a failure counts as chance.
    pub fn six<'a>(cell: impl Fn(&str) -> Option<&'a Cell>) -> Self {
        Self::of(TASKS.iter().map(|(task, _)| {
            let cell = cell(task)?;
            let failure_counts = *task == PATHX;
            if failure_counts {
                cell.with_failures_at(FAILED_PATHX)
            } else {
                cell.complete().copied()
            }
        }))
    }

    /// Over any tasks; a `None` is a task that is missing.
    pub fn of(tasks: impl Iterator<Item = Option<Summary>>) -> Self {
        let tasks: Vec<Option<Summary>> = tasks.collect();
        let needed = tasks.len();
        let present: Vec<Summary> = tasks.into_iter().flatten().collect();
        let mut average = Self { mean: None, standard_error: None, present: present.len(), needed };
        if present.len() == needed && needed > 0 {
            average.mean = Some(present.iter().map(|s| s.mean).sum::<f64>() / needed as f64);
            let errors: Option<Vec<f64>> = present.iter().map(|s| s.standard_error).collect();
            // Tasks are independent: the variances of the means add up.
            average.standard_error =
                errors.map(|e| e.iter().map(|e| e * e).sum::<f64>().sqrt() / needed as f64);
        }
        average
    }

    pub fn text(&self) -> String {
        match (self.mean, self.standard_error) {
            (Some(mean), Some(error)) => format!("{mean:.2} ± {error:.2}"),
            (Some(mean), None) => format!("{mean:.2}"),
            (None, _) => format!("- ({} of {} tasks)", self.present, self.needed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::cell::Outcome::{self, *};

    fn cells(outcomes: [&[Outcome]; 6]) -> Vec<(&'static str, Cell)> {
        let of = |(task, outcomes): (&(&'static str, _), &[Outcome])| {
            (task.0, Cell::of(outcomes.iter().copied()))
        };
        TASKS.iter().zip(outcomes).map(of).collect()
    }

    fn both(cells: &[(&str, Cell)]) -> (String, String) {
        let cell = |task: &str| cells.iter().find(|(name, _)| *name == task).map(|(_, c)| c);
        (Average::five(cell).text(), Average::six(cell).text())
    }

    #[test]
    fn the_papers_transformer() {
        let scores = [36.37, 64.27, 57.46, 42.44, 71.40].map(|s| [Scored(s)]);
        let mut all: [&[Outcome]; 6] = [&[]; 6];
        for (slot, score) in all.iter_mut().zip(&scores) {
            *slot = score;
        }
        assert_eq!(both(&cells(all)), ("54.39".into(), "- (5 of 6 tasks)".into()));
        all[5] = &[Diverged];
        assert_eq!(both(&cells(all)), ("54.39".into(), "53.66".into()));
        all[5] = &[Unfinished];
        assert_eq!(both(&cells(all)).1, "- (5 of 6 tasks)");
        // A failure elsewhere is no 50, and survivors are no average.
        all[0] = &[Scored(36.37), Diverged];
        all[5] = &[OutOfMemory];
        assert_eq!(both(&cells(all)), ("- (4 of 5 tasks)".into(), "- (5 of 6 tasks)".into()));
    }

    #[test]
    fn errors_of_independent_tasks() {
        let pair: &[Outcome] = &[Scored(49.0), Scored(51.0)];
        // Each error is 1; sqrt(5)/5 = 0.447.
        assert_eq!(both(&cells([pair, pair, pair, pair, pair, &[]])).0, "50.00 ± 0.45");
    }
}
