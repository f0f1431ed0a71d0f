//! The released pictures: `<difficulty>/metadata/<batch>.npy`, which are text in spite of
//! their name, a line a picture, and `<difficulty>/imgs/<batch>/sample_<n>.png`.
//!
//! There is no official division into splits; here it is a keyed permutation of all pictures
//! in the order of the metadata, eight, one and one tenth.

use super::options::Options;
use crate::data::{PackWriter, SPLITS, Split, Workshop, deal};
use crate::error::{Error, IoContext, Result};
use crate::progress::{Bar, Progress};
use crate::random::Key;
use std::fs;
use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

/// Fields of a line of metadata, of which the first four are used: folder, file, number,
/// label.
const FIELDS: usize = 11;

/// Bytes of a line that none of the release comes near.
const LINE: u64 = 1 << 16;

/// What the system says of a name that no file can have here.
const NO_FILE: [ErrorKind; 5] = [
    ErrorKind::NotFound,
    ErrorKind::NotADirectory,
    ErrorKind::IsADirectory,
    ErrorKind::InvalidFilename,
    ErrorKind::InvalidInput,
];

/// Where the release has a resolution, seen from a folder that a user may name. The inner one
/// first: the outer pathfinder128 cannot be learned (google-research/long-range-arena 38).
const NESTINGS: [&str; 3] = ["lra_release/lra_release", "lra_release", ""];

/// The folder of the wanted difficulty, if `place` has it.
pub(super) fn locate(place: &Path, options: &Options) -> Option<PathBuf> {
    let inner = format!("pathfinder{}/{}", options.resolution, options.difficulty.folder());
    let nested = NESTINGS.into_iter().map(|nesting| place.join(nesting).join(&inner));
    let folders = nested.chain([place.join(options.difficulty.folder()), place.to_path_buf()]);
    folders.into_iter().find(|folder| folder.join("metadata").is_dir())
}

/// The files of metadata, by number.
pub(super) fn metadata(folder: &Path) -> Result<Vec<PathBuf>> {
    let folder = folder.join("metadata");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).at("list", &folder)? {
        let path = entry.at("list", &folder)?.path();
        if path.extension().is_some_and(|extension| extension == "npy") {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Error::data(folder, "no metadata; expected files such as 0.npy"));
    }
    let number = |path: &PathBuf| path.file_stem().and_then(|s| s.to_str()?.parse::<u64>().ok());
    files.sort_by_key(|path| (number(path).is_none(), number(path), path.clone()));
    Ok(files)
}

/// Reads every picture and deals them to the splits.
pub(super) fn build(
    folder: &Path,
    options: &Options,
    to: &Workshop,
    progress: &Progress,
) -> Result<()> {
    let all = to.scratch()?.join("all.packed");
    let total = options.train + options.validation + options.test;
    let bar = progress.bar("pathfinder", "pictures", total);
    let mut writer = PackWriter::create(&all, 1, 0)?;
    let mut empty = Vec::new();
    for file in metadata(folder)? {
        read(&file, folder, options.resolution, &mut writer, &mut empty, &bar)?;
    }
    if let Some(first) = empty.first() {
        let (count, first) = (empty.len(), first.display());
        bar.say(&format!("{count} empty picture(s) left out, the first {first}"));
    }
    let count = writer.len();
    if count < 10 {
        let message = format!("{count} pictures; expected at least 10");
        return Err(Error::data(folder, message));
    }
    writer.finish()?;
    let all = Split::open(&all)?;
    let key = Key::new(options.seed).named("pathfinder").named("splits");
    let tenth = count / 10;
    let [test, rest] = deal((0..count).collect::<Vec<_>>(), tenth, key.index(0));
    let [validation, train] = deal(rest, tenth, key.index(1));
    for (name, indices) in SPLITS.into_iter().zip([train, validation, test]) {
        let mut writer = to.writer(name, 1, 0)?;
        for i in indices {
            writer.push(&[all.tokens(i, 0)], all.label(i))?;
        }
        writer.finish()?;
    }
    Ok(())
}

fn read(
    file: &Path,
    folder: &Path,
    side: usize,
    writer: &mut PackWriter,
    empty: &mut Vec<PathBuf>,
    bar: &Bar,
) -> Result<()> {
    let mut lines = BufReader::new(fs::File::open(file).at("open", file)?);
    let mut line = Vec::new();
    for number in 1.. {
        let at = |message: String| Error::data_at(file, number, None, message);
        line.clear();
        let read = (&mut lines).take(LINE).read_until(b'\n', &mut line).at("read", file)?;
        if read == 0 {
            break;
        }
        if read as u64 == LINE {
            return Err(at(format!("a line of {LINE} bytes or more; expected about 100")));
        }
        let line = std::str::from_utf8(&line)
            .map_err(|_| at("not text; expected the release's lines".into()))?;
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        if fields.is_empty() {
            continue;
        }
        let [inner, name, _, label] = fields[..4.min(fields.len())] else {
            let message = format!(
                "{} fields; expected {FIELDS}: folder, file, number, label, ...",
                fields.len()
            );
            return Err(at(message));
        };
        let label = match label.parse::<f64>() {
            Ok(0.0) => 0,
            Ok(1.0) => 1,
            _ => return Err(at(format!("the label is {label:?}; expected 0 or 1"))),
        };
        let inside = Path::new(inner).join(name);
        if !inside.components().all(|part| matches!(part, Component::Normal(_))) {
            let message = format!("{:?} leads out of the set; expected imgs/<batch>", inside);
            return Err(at(message));
        }
        let path = folder.join(&inside);
        let bytes = match fs::read(&path) {
            // A name of no file, which is the line's fault and not the disk's.
            Err(e) if NO_FILE.contains(&e.kind()) => {
                return Err(at(format!(
                    "{path:?} is missing or no file ({e}); unpack the set again"
                )));
            }
            read => read.at("read", &path)?,
        };
        if bytes.is_empty() {
            empty.push(path);
            continue;
        }
        writer.push(&[&picture(&path, &bytes, side)?], label)?;
        bar.advance(1);
    }
    Ok(())
}

/// The gray values of a PNG.
fn picture(path: &Path, bytes: &[u8], side: usize) -> Result<Vec<u8>> {
    let broken = |e: png::DecodingError| {
        Error::data(path, format!("not a whole PNG ({e}); unpack the set again"))
    };
    let mut reader = png::Decoder::new(Cursor::new(bytes)).read_info().map_err(broken)?;
    let info = reader.info();
    let (width, height) = (info.width as usize, info.height as usize);
    let kind = (info.color_type, info.bit_depth);
    if (width, height) != (side, side) || kind != (png::ColorType::Grayscale, png::BitDepth::Eight)
    {
        let message = format!(
            "{width} x {height}, {:?} of {:?} bits; expected {side} x {side}, 8-bit gray",
            kind.0, kind.1 as u8
        );
        return Err(Error::data(path, message));
    }
    let mut pixels = vec![0; side * side];
    reader.next_frame(&mut pixels).map_err(broken)?;
    Ok(pixels)
}
