//! Every parser of something that others may have written, on any bytes at all: what it reads
//! it reads, what it refuses it refuses in words and with a code of its own. Fuzz targets and
//! the test over what they found share these. Each returns whether all of the bytes were read.

use candle_core::Device;
use lra::attention::Registry;
use lra::config::{Card, Request, resolve};
use lra::data::Places;
use lra::error::{Error, Result};
use lra::progress::Progress;
use lra::records::{read_events, read_record};
use lra::tasks::{self, listops, retrieval};
use lra::train;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

pub type Parser = fn(&[u8]) -> bool;

/// Every parser by name.
pub const ALL: [(&str, Parser); 9] = [
    ("listops", listops),
    ("retrieval", retrieval),
    ("pathfinder", pathfinder),
    ("cifar", cifar),
    ("archive", archive),
    ("checkpoint", checkpoint),
    ("record", record),
    ("card", card),
    ("set", set),
];

/// A refusal has one of the codes that such a file can be refused with, and words that stay
/// where they are printed.
fn said<T>(result: Result<T>, codes: &[u8]) -> Option<T> {
    let error: Error = match result {
        Ok(value) => return Some(value),
        Err(error) => error,
    };
    let text = error.to_string();
    assert!(codes.contains(&error.exit_code()), "code {}: {text}", error.exit_code());
    assert!(!text.is_empty());
    let hostile = |c: char| c.is_control() && c != '\n';
    assert!(!text.contains(hostile), "control characters reach the terminal: {text:?}");
    None
}

pub fn listops(bytes: &[u8]) -> bool {
    let Some(mut reader) = said(listops::Reader::new(bytes, Path::new("x.tsv")), &[3]) else {
        return false;
    };
    let mut symbols = Vec::new();
    loop {
        match said(reader.next(&mut symbols, 64), &[3]) {
            Some(Some(row)) => assert!(symbols.len() <= 64 && row.label <= 9 && row.value <= 9),
            end => return end.is_some(),
        }
    }
}

pub fn retrieval(bytes: &[u8]) -> bool {
    let mut reader = retrieval::Reader::new(bytes, Path::new("x.tsv"));
    loop {
        match said(reader.next_row(), &[3]) {
            Some(Some(row)) => {
                assert!(row.label <= 1 && row.text(0).len() + row.text(1).len() <= bytes.len());
            }
            end => return end.is_some(),
        }
    }
}

/// Loads a task whose files `fill` lays out; a place of its own each time, since what was
/// prepared is kept.
fn load(task: &str, options: &str, fill: impl FnOnce(&Path) -> PathBuf) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let official = fill(folder.path());
    let places = Places { official: Some(official), cache: folder.path().join("cache") };
    let options: toml::Table = options.parse().unwrap();
    let loaded = tasks::find(task).unwrap().load(&options, &places, &Progress::silent());
    let loaded = said(loaded, &[2, 3]);
    assert!(loaded.as_ref().is_none_or(|data| !data.train.is_empty() && data.classes > 0));
    loaded.is_some()
}

/// 32 x 32 gray pixels: the only picture that the lines can name.
const PICTURE: &[u8] = include_bytes!("picture.png");

/// The lines of one file of metadata.
pub fn pathfinder(bytes: &[u8]) -> bool {
    load("pathfinder", "train = 8\nvalidation = 1\ntest = 1", |folder| {
        let set = folder.join("set");
        fs::create_dir_all(set.join("metadata")).unwrap();
        fs::create_dir_all(set.join("imgs/0")).unwrap();
        fs::write(set.join("metadata/0.npy"), bytes).unwrap();
        fs::write(set.join("imgs/0/sample_0.png"), PICTURE).unwrap();
        set
    })
}

/// The records of one file of six.
pub fn cifar(bytes: &[u8]) -> bool {
    load("image", "validation = 1", |folder| {
        for i in 2..6 {
            fs::write(folder.join(format!("data_batch_{i}.bin")), [0; 3073]).unwrap();
        }
        fs::write(folder.join("test_batch.bin"), [0; 3073]).unwrap();
        fs::write(folder.join("data_batch_1.bin"), bytes).unwrap();
        folder.to_path_buf()
    })
}

/// An archive of reviews.
pub fn archive(bytes: &[u8]) -> bool {
    load("text", "validation = 1", |folder| {
        let path = folder.join("aclImdb_v1.tar.gz");
        fs::write(&path, bytes).unwrap();
        path
    })
}

/// Where a checkpoint has its checksum: behind the header's length and first words.
const DIGITS: std::ops::Range<usize> = 35..99;

/// As it is, and with a checksum that is right, so that what lies behind it is met too.
pub fn checkpoint(bytes: &[u8]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("step-0000001.safetensors");
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        // A tensor of an impossible shape is Candle's to refuse.
        said(train::load(&path, &Device::Cpu), &[1, 8]).is_some()
    };
    let whole = read(bytes);
    if bytes.len() >= DIGITS.end {
        let mut bytes = bytes.to_vec();
        bytes[DIGITS].fill(b'0');
        let sum = Sha256::digest(&bytes);
        let digits: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        bytes[DIGITS].copy_from_slice(digits.as_bytes());
        read(&bytes);
    }
    whole
}

/// A record, and the same bytes as a run's events.
pub fn record(bytes: &[u8]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.json");
    fs::write(&path, bytes).unwrap();
    let events = said(read_events(&path), &[3]).is_some();
    said(read_record(&path), &[3]).is_some() || events
}

/// A task's card, and what its presets resolve to.
pub fn card(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Some(card) = said(Card::parse(text, Path::new("tasks/x.toml")), &[3]) else {
        return false;
    };
    let registry = Registry::builtin();
    let variant = registry.get("transformer").unwrap();
    let names: Vec<String> = card.presets().map(|preset| preset.name.to_owned()).collect();
    let resolved = |name: &String| said(resolve(&card, &variant.request(name)), &[2, 3, 6]);
    names.iter().filter_map(resolved).count() == names.len()
}

/// One `--set` a line, on the quick ListOps of the Transformer.
pub fn set(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let sets: Vec<String> = text.lines().map(str::to_owned).collect();
    let card = Card::of(tasks::find("listops").unwrap()).unwrap();
    let registry = Registry::builtin();
    let request = registry.get("transformer").unwrap().request("quick");
    said(resolve(&card, &Request { sets: &sets, ..request }), &[2, 6]).is_some()
}
