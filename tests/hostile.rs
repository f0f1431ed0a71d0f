//! Parsers of files that anybody may have written: valid ones, those changed at random, and
//! those that fuzzing found. Nothing makes them panic, and what they refuse they refuse in
//! words. `tests/fuzz` has the same parsers as targets for libFuzzer.

#[path = "fuzz/parsers.rs"]
mod parsers;

use candle_core::{Device, Tensor};
use flate2::Compression;
use flate2::write::GzEncoder;
use lra::random::Key;
use lra::train::Checkpoint;
use rand::Rng;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Changed versions of each valid file.
const CHANGES: usize = 60;

/// The record and the events of a run.
fn run() -> Vec<Vec<u8>> {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("run");
    let sets = ["data.train=32", "data.validation=8", "data.test=8", "data.min_length=10"];
    let sizes = ["data.max_length=40", "model.length=40", "train.batch=4", "model.width=16"];
    let ran = Command::new(env!("CARGO_BIN_EXE_lra"))
        .args(["run", "--model", "linear", "--task", "listops", "--steps", "3"])
        .args(sets.iter().chain(&sizes).flat_map(|set| ["--set", set]))
        .arg("--out")
        .arg(&out)
        .env("LRA_CACHE", root.path().join("cache"))
        .env_remove("LRA_DATA")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    ["record.json", "events.jsonl"].map(|name| fs::read(out.join(name)).unwrap()).into()
}

fn checkpoint() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let tensors = BTreeMap::from([
        ("weights.a".to_owned(), Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap()),
        ("first.a".to_owned(), Tensor::new(7i64, &Device::Cpu).unwrap()),
    ]);
    let notes = BTreeMap::from([("best".to_owned(), "0.5".to_owned())]);
    let path = Checkpoint { step: 1, tensors, notes }.save(folder.path()).unwrap();
    fs::read(path).unwrap()
}

fn archive() -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for part in ["train", "test"] {
        for (class, rating) in [("neg", 2), ("pos", 9)] {
            for id in 0..2 {
                let text = format!("{part} {class} {id}");
                let mut header = tar::Header::new_gnu();
                header.set_size(text.len() as u64);
                let path = format!("aclImdb/{part}/{class}/{id}_{rating}.txt");
                tar.append_data(&mut header, path, text.as_bytes()).unwrap();
            }
        }
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// Valid files for the parser of a name.
fn valid(name: &str) -> Vec<Vec<u8>> {
    match name {
        "listops" => vec![
            b"Source\tTarget\r\n( ( ( [MAX 2 ) ( ( ( [MIN 9 ) 4 ) ] ) ) ] )\t4\r\n7\t7\r\n".into(),
            b"Source\tTarget\n[SM 2 [MED 9 4 ] ]\t8\n".into(),
        ],
        "retrieval" => vec![b"1.0\tP1\tQ1\tfirst \xff\tsecond\n0.0\tP2\tQ2\ta\tb\n".into()],
        "pathfinder" => {
            let line = |i| format!("imgs/0 sample_0.png {i} {} 0 2 1.8 0\n", i % 2);
            vec![(0..12).map(line).collect::<String>().into_bytes()]
        }
        "cifar" => vec![[&[3; 1], &[7; 3072][..], &[9; 1], &[200; 3072]].concat()],
        "archive" => vec![archive()],
        "checkpoint" => vec![checkpoint()],
        "record" => run(),
        "card" => vec![
            include_bytes!("../tasks/listops.toml").into(),
            include_bytes!("../tasks/pathx.toml").into(),
        ],
        "set" => vec![b"model.width=32\ntrain.schedule=\"constant\"\ntrain.batch=4".into()],
        other => panic!("no valid file for {other}"),
    }
}

/// One to four changes of kinds that parsers dislike.
fn change(bytes: &mut Vec<u8>, random: &mut impl Rng) {
    const ODD: [&[u8]; 12] = [
        b"\0",
        b"\xff",
        b"\n",
        b"\t",
        b"\"",
        b"-",
        b"../",
        b"99999999999999999999",
        b"1e999",
        b"\x1b[31m",
        b"[[[[[[[[",
        b"\xf0\x9f\x98\x80",
    ];
    for _ in 0..random.random_range(1..5) {
        let at = random.random_range(0..bytes.len() + 1);
        let end = random.random_range(at..(at + 64).min(bytes.len()) + 1);
        match random.random_range(0..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = random.random_range(0..=255),
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            4 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                let odd = ODD[random.random_range(0..ODD.len())];
                bytes.splice(at..at, odd.iter().copied());
            }
        }
    }
}

#[test]
fn no_file_makes_a_parser_panic() {
    for (name, parser) in parsers::ALL {
        let key = Key::new(1).named(name);
        let mut read = 0;
        for (i, file) in valid(name).iter().enumerate() {
            assert!(parser(file), "{name}: valid file {i} is refused");
            for j in 0..CHANGES {
                let mut bytes = file.clone();
                change(&mut bytes, &mut key.index(i as u64).index(j as u64).stream());
                read += usize::from(parser(&bytes));
            }
        }
        println!("{name}: {read} changed files were read, the others refused");
        for found in list(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/found").join(name))
        {
            parser(&fs::read(found).unwrap());
        }
    }
}

/// The files of a folder; none where there is no folder.
fn list(folder: impl AsRef<Path>) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(folder).into_iter().flatten();
    files.map(|entry| entry.unwrap().path()).collect()
}

/// Writes the valid files where libFuzzer looks for them: a folder for each target.
#[test]
#[ignore = "writes seeds for libFuzzer into the folder LRA_FUZZ_SEEDS"]
fn seeds() {
    let Some(folder) = std::env::var_os("LRA_FUZZ_SEEDS") else { return };
    for (name, _) in parsers::ALL {
        let folder = Path::new(&folder).join(name);
        fs::create_dir_all(&folder).unwrap();
        for (i, file) in valid(name).iter().enumerate() {
            fs::write(folder.join(format!("valid-{i}")), file).unwrap();
        }
    }
}
