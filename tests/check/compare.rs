//! `lra compare`.

use super::{lra, record, save_all, seeds};
use lra::records::load;
use lra::report::{Comparison, compare};
use serde_json::Value;

fn near(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-9, "{a} {b}");
}

fn compared(
    a: &[lra::records::Record],
    b: &[lra::records::Record],
) -> (Vec<Comparison>, Vec<String>) {
    let of = |records: &[lra::records::Record]| {
        let root = tempfile::tempdir().unwrap();
        save_all(root.path(), records);
        load(&[root.path().to_path_buf()]).unwrap().runs
    };
    compare(&of(a), &of(b))
}

/// By hand: means 36 and 39; errors 1/sqrt(3) each; Welch's freedom of equal spreads is 4,
/// whose 97.5 % quantile is 2.7764451, times sqrt(2/3).
#[test]
fn means_and_intervals_over_seeds() {
    let runs = |model: &str, mean: f64| -> Vec<_> {
        let score = |seed: u64| record("listops", model, seed, mean - 1.0 + seed as f64);
        (0..3).map(score).collect()
    };
    let (found, alone) = compared(&runs("linear", 36.0), &runs("performer", 39.0));
    assert!(alone.is_empty());
    let accuracy = &found[0].metrics[0];
    let (a, b) = (accuracy.a.as_ref().unwrap(), accuracy.b.as_ref().unwrap());
    near(a.mean, 36.0);
    near(b.mean, 39.0);
    // Two degrees of freedom: 4.3026527.
    assert!((a.half_width.unwrap() - 4.302_652_7 / 3.0f64.sqrt()).abs() < 1e-6);
    let (difference, half) = accuracy.difference.unwrap();
    near(difference, 3.0);
    assert!((half.unwrap() - 2.776_445_1 * (2.0f64 / 3.0).sqrt()).abs() < 1e-6);
    let keys: Vec<&str> = found[0].differences.iter().map(|d| d.key.as_str()).collect();
    assert_eq!(keys, ["run.model"], "the seed is no difference");
}

/// One run: 1.96 sqrt(0.36 * 0.64 / 2000) = 2.1037 points.
#[test]
fn one_run_has_the_interval_of_its_examples() {
    let (found, _) =
        compared(&[record("listops", "linear", 0, 36.0)], &[record("listops", "linear", 1, 36.0)]);
    let accuracy = &found[0].metrics[0];
    let half = accuracy.a.as_ref().unwrap().half_width.unwrap();
    assert!((half - 2.1037).abs() < 1e-3, "{half}");
    let both = accuracy.difference.unwrap().1.unwrap();
    assert!((both - half * 2.0f64.sqrt()).abs() < 1e-9);
    assert!(found[0].metrics.iter().find(|m| m.name == "steps/s").unwrap().a.is_some());
    assert_eq!(found[0].differences[0].to_string(), "run.seed: 0 there, 1 here");
    assert!(found[0].text().contains("says nothing about seeds"));
}

/// Groups of other seeds differ in nothing that was chosen.
#[test]
fn seeds_are_no_difference_between_groups() {
    let folder = tempfile::tempdir().unwrap();
    let of = |first: u64| -> Vec<_> {
        (first..first + 2).map(|seed| record("listops", "linear", seed, 36.0)).collect()
    };
    save_all(&folder.path().join("a"), &of(0));
    save_all(&folder.path().join("b"), &of(5));
    let run = lra(folder.path()).args(["compare", "a", "b"]).assert().success();
    let said = String::from_utf8_lossy(&run.get_output().stdout).into_owned();
    assert!(said.ends_with("The configurations are the same.\n"), "{said}");
}

/// Of a seed that was run twice one counts, as in a report.
#[test]
fn a_seed_that_was_run_twice_counts_once() {
    let run = |seed: u64, percent: f64| record("listops", "linear", seed, percent);
    let (found, _) =
        compared(&[run(0, 36.0), run(0, 36.0), run(1, 39.0)], &[run(0, 40.0), run(1, 42.0)]);
    assert_eq!(found[0].a, "listops linear quick (n=2)");
    let accuracy = found[0].metrics[0].a.as_ref().unwrap();
    assert_eq!(accuracy.n, 2);
    near(accuracy.mean, 37.5);
}

#[test]
fn one_preset_is_compared_where_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = seeds("linear", 3, 36.0, 0.4, 1);
    all.extend(seeds("linear", 2, 60.0, 0.4, 2).into_iter().map(|mut record| {
        record.preset = "paper".into();
        record
    }));
    save_all(&folder.path().join("a"), &all);
    let compare = |more: &[&str]| {
        let run = lra(folder.path()).args(["compare", "a", "a"]).args(more).assert();
        let output = run.get_output();
        let text =
            String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
        (output.status.code().unwrap(), text)
    };
    let (code, said) = compare(&["--preset", "paper"]);
    assert!(code == 0 && said.contains("A: listops linear paper (n=2)"), "{said}");
    assert!(!said.contains("quick"), "{said}");
    let (code, said) = compare(&["--preset", "none"]);
    assert!(code == 3 && said.contains("no records here"), "{said}");
}

#[test]
fn groups_meet_by_task_model_and_preset() {
    let folder = tempfile::tempdir().unwrap();
    let all = [seeds("linear", 3, 36.0, 0.4, 1), seeds("local", 3, 37.0, 0.4, 1)].concat();
    save_all(&folder.path().join("a"), &all);
    let others = [seeds("linear", 2, 36.0, 0.4, 2), seeds("performer", 2, 37.0, 0.4, 2)].concat();
    save_all(&folder.path().join("b"), &others);
    let run = lra(folder.path()).args(["compare", "a", "b"]).assert().success();
    let said = String::from_utf8_lossy(&run.get_output().stdout).into_owned();
    assert!(said.contains("A: listops linear quick (n=3)"), "{said}");
    assert!(said.contains("only in A: listops local quick\nonly in B: listops performer quick"));
    // Models of one folder, as JSON.
    let run =
        lra(folder.path()).args(["compare", "linear@a", "local@a", "--json"]).assert().success();
    let document: Value = serde_json::from_slice(&run.get_output().stdout).unwrap();
    assert_eq!(document["comparisons"][0]["a"], "listops linear quick (n=3)");
    assert_eq!(document["comparisons"][0]["differences"][0]["here"], "\"local\"");
    for (a, b, code, expected) in [
        ("none@a", "a", 3, "none@a: no records here"),
        ("nowhere", "a", 3, "there is no such folder"),
        ("local@a", "b", 2, "nothing to compare"),
    ] {
        let run = lra(folder.path()).args(["compare", a, b]).assert().code(code);
        let said = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        assert!(said.contains(expected), "{said}");
    }
}
