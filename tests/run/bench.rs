//! `lra bench`: cells in processes of their own, alone and beside a peer.

use super::lra;
use super::skip::skip;
use lra::attention::Registry;
use lra::bench::{Cell, Results, Side};
use lra::config::{Card, resolve};
use lra::report::bench::tables;
use std::path::Path;

const TINY: [&str; 4] =
    ["model.width=16", "model.qkv=16", "model.feed_forward=16", "model.layers=1"];

fn bench(out: &Path, more: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = lra();
    command.args(["bench", "--task", "text", "--lengths", "64,128", "--batch", "2"]);
    let given = |flag: &str| more.contains(&flag);
    for (flag, value) in [("--turns", "2"), ("--seconds", "0.01")] {
        if !given(flag) {
            command.args([flag, value]);
        }
    }
    command.arg("--out").arg(out).args(more);
    TINY.iter().for_each(|set| {
        command.args(["--set", set]);
    });
    command.assert()
}

#[test]
fn every_cell_has_its_windows() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("deep/results.json");
    let run = bench(&out, &["--models", "transformer,linear", "--evaluate", "--profile"]).success();
    let said = String::from_utf8_lossy(&run.get_output().stdout).into_owned();
    let mut results = Results::load(&out).unwrap();
    assert_eq!(
        said.trim(),
        format!("{}\n\nresults: {}", tables(&results).trim_end(), out.display()).trim()
    );
    // Two models at two lengths, and the first once more.
    assert_eq!(results.rows.len(), 5);
    assert_eq!(results.rows.iter().filter(|row| row.repeated).count(), 1);
    for row in &results.rows {
        let own = row.own.as_ref().unwrap();
        assert_eq!((own.train.len(), own.evaluate.len()), (2, 2));
        assert!(own.train.iter().all(|w| w.steps > 0 && w.seconds >= 0.01));
        assert!(own.memory.live.unwrap() > 0 && own.memory.peak >= own.memory.base);
        assert!(own.memory.profile.iter().any(|share| share.flops > 0.0));
    }
    for what in ["1.00x", "grows as", "drift", "feed-forward: backward", "GFLOP/s"] {
        assert!(said.contains(what), "{what}: {said}");
    }
    // The last columns of the first table: how much faster scoring is, at each length.
    for model in ["transformer", "linear"] {
        let cells = cells(&said, model);
        let mut rows: Vec<_> = results.rows.iter().filter(|row| !row.repeated).collect();
        rows.retain(|row| row.model == model);
        rows.sort_by_key(|row| row.length);
        let evaluation = |side: &Side| format!("{:.2}x", side.evaluation().unwrap());
        let expected: Vec<String> =
            rows.iter().map(|row| evaluation(row.own.as_ref().unwrap())).collect();
        assert_eq!(cells[cells.len() - 2..], expected);
        assert!(cells[1..5].iter().all(|cell| cell.ends_with("x)")), "{cells:?}");
    }
    // Steps of other batches have no ratio.
    results.rows.iter_mut().filter(|row| row.model == "linear").for_each(|row| row.batch = 4);
    let said = tables(&results);
    assert!(said.contains("128 x 2: steps/s"), "{said}");
    let cells = cells(&said, "linear");
    assert!(cells[1..5].iter().all(|cell| cell.ends_with("(batch 4)")), "{cells:?}");
}

/// A model's line of the first table.
fn cells(said: &str, model: &str) -> Vec<String> {
    let line = said.lines().find(|line| line.starts_with(&format!("| {model} "))).unwrap();
    line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// A peer that speaks the protocol with figures of its own: twice as fast as nothing is.
const PEER: &str = r#"
import sys
if "slow" not in sys.argv: raise SystemExit("no such mode")
print('{"ready": true, "parameters": 7, "attention": "made up"}', flush=True)
for line in sys.stdin:
    if line.startswith("end"):
        print('{"peak": 3000000000, "base": 1000000000}', flush=True)
        break
    print('{"steps": 1, "seconds": 1000.0}', flush=True)
"#;

#[test]
fn a_peer_is_measured_in_turns_and_its_failures_are_told() {
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        skip("no python3 here to play the peer");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (out, script) = (folder.path().join("results.json"), folder.path().join("peer.py"));
    std::fs::write(&script, PEER).unwrap();
    let script = script.to_str().unwrap();
    let more =
        ["--models", "linear", "--peer", "python3", "--script", script, "--modes", "slow,none"];
    let run = bench(&out, &more).success();
    let said = String::from_utf8_lossy(&run.get_output().stdout).into_owned();
    let results = Results::load(&out).unwrap();
    let rows: Vec<_> = results.rows.iter().filter(|row| !row.repeated).collect();
    for row in &rows {
        assert_eq!(row.peers.len(), 1);
        assert_eq!(row.ratios().len(), 2);
        assert!(row.ratios().iter().all(|&ratio| ratio > 100.0));
        assert!(row.memory_ratio().unwrap() < 1.0);
        assert!(row.failures[0].contains("no such mode"), "{:?}", row.failures);
    }
    assert!(said.contains("made up") && said.contains("no such mode"), "{said}");
}

/// A cell of a model without heads, which no configuration gives.
fn impossible() -> String {
    let card = Card::of(lra::tasks::find("text").unwrap()).unwrap();
    let registry = Registry::builtin();
    let mut config = resolve(&card, &registry.get("linear").unwrap().request("lra")).unwrap();
    config.model.heads = 0;
    let cell = Cell { config, sizes: card.sizes(), threads: 1, profile: false };
    serde_json::to_string(&cell).unwrap()
}

#[test]
fn what_cannot_be_measured_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("results.json");
    for (more, expected) in [
        (&["--models", "nope"][..], "--model nope: unknown"),
        (&["--models", "linear", "--turns", "0"], "expected more than 0"),
        (&["--models", "linear", "--seconds", "nan"], "expected more than 0"),
        (&["--models", "linear", "--threads", "0"], "--threads 0"),
    ] {
        let run = bench(&out, more).failure().code(2);
        let said = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        assert!(said.contains(expected), "{said}");
    }
    assert!(!out.exists());
    // A cell that does not fit, and one that is no cell, end with a reason.
    for (cell, expected) in [("{}".to_owned(), "--cell"), (impossible(), "model.heads")] {
        let run = lra().args(["bench", "--cell", &cell]).assert().failure().code(2);
        let said = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        assert!(said.contains(expected), "{said}");
    }
    std::fs::write(&out, "{}").unwrap();
    let run = lra().args(["bench", "--show"]).arg(&out).assert().failure().code(2);
    let said = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(said.contains("no results of `lra bench`"), "{said}");
}
