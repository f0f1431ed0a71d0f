//! A baseline that holds several types of CPU.

use super::lra;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const FILE: &str = "results/baseline.json";

/// `lra baseline save` of one model: code, what it said on standard error, and the file.
fn save(folder: &Path, more: &[&str]) -> (i32, String, Value) {
    let words = ["baseline", "save", "--models", "linear"];
    let output = lra(folder).args(words).args(more).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let file = serde_json::from_slice(&fs::read(folder.join(FILE)).unwrap()).unwrap();
    (output.status.code().unwrap(), error, file)
}

fn write(folder: &Path, baseline: &Value) {
    fs::write(folder.join(FILE), baseline.to_string()).unwrap();
}

fn check(folder: &Path) -> (i32, String) {
    let output = lra(folder).args(["-q", "check", "--models", "linear"]).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A baseline that another type of CPU made, whose heap is its own.
fn elsewhere(folder: &Path) -> Value {
    let (code, error, mut file) = save(folder, &["--fresh"]);
    assert_eq!(code, 0, "{error}");
    let machine = &mut file["machines"][0];
    machine["cpu_kind"] = "avx9; L1 1K".into();
    machine["cells"][0]["counted"]["allocations"] = 1.into();
    machine["cells"][0]["counted"]["peak_live"] = 1.into();
    write(folder, &file);
    file
}

#[test]
fn each_type_of_cpu_has_its_counters() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    let other = elsewhere(folder);
    let (code, said) = check(folder);
    assert!(code == 0 && said.contains("cannot be told: 2, same: 3;"), "{said}");
    let cpu = other["machines"][0]["environment"]["cpu"].as_str().unwrap();
    let has = format!("baseline, which has: {cpu}; avx9; L1 1K; add it with lra baseline save");
    assert!(said.contains(&has), "{said}");
    // Added, and the other as it was.
    let (code, error, file) = save(folder, &[]);
    assert!(code == 0 && !error.contains("another version"), "{error}");
    assert_eq!(file["machines"].as_array().unwrap().len(), 2);
    assert_eq!(file["machines"][0], other["machines"][0]);
    let (code, said) = check(folder);
    assert!(code == 0 && said.starts_with("regression: 0, same: 5;"), "{said}");
    // It is the one of this type that is compared with, wherever it stands.
    let mut spoilt = file.clone();
    spoilt["machines"].as_array_mut().unwrap().reverse();
    write(folder, &spoilt);
    assert_eq!(check(folder).0, 0);
    let count = spoilt["machines"][0]["cells"][0]["counted"]["allocations"].as_u64().unwrap();
    spoilt["machines"][0]["cells"][0]["counted"]["allocations"] = json!(count - 9);
    write(folder, &spoilt);
    let (code, said) = check(folder);
    assert!(code == 7 && said.contains("allocations"), "{said}");
    // Replaced, not added again.
    let (_, _, file) = save(folder, &[]);
    assert_eq!(file["machines"].as_array().unwrap().len(), 2);
    assert_eq!(file["machines"][0], other["machines"][0]);
    assert_eq!(check(folder).0, 0);
}

#[test]
fn other_code_is_not_mixed_in() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    let other = elsewhere(folder);
    let spoil = |pointer: &str, value: Value| {
        let mut file = other.clone();
        *file.pointer_mut(pointer).unwrap() = value;
        write(folder, &file);
        file
    };
    for (pointer, value, part) in [
        ("/machines/0/cells/0/parameters", json!(7), "linear: parameters: 7 there, "),
        ("/machines/0/cells/0/counted/loss", json!(99.5), "linear: loss after 8 steps: 99.5 there"),
        ("/machines/0/cells/0/cell/config/train/beta1", json!(0.5), "another cell of linear"),
    ] {
        let before = spoil(pointer, value);
        let (code, error, after) = save(folder, &[]);
        assert_eq!(code, 3, "{error}");
        assert!(error.contains(part) && error.contains("avx9; L1 1K"), "{error}");
        assert!(error.contains("`lra baseline save --fresh` drops them"), "{error}");
        assert_eq!(after, before, "{pointer}");
    }
    let (code, _, file) = save(folder, &["--fresh"]);
    assert_eq!((code, file["machines"].as_array().unwrap().len()), (0, 1));
    assert_ne!(file["machines"][0]["cpu_kind"], "avx9; L1 1K");
    // Another version that counts the same is kept, and told of.
    spoil("/machines/0/environment/lra", "0.0.9 (abc)".into());
    let (code, error, file) = save(folder, &[]);
    assert_eq!((code, file["machines"].as_array().unwrap().len()), (0, 2));
    assert!(error.contains("counters of another version: "), "{error}");
    assert!(error.contains("avx9; L1 1K (0.0.9 (abc)); where"), "{error}");
}

/// Records are of no type of CPU: kept until others are given, or the file is made anew.
#[test]
fn records_stay_until_others_are_given() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    let runs = |file: &Value| file["records"][0]["runs"].as_array().map_or(0, Vec::len);
    super::save_all(&folder.join("three"), &super::seeds("linear", 3, 36.0, 0.4, 1));
    super::save_all(&folder.join("two"), &super::seeds("linear", 2, 36.0, 0.4, 1));
    assert_eq!(runs(&save(folder, &["--records", "three"]).2), 3);
    assert_eq!(runs(&save(folder, &[]).2), 3);
    assert_eq!(runs(&save(folder, &["--records", "two"]).2), 2);
    assert_eq!(runs(&save(folder, &["--fresh"]).2), 0);
}
