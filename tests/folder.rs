//! The run folder: who may use it, and what it keeps.

use lra::error::Error;
use lra::records::*;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

fn config() -> Value {
    json!({"task": "listops", "train": {"steps": 200, "lr": 0.1f32, "clip": null}})
}

fn refusal(path: &Path, config: &Value) -> Error {
    RunFolder::open(path, config).expect_err("refused")
}

#[test]
fn the_same_configuration_opens_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs/-a 😀\n");
    let first = RunFolder::open(&path, &config()).unwrap();
    assert!(first.checkpoints().is_dir());
    let written = fs::read(path.join("config.json")).unwrap();
    drop(first);
    // What a kill in the middle of writing leaves behind goes; other files stay.
    fs::write(path.join("checkpoints/.lra-x.tmp"), "half").unwrap();
    fs::write(path.join("notes.txt"), "mine").unwrap();
    let reordered = json!({"train": {"lr": 0.1f32, "clip": null, "steps": 200}, "task": "listops"});
    RunFolder::open(&path, &reordered).unwrap();
    assert_eq!(fs::read(path.join("config.json")).unwrap(), written);
    assert_eq!(fs::read_dir(path.join("checkpoints")).unwrap().count(), 0);
    assert!(path.join("notes.txt").exists());
}

#[test]
fn another_configuration_is_refused_key_by_key() {
    let folder = tempfile::tempdir().unwrap();
    drop(RunFolder::open(folder.path(), &config()).unwrap());
    let mut other = config();
    other["train"]["steps"] = 500.into();
    other["seed"] = 1.into();
    let error = refusal(folder.path(), &other);
    assert_eq!(error.exit_code(), 2);
    let message = error.to_string();
    for part in ["train.steps: 200 there, 500 here", "seed: absent there, 1 here", "--out"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains("lr"), "{message}");
    RunFolder::open(folder.path(), &config()).unwrap();
}

#[test]
fn foreign_and_damaged_folders_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    assert_eq!(refusal(&file, &config()).exit_code(), 2);
    let error = refusal(folder.path(), &config());
    assert!(error.exit_code() == 2 && error.to_string().contains("\"file\""), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    let named_like_ours = folder.path().join("b");
    fs::create_dir(&named_like_ours).unwrap();
    fs::write(named_like_ours.join("lock"), "a poem that somebody wrote").unwrap();
    assert_eq!(refusal(&named_like_ours, &config()).exit_code(), 2);
    fs::write(named_like_ours.join("lock"), "123\n").unwrap();
    fs::write(named_like_ours.join(".lra-abc.tmp"), "half a configuration").unwrap();
    RunFolder::open(&named_like_ours, &config()).unwrap();

    for damage in ["", "{\"task\": ", "\0\0\0", "\u{feff}{}"] {
        fs::write(named_like_ours.join("config.json"), damage).unwrap();
        let error = refusal(&named_like_ours, &config());
        assert_eq!(error.exit_code(), 3);
        let message = error.to_string();
        assert!(message.contains("config.json") && message.contains("--out"), "{message}");
    }
}

#[test]
fn a_second_opener_is_refused_and_told_whom_to_wait_for() {
    let folder = tempfile::tempdir().unwrap();
    let held = RunFolder::open(folder.path(), &config()).unwrap();
    let error = refusal(folder.path(), &config());
    assert!(matches!(error, Error::Locked { pid, .. } if pid == std::process::id()), "{error}");
    assert_eq!(error.exit_code(), 9);
    drop(held);
    RunFolder::open(folder.path(), &config()).unwrap();
}

#[test]
#[ignore = "is the child of the next test"]
fn holds_a_folder() {
    let Ok(path) = std::env::var("LRA_TEST_HOLD") else { return };
    let _held = RunFolder::open(path, &config()).unwrap();
    println!("\nheld");
    std::thread::sleep(std::time::Duration::from_secs(60));
}

#[test]
fn the_lock_goes_with_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holds_a_folder", "--ignored", "--nocapture"])
        .env("LRA_TEST_HOLD", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "held"));
    let error = refusal(folder.path(), &config());
    assert!(matches!(error, Error::Locked { pid, .. } if pid == child.id()), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(
        fs::read_to_string(folder.path().join("lock")).unwrap().trim(),
        child.id().to_string()
    );
    RunFolder::open(folder.path(), &config()).unwrap();
}

#[test]
fn events_go_on_after_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let held = RunFolder::open(folder.path(), &config()).unwrap();
    let mut events = held.events(None, None).unwrap();
    for step in 1..=3 {
        events.write(&Event::Checkpoint { step }).unwrap();
    }
    drop(held.events(Some(2), Some(2)).unwrap());
    let kept = read_events(&folder.path().join("events.jsonl")).unwrap();
    assert_eq!(kept, [Event::Checkpoint { step: 1 }, Event::Checkpoint { step: 2 }]);
}

fn record() -> Record {
    let nothing_measured = Metrics { loss: f64::NAN, accuracy: 0.1, examples: 3 };
    Record {
        version: RECORD_VERSION,
        status: Status::Diverged,
        reason: Some("loss is NaN".into()),
        task: "listops".into(),
        model: "transformer".into(),
        preset: "quick".into(),
        seed: u64::MAX,
        config: config(),
        data: DataRecord {
            source: "generated".into(),
            version: 1,
            checksum: "00".into(),
            train: 1,
            validation: 2,
            test: 3,
            classes: 10,
            majority: 0.1 + 0.2,
        },
        parameters: 7,
        steps: 12,
        selection: Selection::BestValidation,
        final_metrics: None,
        evaluations: vec![Evaluation { step: 5, train_loss: 1.5, validation: nothing_measured }],
        speed: None,
        memory: Memory { peak_live: Some(1), ..Memory::default() },
        wall: Wall { total: 1.25, ..Wall::default() },
        environment: lra::measure::observe(&candle_core::Device::Cpu, candle_core::DType::F32, 2),
    }
}

#[test]
fn the_record_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let held = RunFolder::open(folder.path(), &config()).unwrap();
    assert_eq!(held.read_record().unwrap(), None);
    held.write_record(&record()).unwrap();
    let mut read = held.read_record().unwrap().unwrap();
    // NaN is not equal to itself.
    assert!(read.evaluations[0].validation.loss.is_nan());
    let mut expected = record();
    expected.environment.started.clone_from(&read.environment.started);
    for record in [&mut read, &mut expected] {
        record.evaluations[0].validation.loss = 0.0;
        record.environment.load = None;
    }
    assert_eq!(read, expected);

    let path = folder.path().join("record.json");
    fs::write(&path, format!("{{\"version\": {}, \"new\": 1}}", RECORD_VERSION + 1)).unwrap();
    let error = held.read_record().unwrap_err();
    assert!(error.exit_code() == 3 && error.to_string().contains("newer"), "{error}");
    fs::write(&path, "{}").unwrap();
    assert_eq!(held.read_record().unwrap_err().exit_code(), 3);
}

/// Writes fifty runs below the folder that the environment names, each as `lra run` does.
#[test]
#[ignore = "is the child of the next test"]
fn writes_fifty() {
    let Ok(place) = std::env::var("LRA_TEST_RECORDS") else { return };
    let (results, process) = place.split_once('|').unwrap();
    for i in 0..50 {
        let folder = Path::new(results).join(format!("run-{process}-{i}"));
        let held = RunFolder::open(folder, &config()).unwrap();
        let mut record = record();
        record.seed = i;
        held.write_record(&record).unwrap();
        // Once more, as a run that goes on does.
        record.reason = Some("x".repeat(10_000));
        held.write_record(&record).unwrap();
    }
}

#[test]
fn sixteen_processes_leave_whole_records() {
    let folder = tempfile::tempdir().unwrap();
    let start = |process| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writes_fifty", "--ignored"])
            .env("LRA_TEST_RECORDS", format!("{}|{process}", folder.path().display()))
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut children: Vec<_> = (0..16).map(start).collect();
    // A reader meanwhile sees old records or new ones, and nothing torn.
    while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        let seen = load(&[folder.path().to_path_buf()]).unwrap();
        assert_eq!(seen.skipped, [""; 0]);
    }
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    let seen = load(&[folder.path().to_path_buf()]).unwrap();
    assert_eq!((seen.runs.len(), seen.skipped.len(), seen.unfinished.len()), (800, 0, 0));
    assert!(
        seen.runs.iter().all(|run| run.record.reason.as_ref().is_some_and(|r| r.len() == 10_000))
    );
}

/// A run that was killed left a draft and its rows; they make the record that it could not.
#[test]
fn a_draft_becomes_a_record() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!finish_draft(folder.path(), Status::OutOfMemory, "no").unwrap());
    let held = RunFolder::open(folder.path(), &config()).unwrap();
    let draft = Record { evaluations: Vec::new(), steps: 0, ..record() };
    held.write_draft(&draft).unwrap();
    let mut events = held.events(None, None).unwrap();
    for step in 1..=3 {
        events.write(&Event::Train { step, loss: 1.0, lr: 0.1, gradient_norm: 1.0 }).unwrap();
    }
    let (train_loss, loss, accuracy, examples) = (1.5, 1.25, 0.5, 9);
    events.write(&Event::Evaluation { step: 3, train_loss, loss, accuracy, examples }).unwrap();
    assert_eq!(last_step(folder.path()), Some(3));
    drop((held, events));
    assert!(finish_draft(folder.path(), Status::OutOfMemory, "killed").unwrap());
    let record = read_record(&folder.path().join("record.json")).unwrap();
    assert_eq!((record.status, record.steps), (Status::OutOfMemory, 3));
    assert_eq!(record.reason.as_deref(), Some("killed"));
    let validation = Metrics { loss, accuracy, examples };
    assert_eq!(record.evaluations, [Evaluation { step: 3, train_loss, validation }]);
    assert!(!finish_draft(folder.path(), Status::OutOfMemory, "again").unwrap());
}
