//! The prepared data: reused, verified, rebuilt, shared.

use super::{load, places, small};
use lra::data::Split;
use lra::tasks::listops::Options;
use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, SystemTime};

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

#[test]
fn the_second_time_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let first = load(&small(), &places(folder.path())).unwrap();
    let path = first.train.path().unwrap();
    let written = modified(path);
    std::thread::sleep(Duration::from_millis(20));
    let second = load(&small(), &places(folder.path())).unwrap();
    assert_eq!(second.train.path(), Some(path));
    assert_eq!(modified(path), written);
    assert_eq!(first.checksum, second.checksum);
    let other = load(&Options { max_args: 9, ..small() }, &places(folder.path())).unwrap();
    assert_ne!(other.train.path(), Some(path));
}

#[test]
fn a_damaged_cache_is_noticed_and_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let whole = load(&small(), &places(folder.path())).unwrap();
    let path = whole.validation.path().unwrap().to_path_buf();
    let good = fs::read(&path).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 0x10;
    for bad in [&flipped[..], &good[..good.len() - 1], &good[..17], b""] {
        // By renaming, as everything here: the old file stays mapped above.
        let sibling = path.with_extension("bad");
        fs::write(&sibling, bad).unwrap();
        fs::rename(&sibling, &path).unwrap();
        let error = Split::open(&path).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("validation.packed: damaged: "), "{error}");
        let rebuilt = load(&small(), &places(folder.path())).unwrap();
        assert_eq!(rebuilt.checksum, whole.checksum);
        assert_eq!(fs::read(&path).unwrap(), good);
    }
    fs::remove_file(&path).unwrap();
    load(&small(), &places(folder.path())).unwrap();
    assert_eq!(fs::read(&path).unwrap(), good);
}

#[test]
fn leftovers_of_a_killed_process_go_after_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let data = load(&small(), &places(folder.path())).unwrap();
    let path = data.train.path().unwrap();
    let (old, new) = (path.with_file_name(".lra-a.tmp"), path.with_file_name(".lra-b.tmp"));
    let other = path.with_file_name("notes");
    for file in [&old, &new, &other] {
        fs::write(file, b"half").unwrap();
    }
    let long_ago = SystemTime::now() - Duration::from_secs(25 * 3600);
    for file in [&old, &other] {
        fs::File::options().append(true).open(file).unwrap().set_modified(long_ago).unwrap();
    }
    fs::remove_file(path).unwrap();
    load(&small(), &places(folder.path())).unwrap();
    assert!(!old.exists() && new.exists() && other.exists());
}

#[test]
fn preparing_the_same_at_once_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path());
    let barrier = Barrier::new(4);
    let checksums: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    load(&small(), &places).unwrap().checksum
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(checksums.iter().all(|c| *c == checksums[0]));
    let data = load(&small(), &places).unwrap();
    let names: Vec<_> = fs::read_dir(data.train.path().unwrap().parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 4, "{names:?}");
}
