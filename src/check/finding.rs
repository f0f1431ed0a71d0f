//! One comparison: what it was, what it is, and whether that is worse.

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Same,
    Better,
    Regression,
    /// The spread, or what is missing, hides the answer.
    Untold,
}

impl Verdict {
    pub const ALL: [Self; 4] = [Self::Regression, Self::Untold, Self::Better, Self::Same];

    pub fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Better => "better",
            Self::Regression => "regression",
            Self::Untold => "cannot be told",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// A model, or a task, a model and a preset.
    pub subject: String,
    pub measure: String,
    pub verdict: Verdict,
    pub before: String,
    pub now: String,
    /// By how much it changed.
    pub change: String,
    /// How sure that is, or why it cannot be told.
    pub certainty: String,
}

impl Finding {
    /// What could not be compared, and why.
    pub fn untold(subject: &str, measure: &str, why: impl Into<String>) -> Self {
        let nothing = || "-".to_owned();
        Self {
            subject: subject.to_owned(),
            measure: measure.to_owned(),
            verdict: Verdict::Untold,
            before: nothing(),
            now: nothing(),
            change: nothing(),
            certainty: why.into(),
        }
    }

    /// What ran before and does not now.
    pub fn broken(subject: &str, measure: &str, why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Regression, ..Self::untold(subject, measure, why) }
    }
}

/// `+1.25 %`.
pub(super) fn percent(ratio: f64) -> String {
    format!("{:+.2} %", 100.0 * (ratio - 1.0))
}
