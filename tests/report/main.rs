//! `lra report` on synthetic run folders: what is shown, what is missing, what is odd.

mod charts;
mod page;
#[path = "../common/skip.rs"]
mod skip;
mod splice;
mod svg;

#[path = "../common/records.rs"]
mod synthetic;

use lra::error::Result;
use lra::records::*;
use lra::report::{self, File, Published, Report};
use std::fs;
use std::path::Path;
use synthetic::{record, save, save_all};

const FIVE: [&str; 5] = ["listops", "text", "retrieval", "image", "pathfinder"];

fn ended(mut record: Record, status: Status) -> Record {
    record.status = status;
    record.final_metrics = None;
    record
}

fn report_of(root: &Path) -> Report {
    let loaded = load(&[root.to_path_buf()]).unwrap();
    Report::new(loaded, Published::compiled_in().unwrap(), "lra report".into(), None)
}

fn report_on(records: &[Record]) -> Report {
    let root = tempfile::tempdir().unwrap();
    save_all(root.path(), records);
    report_of(root.path())
}

fn text<'a>(files: &'a [File], name: &str) -> &'a str {
    let file = files.iter().find(|file| file.name == name).unwrap();
    std::str::from_utf8(&file.bytes).unwrap()
}

/// A section's cell as people read it.
fn cell(report: &Report, model: &str, task: &str) -> String {
    let section = &report.sections[0];
    let row = section.rows.iter().find(|row| row.model == model).unwrap();
    section.cell(row, task).unwrap().text()
}

fn lra() -> assert_cmd::Command {
    assert_cmd::Command::cargo_bin("lra").unwrap()
}

#[test]
fn a_small_report_is_exactly_this() {
    let mut fast = record("listops", "linear", 1, 36.0);
    fast.speed.as_mut().unwrap().examples_per_second = 160.0;
    fast.memory.peak_live = Some(100_000_000);
    let report = report_on(&[
        record("listops", "transformer", 1, 36.0),
        record("listops", "transformer", 2, 38.0),
        fast,
        ended(record("text", "linear", 1, 0.0), Status::Diverged),
    ]);
    let text = report::terminal(&report);
    let expected = "\
| Model              |            ListOps |       Text | Retrieval | Image | Pathfinder | Path-X | Average of 5 (paper) | Average of 6 (FAIL = 50) |
|:-------------------|-------------------:|-----------:|----------:|------:|-----------:|-------:|---------------------:|-------------------------:|
| Transformer        | 37.00 ± 1.00 (n=2) |          - |         - |     - |          - |      - |     - (1 of 5 tasks) |         - (1 of 6 tasks) |
| Linear Transformer |        36.00 (n=1) | FAIL (n=1) |         - |     - |          - |      - |     - (1 of 5 tasks) |         - (1 of 6 tasks) |
| (majority class)   |              17.00 |      17.00 |         - |     - |          - |      - |                      |                          |
";
    assert!(text.contains(expected), "{text}");
    let expected = "\
| Model              | Runs |   Steps/s | Examples/s | Tokens/s | Speed ratio | Peak GB, live heap | Peak GB, resident | Memory ratio |
|:-------------------|-----:|----------:|-----------:|---------:|------------:|-------------------:|------------------:|-------------:|
| Transformer        |    2 |  2.00 ± 0 |       64.0 |    64000 |       1.00x |              0.400 |             0.500 |        1.00x |
| Linear Transformer |    1 | 2.00 ± 0.100 |";
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let without_rules =
        |text: &str| text.lines().filter(|l| !l.contains("---")).map(squeezed).collect::<String>();
    assert!(without_rules(&text).contains(&without_rules(expected)), "{text}");
    assert!(squeezed(&text).contains("| 160 | 64000 | 2.50x | 0.100 | 0.500 | 0.250x |"), "{text}");
    assert!(text.ends_with("4 records.\n"), "{text}");
}

#[test]
fn every_status_is_shown_as_what_it_is() {
    let root = tempfile::tempdir().unwrap();
    save_all(
        root.path(),
        &[
            record("listops", "transformer", 1, 36.0),
            ended(record("listops", "transformer", 2, 0.0), Status::Diverged),
            ended(record("text", "transformer", 1, 0.0), Status::OutOfMemory),
            ended(record("retrieval", "transformer", 1, 0.0), Status::Failed),
            ended(record("image", "transformer", 1, 0.0), Status::Interrupted),
            ended(record("pathfinder", "transformer", 1, 0.0), Status::Done),
        ],
    );
    // A folder that has begun and left no record yet.
    let folder = save(root.path(), "begun", &record("pathx", "transformer", 1, 0.0));
    fs::remove_file(folder.join("record.json")).unwrap();
    let report = report_of(root.path());
    let shown = ["listops", "text", "retrieval", "image", "pathfinder", "pathx"]
        .map(|task| cell(&report, "transformer", task));
    let expected = [
        "36.00 (1 of 2 seeds, 1 FAIL)",
        "OOM (n=1)",
        "error (n=1)",
        "unfinished (n=1)",
        "no score (n=1)",
        "unfinished (n=1)",
    ];
    assert_eq!(shown, expected);
    let files = report::files(&report).unwrap();
    let csv = text(&files, "accuracy.csv");
    assert!(
        csv.contains("quick,listops,transformer,2,1,36,,36,36,36,false,\"done 1, diverged 1\"")
    );
    assert!(report::terminal(&report).contains("1 run folder without a record (unfinished)"));
}

#[test]
fn averages_need_every_task() {
    let all = |model: &str| FIVE.map(|task| record(task, model, 1, 50.0)).to_vec();
    let mut records = all("transformer");
    records.push(ended(record("pathx", "transformer", 1, 0.0), Status::Diverged));
    records.extend(all("performer").into_iter().skip(1));
    let report = report_on(&records);
    let averages =
        report.sections[0].rows.iter().map(|r| (r.five_tasks.text(), r.six_tasks.text()));
    let expected = [("50.00", "50.00"), ("- (4 of 5 tasks)", "- (4 of 6 tasks)")];
    assert_eq!(averages.collect::<Vec<_>>(), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    let files = report::files(&report).unwrap();
    let svg = text(&files, "bubble-quick.svg");
    assert!(svg.contains("mean of the five tasks"), "{svg}");
    assert!(svg.contains("Not shown: Performer: ListOps not run."), "{svg}");
}

#[test]
fn presets_are_never_mixed() {
    let mut other = record("listops", "transformer", 2, 90.0);
    other.preset = "lra".into();
    let report = report_on(&[record("listops", "transformer", 1, 36.0), other]);
    let cells: Vec<String> = report
        .sections
        .iter()
        .map(|s| format!("{} {}", s.preset, s.rows[0].cells[0].text()))
        .collect();
    assert_eq!(cells, ["lra 90.00 (n=1)", "quick 36.00 (n=1)"]);
    let files = report::files(&report).unwrap();
    let plots: Vec<&str> =
        files.iter().map(|f| f.name.as_str()).filter(|n| n.starts_with("bubble")).collect();
    let expected = ["bubble-lra.svg", "bubble-lra.png", "bubble-quick.svg", "bubble-quick.png"];
    assert_eq!(plots, expected);
}

#[test]
fn what_should_agree_and_does_not_is_noted() {
    let mut odd = record("listops", "transformer", 2, 38.0);
    odd.steps = 200;
    odd.data.source = "/data/lra".into();
    odd.environment.threads = 8;
    odd.config["train"]["lr"] = serde_json::json!(0.5);
    let report = report_on(&[record("listops", "transformer", 1, 36.0), odd]);
    let notes = report.sections[0].notes.join("\n");
    for expected in [
        "different data sources: /data/lra (seed 2); generated (seed 1)",
        "different numbers of steps: 100 (seed 1); 200 (seed 2)",
        "different numbers of threads: 2 (seed 1); 8 (seed 2)",
        "different configurations: `train.lr`",
    ] {
        assert!(notes.contains(expected), "{notes}");
    }
    assert!(report::terminal(&report).contains("37.00 ± 1.00 (n=2) ["), "the cell is marked");
    // Two machines: two rows of speed, never one median.
    assert_eq!(report.sections[0].speed.len(), 2);
    let same = report_on(&[
        record("listops", "transformer", 1, 36.0),
        record("listops", "transformer", 2, 38.0),
    ]);
    assert!(same.sections[0].notes.is_empty(), "{:?}", same.sections[0].notes);
}

#[test]
fn one_seed_run_twice_counts_once_and_failures_are_not_outlived() {
    let mut failed = ended(record("listops", "transformer", 1, 0.0), Status::Diverged);
    failed.environment.finished = "2026-02-01T00:00:00Z".into();
    let report = report_on(&[
        record("listops", "transformer", 1, 36.0),
        failed.clone(),
        ended(record("text", "transformer", 1, 0.0), Status::Interrupted),
        record("text", "transformer", 1, 60.0),
    ]);
    assert_eq!(cell(&report, "transformer", "listops"), "FAIL (n=1)", "the newest counts");
    assert_eq!(cell(&report, "transformer", "text"), "60.00 (n=1)", "final before open");
    let notes = report.sections[0].notes.join("\n");
    assert!(notes.contains("seed 1 has 2 run folders; the one in "), "{notes}");
}

#[test]
fn damaged_records_are_named_and_never_hide_the_others() {
    let root = tempfile::tempdir().unwrap();
    save(root.path(), "good", &record("listops", "transformer", 1, 36.0));
    let torn = save(root.path(), "torn", &record("listops", "transformer", 2, 38.0));
    fs::write(torn.join("record.json"), "{\n  \"version\": 1,\n  \"status\": \"fine\"\n}").unwrap();
    let newer = save(root.path(), "newer", &record("text", "transformer", 1, 60.0));
    fs::write(newer.join("record.json"), "{\"version\": 999, \"else\": []}").unwrap();
    save(root.path(), "wrong", &record("image", "transformer", 1, 4100.0));
    fs::write(root.path().join("wrong/config.json"), "not json").unwrap();
    fs::create_dir_all(root.path().join("bare")).unwrap();
    fs::write(root.path().join("bare/record.json"), b"\xff\xfe\x00").unwrap();

    let output = lra()
        .args(["report", root.path().to_str().unwrap(), "--out"])
        .arg(root.path().join("out"))
        .arg("--plots")
        .arg(root.path().join("plots"))
        .assert()
        .code(0);
    let shown = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    for expected in [
        "torn/record.json:3:18: expected a run record, version 1: unknown variant `fine`",
        "newer/record.json: record version 999 is newer than this lra reads (up to 1)",
        "wrong/record.json: final_metrics.validation.accuracy: expected 0 to 1, found 41",
        "bare/record.json:1:1: expected a run record",
        "36.00 (1 of 2 seeds, 1 unreadable)",
        "1 record, 4 files skipped",
    ] {
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
}

#[test]
fn a_diverged_record_with_nan_losses_reads_back() {
    let mut diverged = ended(record("listops", "transformer", 1, 0.0), Status::Diverged);
    diverged.evaluations[0].train_loss = f64::NAN;
    diverged.evaluations[0].validation.loss = f64::INFINITY;
    let report = report_on(&[diverged]);
    assert_eq!((report.runs_read, &report.skipped), (1, &vec![]));
    assert_eq!(cell(&report, "transformer", "listops"), "FAIL (n=1)");
}

#[test]
fn hostile_names_act_nowhere() {
    let evil = "=cmd|\n<script>`x`\u{1b}[31m🦀\"'";
    let mut record = record("listops", "transformer", 1, 36.0);
    record.model = evil.into();
    record.task = format!("../{evil}");
    record.preset = "../../-quick\n".into();
    record.reason = Some("=1+1".into());
    record.environment.cpu = evil.into();
    let report = report_on(&[record]);
    let files = report::files(&report).unwrap();
    for file in &files {
        assert!(!file.name.contains(['/', '.']) || file.name.matches('.').count() == 1);
        assert!(!file.name.contains('/'), "{}", file.name);
    }
    let runs = text(&files, "runs.csv");
    assert_eq!(runs.lines().count(), 2, "a newline in a name is no row: {runs}");
    assert!(runs.contains(",'=1+1,") && runs.contains("\"'=cmd| <script>"), "{runs}");
    let markdown = text(&files, "report.md");
    assert!(!markdown.contains("<script>") && !markdown.contains('\u{1b}'), "{markdown}");
    assert!(markdown.contains("=cmd\\| &lt;script&gt;\\`x\\`"), "{markdown}");
    let svg = files.iter().find(|f| f.name.ends_with(".svg")).unwrap();
    let svg = std::str::from_utf8(&svg.bytes).unwrap();
    assert!(svg.contains("&lt;script&gt;") && !svg.contains("<script>"), "{svg}");
    assert!(!report::terminal(&report).contains('\u{1b}'));
}

#[test]
fn a_thousand_records_give_the_same_bytes_twice() {
    let root = tempfile::tempdir().unwrap();
    let mut records = Vec::new();
    for model in 0..40 {
        for (task, name) in FIVE.iter().enumerate() {
            for seed in 0..5 {
                let score = 30.0 + (model * 7 % 13 + task * 5) as f64 + seed as f64 / 7.0;
                let mut run = record(name, &format!("model-{model}"), seed, score);
                run.speed.as_mut().unwrap().examples_per_second = 10.0 + (model * model) as f64;
                run.memory.peak_live = Some(10_000_000 * (1 + model as u64 * 11 % 17));
                records.push(run);
            }
        }
    }
    save_all(root.path(), &records);
    let report = report_of(root.path());
    assert_eq!(report.runs_read, 1000);
    let files = report::files(&report).unwrap();
    assert_eq!(files, report::files(&report_of(root.path())).unwrap());
    assert_eq!(text(&files, "runs.csv").lines().count(), 1001);
    assert_eq!(text(&files, "accuracy.csv").lines().count(), 1 + 40 * 6);
    assert_eq!(text(&files, "speed.csv").lines().count(), 1 + 40 * 5);
    let svg = text(&files, "bubble-quick.svg");
    let named = svg.lines().filter(|line| line.starts_with("model-"));
    assert_eq!(named.count(), 40, "every bubble has its name");
    let png = files.iter().find(|f| f.name == "bubble-quick.png").unwrap();
    assert!(png.bytes.starts_with(b"\x89PNG"));
}

#[test]
fn ratios_and_charts_stay_on_one_machine() {
    let transformer = record("listops", "transformer", 1, 36.0);
    let mut elsewhere = record("listops", "linear", 1, 36.0);
    elsewhere.environment.cpu = "Other CPU".into();
    let mut beside = record("listops", "performer", 1, 36.0);
    beside.speed.as_mut().unwrap().examples_per_second = 128.0;
    let mut longer = record("listops", "longformer", 1, 36.0);
    longer.config["model"]["length"] = serde_json::json!(4000);
    let report = report_on(&[transformer, elsewhere, beside, longer]);
    let ratio = |model: &str| {
        let row = report.sections[0].speed.iter().find(|row| row.model == model).unwrap();
        (row.speed_ratio, row.memory_ratio)
    };
    assert_eq!(ratio("performer"), (Some(2.0), Some(1.0)));
    assert_eq!(ratio("linear"), (None, None), "another machine");
    assert_eq!(ratio("longformer"), (None, None), "another length");
    let files = report::files(&report).unwrap();
    let svg = text(&files, "bubble-quick.svg");
    assert!(svg.contains("Linear Transformer: no speed on this machine for ListOps"), "{svg}");
}

#[test]
fn bubble_area_is_in_proportion_to_memory() {
    let mut large = record("listops", "transformer", 1, 36.0);
    large.memory.peak_live = Some(1_600_000_000);
    let mut small = record("listops", "linear", 1, 30.0);
    small.memory.peak_live = Some(100_000_000);
    let files = report::files(&report_on(&[large, small])).unwrap();
    let svg = text(&files, "bubble-quick.svg");
    let radius = |line: &str| -> f64 {
        line.split("r=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
    };
    // Only the bubbles can be seen through.
    let bubble = |l: &&str| l.starts_with("<circle") && !l.contains("opacity=\"1\"");
    let bubbles: Vec<f64> = svg.lines().filter(bubble).map(radius).collect();
    assert_eq!(bubbles.len(), 2);
    assert!((bubbles[0] / bubbles[1] - 4.0).abs() < 0.01, "16 times the memory: {bubbles:?}");
}

#[test]
fn models_without_speed_or_memory_are_named_below_the_chart() {
    let mut silent = record("listops", "linear", 1, 30.0);
    silent.speed = None;
    let mut weightless = record("listops", "performer", 1, 30.0);
    weightless.memory = Memory::default();
    let shown = record("listops", "transformer", 1, 36.0);
    let files = report::files(&report_on(&[shown, silent.clone(), weightless])).unwrap();
    let svg = text(&files, "bubble-quick.svg");
    assert!(svg.contains("Linear Transformer: no speed on this machine for ListOps"), "{svg}");
    assert!(svg.contains("Performer: no memory measured (live heap)"), "{svg}");
    // With nothing to draw there is no chart, and no error.
    let files = report::files(&report_on(&[silent])).unwrap();
    assert!(files.iter().all(|file| !file.name.starts_with("bubble")));
}

#[cfg(unix)]
#[test]
fn links_loops_and_odd_files_are_survived() {
    let root = tempfile::tempdir().unwrap();
    let run = save(root.path(), "a/run", &record("listops", "transformer", 1, 36.0));
    std::os::unix::fs::symlink(root.path(), run.join("loop")).unwrap();
    std::os::unix::fs::symlink(&run, root.path().join("again")).unwrap();
    std::os::unix::fs::symlink("nowhere", root.path().join("dangling")).unwrap();
    fs::create_dir_all(root.path().join("b/record.json")).unwrap();
    let socket = root.path().join("c");
    fs::create_dir_all(&socket).unwrap();
    let _held = std::os::unix::net::UnixListener::bind(socket.join("record.json")).unwrap();
    let outside = tempfile::tempdir().unwrap();
    let other = save(outside.path(), "run", &record("text", "transformer", 1, 60.0));
    std::os::unix::fs::symlink(other, root.path().join("linked")).unwrap();
    let loaded = load(&[root.path().to_path_buf(), run.clone()]).unwrap();
    let tasks: Vec<&str> = loaded.runs.iter().map(|run| run.record.task.as_str()).collect();
    assert_eq!(tasks, ["listops", "text"], "each run once, however often it is reached");
    let skipped = loaded.skipped.join("\n");
    assert!(skipped.contains("c/record.json: not a regular file"), "{skipped}");
}

#[test]
fn nothing_to_report_says_how_to_make_something() -> Result<()> {
    let root = tempfile::tempdir().unwrap();
    let empty = root.path().to_str().unwrap();
    let missing = format!("{empty}/none");
    for (dir, what) in [(empty, "no records here"), (&missing, "there is no such folder")] {
        let output = lra().args(["report", dir, "--out", empty]).assert().code(3);
        let error = String::from_utf8(output.get_output().stderr.clone()).unwrap();
        assert!(error.contains(dir) && error.contains(what), "{error}");
        assert!(
            error.contains("`lra run --model transformer --task listops --preset quick`"),
            "{error}"
        );
    }
    save(root.path(), "run", &record("listops", "transformer", 1, 36.0));
    let arguments = ["report", empty, "--preset", "lra", "--out", empty, "--plots", empty];
    let output = lra().args(arguments).assert().code(3);
    let error = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(error.contains("no records of preset lra here"), "{error}");
    Ok(())
}

#[test]
fn json_is_the_aggregate_and_only_that() {
    let root = tempfile::tempdir().unwrap();
    save(root.path(), "run", &record("listops", "transformer", 1, 36.0));
    let out = root.path().join("out");
    let output = lra()
        .args(["report", "--json", root.path().to_str().unwrap()])
        .args(["--out".as_ref(), out.as_os_str(), "--plots".as_ref(), out.as_os_str()])
        .assert()
        .code(0);
    let json: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(json["sections"][0]["rows"][0]["cells"][0]["accuracy"]["mean"], 36.0);
    assert_eq!(json["sections"][0]["rows"][0]["five_tasks"]["mean"], serde_json::Value::Null);
    let mut names: Vec<String> = fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "accuracy-quick.tex",
        "accuracy.csv",
        "averages.csv",
        "bubble-quick.png",
        "bubble-quick.svg",
        "curves-quick-listops.png",
        "curves-quick-listops.svg",
        "parameters-quick.png",
        "parameters-quick.svg",
        "published.tex",
        "report.md",
        "runs.csv",
        "speed-quick.tex",
        "speed.csv",
    ];
    assert_eq!(names, expected);
}

#[cfg(unix)]
#[test]
fn a_closed_standard_output_is_no_failure() {
    let root = tempfile::tempdir().unwrap();
    save(root.path(), "run", &record("listops", "transformer", 1, 36.0));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_lra"))
        .arg("report")
        .arg(root.path())
        .args(["--out".as_ref(), root.path(), "--plots".as_ref(), root.path()])
        .stdout(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}
