//! Archives that anybody may have made: read as the folder is, and refused where they are
//! cut, damaged or hostile.

use super::pack::{Files, Tar, files, gz, listing};
use super::{load, pictures, reviews};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tar::EntryType;

const NAME: &str = "aclImdb_v1.tar.gz";
const OPTIONS: &str = "validation = 2";

fn imdb() -> Files {
    files(reviews)
}

/// The archive cannot be loaded, quickly; nothing is written beside the cache, and nothing
/// that could be taken for data into it. Returns the message.
fn refused(archive: &[u8], what: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("deep/data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join(NAME), archive).unwrap();
    let before = listing(folder.path());
    let cache = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let error = load("text", &data, cache.path(), OPTIONS).expect_err(what);
    assert!(start.elapsed() < Duration::from_secs(1), "{what}: {:?}", start.elapsed());
    assert_eq!(listing(folder.path()), before, "{what}");
    let files: u64 = listing(cache.path()).iter().map(|(_, size)| size).sum();
    assert_eq!(files, 0, "{what}: {:?}", listing(cache.path()));
    let text = error.to_string();
    assert_eq!((error.exit_code(), text.lines().count()), (3, 1), "{what}: {text}");
    assert!(text.contains(NAME) && text.contains("expected"), "{what}: {text}");
    text
}

#[test]
fn members_that_are_no_files_below_the_archive_are_refused() {
    for path in [
        "../evil.txt",
        "/tmp/evil.txt",
        "aclImdb/train/pos/../../../../evil.txt",
        "aclImdb\\..\\evil.txt",
        "..",
    ] {
        let tar = Tar::of(&imdb()).file(path, b"evil").end();
        let text = refused(&gz(&tar), path);
        assert!(text.contains(&format!("member {path:?} lies outside")), "{text}");
    }
    for (kind, size) in [
        (EntryType::Symlink, 0),
        (EntryType::Link, 0),
        (EntryType::Char, 0),
        (EntryType::Block, 0),
        (EntryType::Fifo, 0),
        (EntryType::Continuous, 4),
    ] {
        let path = "aclImdb/train/pos/9_8.txt";
        let tar = Tar::of(&imdb()).member(path, kind, size, &b"evil"[..size as usize]).end();
        let text = refused(&gz(&tar), path);
        assert!(text.contains(&format!("member {path:?} is a link or a device")), "{text}");
    }
}

#[test]
fn members_that_swell_are_refused() {
    for (path, size, most) in [
        ("aclImdb/train/pos/9_8.txt", 1 << 40, 1 << 20),
        ("aclImdb/train/pos/9_8.txt", (1 << 20) + 1, 1 << 20),
        ("aclImdb/README", 1 << 40, 128 << 20),
    ] {
        let tar = Tar::of(&imdb()).member(path, EntryType::Regular, size, b"").end();
        let text = refused(&gz(&tar), path);
        assert!(text.contains(&format!("member {path:?} has {size} bytes")), "{text}");
        assert!(text.contains(&format!("at most {most}")), "{text}");
    }
    // Zeros that unpack to 200 MB from 200 KB.
    let zeros = vec![0; 100 << 20];
    let tar = Tar::default().file("aclImdb/a", &zeros).file("aclImdb/b", &zeros).end();
    assert!(refused(&gz(&tar), "zeros").contains("unpacks to far more than it should"));
    // A name of 8 GiB, which the tar reader would keep in memory.
    for kind in [EntryType::GNULongName, EntryType::XHeader] {
        let tar = Tar::default().member("././@LongLink", kind, 1 << 33, &zeros).end();
        assert!(refused(&tar, "long name").contains("unpacks to far more than it should"));
    }
}

#[test]
fn archives_that_are_cut_or_changed_are_noticed() {
    let tar = Tar::of(&imdb()).end();
    let whole = gz(&tar);
    let cut = |bytes: &[u8], what: &str| {
        let text = refused(bytes, what);
        assert!(text.contains("cannot be read to its end"), "{what}: {text}");
    };
    for at in (0..whole.len()).step_by(97).chain(whole.len() - 9..whole.len()) {
        cut(&whole[..at], &format!("gz cut at {at} of {}", whole.len()));
    }
    // Before the first of the two blocks of zeros is whole.
    for at in (0..tar.len() - 1023).step_by(256) {
        cut(&gz(&tar[..at]), &format!("tar cut at {at} of {}", tar.len()));
        cut(&tar[..at], &format!("plain tar cut at {at}"));
    }
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    refused(&flipped, "a flipped bit");
    refused(&[&whole[..], b"more"].concat(), "data after the end");
    let text = refused(&gz(&[&tar[..], b"more"].concat()), "data after the end, packed");
    assert!(text.contains("data after the end"), "{text}");
    refused(b"<html>not found</html>", "a page");
}

/// What is odd but harmless gives the same examples as the folder.
#[test]
fn all_forms_of_an_archive_read_the_same() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    reviews(folder.path());
    let expected = load("text", folder.path(), cache.path(), OPTIONS).unwrap().checksum;
    let tar = Tar::of(&imdb());
    let renamed = |rename: &dyn Fn(&str) -> String| {
        let files = imdb().into_iter().map(|(path, content)| (rename(&path), content));
        Tar::of(&files.collect())
    };
    let long = format!("aclImdb/{}", "x".repeat(200));
    let record = "27 mtime=1700000000.123456\n";
    let backwards = imdb().into_iter().rev();
    let forms = [
        ("packed", gz(&tar.clone().end())),
        ("plain", tar.clone().end()),
        ("from ./", gz(&renamed(&|path| format!("./{path}")).end())),
        ("without a folder", gz(&renamed(&|path| path.replace("aclImdb/", "")).end())),
        ("folders", gz(&tar.clone().member("aclImdb/", EntryType::Directory, 0, b"").end())),
        ("other files", gz(&tar.clone().file("aclImdb/large", &vec![0; 3 << 20]).end())),
        ("padding", gz(&[&tar.clone().end()[..], &[0; 9216]].concat())),
        ("in pieces", [gz(&tar.0), gz(&[0; 1024])].concat()),
        ("backwards", gz(&backwards.fold(Tar::default(), |tar, (p, c)| tar.file(&p, &c)).end())),
        (
            "extensions",
            gz(&Tar::default()
                .member("pax", EntryType::XGlobalHeader, 27, record.as_bytes())
                .member("././@LongLink", EntryType::GNULongName, 208, long.as_bytes())
                .file("aclImdb/x", b"1")
                .member("pax", EntryType::XHeader, 27, record.as_bytes())
                .file("aclImdb/y", b"2")
                .0
                .into_iter()
                .chain(tar.clone().end())
                .collect::<Vec<_>>()),
        ),
    ];
    for (what, bytes) in forms {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join(NAME);
        fs::write(&archive, bytes).unwrap();
        // The folder that holds the archive is named, or the archive itself.
        for place in [folder.path(), &archive] {
            let cache = tempfile::tempdir().unwrap();
            let read = load("text", place, cache.path(), OPTIONS);
            assert_eq!(read.unwrap_or_else(|e| panic!("{what}: {e}")).checksum, expected, "{what}");
        }
    }
}

/// Files in any order are in their own places; a second file of a name is an error.
#[test]
fn batches_of_pictures_are_told_by_name() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    pictures(folder.path());
    let expected = load("image", folder.path(), cache.path(), OPTIONS).unwrap().checksum;
    let archive = folder.path().join("any.tar.gz");
    let packed = |tar: Tar| {
        fs::write(&archive, gz(&tar.end())).unwrap();
        load("image", Path::new(&archive), cache.path(), OPTIONS)
    };
    let all = files(pictures);
    let backwards = all.iter().rev().fold(Tar::default(), |tar, (p, c)| tar.file(p, c));
    assert_eq!(packed(backwards).unwrap().checksum, expected);
    let name = "cifar-10-batches-bin/data_batch_3.bin";
    let twice = packed(Tar::of(&all).file(name, &all[name])).unwrap_err().to_string();
    assert!(twice.contains("3.bin: a second file of this name; expected one"), "{twice}");
    let large = Tar::default().member(name, EntryType::Regular, 30_733_073, b"");
    let large = packed(large).unwrap_err().to_string();
    assert!(large.contains("has 30733073 bytes; expected at most 30730000"), "{large}");
}
