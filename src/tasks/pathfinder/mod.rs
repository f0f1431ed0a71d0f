//! Pathfinder: whether two discs lie on the ends of one dashed contour.
//!
//! Linsley et al., "Learning long-range spatial dependencies with horizontal gated recurrent
//! units", 2018 (arXiv:1805.08315), in the sizes of the Long Range Arena (arXiv:2011.04006):
//! 32 x 32 pixels are its Pathfinder, 128 x 128 its Path-X. The pictures are drawn anew by the
//! published procedure as its code of 2019 carries it out (drewlinsley/pathfinder, ab9c130),
//! or read where the released ones are given.

mod build;
mod draw;
mod official;
mod options;
mod raster;
mod scene;
mod stamp;

pub use draw::{GENERATOR_VERSION, Generator, Sample};
pub use options::{Difficulty, Options, Shape};
pub use raster::Gray;
pub use stamp::Stamp;

use super::{Dataset, Places, Task, Verified, verify_again};
use crate::atomic::write_atomic;
use crate::config::section;
use crate::data::{About, Split, full_name, identity, open_or_build};
use crate::error::{Error, IoContext, Result};
use crate::progress::Progress;
use serde_json::json;
use std::path::{Path, PathBuf};

/// One of the sizes, as a task of its own.
pub struct Pathfinder {
    name: &'static str,
    card: &'static str,
}

/// LRA's Pathfinder and Path-X, and the two sizes that it has data and settings for but no
/// results.
pub static SIZES: [Pathfinder; 4] = [
    Pathfinder { name: "pathfinder", card: include_str!("../../../tasks/pathfinder.toml") },
    Pathfinder { name: "pathx", card: include_str!("../../../tasks/pathx.toml") },
    Pathfinder { name: "pathfinder64", card: include_str!("../../../tasks/pathfinder64.toml") },
    Pathfinder { name: "pathfinder256", card: include_str!("../../../tasks/pathfinder256.toml") },
];

/// Raised when the released files or the same options give other examples.
const VERSION: u32 = 1;

impl Task for Pathfinder {
    fn name(&self) -> &'static str {
        self.name
    }

    fn card(&self) -> &'static str {
        self.card
    }

    fn load(&self, options: &toml::Table, places: &Places, progress: &Progress) -> Result<Dataset> {
        let options: Options = section("data", options)?;
        let side = options.shape()?.side;
        let folder = released(places, &options, progress);
        let about = match &folder {
            Some(folder) => {
                let files = identity(&official::metadata(folder)?)?;
                let used = json!({ "seed": options.seed, "resolution": side });
                About {
                    task: self.name.into(),
                    source: full_name(folder),
                    version: VERSION,
                    inputs: json!({ "files": files, "options": used }),
                }
            }
            None => About {
                task: self.name.into(),
                source: "generated".into(),
                version: VERSION,
                inputs: json!({ "generator": GENERATOR_VERSION, "options": options }),
            },
        };
        let splits = open_or_build(&places.cache, &about, progress, |to| match &folder {
            Some(folder) => official::build(folder, &options, to, progress),
            None => build::build(&options, to, progress),
        })?;
        Ok(Dataset::new(about, splits, (256, 2, side * side)))
    }

    fn pictures(&self) -> bool {
        true
    }

    fn text(&self, split: &Split, example: usize) -> String {
        let pixels = split.tokens(example, 0);
        let lit = pixels.iter().filter(|&&pixel| pixel > 0).count();
        format!("{lit} of {} pixels are not black", pixels.len())
    }

    /// Generated pictures are drawn again, about a thousand of them, spread over the splits;
    /// released ones are all read again.
    fn verify(
        &self,
        options: &toml::Table,
        places: &Places,
        progress: &Progress,
    ) -> Result<Verified> {
        let parsed: Options = section("data", options)?;
        if released(places, &parsed, progress).is_some() {
            return verify_again(places, &|places| self.load(options, places, progress));
        }
        let data = self.load(options, places, progress)?;
        let generator = Generator::new(parsed.shape()?, parsed.seed);
        let total = parsed.train + parsed.validation + parsed.test;
        let every = total.div_ceil(1000);
        let bar = progress.bar("verify", "pictures", total / every);
        let mut files = Vec::new();
        let mut first = 0;
        for (_, split) in data.splits() {
            let here = first..first + split.len() as u64;
            for index in here.clone().filter(|index| index % every == 0) {
                let (at, sample) = ((index - first) as usize, generator.sample(index)?);
                let path = split.path().unwrap_or(Path::new(""));
                if split.tokens(at, 0) != sample.pixels || split.label(at) != sample.label {
                    let message = format!("example {at} is not what is drawn for it");
                    return Err(Error::data(path, message));
                }
                bar.advance(1);
            }
            files.extend(split.path().map(|path| (path.to_path_buf(), split.len() as u64)));
            first = here.end;
        }
        Ok(Verified { source: data.source, files })
    }

    /// The layout of the release, a batch of 10,000 to a folder, over all splits in order. Of
    /// the metadata the fields that are not kept are 0.
    fn export(&self, data: &Dataset, folder: &Path, progress: &Progress) -> Result<Vec<PathBuf>> {
        const BATCH: usize = 10_000;
        let side = data.max_length.isqrt();
        let all: Vec<(&Split, usize)> =
            data.splits().iter().flat_map(|(_, s)| (0..s.len()).map(|i| (*s, i))).collect();
        let bar = progress.bar("export", "pictures", all.len() as u64);
        let metadata = folder.join("metadata");
        std::fs::create_dir_all(&metadata).at("create", &metadata)?;
        let mut written = Vec::new();
        for (batch, pictures) in all.chunks(BATCH).enumerate() {
            let images = folder.join(format!("imgs/{batch}"));
            std::fs::create_dir_all(&images).at("create", &images)?;
            let mut lines = String::new();
            for (n, (split, i)) in pictures.iter().enumerate() {
                let pixels = split.tokens(*i, 0);
                write_atomic(&images.join(format!("sample_{n}.png")), |out| {
                    let mut encoder = png::Encoder::new(out, side as u32, side as u32);
                    encoder.set_color(png::ColorType::Grayscale);
                    let mut writer = encoder.write_header()?;
                    writer.write_image_data(pixels)?;
                    Ok(writer.finish()?)
                })?;
                let label = split.label(*i);
                lines += &format!("imgs/{batch} sample_{n}.png {n} {label} 0 0 0 0 0 0 0\n");
                bar.advance(1);
            }
            let path = metadata.join(format!("{batch}.npy"));
            write_atomic(&path, |out| out.write_all(lines.as_bytes()))?;
            written.extend([images, path]);
        }
        Ok(written)
    }
}

/// The released pictures, if a folder was given and has them.
fn released(places: &Places, options: &Options, progress: &Progress) -> Option<PathBuf> {
    let place = places.official.as_ref()?;
    let found = official::locate(place, options);
    if found.is_none() {
        progress.say(&format!(
            "{}: no pathfinder{}/{}; the pictures are generated instead",
            place.display(),
            options.resolution,
            options.difficulty.folder()
        ));
    }
    found
}
