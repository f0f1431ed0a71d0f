//! Accuracy over seeds, and memory, of records.

use super::{record, save_all, seeds};
use lra::check::{Finding, Group, Verdict, groups, judge_accuracy};
use lra::records::{Record, Status, load};

fn grouped(records: &[Record]) -> Vec<Group> {
    let root = tempfile::tempdir().unwrap();
    save_all(root.path(), records);
    groups(&load(&[root.path().to_path_buf()]).unwrap())
}

fn judged(before: &[Record], now: &[Record]) -> Vec<Finding> {
    judge_accuracy(&grouped(before), &grouped(now), 1.0)
}

fn verdict(before: &[Record], now: &[Record]) -> Verdict {
    judged(before, now)[0].verdict
}

/// Ten seeds that spread by 0.4 points, as ListOps' do, a hundred times. The test alarms by
/// chance in 0.2 %, so once in a hundred is let pass; it misses a point in 1.5 %, and with less
/// than 0.5 % probability more than five times in a hundred.
#[test]
fn a_point_is_caught_and_chance_is_not() {
    let count = |mean: f64, wanted: Verdict| {
        let check = |draw: &u64| {
            let before = seeds("linear", 10, 36.0, 0.4, 2 * draw);
            verdict(&before, &seeds("linear", 10, mean, 0.4, 2 * draw + 1)) == wanted
        };
        (0..100).filter(check).count()
    };
    assert!(count(36.0, Verdict::Same) >= 98);
    assert!(count(36.0, Verdict::Regression) <= 1);
    assert!(count(35.0, Verdict::Regression) >= 95);
    assert!(count(37.0, Verdict::Better) >= 95);
}

/// Of many groups one is low by chance: together they alarm no oftener than one, 0.2 %.
#[test]
fn many_groups_are_not_many_chances() {
    let models = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let all = |draw| -> Vec<Record> {
        models.iter().flat_map(|model| seeds(model, 4, 36.0, 0.4, draw)).collect()
    };
    let alarm = |check: u64| {
        let found = judged(&all(2 * check), &all(2 * check + 1));
        assert_eq!(found.iter().filter(|f| f.measure.contains("accuracy")).count(), 12);
        found.iter().any(|f| f.verdict == Verdict::Regression)
    };
    let alarms = (100..125).filter(|&check| alarm(check)).count();
    assert_eq!(alarms, 0, "of 25");
}

#[test]
fn few_seeds_tell_nothing() {
    let said = |count| {
        let (before, now) =
            (seeds("linear", count, 36.0, 0.4, 1), seeds("linear", 1, 20.0, 0.4, 2));
        judged(&before, &now).remove(0)
    };
    for count in [1, 10] {
        let found = said(count);
        assert_eq!(found.verdict, Verdict::Untold);
        assert!(found.certainty.contains("not enough seeds"), "{}", found.certainty);
    }
    // Two of each that spread widely cannot exclude a point.
    let wide = judged(&seeds("linear", 2, 36.0, 3.0, 1), &seeds("linear", 2, 36.0, 3.0, 2));
    assert_eq!(wide[0].verdict, Verdict::Untold);
    assert!(wide[0].certainty.contains("a drop of 1 points"), "{}", wide[0].certainty);
}

/// The same four of each, by hand: deviation sqrt(2/3), error of the difference sqrt(1/3), Welch's
/// freedom 6, whose 95 % quantile is 1.9432, so the 90 % interval ends at -1.122.
#[test]
fn the_drop_to_exclude_is_the_one_asked_for() {
    let runs: Vec<Record> = [35.0, 36.0, 37.0, 36.0]
        .into_iter()
        .zip(0..)
        .map(|(percent, seed)| record("listops", "linear", seed, percent))
        .collect();
    let groups = grouped(&runs);
    let verdict = |points: f64| judge_accuracy(&groups, &groups, points)[0].verdict;
    assert_eq!(verdict(1.10), Verdict::Untold);
    assert_eq!(verdict(1.15), Verdict::Same);
}

#[test]
fn what_is_not_comparable_is_not_compared() {
    let before = seeds("linear", 3, 36.0, 0.4, 1);
    let changed = |change: fn(&mut Record)| {
        let mut now = before.clone();
        now.iter_mut().for_each(change);
        judged(&before, &now).remove(0)
    };
    let other = changed(|r| r.config["train"]["lr"] = 0.5.into());
    assert_eq!(other.verdict, Verdict::Untold);
    assert!(other.certainty.contains("train.lr: 0.001 there, 0.5 here"), "{}", other.certainty);
    let other = changed(|r| r.data.checksum = "cd".repeat(32));
    assert!(other.certainty.contains("other data"), "{}", other.certainty);
    let other = changed(|r| r.model = "performer".into());
    assert!(other.certainty.contains("no records of it"), "{}", other.certainty);
}

#[test]
fn a_run_that_no_longer_ends_is_a_regression() {
    let before = seeds("linear", 4, 36.0, 0.4, 1);
    let mut now = before.clone();
    now[2].status = Status::Diverged;
    now[2].final_metrics = None;
    let found = judged(&before, &now).remove(0);
    assert_eq!(found.verdict, Verdict::Regression);
    assert!(found.certainty.contains("seeds [2]"), "{}", found.certainty);
}

#[test]
fn memory_of_runs_is_compared_on_equal_threads() {
    let before = vec![record("text", "linear", 0, 60.0), record("text", "linear", 1, 60.0)];
    let memory = |factor: f64, threads: u32| {
        let mut now = before.clone();
        for record in &mut now {
            let peak = record.memory.peak_live.unwrap() as f64 * factor;
            record.memory.peak_live = Some(peak as u64);
            record.environment.threads = threads;
        }
        let found = judged(&before, &now);
        found.into_iter().find(|f| f.measure.starts_with("peak")).map(|f| f.verdict)
    };
    assert_eq!(memory(1.04, 2), Some(Verdict::Same));
    assert_eq!(memory(1.06, 2), Some(Verdict::Regression));
    assert_eq!(memory(0.90, 2), Some(Verdict::Better));
    assert_eq!(memory(1.06, 4), None);
}
