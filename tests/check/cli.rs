//! `lra baseline save` and `lra check`, as a workflow gives them.

use super::{lra, save_all, seeds};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn save(folder: &Path, more: &[&str]) -> Value {
    let words = ["baseline", "save", "--models", "linear,reformer"];
    lra(folder).args(words).args(more).assert().success();
    read(folder)
}

fn read(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("results/baseline.json")).unwrap()).unwrap()
}

fn write(folder: &Path, baseline: &Value) {
    fs::write(folder.join("results/baseline.json"), baseline.to_string()).unwrap();
}

/// Exit code, standard output and error of `lra check` on the two models.
fn check(folder: &Path, more: &[&str]) -> (i32, String, String) {
    let words = ["-q", "check", "--models", "linear,reformer"];
    let output = lra(folder).args(words).args(more).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_same_program_is_the_same_and_a_change_is_not() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    let baseline = save(folder, &[]);
    let machine = &baseline["machines"][0];
    assert_eq!((&baseline["version"], machine["cells"].as_array().unwrap().len()), (&json!(2), 2));
    assert_eq!(machine["cells"][0]["cell"]["config"]["run"]["model"], "linear");
    assert!(fs::metadata(folder.join("results/baseline.json")).unwrap().len() < 20_000);
    for _ in 0..3 {
        let (code, said, error) = check(folder, &[]);
        assert_eq!(
            (code, said.trim()),
            (0, "regression: 0, same: 10; against results/baseline.json"),
            "{error}"
        );
    }
    let spoil = |pointer: &str, change: &dyn Fn(f64) -> f64| {
        let mut spoilt = baseline.clone();
        let value = spoilt.pointer_mut(pointer).unwrap();
        *value = match value.as_u64() {
            Some(whole) => json!(change(whole as f64) as u64),
            None => json!(change(value.as_f64().unwrap())),
        };
        write(folder, &spoilt);
        check(folder, &[])
    };
    for (pointer, measure) in [
        ("/machines/0/cells/0/parameters", "parameters"),
        ("/machines/0/cells/1/flops", "FLOPs of a step"),
        ("/machines/0/cells/0/counted/peak_live", "peak live bytes"),
        ("/machines/0/cells/1/counted/allocations", "allocations"),
    ] {
        let (code, said, error) = spoil(pointer, &|x| (x * 0.99).floor());
        assert_eq!(code, 7, "{pointer}: {said}{error}");
        assert!(said.contains(measure) && said.contains(" regression |"), "{said}");
        assert!(error.contains("baseline.json in 1 of what it holds"), "{error}");
    }
    // What may come sooner or later is let pass, 5,016 bytes and less than a block a step, and
    // no more than that on top of the tolerance.
    for (pointer, less, expected) in [
        ("/machines/0/cells/0/counted/peak_live", 3_000.0, 0),
        ("/machines/0/cells/0/counted/peak_live", 13_300.0, 7),
        ("/machines/0/cells/0/counted/allocations", 4.0, 0),
        ("/machines/0/cells/0/counted/allocations", 5.0, 7),
    ] {
        let (code, said, error) = spoil(pointer, &|x| x - less);
        assert_eq!(code, expected, "{pointer} less {less}: {said}{error}");
    }
    // One bit of the loss.
    let (code, said, _) =
        spoil("/machines/0/cells/0/counted/loss", &|x| f64::from_bits(x.to_bits() + 1));
    assert!(code == 7 && said.contains("loss after 8 steps"), "{said}");
    // On another type of CPU a bit is none, and a percent is one.
    let mut file = baseline.clone();
    let elsewhere = &mut file["machines"][0];
    elsewhere["cpu_kind"] = "other".into();
    // What a heap holds there says nothing here.
    elsewhere["cells"][1]["counted"]["allocations"] = 1.into();
    elsewhere["cells"][1]["counted"]["peak_live"] = 1.into();
    let loss = elsewhere["cells"][0]["counted"]["loss"].as_f64().unwrap();
    for (factor, expected) in [(1.0 + 1e-6, 0), (1.01, 7)] {
        file["machines"][0]["cells"][0]["counted"]["loss"] = json!(loss * factor);
        write(folder, &file);
        assert_eq!(check(folder, &[]).0, expected);
    }
    // Less is better, and no reason to fail.
    let (code, said, _) = spoil("/machines/0/cells/0/counted/peak_live", &|x| x * 1.1);
    assert!(code == 0 && said.contains(" better |"), "{said}");
}

#[test]
fn every_format_says_it() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    let mut baseline = save(folder, &[]);
    baseline["machines"][0]["cells"][0]["parameters"] = 1.into();
    baseline["machines"][0]["cells"][1]["cell"]["config"]["run"]["model"] = "gone".into();
    write(folder, &baseline);
    let run = |format: &str| {
        let command = &mut lra(folder);
        command.args(["-q", "check", "--format", format]).env("GITHUB_STEP_SUMMARY", "summary.md");
        let output = command.assert().code(7).get_output().clone();
        String::from_utf8(output.stdout).unwrap()
    };
    let json: Value = serde_json::from_str(&run("json")).unwrap();
    let verdicts: Vec<_> = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["verdict"].as_str().unwrap())
        .collect();
    assert_eq!(verdicts.iter().filter(|v| **v == "regression").count(), 2);
    // Ten attentions that the baseline does not know, and Reformer under another name.
    assert_eq!(verdicts.iter().filter(|v| **v == "untold").count(), 11);
    assert!(run("junit").contains("failures=\"2\" skipped=\"11\""));
    assert!(run("markdown").starts_with("## lra check\n\nregression: 2,"));
    assert!(!folder.join("summary.md").exists());
    let github = run("github");
    assert!(
        github.starts_with("::error title=linear%3A parameters%3A regression::1 before, "),
        "{github}"
    );
    assert!(
        github.contains("::error title=gone%3A counters") && github.contains("::notice title=")
    );
    run("github");
    let summary = fs::read_to_string(folder.join("summary.md")).unwrap();
    assert_eq!(summary.matches("## lra check").count(), 2, "appended: {summary}");
}

#[test]
fn records_are_compared_where_there_are_any() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    save_all(&folder.join("before"), &seeds("linear", 10, 36.0, 0.4, 1));
    save_all(&folder.join("worse"), &seeds("linear", 10, 35.0, 0.4, 2));
    save_all(&folder.join("same"), &seeds("linear", 10, 36.0, 0.4, 3));
    let baseline = save(folder, &["--records", "before"]);
    assert_eq!(baseline["records"][0]["runs"].as_array().unwrap().len(), 10);
    let (code, said, error) = check(folder, &[]);
    assert!(code == 0 && said.contains("same: 10;"), "no records here: {said}{error}");
    let (code, said, error) = check(folder, &["--current", "same"]);
    assert!(code == 0 && said.contains("same: 12;"), "{said}{error}");
    let (code, said, _) = check(folder, &["--current", "worse"]);
    assert!(code == 7 && said.contains("listops linear quick | test accuracy, %"), "{said}");
}

/// Both ways of measuring speed, where a tenth of the speed would pass: what is tested is that
/// they run, not this machine.
#[test]
fn speed_is_measured_in_rounds() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    let baseline = save(folder, &["--speed", "5"]);
    assert_eq!(baseline["machines"][0]["cells"][0]["paces"].as_array().unwrap().len(), 5);
    let lenient = ["--speed-tolerance", "0.9", "--pairs", "5"];
    let against = ["--against", env!("CARGO_BIN_EXE_lra"), "--speed", "--format", "json"];
    let (code, said, error) = check(folder, &[&lenient[..], &against].concat());
    assert_eq!(code, 0, "{said}{error}");
    let found: Value = serde_json::from_str(&said).unwrap();
    let found: Vec<_> = found["findings"].as_array().unwrap().iter().collect();
    for measure in ["speed over the other binary's", "steps in the time of a matrix product"] {
        let of: Vec<_> = found.iter().filter(|f| f["measure"] == measure).collect();
        assert_eq!(of.len(), 2);
        assert!(of.iter().all(|f| f["certainty"].as_str().unwrap().contains("from 5 rounds")));
    }
    // Its own speed over a baseline ten times as fast is a regression, whatever the machine.
    let mut fast = baseline;
    for pace in fast["machines"][0]["cells"][0]["paces"].as_array_mut().unwrap() {
        *pace = json!(10.0 * pace.as_f64().unwrap());
    }
    write(folder, &fast);
    let (code, said, _) = check(folder, &["--speed", "--pairs", "5"]);
    assert!(code == 7 && said.contains("steps in the time of a matrix product"), "{said}");
}

#[test]
fn mistakes_are_named() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    let expect = |more: &[&str], code: i32, part: &str| {
        let (found, _, error) = check(folder, more);
        assert!(found == code && error.contains(part), "{more:?}: {found} {error}");
    };
    expect(&[], 3, "there is no such baseline; make it with `lra baseline save`");
    let baseline = save(folder, &[]);
    expect(&["--pairs", "4"], 2, "--pairs 4: expected at least 5");
    expect(&["--points", "nan"], 2, "--points");
    expect(&["--speed-tolerance", "1"], 2, "--speed-tolerance 1: expected");
    expect(&["--against", "nowhere"], 2, "--against nowhere: there is no such program");
    expect(&["--current", "nowhere"], 3, "there is no such folder");
    write(folder, &json!({ "version": 99 }));
    expect(&[], 3, "baseline version 99 is newer");
    write(folder, &json!({ "version": 1, "cells": [] }));
    let old =
        "version 1 is of an older lra, expected 2; make it anew with `lra baseline save --fresh`";
    expect(&[], 3, old);
    let run = lra(folder).args(["baseline", "save", "--models", "linear"]).assert().code(3);
    assert!(String::from_utf8_lossy(&run.get_output().stderr).contains(old));
    write(folder, &json!({ "version": 2, "machines": [] }));
    expect(&[], 3, "`machines` is empty; make it anew");
    fs::write(folder.join("results/baseline.json"), "{\"version\": 2,").unwrap();
    expect(&[], 3, "results/baseline.json:1:");
    // Edited to what no model could be: told of that model, without a panic.
    let mut wrong = baseline;
    wrong["machines"][0]["cells"][0]["cell"]["config"]["model"]["heads"] = 0.into();
    write(folder, &wrong);
    let (code, said, _) = check(folder, &[]);
    assert!(code == 7 && said.contains("model.heads"), "{said}");
}
