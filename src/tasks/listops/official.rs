//! The official files: where they are, what identifies them, and reading them.

use super::options::Options;
use super::reader::Reader;
use super::vocabulary::FIRST_ID;
use crate::data::{Examples, SPLITS};
use crate::error::{Error, Result};
use crate::progress::Progress;
use std::path::{Path, PathBuf};

/// Train, validation, test.
pub const FILES: [&str; 3] = ["basic_train.tsv", "basic_val.tsv", "basic_test.tsv"];

/// Where the release has them, seen from a folder that a user may name.
const NESTINGS: [&str; 4] =
    ["", "listops-1000", "lra_release/listops-1000", "lra_release/lra_release/listops-1000"];

/// The three files, `None` when there is none of them. Some but not all is an error.
pub fn locate(folder: &Path) -> Result<Option<[PathBuf; 3]>> {
    for nesting in NESTINGS {
        let folder = if nesting.is_empty() { folder.to_path_buf() } else { folder.join(nesting) };
        let files = FILES.map(|name| folder.join(name));
        let there = files.each_ref().map(|file| file.is_file());
        if there == [true; 3] {
            return Ok(Some(files));
        }
        let missing = files.iter().zip(there).find(|(_, there)| !there);
        if let (true, Some((missing, _))) = (there.contains(&true), missing) {
            let found: Vec<_> =
                FILES.iter().zip(there).filter(|(_, there)| *there).map(|(f, _)| *f).collect();
            return Err(Error::data(
                missing,
                format!("missing, while {} is there; expected all three", found.join(" and ")),
            ));
        }
    }
    Ok(None)
}

/// Reads the first rows of each file, as many as the options say, cut to the length they
/// say. A label that disagrees with its expression is kept, and the number of them said.
pub fn read(files: &[PathBuf; 3], options: &Options, progress: &Progress) -> Result<[Examples; 3]> {
    let bar = progress.bar("listops", "rows", options.total());
    let sizes = [options.train, options.validation, options.test];
    let mut splits = sizes.map(|_| Examples::new(1, FIRST_ID));
    let mut symbols = Vec::new();
    let (mut wrong, mut cut) = (0u64, 0u64);
    for (((file, name), size), examples) in files.iter().zip(SPLITS).zip(sizes).zip(&mut splits) {
        let mut reader = Reader::open(file)?;
        let mut ended = false;
        while (examples.len() as u64) < size {
            let Some(row) = reader.next(&mut symbols, options.max_length as usize)? else {
                ended = true;
                break;
            };
            examples.push(&[&symbols], u32::from(row.label));
            wrong += u64::from(row.label != row.value);
            cut += u64::from(row.length > options.max_length);
            bar.advance(1);
        }
        let rows = examples.len();
        if rows == 0 {
            return Err(Error::data(file, "no rows; expected some after the header"));
        }
        if ended {
            bar.say(&format!(
                "{}: {rows} rows, fewer than data.{name} = {size}; all are used",
                file.display()
            ));
        }
    }
    if cut > 0 {
        let most = options.max_length;
        bar.say(&format!("{cut} expressions cut to data.max_length = {most} tokens"));
    }
    if wrong > 0 {
        bar.say(&format!(
            "{wrong} labels disagree with their expressions; `lra data verify listops` shows them"
        ));
    }
    Ok(splits)
}
