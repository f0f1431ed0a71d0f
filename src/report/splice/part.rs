//! What a marker may ask for.

use super::super::aggregate::{Report, Section};
use super::super::bench::ratios_of;
use super::super::markdown::notes;
use super::super::names::task_title;
use super::super::{Room, tables};
use super::Source;
use crate::error::Error;
use std::path::Path;

pub struct Content {
    pub text: String,
    /// Its path from the document's folder, and its bytes.
    pub picture: Option<(String, Vec<u8>)>,
}

/// Why there is none.
pub enum Failure {
    /// In the marker or in the records; the place is the marker's.
    Marker(String),
    Other(Error),
}

impl Failure {
    pub fn at(self, path: &Path, line: u64, words: &str) -> Error {
        match self {
            Self::Marker(what) => Error::data_at(path, line, None, format!("`{words}`: {what}")),
            Self::Other(error) => error,
        }
    }
}

impl From<String> for Failure {
    fn from(what: String) -> Self {
        Self::Marker(what)
    }
}

/// What there is, for messages.
pub fn how() -> String {
    "expected `<!-- lra:NAME -->` and `<!-- /lra -->` on lines of their own, with NAME one of \
     `accuracy PRESET`, `speed PRESET TASK`, `ratios`, `picture FILE WORDS...`"
        .to_owned()
}

pub fn content(source: &Source, words: &[String]) -> Result<Content, Failure> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let report = source.report;
    let text = match words.as_slice() {
        ["accuracy", preset] => accuracy(section(report, preset)?),
        ["speed", preset, task] => speed(section(report, preset)?, task)?,
        ["ratios"] => ratios_of(&report.bench).ok_or_else(|| {
            "nothing below these folders was measured beside a peer; `lra bench --peer` does"
                .to_owned()
        })?,
        ["picture", path, alt @ ..] => {
            let bytes = picture(source, path)?;
            let text = format!("![{}]({path})\n", alt.join(" "));
            return Ok(Content { text, picture: Some(((*path).to_owned(), bytes)) });
        }
        _ => return Err(how().into()),
    };
    Ok(Content { text, picture: None })
}

fn section<'a>(report: &'a Report, preset: &str) -> Result<&'a Section, Failure> {
    let found = report.sections.iter().find(|section| section.preset == preset);
    found.ok_or_else(|| {
        let there = report.sections.iter().map(|section| section.preset.as_str());
        let there = listed(there.collect());
        format!("no records of preset {preset} below these folders; {there}").into()
    })
}

fn listed(there: Vec<&str>) -> String {
    match there.is_empty() {
        true => "there are none of any".to_owned(),
        false => format!("there are: {}", there.join(", ")),
    }
}

fn accuracy(section: &Section) -> String {
    format!("{}{}", tables::accuracy(section).markdown(), notes(section, ""))
}

fn speed(section: &Section, task: &str) -> Result<String, Failure> {
    let blocks = tables::blocks(section, Some(task));
    if blocks.is_empty() {
        let what = format!("no speed measured on {}", task_title(task));
        return Err(format!("{what} in runs of preset {}", section.preset).into());
    }
    let blocks: Vec<String> = blocks.iter().map(tables::Titled::markdown).collect();
    Ok(blocks.join("\n"))
}

/// The picture of that name among those of the report.
fn picture(source: &Source, path: &str) -> Result<Vec<u8>, Failure> {
    let files = source.drawn().map_err(Failure::Other)?;
    let name = Path::new(path).file_name().map(|name| name.to_string_lossy());
    let mut pictures = files.iter().filter(|file| file.room == Room::Plots);
    match pictures.clone().find(|file| Some(file.name.as_str()) == name.as_deref()) {
        Some(file) => Ok(file.bytes.clone()),
        None => {
            let there = listed(pictures.by_ref().map(|file| file.name.as_str()).collect());
            Err(format!("these records give no picture of that name; {there}").into())
        }
    }
}
