//! Files that cannot be used, and options that cannot be meant.

use super::{ROWS, load, places, write};
use lra::tasks::retrieval::FILES;
use std::path::{Path, PathBuf};

/// Files under `folder` whose name ends so.
fn found(folder: &Path, end: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let here = |p: PathBuf| match p.is_dir() {
        true => found(&p, end),
        false => vec![p],
    };
    paths.flat_map(here).filter(|p| p.to_str().unwrap().ends_with(end)).collect()
}

/// The message names the row; no split stands where a whole one would, and once the file is
/// mended the data is prepared.
#[test]
fn a_bad_row_leaves_nothing_half_prepared() {
    for (bad, place, part) in [
        (&b"1\ta\tb\tc\td\n1\ta\tb\tc\n"[..], "2:8", "the text of column 5 is missing"),
        (b"1\ta\tb\tc\td\te\n", "1:11", "6 columns"),
        (b"0.5\ta\tb\tc\td\n", "1:1", "expected 0 or 1"),
        (b"1\ta\tb\t\td\n", "1:7", "an empty text"),
    ] {
        let root = tempfile::tempdir().unwrap();
        let places = places(root.path(), Some("data"));
        write(&root.path().join("data"), [ROWS[0], bad, ROWS[2]]);
        let error = load("", &places).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        let said = error.to_string();
        let place = format!("{}:{place}: ", FILES[1]);
        assert!(said.contains(&place) && said.contains(part), "{said}");
        for end in ["validation.packed", "test.packed", "about.json", ".tmp"] {
            assert_eq!(found(&places.cache, end), Vec::<PathBuf>::new(), "{end}");
        }
        write(&root.path().join("data"), ROWS);
        assert_eq!(load("", &places).unwrap().validation.len(), 2);
    }
}

#[test]
fn an_empty_file_is_named() {
    for (at, name) in FILES.into_iter().enumerate() {
        let root = tempfile::tempdir().unwrap();
        let mut rows = ROWS;
        rows[at] = b"";
        write(&root.path().join("data"), rows);
        let error = load("", &places(root.path(), Some("data"))).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        let said = error.to_string();
        assert!(said.contains(&format!("{name}: an empty file")), "{said}");
    }
}

/// Which file, where it was looked for, and where it is to be had.
#[test]
fn a_missing_file_is_named_with_where_to_get_it() {
    let root = tempfile::tempdir().unwrap();
    let url = "https://storage.googleapis.com/long-range-arena/lra_release.gz";
    let fails = |folder: Option<&str>, parts: &[&str]| {
        let error = load("", &places(root.path(), folder)).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        let said = error.to_string();
        for part in
            [url, "7.7 GB", "--data-dir", "LRA_DATA", "pairs of your own"].iter().chain(parts)
        {
            assert!(said.contains(part), "no {part:?} in {said}");
        }
    };
    fails(None, &["no folder was named", FILES[0], FILES[1], FILES[2]]);
    std::fs::create_dir(root.path().join("data")).unwrap();
    fails(Some("data"), &["data and below it", "aan, tsv_data, lra_release/tsv_data", FILES[2]]);
    for name in FILES {
        write(&root.path().join("data/tsv_data"), ROWS);
        std::fs::remove_file(root.path().join("data/tsv_data").join(name)).unwrap();
        fails(Some("data"), &[&format!("data/tsv_data/{name}: missing"), "all three"]);
    }
}

#[test]
fn options_are_checked_before_anything_is_read() {
    let root = tempfile::tempdir().unwrap();
    for (options, parts) in [
        ("max_length = 0", ["`data.max_length`", "at least 1"]),
        ("train = 0", ["`data.train`", "at least 1"]),
        ("test = 0", ["`data.test`", "at least 1"]),
        ("validation = -1", ["`data.validation`", "-1"]),
        ("length = 4", ["`data.length`", "unknown"]),
    ] {
        let error = load(options, &places(root.path(), None)).unwrap_err();
        let said = error.to_string();
        assert_eq!(error.exit_code(), 2, "{said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
}
