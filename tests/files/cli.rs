//! As a person runs it.

use super::pack::{Tar, files, gz, listing};
use super::reviews;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tar::EntryType;

/// Nothing of this process's surroundings, and a proxy that is not there for a network.
fn prepare(folder: &Path, task: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lra"));
    command.env_clear().env("LRA_CACHE", folder.join("cache")).current_dir(folder);
    command.env("HTTPS_PROXY", "http://127.0.0.1:1").args(["data", "prepare", task]).args(more);
    command.output().unwrap()
}

#[test]
fn a_hostile_archive_ends_with_one_line_and_code_3() {
    let hostile = [
        Tar::of(&files(reviews)).file("../../evil\n.txt", b"evil"),
        Tar::of(&files(reviews)).file("aclImdb/train/pos/evil\n.txt", b"evil"),
        Tar::of(&files(reviews)).member("aclImdb/evil", EntryType::Symlink, 0, b""),
    ];
    for tar in hostile {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::create_dir(inner.join("cache")).unwrap();
        fs::write(inner.join("aclImdb_v1.tar.gz"), gz(&tar.end())).unwrap();
        let outside = || -> Vec<_> {
            let all = listing(folder.path()).into_iter();
            all.filter(|(path, _)| !path.contains("/cache/")).collect()
        };
        let before = outside();
        let output = prepare(&inner, "text", &["--data-dir", ".", "-q"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(3), 1), "{said}");
        assert!(said.contains("aclImdb_v1.tar.gz") && said.contains("evil"), "{said}");
        assert!(output.stdout.is_empty());
        assert_eq!(outside(), before);
        assert!(listing(&inner.join("cache")).iter().all(|(_, size)| *size == 0));
    }
}

#[test]
fn without_files_or_network_the_message_says_what_to_get() {
    let folder = tempfile::tempdir().unwrap();
    for (task, file, url) in [
        ("text", "aclImdb_v1.tar.gz", "https://ai.stanford.edu/~amaas/data/sentiment/"),
        ("image", "cifar-10-binary.tar.gz", "https://www.cs.toronto.edu/~kriz/"),
    ] {
        for more in [&[][..], &["--data-dir", "."]] {
            let output = prepare(folder.path(), task, more);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(3), "{said}");
            let last = said.lines().last().unwrap();
            assert!(last.starts_with(&format!("error: {url}{file}: cannot be fetched")), "{said}");
            assert!(last.contains(&format!("get {file}")) && last.contains("--data-dir"), "{said}");
        }
    }
    // Once fetched, it is read from the cache.
    let downloads = folder.path().join("cache/downloads");
    fs::write(downloads.join("aclImdb_v1.tar.gz"), gz(&Tar::of(&files(reviews)).end())).unwrap();
    let output = prepare(folder.path(), "text", &["--set", "data.validation=2"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("prepared text (10 + 2 + 12)"), "{said}");
    assert!(said.contains("aclImdb_v1.tar.gz: not the published aclImdb_v1.tar.gz"), "{said}");
}
