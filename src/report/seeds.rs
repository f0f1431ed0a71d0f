//! One outcome per seed, also where several run folders hold the same seed.
//!
//! A seed run twice is not two independent measurements. A record that can still be continued
//! gives way to one that is final; among equals the newest counts, whatever its outcome, so
//! that a failure cannot be hidden behind an older success. The others are told in a note.

use super::cell::Outcome;
use crate::records::statistics::group_by;
use crate::records::{Run, RunKey};
use std::path::Path;

/// The runs of one model on one task under one preset.
#[derive(Debug, Default)]
pub struct Seeds<'a> {
    pub outcomes: Vec<Outcome>,
    /// The records the outcomes are of; an unfinished folder has none.
    pub runs: Vec<&'a Run>,
    pub notes: Vec<String>,
}

/// `unfinished` are folders that hold no record, or none that can be read.
pub fn resolve<'a>(runs: &[&'a Run], unfinished: &[(&RunKey, Outcome)]) -> Seeds<'a> {
    let record = |run: &&'a Run| (run.record.seed, Outcome::of(&run.record), Some(*run));
    let records = runs.iter().map(record);
    let folders = unfinished.iter().map(|(key, outcome)| (key.seed, *outcome, None));
    let mut seeds = Seeds::default();
    for (seed, candidates) in group_by(records.chain(folders), |candidate| candidate.0) {
        let held = candidates.len();
        if let Some((outcome, run)) = candidates.into_iter().map(|(_, o, r)| (o, r)).max_by(rank) {
            seeds.outcomes.push(outcome);
            seeds.runs.extend(run);
            if held > 1 {
                seeds.notes.push(told(seed, held, run));
            }
        }
    }
    seeds
}

type Candidate<'a> = (Outcome, Option<&'a Run>);

fn rank(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    key(a).cmp(&key(b))
}

/// Final before open, then by time (RFC 3339 in UTC sorts as text), then by folder.
fn key<'a>(&(outcome, run): &Candidate<'a>) -> (bool, Option<(&'a str, &'a Path)>) {
    let when = |run: &'a Run| (run.record.environment.finished.as_str(), run.folder.as_path());
    (!outcome.is_open(), run.map(when))
}

fn told(seed: u64, held: usize, run: Option<&Run>) -> String {
    let which = match run {
        Some(run) => format!("the one in {} counts", run.folder.display()),
        None => "none of them is finished".to_owned(),
    };
    format!("seed {seed} has {held} run folders; {which}")
}
