//! Pathfinder from outside: what is drawn, how a set is made, what of released files is read.

mod drawing;
mod released;
mod set;
mod statistics;

use lra::data::Places;
use lra::progress::Progress;
use lra::tasks::pathfinder::{Difficulty, Generator, Options};
use lra::tasks::{self, Dataset};
use std::path::Path;

fn generator(resolution: usize, difficulty: Difficulty, seed: u64) -> Generator {
    let options = Options { resolution, difficulty, ..Options::default() };
    Generator::new(options.shape().unwrap(), seed)
}

fn load(options: &str, official: Option<&Path>, cache: &Path) -> lra::Result<Dataset> {
    let places = Places { official: official.map(Into::into), cache: cache.into() };
    let task = tasks::find("pathfinder").unwrap();
    task.load(&options.parse().unwrap(), &places, &Progress::silent())
}
