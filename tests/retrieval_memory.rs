//! Memory while pairs are read, by the counting allocator. One test: others of this process
//! would be counted.

use lra::data::Places;
use lra::measure::{Counting, live, peak_live, reset_peak_live};
use lra::progress::Progress;
use lra::tasks::Task;
use lra::tasks::retrieval::{FILES, MAX_LINE, Retrieval};
use std::fs::File;
use std::io::{BufWriter, Write};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that loading held above what was held before, in bytes.
fn peak(places: &Places) -> (lra::Result<usize>, u64) {
    reset_peak_live();
    let before = live().unwrap();
    let data = Retrieval.load(&toml::Table::new(), places, &Progress::silent());
    let peak = peak_live().unwrap() - before;
    (data.map(|data| data.train.len()), peak)
}

#[test]
fn memory_does_not_grow_with_the_file() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let places = Places { official: Some(data.clone()), cache: root.path().join("cache") };
    std::fs::create_dir(&data).unwrap();
    for name in FILES {
        std::fs::write(data.join(name), "1\ta\tb\tc\td\n").unwrap();
    }

    // 96 MB of pairs: what is held for each is its label and where its texts end.
    const PAIRS: usize = 12_000;
    let mut out = BufWriter::new(File::create(data.join(FILES[0])).unwrap());
    let text = "x".repeat(4000);
    for i in 0..PAIRS {
        writeln!(out, "{}\t{i}\t{i}\t{text}\t{text}", i % 2).unwrap();
    }
    out.into_inner().unwrap();
    let (pairs, held) = peak(&places);
    assert_eq!(pairs.unwrap(), PAIRS);
    assert!(held < 8 << 20, "{held} bytes");

    // A row of 1 GiB, sparse on disk: refused at the limit. A vector that grows holds its
    // old half while it moves, hence three times the limit.
    let file = File::options().append(true).open(data.join(FILES[0])).unwrap();
    file.set_len(file.metadata().unwrap().len() + (1 << 30)).unwrap();
    let (pairs, held) = peak(&places);
    let error = pairs.unwrap_err();
    assert_eq!(error.exit_code(), 3);
    let said = error.to_string();
    let place = format!("{}:{}:1: the line goes on", FILES[0], PAIRS + 1);
    assert!(said.contains(&place), "{said}");
    assert!(held < 3 * MAX_LINE + (8 << 20), "{held} bytes");
}
