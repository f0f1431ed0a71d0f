//! A whole set: pictures in parallel, kept in shards until all are there, so that a build
//! that was interrupted goes on where it was.

use super::draw::{Generator, Sample};
use super::options::Options;
use crate::data::{PackWriter, SPLITS, Split, Workshop};
use crate::error::{Error, Result};
use crate::progress::{Bar, Progress};
use rayon::prelude::*;
use std::ops::Range;
use std::path::PathBuf;

/// Pictures of a shard.
const SHARD: u64 = 2048;

/// Draws pictures 0, 1, 2, ...: the first are those of train, then of validation, then of
/// test.
pub(super) fn build(options: &Options, to: &Workshop, progress: &Progress) -> Result<()> {
    let generator = Generator::new(options.shape()?, options.seed);
    let sizes = [options.train, options.validation, options.test];
    let total = sizes.iter().sum();
    let bar = progress.bar("pathfinder", "pictures", total);
    let starts: Vec<u64> = (0..total).step_by(SHARD as usize).collect();
    let shards = |start: u64| start..(start + SHARD).min(total);
    let kept = starts.iter().filter(|&&start| open(to, &shards(start)).is_some());
    let kept: u64 = kept.map(|&start| shards(start).end - start).sum();
    if kept > 0 {
        bar.start_at(kept);
        bar.say(&format!("going on with {kept} pictures of an earlier build"));
    }
    for &start in &starts {
        if open(to, &shards(start)).is_none() {
            draw(&generator, to, shards(start), &bar)?;
        }
    }
    drop(bar);
    gather(&generator, to, &starts, sizes, total)
}

fn file(to: &Workshop, shard: &Range<u64>) -> Result<PathBuf> {
    Ok(to.scratch()?.join(format!("{}-{}.packed", shard.start, shard.end)))
}

/// A shard that an earlier build left, whole.
fn open(to: &Workshop, shard: &Range<u64>) -> Option<Split> {
    let split = Split::open(&file(to, shard).ok()?).ok()?;
    (split.len() as u64 == shard.end - shard.start).then_some(split)
}

fn draw(generator: &Generator, to: &Workshop, shard: Range<u64>, bar: &Bar) -> Result<()> {
    let draw = |index| {
        let sample = generator.sample(index)?;
        bar.advance(1);
        Ok(sample)
    };
    let samples: Vec<Sample> = shard.clone().into_par_iter().map(draw).collect::<Result<_>>()?;
    let mut writer = PackWriter::create(&file(to, &shard)?, 1, 0)?;
    for sample in &samples {
        writer.push(&[&sample.pixels], sample.label)?;
    }
    writer.finish()
}

/// Copies the shards into the splits.
fn gather(
    generator: &Generator,
    to: &Workshop,
    starts: &[u64],
    sizes: [u64; 3],
    total: u64,
) -> Result<()> {
    let mut shards = starts.iter().map(|&start| start..(start + SHARD).min(total));
    let mut current: Option<(Range<u64>, Split)> = None;
    let mut index = 0;
    for (name, size) in SPLITS.into_iter().zip(sizes) {
        let mut writer = to.writer(name, 1, 0)?;
        for _ in 0..size {
            let held = current.as_ref().is_some_and(|(range, _)| range.contains(&index));
            if !held && let Some(range) = shards.next() {
                let shard = match open(to, &range) {
                    Some(shard) => shard,
                    // Another process that built the same set has cleared up meanwhile.
                    None => {
                        draw(generator, to, range.clone(), &Progress::silent().bar("", "", 0))?;
                        Split::open(&file(to, &range)?)?
                    }
                };
                current = Some((range, shard));
            }
            let Some((range, shard)) = &current else {
                return Err(Error::data(file(to, &(0..0))?, "fewer pictures than were drawn"));
            };
            let at = (index - range.start) as usize;
            writer.push(&[shard.tokens(at, 0)], shard.label(at))?;
            index += 1;
        }
        writer.finish()?;
    }
    Ok(())
}
