//! `lra run --tensorboard`, read back from the bytes and by TensorBoard; `lra export`.

use super::skip::skip;
use super::{arguments, cache, folder, lra};
use lra::random::Key;
use lra::records::{Event, read_events};
use rand::Rng;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

type Scalars = BTreeMap<String, Vec<(u64, f32)>>;

/// CRC-32C bit by bit (polynomial 0x1edc6f41, reflected), masked as TFRecord has it.
fn masked(data: &[u8]) -> u32 {
    let mut crc = !0u32;
    for &byte in data {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Every record; panics where a byte is wrong.
fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(u32_at(bytes, 8), masked(&bytes[..8]));
        let data = &bytes[12..12 + length];
        assert_eq!(u32_at(bytes, 12 + length), masked(data));
        found.push(data);
        bytes = &bytes[16 + length..];
    }
    found
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 127) << shift;
        shift += 7;
        if byte < 128 {
            return value;
        }
    }
}

/// The fields of a protobuf message: number, and the payload (a varint as its bytes).
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => {
                found.push((key >> 3, varint(&mut bytes).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            2 => varint(&mut bytes) as usize,
            5 => 4,
            kind => panic!("wire type {kind}"),
        };
        found.push((key >> 3, bytes[..length].to_vec()));
        bytes = &bytes[length..];
    }
    found
}

fn field(fields: &[(u64, Vec<u8>)], number: u64) -> Option<&[u8]> {
    fields.iter().find(|(n, _)| *n == number).map(|(_, value)| value.as_slice())
}

fn board(out: &Path) -> PathBuf {
    out.join("events.out.tfevents.lra")
}

/// The scalars of a run's event file, in the order they stand there.
fn scalars(out: &Path) -> Scalars {
    let bytes = std::fs::read(board(out)).unwrap();
    let records = records(&bytes);
    assert_eq!(field(&fields(records[0]), 3).unwrap(), b"brain.Event:2");
    let (mut found, mut time) = (Scalars::new(), 0.0);
    for record in &records[1..] {
        let event = fields(record);
        let now = f64::from_le_bytes(field(&event, 1).unwrap().try_into().unwrap());
        assert!(now >= time, "the clock runs back");
        time = now;
        let step = u64::from_le_bytes(field(&event, 2).unwrap().try_into().unwrap());
        for (_, value) in fields(field(&event, 5).unwrap()) {
            let value = fields(&value);
            let tag = String::from_utf8(field(&value, 1).unwrap().to_vec()).unwrap();
            let number = f32::from_le_bytes(field(&value, 2).unwrap().try_into().unwrap());
            found.entry(tag).or_default().push((step, number));
        }
    }
    found
}

/// What must be the same however the run went.
fn metrics(out: &Path) -> Scalars {
    let mut found = scalars(out);
    found.retain(|tag, _| !tag.starts_with("speed/"));
    found
}

fn shown(steps: u32, out: &Path) -> Vec<String> {
    let mut words = arguments("linear", steps, out);
    words.push("--tensorboard".into());
    words
}

#[test]
fn every_step_once_however_often_it_was_killed() {
    let steps = 60;
    let (_root, whole) = folder();
    lra().args(shown(steps, &whole)).assert().success();
    let expected = metrics(&whole);
    let of_steps: Vec<u64> = expected["train/loss"].iter().map(|(step, _)| *step).collect();
    assert_eq!(of_steps, (1..=u64::from(steps)).collect::<Vec<_>>());
    for tag in ["train/learning_rate", "validation/accuracy", "validation/loss"] {
        assert!(expected.contains_key(tag), "{tag}: {:?}", expected.keys());
    }
    assert!(scalars(&whole).contains_key("speed/steps_per_second"));
    // The file says what the rows say.
    for event in read_events(&whole.join("events.jsonl")).unwrap() {
        if let Event::Train { step, loss, .. } = event {
            assert_eq!(expected["train/loss"][step as usize - 1], (step, loss as f32));
        }
    }
    let (_root, broken) = folder();
    let mut rng = Key::new(2).named("board").stream();
    let mut kills = 0;
    loop {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lra"))
            .args(shown(steps, &broken))
            .env("LRA_CACHE", cache())
            .env_remove("LRA_DATA")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let size = || std::fs::metadata(board(&broken)).map_or(0, |file| file.len());
        let until = size() + rng.random_range(0..4000);
        while child.try_wait().unwrap().is_none() && size() <= until {
            std::thread::sleep(Duration::from_millis(1));
        }
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        // What a kill may leave where the kernel tears a write.
        if kills % 2 == 0 && size() > 0 {
            let bytes = std::fs::read(board(&broken)).unwrap();
            std::fs::write(board(&broken), &bytes[..bytes.len() - 5]).unwrap();
        }
        assert!(kills < 100, "no progress over kills");
    }
    assert!(kills >= 3, "only {kills} kills");
    assert_eq!(metrics(&broken), expected, "after {kills} kills");
}

/// A run that was made without is shown whole when it is given again with.
#[test]
fn a_run_that_has_ended_is_shown_too() {
    let (_root, out) = folder();
    lra().args(arguments("linear", 8, &out)).assert().success();
    assert!(!board(&out).exists());
    let record = std::fs::read(out.join("record.json")).unwrap();
    let events = std::fs::read(out.join("events.jsonl")).unwrap();
    lra().args(shown(8, &out)).assert().success();
    assert_eq!(metrics(&out)["train/loss"].len(), 8);
    assert_eq!(std::fs::read(out.join("record.json")).unwrap(), record);
    assert_eq!(std::fs::read(out.join("events.jsonl")).unwrap(), events);
}

/// The Python that has TensorBoard, or why there is none.
fn python() -> Result<PathBuf, String> {
    if let Some(python) = std::env::var_os("LRA_TENSORBOARD") {
        return Ok(python.into());
    }
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tensorboard-venv");
    if venv.join("ready").exists() {
        return Ok(venv.join("bin/python"));
    }
    Err(format!("LRA_TENSORBOARD is not set and {} is not there", venv.display()))
}

#[test]
fn tensorboard_reads_the_same() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => {
            skip(format!("{why}; run tests/tensorboard/setup.sh to read with TensorBoard"));
            return;
        }
    };
    let (_root, out) = folder();
    lra().args(shown(12, &out)).assert().success();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tensorboard/read.py");
    let read = Command::new(python).args(["-W", "ignore", script]).arg(&out).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let theirs: BTreeMap<String, Vec<(u64, f64)>> = serde_json::from_slice(&read.stdout).unwrap();
    let single = |list: Vec<(u64, f64)>| list.into_iter().map(|(step, v)| (step, v as f32));
    let theirs: Scalars = theirs.into_iter().map(|(t, l)| (t, single(l).collect())).collect();
    assert_eq!(theirs, scalars(&out));
}

#[test]
fn a_history_for_wandb() {
    let (root, out) = folder();
    lra().args(arguments("linear", 8, &out)).assert().success();
    let run = lra().args(["export", "--format", "wandb"]).arg(&out).assert().success();
    let text = String::from_utf8(run.get_output().stdout.clone()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1 + 8 + 1);
    assert_eq!(lines[0]["_name"], "listops-linear-quick-s0");
    assert_eq!(lines[0]["_config"]["train"]["batch"], 8);
    let steps: Vec<u64> = lines[1..9].iter().map(|l| l["_step"].as_u64().unwrap()).collect();
    assert_eq!(steps, (1..=8).collect::<Vec<_>>());
    assert!(lines[1]["train/loss"].is_f64() && lines[1].get("validation/accuracy").is_none());
    assert!(lines[4]["validation/accuracy"].is_f64(), "step 4 was evaluated: {}", lines[4]);
    let record = lra::records::read_record(&out.join("record.json")).unwrap();
    let accuracy = record.final_metrics.unwrap().test.accuracy;
    assert_eq!(lines[9]["_summary"]["test/accuracy"].as_f64(), Some(accuracy));
    let file = root.path().join("history.jsonl");
    lra().args(["export", "--format", "wandb", "--out"]).arg(&file).arg(&out).assert().success();
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("{\"_name\":"));
    let missing = lra().args(["export", "--format", "wandb"]).arg(root.path()).assert().code(3);
    let said = String::from_utf8_lossy(&missing.get_output().stderr).into_owned();
    assert!(said.contains("record.json"), "{said}");
}
