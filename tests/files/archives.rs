//! Archives: read as the folder is, and refused where they are cut, damaged or hostile.

use super::{examples, fault, load, pictures, reviews};
use flate2::{Compression, write::GzEncoder};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn gz(tar: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(tar).unwrap();
    out.finish().unwrap()
}

/// The tar of a folder's content, and what `more` adds.
fn tar(folder: &Path, inner: &str, more: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_dir_all(inner, folder.join(inner)).unwrap();
    more(&mut builder);
    builder.into_inner().unwrap()
}

/// A member of any path and kind, as no well-meaning tool writes it.
fn member(path: &str, kind: tar::EntryType, size: u64, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    if kind == tar::EntryType::Symlink || kind == tar::EntryType::Link {
        header.set_link_name("/etc/passwd").unwrap();
    }
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn archive(folder: &Path, bytes: &[u8]) -> PathBuf {
    let path = folder.join("any.tar.gz");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn an_archive_gives_what_its_folder_gives() {
    for (task, inner, name, fill) in [
        ("text", "aclImdb", "aclImdb_v1.tar.gz", reviews as fn(&_)),
        ("image", "cifar-10-batches-bin", "cifar-10-binary.tar.gz", pictures),
    ] {
        let (root, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fill(root.path());
        let folder = load(task, root.path(), cache.path(), "validation = 2").unwrap();
        let bytes = gz(&tar(root.path(), inner, |_| {}));
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join(name), &bytes).unwrap();
        let named = archive(other.path(), &bytes);
        for place in [other.path(), &named] {
            let data = load(task, place, cache.path(), "validation = 2").unwrap();
            assert_eq!(data.checksum, folder.checksum, "{task}");
            assert_eq!(examples(&data.test), examples(&folder.test));
            assert_ne!(data.source, folder.source);
        }
    }
}

/// Cut anywhere, in the packed stream or in the tar inside: noticed.
#[test]
fn a_cut_archive_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    reviews(root.path());
    let tar = tar(root.path(), "aclImdb", |_| {});
    let whole = gz(&tar);
    let cuts = (0..whole.len()).step_by(whole.len() / 12);
    let streams = cuts.map(|len| whole[..len].to_vec());
    let inner = [600, 2000, tar.len() / 2 + 100].map(|len| gz(&tar[..len]));
    for bytes in streams.chain(inner) {
        let message = fault("text", &archive(root.path(), &bytes));
        assert!(message.contains("any.tar.gz"), "{message}");
        assert!(message.contains("cut short or damaged"), "{message}");
    }
    let mut flipped = whole.clone();
    let at = flipped.len() / 2;
    flipped[at] ^= 4;
    fault("text", &archive(root.path(), &flipped));
    let mut longer = tar.clone();
    longer.extend([7; 512]);
    let message = fault("text", &archive(root.path(), &gz(&longer)));
    assert!(message.contains("after the end"), "{message}");
}

/// Members that would lie elsewhere, that are no files, or that are too large: refused by
/// name, at once, with nothing written.
#[test]
fn hostile_members_are_refused_at_once() {
    use tar::EntryType;
    let root = tempfile::tempdir().unwrap();
    reviews(root.path());
    let plain = tar(root.path(), "aclImdb", |_| {});
    for (path, kind, size, expected) in [
        ("../evil", EntryType::Regular, 1, "outside"),
        ("aclImdb/../../evil", EntryType::Regular, 1, "outside"),
        ("/tmp/lra-evil", EntryType::Regular, 1, "outside"),
        ("aclImdb/link", EntryType::Symlink, 0, "link or a device"),
        ("aclImdb/link", EntryType::Link, 0, "link or a device"),
        ("aclImdb/device", EntryType::Char, 0, "link or a device"),
        ("aclImdb/train/pos/9_9.txt", EntryType::Regular, 1 << 21, "at most 1048576"),
        ("aclImdb/bomb", EntryType::Regular, 1 << 40, "at most 1073741824"),
    ] {
        let mut bytes = member(path, kind, size, b"x");
        bytes.extend(&plain);
        let path_on_disk = archive(root.path(), &gz(&bytes));
        let started = Instant::now();
        let message = fault("text", &path_on_disk);
        assert!(started.elapsed() < Duration::from_secs(1), "{path}");
        assert!(message.contains(path) && message.contains(expected), "{message}");
    }
    assert!(!Path::new("/tmp/lra-evil").exists());
    assert!(!root.path().parent().unwrap().join("evil").exists());
}
