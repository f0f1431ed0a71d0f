//! Checkpoints come back as they were, or their damage is noticed.

#[path = "common/skip.rs"]
mod skip;

use candle_core::{DType, Device, Tensor};
use lra::random::Key;
use lra::train::{Checkpoint, latest, load, load_weights, prune, save_weights};
use rand::RngCore;
use skip::skip;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

const DTYPES: [DType; 7] =
    [DType::U8, DType::U32, DType::I64, DType::BF16, DType::F16, DType::F32, DType::F64];

fn tensors() -> BTreeMap<String, Tensor> {
    let mut tensors = BTreeMap::new();
    let values: Vec<f64> = (0..35).map(|i| f64::from(i) * 1.37).collect();
    for dtype in DTYPES {
        let grid = Tensor::new(values.as_slice(), &Device::Cpu).unwrap().reshape((5, 7)).unwrap();
        let tensor = grid.to_dtype(dtype).unwrap();
        tensors.insert(format!("weights.{}", dtype.as_str()), tensor.clone());
        // Not contiguous, and of an odd number of bytes.
        let view = tensor.t().unwrap().narrow(0, 1, 3).unwrap();
        tensors.insert(format!("first.{} \"é\\", dtype.as_str()), view);
    }
    tensors.insert("scalar".into(), Tensor::new(f32::NAN, &Device::Cpu).unwrap());
    tensors.insert("empty".into(), Tensor::zeros((0, 4), DType::F32, &Device::Cpu).unwrap());
    tensors
}

fn checkpoint(step: u64) -> Checkpoint {
    let notes = [("best", "0.5"), ("step", "not the step"), ("sha256", "\"\n\u{1f600}")];
    let notes = notes.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    Checkpoint { step, tensors: tensors(), notes }
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    let mut bytes = Vec::new();
    tensor.write_bytes(&mut bytes).unwrap();
    bytes
}

fn assert_same(a: &BTreeMap<String, Tensor>, b: &BTreeMap<String, Tensor>) {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, x) in a {
        let y = &b[name];
        assert_eq!((x.dims(), x.dtype()), (y.dims(), y.dtype()), "{name}");
        assert_eq!(bytes(x), bytes(y), "{name}");
    }
}

fn steps(folder: &Path) -> Vec<u64> {
    let list = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name());
    let mut steps: Vec<u64> = list
        .map(|n| n.to_str().unwrap()[5..].split('.').next().unwrap().parse().unwrap())
        .collect();
    steps.sort_unstable();
    steps
}

#[test]
fn everything_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let saved = checkpoint(123);
    let path = saved.save(folder.path()).unwrap();
    assert_eq!(path.file_name().unwrap(), "step-0000123.safetensors");
    let loaded = load(&path, &Device::Cpu).unwrap();
    assert_eq!((loaded.step, &loaded.notes), (123, &saved.notes));
    assert_same(&saved.tensors, &loaded.tensors);
    let (found, warnings) = latest(folder.path(), &Device::Cpu).unwrap();
    assert_eq!((found.unwrap().step, warnings.len()), (123, 0));
}

#[test]
fn the_same_content_is_the_same_bytes() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let saved = checkpoint(5);
    let first = saved.save(a.path()).unwrap();
    // Once over the same file, and once after a round trip.
    let before = fs::read(&first).unwrap();
    saved.save(a.path()).unwrap();
    let second = load(&first, &Device::Cpu).unwrap().save(b.path()).unwrap();
    assert_eq!(before, fs::read(first).unwrap());
    assert_eq!(before, fs::read(second).unwrap());
}

#[test]
fn every_truncation_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(1).save(folder.path()).unwrap();
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let error = load(&path, &Device::Cpu).unwrap_err();
        assert_eq!(error.exit_code(), 8, "{length}: {error}");
    }
    fs::write(&path, [&whole[..], b"\0"].concat()).unwrap();
    assert_eq!(load(&path, &Device::Cpu).unwrap_err().exit_code(), 8);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint(1).save(folder.path()).unwrap();
    let whole = fs::read(&path).unwrap();
    let mut random = Key::new(1).named("bit flips").stream();
    // A thousand anywhere, and each of the places where the format itself is written.
    let anywhere = (0..1000).map(|_| (random.next_u64() % (whole.len() as u64 * 8)) as usize);
    for bit in anywhere.chain(0..200 * 8) {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, damaged).unwrap();
        let error = load(&path, &Device::Cpu).unwrap_err();
        assert_eq!(error.exit_code(), 8, "bit {bit}: {error}");
    }
}

#[test]
fn the_newest_good_one_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    assert!(latest(&at.join("missing"), &Device::Cpu).unwrap().0.is_none());
    assert!(latest(at, &Device::Cpu).unwrap().0.is_none());
    let paths: Vec<_> =
        [3, 20, 12_345_678].iter().map(|&step| checkpoint(step).save(at).unwrap()).collect();
    fs::write(at.join("step-9.safetensors"), "not of our naming").unwrap();
    assert_eq!(latest(at, &Device::Cpu).unwrap().0.unwrap().step, 12_345_678);

    fs::write(&paths[2], "").unwrap();
    let (found, warnings) = latest(at, &Device::Cpu).unwrap();
    assert_eq!((found.unwrap().step, warnings.len()), (20, 1));
    assert!(warnings[0].contains("step-12345678") && warnings[0].contains("cut short"));

    // Whole, but under another step's name.
    fs::copy(&paths[0], &paths[1]).unwrap();
    let (found, warnings) = latest(at, &Device::Cpu).unwrap();
    assert_eq!((found.unwrap().step, warnings.len()), (3, 2));
    assert!(warnings[1].contains("holds step 3, not 20"), "{warnings:?}");

    fs::write(&paths[0], "x").unwrap();
    let error = latest(at, &Device::Cpu).unwrap_err();
    assert_eq!(error.exit_code(), 8);
    assert!(error.to_string().contains("step-0000003"), "{error}");
}

#[test]
fn pruning_keeps_what_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let paths: Vec<_> = (1..=6).map(|step| checkpoint(step).save(at).unwrap()).collect();
    prune(at, 3, &[1, 2]).unwrap();
    assert_eq!(steps(at), [1, 2, 4, 5, 6]);
    fs::write(&paths[5], "damaged").unwrap();
    prune(at, 1, &[2]).unwrap();
    assert_eq!(steps(at), [2, 5, 6]);
    fs::write(&paths[4], "damaged").unwrap();
    prune(at, 0, &[]).unwrap();
    assert_eq!(steps(at), [2, 5, 6]);
    assert_eq!(latest(at, &Device::Cpu).unwrap().0.unwrap().step, 2);
}

#[test]
fn what_cannot_be_stored_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let one = |name: &str, dtype| {
        BTreeMap::from([(name.to_owned(), Tensor::zeros(2, dtype, &Device::Cpu).unwrap())])
    };
    let taken = BTreeMap::from([("sha256".to_owned(), "x".to_owned())]);
    for (tensors, metadata) in [
        (one("a", DType::I16), BTreeMap::new()),
        (one("__metadata__", DType::F32), BTreeMap::new()),
        (one("a", DType::F32), taken),
    ] {
        assert_eq!(save_weights(&path, &tensors, &metadata).unwrap_err().exit_code(), 8);
        assert!(!path.exists());
    }
    save_weights(&path, &one("a", DType::F32), &BTreeMap::new()).unwrap();
    let error = load(&path, &Device::Cpu).unwrap_err();
    assert!(error.to_string().contains("names no step"), "{error}");
}

/// Other programs read the file: Candle's own reader here, and Python's where it is installed.
#[test]
fn others_read_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let metadata = BTreeMap::from([("task".to_owned(), "listops".to_owned())]);
    let saved = tensors();
    save_weights(&path, &saved, &metadata).unwrap();
    let (ours, notes) = load_weights(&path, &Device::Cpu).unwrap();
    assert_same(&saved, &ours);
    assert_eq!(notes, metadata);
    let theirs = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    assert_same(&saved, &theirs.into_iter().collect());

    let python = std::env::var_os("LRA_PYTHON").unwrap_or_else(|| "python3".into());
    let run = |words: &[&str]| Command::new(&python).args(words).arg(&path).output();
    if !run(&["-c", "import safetensors.numpy"]).is_ok_and(|run| run.status.success()) {
        skip(format!("{python:?} has no safetensors module; LRA_PYTHON may name one that has"));
        return;
    }
    let sum = "import sys, safetensors\n\
               with safetensors.safe_open(sys.argv[1], 'numpy') as f:\n\
               \x20   print(f.metadata()['task'], len(f.keys()), f.get_tensor('weights.f64').sum())";
    let said = String::from_utf8(run(&["-c", sum]).unwrap().stdout).unwrap();
    assert!(said.starts_with(&format!("listops {} 815.1", saved.len())), "{said}");

    // As the documentation does it, and once more on a file that was damaged.
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/read_checkpoint.py");
    let shown = run(&[script]).unwrap();
    let said = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    assert_eq!(said.lines().count(), 1 + saved.len(), "{said}");
    assert!(said.contains("task: listops\n") && said.contains("weights.f64: F64 [5, 7]"), "{said}");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let refused = run(&[script]).unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("checksum does not match"), "{said}");
}
