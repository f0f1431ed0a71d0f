//! The files of IMDB: `{train,test}/{pos,neg}/<id>_<rating>.txt`, ratings of 7 to 10 being
//! positive and 1 to 4 negative.

use crate::data::{Published, Remote, Source};
use crate::error::{Error, Result};
use crate::progress::Progress;

pub(super) const IMDB: Published = Published {
    folder: "aclImdb",
    holds: &["train", "test"],
    // Size and SHA-256 as tensorflow_datasets has them (url_checksums).
    archive: Remote {
        file: "aclImdb_v1.tar.gz",
        url: "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
        bytes: 84_125_825,
        sha256: "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
    },
};

/// The longest review has 13,704 bytes.
const LONGEST: u64 = 1 << 20;

/// Reviews of each class in each part of the official set.
const OFFICIAL: usize = 12_500;

const PARTS: [&str; 2] = ["train", "test"];
const CLASSES: [&str; 2] = ["neg", "pos"];

pub(super) struct Review {
    id: u64,
    pub label: u32,
    pub bytes: Vec<u8>,
}

/// How large a file may be; `None` for those that hold no labelled review.
pub(super) fn limit(path: &str) -> Option<u64> {
    let (part, class, name) = split(path)?;
    // File managers leave hidden files of their own.
    let ours = PARTS.contains(&part) && CLASSES.contains(&class) && !name.starts_with('.');
    ours.then_some(LONGEST)
}

fn split(path: &str) -> Option<(&str, &str, &str)> {
    let mut pieces = path.split('/');
    let found = (pieces.next()?, pieces.next()?, pieces.next()?);
    pieces.next().is_none().then_some(found)
}

/// All labelled reviews of train and of test, by class and id.
pub(super) fn read(source: &Source, progress: &Progress) -> Result<[Vec<Review>; 2]> {
    source.note(&IMDB, progress)?;
    let bar = progress.bar("text", "reviews", 4 * OFFICIAL as u64);
    let mut parts = [Vec::new(), Vec::new()];
    source.each(&IMDB, &limit, &mut |path, bytes| {
        let at = |message: String| Error::data(source.path().join(path), message);
        let Some((part, class, name)) = split(path) else { return Ok(()) };
        let numbers = name
            .strip_suffix(".txt")
            .and_then(|stem| stem.split_once('_'))
            .and_then(|(id, rating)| Some((id.parse::<u64>().ok()?, rating.parse::<u32>().ok()?)));
        let Some((id, rating)) = numbers else {
            return Err(at("expected a name such as 0_9.txt: <id>_<rating>.txt".into()));
        };
        let label = u32::from(class == "pos");
        let right = if label == 1 { (7..=10).contains(&rating) } else { (1..=4).contains(&rating) };
        if !right {
            let range = if label == 1 { "7 to 10" } else { "1 to 4" };
            return Err(at(format!("rating {rating} in {class}/; expected {range} there")));
        }
        if bytes.is_empty() {
            return Err(at("an empty file; expected a review; unpack the archive again".into()));
        }
        parts[usize::from(part == "test")].push(Review { id, label, bytes: bytes.to_vec() });
        bar.advance(1);
        Ok(())
    })?;
    for (part, name) in parts.iter_mut().zip(PARTS) {
        part.sort_by_key(|review| (review.label, review.id));
        for (label, class) in CLASSES.iter().enumerate() {
            let of: Vec<&Review> = part.iter().filter(|r| r.label as usize == label).collect();
            let place = source.path().join(name).join(class);
            if of.is_empty() {
                return Err(Error::data(place, "no reviews; expected <id>_<rating>.txt files"));
            }
            if let Some(twice) = of.windows(2).find(|pair| pair[0].id == pair[1].id) {
                let message = format!("two reviews have the id {}; expected one", twice[0].id);
                return Err(Error::data(place, message));
            }
            if of.len() != OFFICIAL {
                let (found, place) = (of.len(), place.display());
                bar.say(&format!("{place}: {found} reviews; the official set has {OFFICIAL}"));
            }
        }
    }
    Ok(parts)
}
