//! The generator: attempts in parallel, collected in order.
//!
//! Attempt i has a key of its own, derived from the seed. Accepted trees are taken in the
//! order of i, exact duplicates dropped, and dealt to test, validation and train in this
//! order: attempts are independent and identically distributed, so any fixed assignment
//! is as good as a shuffled one, and with this one another size of the train split leaves
//! validation and test as they are. Threads and rounds decide only who computes what.

use super::grow::{Grower, Outcome};
use super::options::Options;
use super::vocabulary::FIRST_ID;
use crate::data::Examples;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::random::Key;
use rayon::prelude::*;
use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::Hasher;

/// Raised when the same options give other examples.
pub const GENERATOR_VERSION: u32 = 1;

/// Attempts per unit of parallel work.
const BLOCK: u64 = 256;

/// So many attempts in a row without a new example end the search.
const HOPELESS: u64 = 1 << 20;

/// The accepted trees of one block.
#[derive(Default)]
struct Block {
    symbols: Vec<u8>,
    found: Vec<Found>,
}

struct Found {
    attempt: u64,
    /// Where its symbols end in the block's.
    end: usize,
    label: u8,
    hash: u64,
}

/// Train, validation and test examples; the same for any number of threads.
pub fn generate(options: &Options, progress: &Progress) -> Result<[Examples; 3]> {
    options.check()?;
    let key = Key::new(options.seed).named("listops");
    let wanted = options.total();
    let bar = progress.bar("listops", "examples", wanted);
    let mut taken = Taken::new([options.test, options.validation, options.train]);
    let (mut next, mut last) = (0, 0);
    while taken.count < wanted {
        // About 12 attempts per example; small rounds at the end waste less.
        let round = ((wanted - taken.count) / 21 + 8).min(512);
        let blocks: Vec<Block> = (next..next + round)
            .into_par_iter()
            .map_init(Grower::default, |grower, block| grow(block, key, options, grower))
            .collect();
        next += round;
        let before = taken.count;
        for block in &blocks {
            let mut start = 0;
            for found in &block.found {
                let symbols = &block.symbols[start..found.end];
                start = found.end;
                if taken.count < wanted && taken.add(symbols, found) {
                    last = found.attempt;
                }
            }
        }
        bar.advance(taken.count - before);
        if taken.count < wanted && next * BLOCK - last > HOPELESS {
            return Err(hopeless(options, taken.count));
        }
    }
    let [test, validation, train] = taken.splits;
    Ok([train, validation, test])
}

fn grow(block: u64, key: Key, options: &Options, grower: &mut Grower) -> Block {
    let mut out = Block::default();
    for attempt in block * BLOCK..(block + 1) * BLOCK {
        if let Outcome::Accepted(label) = grower.attempt(key.index(attempt), options) {
            out.symbols.extend_from_slice(&grower.symbols);
            let mut hasher = DefaultHasher::new();
            hasher.write(&grower.symbols);
            let (end, hash) = (out.symbols.len(), hasher.finish());
            out.found.push(Found { attempt, end, label, hash });
        }
    }
    out
}

fn hopeless(options: &Options, found: u64) -> Error {
    let between = format!(
        "with lengths strictly between data.min_length = {} and data.max_length = {}",
        options.min_length, options.max_length
    );
    if found == 0 {
        return Error::config(
            "data.min_length",
            format!("no expression {between} in {HOPELESS} attempts; expected a wider range"),
        );
    }
    Error::config(
        "data.train",
        format!(
            "{} + {} + {} distinct examples asked for (train + validation + test); no more than \
             {found} found {between}; expected smaller splits or larger trees",
            options.train, options.validation, options.test
        ),
    )
}

/// The examples so far, without duplicates, dealt to one split after the other.
struct Taken {
    sizes: [u64; 3],
    splits: [Examples; 3],
    count: u64,
    /// Hash of an example to its number. Where two examples have the same hash, the
    /// second is under the next free one: equality is decided by the symbols.
    seen: HashMap<u64, u64>,
}

impl Taken {
    fn new(sizes: [u64; 3]) -> Self {
        let splits = sizes.map(|_| Examples::new(1, FIRST_ID));
        Self { sizes, splits, count: 0, seen: HashMap::new() }
    }

    /// Which split example `number` belongs to, and where in it.
    fn place(&self, mut number: u64) -> (usize, usize) {
        for (split, &size) in self.sizes[..2].iter().enumerate() {
            if number < size {
                return (split, number as usize);
            }
            number -= size;
        }
        (2, number as usize)
    }

    /// False for a duplicate.
    fn add(&mut self, symbols: &[u8], found: &Found) -> bool {
        let mut hash = found.hash;
        loop {
            let number = match self.seen.entry(hash) {
                Entry::Vacant(free) => {
                    free.insert(self.count);
                    break;
                }
                Entry::Occupied(taken) => *taken.get(),
            };
            let (split, i) = self.place(number);
            if self.splits[split].tokens(i, 0) == symbols {
                return false;
            }
            hash = hash.wrapping_add(1);
        }
        let (split, _) = self.place(self.count);
        self.splits[split].push(&[symbols], u32::from(found.label));
        self.count += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Equal hashes of different examples drop nothing, equal examples always.
    #[test]
    fn collisions_are_not_duplicates() {
        let mut taken = Taken::new([1, 1, 2]);
        let found = |hash| Found { attempt: 0, end: 0, label: 0, hash };
        assert!(taken.add(b"\x01", &found(u64::MAX)));
        assert!(taken.add(b"\x02", &found(u64::MAX)));
        assert!(taken.add(b"\x03", &found(0)));
        assert!(!taken.add(b"\x01", &found(u64::MAX)));
        assert!(!taken.add(b"\x02", &found(u64::MAX)));
        assert!(!taken.add(b"\x03", &found(0)));
        assert_eq!(taken.splits.each_ref().map(Examples::len), [1, 1, 1]);
    }

    /// A share p of n draws against a share measured elsewhere over m draws, both with
    /// binomial errors, at 5 standard errors of the difference and half a unit of the
    /// last printed digit.
    fn close(what: &str, count: u64, n: u64, p: f64, m: f64, digit: f64) {
        let share = count as f64 / n as f64;
        let tolerance = 5.0 * (p * (1.0 - p) * (1.0 / n as f64 + 1.0 / m)).sqrt() + digit / 2.0;
        assert!((share - p).abs() < tolerance, "{what}: {share} is not {p} +- {tolerance}");
    }

    /// Acceptance .082 was measured on 20,000 accepted samples, about 244,000 draws;
    /// roots are operators with probability 1/4 exactly.
    #[test]
    fn acceptance_and_operator_roots() {
        let (options, key) = (Options::default(), Key::new(11));
        let mut grower = Grower::default();
        let (mut accepted, mut operators, draws) = (0, 0, 244_000);
        for i in 0..draws {
            let outcome = grower.attempt(key.index(i), &options);
            accepted += u64::from(matches!(outcome, Outcome::Accepted(_)));
            let digit = outcome == Outcome::TooShort && grower.symbols.len() == 1;
            operators += u64::from(!digit);
        }
        close("accepted", accepted, draws, 0.082, 244_000.0, 0.001);
        close("operator roots", operators, draws, 0.25, f64::INFINITY, 0.0);
    }

    #[test]
    fn hopeless_settings_end_and_name_the_key() {
        let tiny = Options { train: 5, validation: 3, test: 2, ..Options::default() };
        // Ten digits are all there is at depth 1.
        let digits = Options { min_length: 0, max_depth: 1, ..tiny.clone() };
        assert!(generate(&digits, &Progress::silent()).is_ok());
        let more = Options { train: 6, ..digits };
        let text = generate(&more, &Progress::silent()).unwrap_err().to_string();
        assert!(text.contains("`data.train`") && text.contains("no more than 10"), "{text}");
        // With pairs only, lengths are 1 modulo 3: none is 501 + 1.
        let gap = Options { max_args: 2, min_length: 30, max_length: 32, max_depth: 6, ..tiny };
        assert!(generate(&gap, &Progress::silent()).is_ok());
        let none = Options { min_length: 31, max_length: 33, ..gap };
        let text = generate(&none, &Progress::silent()).unwrap_err().to_string();
        assert!(text.contains("`data.min_length`") && text.contains("no expression"), "{text}");
    }
}
