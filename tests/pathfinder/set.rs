//! A whole set: the same bytes for any number of threads, and after any interruption.

use super::load;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

const OPTIONS: &str = "difficulty = \"baseline\"\ntrain = 3000\nvalidation = 500\ntest = 700";

fn files(data: &lra::tasks::Dataset) -> Vec<Vec<u8>> {
    data.splits().map(|(_, split)| fs::read(split.path().unwrap()).unwrap()).to_vec()
}

#[test]
fn the_same_bytes_for_any_number_of_threads() {
    let made = [1, 3].map(|threads| {
        let cache = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let data = pool.install(|| load(OPTIONS, None, cache.path())).unwrap();
        assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (3000, 500, 700));
        files(&data)
    });
    assert_eq!(made[0], made[1]);
}

/// Killed in the middle: the next build goes on with what there is and ends in the same bytes.
#[test]
fn a_killed_build_goes_on_where_it_was() {
    let cache = tempfile::tempdir().unwrap();
    let sets = [
        "data.difficulty=\"baseline\"",
        "data.train=30000",
        "data.validation=500",
        "data.test=700",
    ];
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lra"));
        command.args(["data", "prepare", "pathfinder"]).env("LRA_CACHE", cache.path());
        command.env_remove("LRA_DATA");
        for set in sets {
            command.args(["--set", set]);
        }
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let scratch = || {
        let task = fs::read_dir(cache.path().join("pathfinder")).ok()?;
        task.flatten().map(|e| e.path().join("scratch")).find(|path| path.exists())
    };
    let shards = || -> Vec<_> {
        let list = scratch().and_then(|path| fs::read_dir(path).ok()).into_iter().flatten();
        let mut whole: Vec<_> = list.flatten().map(|entry| entry.path()).collect();
        whole.retain(|path| path.extension().is_some_and(|e| e == "packed"));
        whole.sort();
        whole
    };
    let mut child = start().spawn().unwrap();
    while shards().len() < 3 {
        assert!(child.try_wait().unwrap().is_none(), "ended before it could be killed");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // A shard that was damaged meanwhile is drawn again.
    let kept = shards();
    let mut bytes = fs::read(&kept[0]).unwrap();
    bytes[1000] ^= 1;
    fs::write(&kept[0], bytes).unwrap();
    let output = start().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("going on with"), "{said}");
    assert!(scratch().is_none());
    let options: String =
        sets.iter().map(|set| format!("{}\n", set.strip_prefix("data.").unwrap())).collect();
    let other = tempfile::tempdir().unwrap();
    let whole = load(&options, None, other.path()).unwrap();
    assert_eq!(files(&load(&options, None, cache.path()).unwrap()), files(&whole));
}
