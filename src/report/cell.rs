//! One cell of the accuracy table: the seeds of one model on one task.
//!
//! A mean over the seeds that survived says nothing about the model, so a cell never shows
//! one without the count of those that did not.

use crate::records::statistics::{Summary, summarise};
use crate::records::{Record, Status};
use serde::Serialize;

/// What came of one seed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// Test accuracy in percent.
    Scored(f64),
    Diverged,
    OutOfMemory,
    /// Stopped by an error of another kind.
    Failed,
    /// Interrupted, or still running: it can be continued.
    Unfinished,
    /// There is a record that cannot be read.
    Unreadable,
    /// Done, yet without a test accuracy.
    Unscored,
}

impl Outcome {
    pub fn of(record: &Record) -> Self {
        match (record.status, &record.final_metrics) {
            (Status::Done, Some(metrics)) => Self::Scored(metrics.test.accuracy * 100.0),
            (Status::Done, None) => Self::Unscored,
            (Status::Diverged, _) => Self::Diverged,
            (Status::OutOfMemory, _) => Self::OutOfMemory,
            (Status::Failed, _) => Self::Failed,
            (Status::Interrupted, _) => Self::Unfinished,
        }
    }

    /// The word people read.
    pub fn word(self) -> &'static str {
        match self {
            Self::Scored(_) => "done",
            Self::Diverged => "FAIL",
            Self::OutOfMemory => "OOM",
            Self::Failed => "error",
            Self::Unfinished => "unfinished",
            Self::Unreadable => "unreadable",
            Self::Unscored => "no score",
        }
    }

    /// Whether a final record of the same seed would say more.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Unfinished | Self::Unreadable)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Cell {
    /// Test accuracies in percent, in the order of seeds.
    pub scores: Vec<f64>,
    pub accuracy: Option<Summary>,
    pub diverged: usize,
    pub out_of_memory: usize,
    pub failed: usize,
    pub unfinished: usize,
    pub unreadable: usize,
    pub unscored: usize,
    /// Share of the most frequent class of the test split, in percent: least and most over
    /// the seeds.
    pub majority: Option<(f64, f64)>,
    /// Numbers of the section's notes about this cell.
    pub notes: Vec<usize>,
}

impl Cell {
    pub fn of(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        let mut cell = Self::default();
        for outcome in outcomes {
            match outcome {
                Outcome::Scored(percent) => cell.scores.push(percent),
                Outcome::Diverged => cell.diverged += 1,
                Outcome::OutOfMemory => cell.out_of_memory += 1,
                Outcome::Failed => cell.failed += 1,
                Outcome::Unfinished => cell.unfinished += 1,
                Outcome::Unreadable => cell.unreadable += 1,
                Outcome::Unscored => cell.unscored += 1,
            }
        }
        cell.accuracy = summarise(&cell.scores);
        cell
    }

    /// How many seeds there are, whatever came of them.
    pub fn seeds(&self) -> usize {
        self.scores.len() + self.without_score()
    }

    fn without_score(&self) -> usize {
        self.lost().iter().map(|(_, _, n)| n).sum()
    }

    /// Seeds without a score: the word in exports, the word for people, how many.
    fn lost(&self) -> [(&'static str, &'static str, usize); 6] {
        [
            ("diverged", Outcome::Diverged.word(), self.diverged),
            ("out-of-memory", Outcome::OutOfMemory.word(), self.out_of_memory),
            ("failed", Outcome::Failed.word(), self.failed),
            ("unfinished", Outcome::Unfinished.word(), self.unfinished),
            ("unreadable", Outcome::Unreadable.word(), self.unreadable),
            ("unscored", Outcome::Unscored.word(), self.unscored),
        ]
    }

    /// The mean, where every seed has a score.
    pub fn complete(&self) -> Option<&Summary> {
        self.accuracy.as_ref().filter(|_| self.without_score() == 0)
    }

    /// The scores with `floor` for each seed that diverged or ran out of memory: how later
    /// papers count Path-X. `None` while a seed is open or of unknown outcome.
    pub fn with_failures_at(&self, floor: f64) -> Option<Summary> {
        let failures = self.diverged + self.out_of_memory;
        if self.without_score() != failures {
            return None;
        }
        let mut scores = self.scores.clone();
        scores.extend(std::iter::repeat_n(floor, failures));
        summarise(&scores)
    }

    /// `done 2, diverged 1`: every status that occurs, for the machine-readable exports.
    pub fn statuses(&self) -> String {
        let all = std::iter::once(("done", "", self.scores.len())).chain(self.lost());
        let present = all.filter(|(_, _, n)| *n > 0).map(|(word, _, n)| format!("{word} {n}"));
        present.collect::<Vec<_>>().join(", ")
    }

    /// As a person reads it, without its notes.
    pub fn text(&self) -> String {
        let lost: Vec<_> = self.lost().into_iter().filter(|(_, _, n)| *n > 0).collect();
        let counts: Vec<String> = lost.iter().map(|(_, word, n)| format!("{n} {word}")).collect();
        match (&self.accuracy, lost.as_slice()) {
            (None, []) => "-".to_owned(),
            (None, [(_, word, n)]) => format!("{word} (n={n})"),
            (None, _) => counts.join(", "),
            (Some(accuracy), []) => format!("{} (n={})", mean_text(accuracy), accuracy.n),
            (Some(accuracy), _) => {
                let (mean, n, seeds) = (mean_text(accuracy), accuracy.n, self.seeds());
                format!("{mean} ({n} of {seeds} seeds, {})", counts.join(", "))
            }
        }
    }
}

/// `36.12 ± 0.40`, or without the error where there is none.
pub fn mean_text(summary: &Summary) -> String {
    match summary.standard_error {
        Some(error) => format!("{:.2} ± {error:.2}", summary.mean),
        None => format!("{:.2}", summary.mean),
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome::*;
    use super::*;

    #[test]
    fn every_mixture_of_outcomes_is_told() {
        let text = |outcomes: &[Outcome]| Cell::of(outcomes.iter().copied()).text();
        assert_eq!(text(&[]), "-");
        assert_eq!(text(&[Scored(36.123)]), "36.12 (n=1)");
        assert_eq!(text(&[Scored(36.0), Scored(38.0)]), "37.00 ± 1.00 (n=2)");
        assert_eq!(text(&[Diverged]), "FAIL (n=1)");
        assert_eq!(text(&[OutOfMemory, OutOfMemory]), "OOM (n=2)");
        assert_eq!(text(&[Failed]), "error (n=1)");
        assert_eq!(text(&[Unfinished]), "unfinished (n=1)");
        assert_eq!(text(&[Unreadable]), "unreadable (n=1)");
        assert_eq!(text(&[Unscored]), "no score (n=1)");
        assert_eq!(text(&[Diverged, OutOfMemory, Diverged]), "2 FAIL, 1 OOM");
        let survivors = [Scored(36.0), Diverged, Scored(38.0)];
        assert_eq!(text(&survivors), "37.00 ± 1.00 (2 of 3 seeds, 1 FAIL)");
    }

    #[test]
    fn survivors_alone_are_no_complete_mean() {
        let cell = Cell::of([Scored(36.0), Diverged]);
        assert!(cell.accuracy.is_some() && cell.complete().is_none());
        assert_eq!(cell.with_failures_at(50.0).unwrap().mean, 43.0);
        assert_eq!(Cell::of([Scored(36.0), Unfinished]).with_failures_at(50.0), None);
        assert_eq!(Cell::of([]).with_failures_at(50.0), None);
        assert_eq!(cell.statuses(), "done 1, diverged 1");
    }
}
