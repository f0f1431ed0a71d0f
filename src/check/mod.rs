//! `lra check`: what is here against a baseline, and whether any of it is worse.
//!
//! - `baseline`: what is kept to compare with, and its file
//! - `counters`: parameters, FLOPs, heap and loss of small cells, the same in every run
//! - `speed`: the same cells in turns with another binary, or with a matrix product
//! - `accuracy`: runs over seeds, by a one-sided test
//! - `finding`: one comparison, its verdict and how sure it is; `format`: what is printed
//!
//! Counters need no clock, so a noisy machine moves none of them. Speed and accuracy are never
//! judged by one number: where the spread hides the answer, the verdict is that it cannot be
//! told, which is no regression.

mod accuracy;
mod baseline;
mod counters;
mod finding;
mod format;
mod speed;

pub use accuracy::{Group, groups, judge as judge_accuracy};
pub use baseline::{BASELINE_VERSION, Baseline, Entry, Machine, kind};
pub use counters::{LOSS, STEPS, cells, count, judge as judge_counters};
pub use finding::{Finding, Verdict};
pub use format::{Format, markdown, text};
pub use speed::{Pairs, against, calibrated, judge as judge_speed};
