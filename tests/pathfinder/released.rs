//! The released layout, written here in miniature.

use super::load;
use lra::data::Places;
use lra::progress::Progress;
use lra::tasks;
use std::fs;
use std::path::Path;

const OPTIONS: &str = "difficulty = \"baseline\"\ntrain = 16\nvalidation = 2\ntest = 2";

/// Twenty pictures in the release's layout, under `root`.
fn release(root: &Path) -> std::path::PathBuf {
    let cache = tempfile::tempdir().unwrap();
    let data = load(OPTIONS, None, cache.path()).unwrap();
    let folder = root.join("lra_release/pathfinder32/curv_baseline");
    let task = tasks::find("pathfinder").unwrap();
    task.export(&data, &folder, &Progress::silent()).unwrap();
    folder
}

fn fault(root: &Path) -> String {
    let cache = tempfile::tempdir().unwrap();
    let error = load(OPTIONS, Some(root), cache.path()).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    error.to_string()
}

fn pictures(data: &lra::tasks::Dataset) -> Vec<(Vec<u8>, u32)> {
    let splits = data.splits();
    let all = splits.iter().flat_map(|(_, s)| (0..s.len()).map(|i| (s.tokens(i, 0), s.label(i))));
    let mut all: Vec<_> = all.map(|(pixels, label)| (pixels.to_vec(), label)).collect();
    all.sort();
    all
}

#[test]
fn released_pictures_are_read_and_dealt_to_the_splits() {
    let (root, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = release(root.path());
    let drawn = load(OPTIONS, None, cache.path()).unwrap();
    let read = load(OPTIONS, Some(root.path()), cache.path()).unwrap();
    assert_eq!((read.train.len(), read.validation.len(), read.test.len()), (16, 2, 2));
    assert_eq!(pictures(&read), pictures(&drawn));
    assert_ne!(read.source, "generated");
    // An empty PNG, as the release has one, is left out.
    fs::write(folder.join("imgs/0/sample_3.png"), b"").unwrap();
    let metadata = folder.join("metadata/0.npy");
    let mut text = fs::read_to_string(&metadata).unwrap();
    text.push('\n');
    fs::write(&metadata, text).unwrap();
    let less = load(OPTIONS, Some(root.path()), cache.path()).unwrap();
    assert_eq!(pictures(&less).len(), 19);
    let places = Places { official: Some(root.path().into()), cache: cache.path().into() };
    let task = tasks::find("pathfinder").unwrap();
    task.verify(&OPTIONS.parse().unwrap(), &places, &Progress::silent()).unwrap();
}

#[test]
fn faults_are_named_with_their_place() {
    let line = |n: usize| format!("imgs/0 sample_{n}.png {n} 1 1.0 6 2 2 0.5 1 1");
    for (second, parts) in [
        ("imgs/0 sample_1.png 1".to_string(), vec!["0.npy:2", "3 fields", "folder, file"]),
        (line(1).replace(" 1 1.0", " 2 1.0"), vec!["0.npy:2", "\"2\"", "0 or 1"]),
        (line(1).replace("imgs/0", "../0"), vec!["0.npy:2", "leads out"]),
        (line(1).replace("imgs/0", "/etc"), vec!["0.npy:2", "leads out"]),
        (line(77), vec!["0.npy:2", "sample_77.png", "missing"]),
        (line(1) + &" 0".repeat(1 << 15), vec!["0.npy:2", "65536 bytes or more"]),
    ] {
        let root = tempfile::tempdir().unwrap();
        let folder = release(root.path());
        fs::write(folder.join("metadata/0.npy"), format!("{}\n{second}\n", line(0))).unwrap();
        let said = fault(root.path());
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
    let root = tempfile::tempdir().unwrap();
    let folder = release(root.path());
    fs::write(folder.join("metadata/0.npy"), b"\x93NUMPY\xFF\xFE").unwrap();
    assert!(fault(root.path()).contains("not text"));
}

#[test]
fn wrong_pictures_are_refused() {
    let png = |side: u32, color| {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, side, side);
        encoder.set_color(color);
        let samples = side as usize * side as usize * color.samples();
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&vec![7; samples]).unwrap();
        drop(writer);
        bytes
    };
    let gray = png::ColorType::Grayscale;
    let whole = png(32, gray);
    for (bytes, parts) in [
        (png(33, gray), ["33 x 33", "32 x 32"]),
        (png(32, png::ColorType::Rgb), ["Rgb", "8-bit gray"]),
        (whole[..whole.len() / 2].to_vec(), ["not a whole PNG", "unpack"]),
        (b"GIF89a".to_vec(), ["not a whole PNG", "unpack"]),
    ] {
        let root = tempfile::tempdir().unwrap();
        let folder = release(root.path());
        fs::write(folder.join("imgs/0/sample_5.png"), bytes).unwrap();
        let said = fault(root.path());
        assert!(said.contains("sample_5.png"), "{said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
}
