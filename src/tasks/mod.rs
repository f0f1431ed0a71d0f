//! Tasks: what is to be classified. One file (or folder) per task, one line here.

pub mod image;
pub mod listops;
pub mod pathfinder;
pub mod retrieval;
pub mod text;

pub use crate::data::Places;

use crate::config::Sizes;
use crate::data::{
    About, Published, Source, Split, checksum, deal, fetch, full_name, last_official,
};
use crate::error::{Error, IoContext, Result};
use crate::printable;
use crate::progress::Progress;
use crate::random::Key;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// One of the arena's tasks.
pub trait Task: Send + Sync {
    /// As in `--task`.
    fn name(&self) -> &'static str;

    /// The task's card: description, data keys and presets, as TOML.
    fn card(&self) -> &'static str;

    /// Reads, generates or opens the prepared data. `options` is the `[data]` table of
    /// the resolved configuration; an unknown key in it is an error that names the key.
    fn load(&self, options: &toml::Table, places: &Places, progress: &Progress) -> Result<Dataset>;

    /// Whether examples are square gray images, a byte a pixel.
    fn pictures(&self) -> bool {
        false
    }

    /// An example as a person reads it, on one line.
    fn text(&self, split: &Split, example: usize) -> String;

    /// Holds the data against the task's own rule. The first mismatches are said
    /// through `progress`; any at all is an error that names the first and counts them.
    /// Unless a task has a better rule, its files are read once more.
    fn verify(
        &self,
        options: &toml::Table,
        places: &Places,
        progress: &Progress,
    ) -> Result<Verified> {
        verify_again(places, &|places| self.load(options, places, progress))
    }

    /// Writes `data` into `folder` in the official form; returns the files.
    fn export(&self, data: &Dataset, folder: &Path, progress: &Progress) -> Result<Vec<PathBuf>>;
}

/// A task's examples, ready to be batched.
#[derive(Debug, Clone)]
pub struct Dataset {
    pub train: Split,
    pub validation: Split,
    pub test: Split,
    /// Number of distinct token ids, padding (0) included.
    pub vocabulary: usize,
    pub classes: usize,
    /// No example is longer, in tokens.
    pub max_length: usize,
    /// `generated`, or the path the official files were read from.
    pub source: String,
    /// Changes whenever the examples do.
    pub version: u32,
    /// SHA-256, hex, over the prepared examples of all splits.
    pub checksum: String,
}

impl Dataset {
    /// `sizes`: vocabulary, classes, and tokens of the longest example.
    fn new(about: About, splits: [Split; 3], sizes: (usize, usize, usize)) -> Self {
        let checksum = checksum(&splits);
        let [train, validation, test] = splits;
        let (vocabulary, classes, max_length) = sizes;
        let About { source, version, .. } = about;
        Self { train, validation, test, vocabulary, classes, max_length, source, version, checksum }
    }

    /// What a model is told of the task.
    pub fn sizes(&self) -> Sizes {
        let Self { vocabulary, classes, .. } = *self;
        Sizes { vocabulary, classes, parts: self.train.parts() }
    }

    /// The splits with their names, in the order of [`crate::data::SPLITS`].
    pub fn splits(&self) -> [(&'static str, &Split); 3] {
        [("train", &self.train), ("validation", &self.validation), ("test", &self.test)]
    }
}

/// What [`Task::verify`] went through without finding a mismatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// `generated`, or the path the official files were read from.
    pub source: String,
    /// Each file and the number of its examples.
    pub files: Vec<(PathBuf, u64)>,
}

/// Every task, in the paper's order; then what it has settings for but no results.
pub fn all() -> &'static [&'static dyn Task] {
    static ALL: [&dyn Task; 8] = [
        &listops::ListOps,
        &text::Text,
        &retrieval::Retrieval,
        &image::Image,
        &pathfinder::SIZES[0],
        &pathfinder::SIZES[1],
        &pathfinder::SIZES[2],
        &pathfinder::SIZES[3],
    ];
    &ALL
}

/// The task of this name.
pub fn find(name: &str) -> Result<&'static dyn Task> {
    all().iter().copied().find(|task| task.name() == name).ok_or_else(|| {
        let known: Vec<_> = all().iter().map(|task| task.name()).collect();
        Error::usage(format!("no task `{}`; known: {}", name.escape_debug(), known.join(", ")))
    })
}

/// A published set of files, and what a task makes of it.
struct Wanted<'a> {
    task: &'static str,
    version: u32,
    set: &'a Published,
    options: &'a Value,
}

/// The files of a set and what is prepared of them: those in the folder that was named; or
/// where none was, what was prepared last with these options; or the published archive,
/// fetched if it is not in the cache.
fn find_source(
    wanted: &Wanted,
    places: &Places,
    limit: &dyn Fn(&str) -> Option<u64>,
    progress: &Progress,
) -> Result<(About, Option<Source>)> {
    let Wanted { task, version, set, options } = *wanted;
    let named = places.official.as_deref();
    let source = match named.and_then(|place| Source::locate(place, set)) {
        Some(source) => source,
        None => {
            if named.is_none()
                && let Some(about) = last_official(&places.cache, task, version, options)
            {
                return Ok((about, None));
            }
            if let Some(place) = named {
                let (folder, file) = (set.folder, set.archive.file);
                progress.say(&format!("{}: neither {folder}/ nor {file}", place.display()));
            }
            Source::Archive(fetch(&set.archive, &places.cache.join("downloads"), progress)?)
        }
    };
    let inputs = json!({ "files": source.identity(limit)?, "options": options });
    let about = About { task: task.into(), source: full_name(source.path()), version, inputs };
    Ok((about, Some(source)))
}

/// As many items of train as `data.validation` says, dealt by the key, and the others. `what`
/// names the items.
fn hold_out<T>(train: Vec<T>, count: u64, what: &str, key: Key) -> Result<[Vec<T>; 2]> {
    if train.len() as u64 <= count {
        let message = format!("{count} {what} to hold out of {}; expected fewer", train.len());
        return Err(Error::config("data.validation", message));
    }
    Ok(deal(train, count as usize, key))
}

/// Of prepared data that cannot be used, when nobody says where its files are.
fn damaged(about: &About) -> Error {
    let message = "what was prepared of it is damaged; name it with --data-dir, and it is \
                   prepared again";
    Error::data(&about.source, message)
}

/// Bytes as a person reads them, on one line.
fn in_words(bytes: &[u8]) -> String {
    printable::line(&String::from_utf8_lossy(bytes))
}

/// Reads a task's files once more and holds what was prepared against them.
fn verify_again(places: &Places, load: &dyn Fn(&Places) -> Result<Dataset>) -> Result<Verified> {
    let data = load(places)?;
    if !Path::new(&data.source).exists() {
        let message = "is no longer there; expected the files that were prepared; name the folder \
                       that has them with --data-dir";
        return Err(Error::data(&data.source, message));
    }
    let cache = tempfile::tempdir_in(&places.cache).at("create a folder in", &places.cache)?;
    let again =
        Places { official: Some(PathBuf::from(&data.source)), cache: cache.path().to_path_buf() };
    let read = load(&again)?;
    if read.checksum != data.checksum {
        let message = format!(
            "what is prepared has SHA-256 {}, its files now give {}; prepare it anew",
            data.checksum, read.checksum
        );
        return Err(Error::data(&data.source, message));
    }
    let file = |(_, split): (&str, &Split)| Some((split.path()?.to_path_buf(), split.len() as u64));
    let files = data.splits().into_iter().filter_map(file).collect();
    Ok(Verified { source: data.source, files })
}
