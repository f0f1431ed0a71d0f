//! The pictures, by the geometry of what is drawn: words that overlap cannot be read.

use super::svg::{assert_legible, assert_no_line_over, texts};
use super::*;
use lra::bench::{Memory as Taken, Results, Row, Side, Window};
use lra::report::bench;

/// Forty models, crowded: many of nearly one speed, score and size; some failed.
fn crowd() -> Vec<Record> {
    let mut records = Vec::new();
    for model in 0..40u64 {
        for seed in 0..2 {
            let percent = 30.0 + (model * model % 7) as f64 / 3.0 + seed as f64;
            let mut one = record("listops", &format!("attention-number-{model}"), seed, percent);
            one.parameters = 100_000 + 1_000 * (model % 5);
            one.speed.as_mut().unwrap().examples_per_second = 60.0 + (model % 9) as f64;
            one.memory.peak_live = Some(100_000_000 * (1 + model % 3));
            let at = |step: u64| Evaluation {
                step,
                train_loss: 2.0,
                validation: Metrics {
                    loss: 1.5,
                    accuracy: percent / 100.0 - 1.0 / step as f64,
                    examples: 100,
                },
            };
            one.evaluations = (1..=10).map(|k| at(k * 1000)).collect();
            if model % 13 == 5 && seed == 1 {
                one = ended(one, Status::Diverged);
            }
            records.push(one);
        }
    }
    records
}

fn bench_of(models: u64) -> bench::File {
    let row = |model: u64, length: usize| {
        let seconds = 0.01 * (length as f64 / 1024.0).powf(1.0 + (model % 3) as f64 / 2.0);
        let side = Side {
            name: "lra".into(),
            attention: None,
            train: vec![Window { steps: 1, seconds }; 3],
            evaluate: Vec::new(),
            memory: Taken { peak: length as u64 * (1000 + model), ..Taken::default() },
        };
        let is_lost = model == 3 && length == 4096;
        Row {
            model: format!("attention-number-{model}"),
            task: "text".into(),
            preset: "lra".into(),
            length,
            batch: 2,
            parameters: 1,
            flops: 1.0,
            own: (!is_lost).then_some(side),
            peers: Vec::new(),
            failures: if is_lost { vec!["lra: out of memory: it ended".into()] } else { vec![] },
            repeated: false,
        }
    };
    let lengths = [1024, 2048, 3072, 4096];
    let rows = (0..models).flat_map(|model| lengths.map(|length| row(model, length))).collect();
    let (environment, command) = (Environment::default(), "lra bench".to_owned());
    let results = Results { environment, command, ceiling: 1.0, rows };
    bench::File { name: "some/where.json".into(), results }
}

fn svgs(files: &[File]) -> Vec<(&str, &str)> {
    let svg = |file: &'_ File| file.name.ends_with(".svg");
    files
        .iter()
        .filter(|file| svg(file))
        .map(|file| (file.name.as_str(), std::str::from_utf8(&file.bytes).unwrap()))
        .collect()
}

#[test]
fn forty_models_are_legible_in_every_picture() {
    let mut report = report_on(&crowd());
    report.bench = vec![bench_of(40)];
    let files = report::files(&report).unwrap();
    let svgs = svgs(&files);
    let names: Vec<&str> = svgs.iter().map(|(name, _)| *name).collect();
    let expected = [
        "bubble-quick.svg",
        "curves-quick-listops.svg",
        "growth-text-lra.svg",
        "parameters-quick.svg",
    ];
    assert_eq!(names, expected);
    for (name, svg) in svgs {
        assert_legible(name, svg);
        let placed = name.starts_with("bubble") || name.starts_with("parameters");
        let crossed = assert_no_line_over(name, svg, |t| placed && t.starts_with("attention-"));
        assert!(!placed || crossed > 0, "{name}: no name has a line below: nothing was tried");
        let named = texts(svg).0.iter().filter(|(t, _)| t.starts_with("attention-number-")).count();
        // The models with a failed seed have no score, and growth names all twice.
        let least = if name.starts_with("growth") { 80 } else { 36 };
        assert!(named >= least, "{name}: {named} names");
    }
}

#[test]
fn what_failed_is_told_in_the_pictures() {
    let mut report = report_on(&crowd());
    report.bench = vec![bench_of(5)];
    let files = report::files(&report).unwrap();
    let growth = text(&files, "growth-text-lra.svg");
    assert!(growth.contains("Not shown: attention-number-3 OOM at 4096."), "{growth}");
    assert!(growth.contains("n^1.50") && growth.contains("n^2.00"), "fitted powers: {growth}");
    let curves = text(&files, "curves-quick-listops.svg");
    assert!(curves.contains("(1 of 2 seeds, 1 FAIL)"), "{curves}");
    let bubble = text(&files, "bubble-quick.svg");
    assert!(bubble.contains("ListOps done 1, diverged 1"), "{bubble}");
    let markdown = text(&files, "report.md");
    assert!(markdown.contains("attention-number-3 at 4096: lra: out of memory"), "{markdown}");
    assert!(markdown.contains(" OOM |"), "{markdown}");
    let csv = text(&files, "bench.csv");
    assert!(csv.contains(",lra,attention-number-3,4096,2,OOM,"), "{csv}");
}

/// Scores of two tasks, each timed on a machine of its own: speed is the one task's that more
/// models have a speed of, and the chart says which.
#[test]
fn speeds_of_two_machines_are_not_mixed() {
    let mut records = Vec::new();
    for model in ["transformer", "linear", "local"] {
        let mut slow = record("listops", model, 1, 40.0);
        slow.environment.threads += 1;
        if model == "local" {
            slow.speed = None;
        }
        let mut fast = record("text", model, 1, 60.0);
        fast.speed.as_mut().unwrap().examples_per_second = 7000.0;
        records.extend([slow, fast]);
    }
    let files = report::files(&report_on(&records)).unwrap();
    let bubble = text(&files, "bubble-quick.svg");
    assert_legible("bubble", bubble);
    let words: Vec<String> = texts(bubble).0.into_iter().map(|(words, _)| words).collect();
    let has = |part: &str| words.iter().any(|words| words.contains(part));
    for part in ["mean over ListOps and Text", "examples per second of Text", "live heap, Text"] {
        assert!(has(part), "{part}: {words:?}");
    }
    assert!(has("Linear") && has("Local attention") && has("7000"), "{words:?}");
    assert!(!has("geometric mean") && !has("largest task"), "{words:?}");
}

/// One model of three has the five tasks: all three are shown, over what they share. Two of
/// three have them: the third is named with what it lacks.
#[test]
fn the_average_is_shown_where_half_of_the_models_have_it() {
    let of = |model, tasks: &[&str]| -> Vec<Record> {
        tasks.iter().map(|task| record(task, model, 1, 50.0)).collect()
    };
    let mut records = of("transformer", &FIVE);
    records.extend(of("linear", &FIVE[..2]));
    records.extend(of("local", &FIVE[..2]));
    let bubble = |records: &[Record]| {
        let files = report::files(&report_on(records)).unwrap();
        text(&files, "bubble-quick.svg").to_owned()
    };
    let shared = bubble(&records);
    assert!(shared.contains("mean over ListOps and Text"), "{shared}");
    assert!(!shared.contains("Not shown"), "{shared}");
    records.extend(of("linear", &FIVE[2..]));
    let averaged = bubble(&records);
    assert!(averaged.contains("mean of the five tasks"), "{averaged}");
    assert!(averaged.contains("Local attention: Retrieval not run"), "{averaged}");
}

/// A folder without a record has its curve from its events.
#[test]
fn a_run_at_work_has_a_curve() {
    let root = tempfile::tempdir().unwrap();
    let folder = save(root.path(), "begun", &record("listops", "transformer", 1, 0.0));
    fs::remove_file(folder.join("record.json")).unwrap();
    let row = |step| {
        format!(
            "{{\"event\":\"evaluation\",\"step\":{step},\"train_loss\":2.0,\"loss\":2.0,\
             \"accuracy\":0.25,\"examples\":9}}\n"
        )
    };
    fs::write(folder.join("events.jsonl"), row(100) + &row(200) + "{\"torn").unwrap();
    let report = report_of(root.path());
    assert_eq!(report.unfinished[0].evaluations.len(), 2);
    let files = report::files(&report).unwrap();
    let svg = text(&files, "curves-quick-listops.svg");
    assert!(svg.contains("unfinished (n=1)"), "{svg}");
    assert_legible("curves", svg);
    fs::write(folder.join("events.jsonl"), format!("{{\"torn\n{}", row(200))).unwrap();
    let skipped = report_of(root.path()).skipped.join("\n");
    assert!(skipped.contains("events.jsonl:1: damaged"), "{skipped}");
}
