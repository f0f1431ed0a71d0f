//! The `[data]` keys of ListOps.

use super::expression::MAX_NESTING;
use crate::config::section;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Defaults are the arena's. All but `seed` and `min_length` are bounded so that no
/// setting can exhaust memory or run for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Seed of the generator, independent of the run's.
    pub seed: u64,
    /// Examples of each split; of official files, the first so many rows.
    pub train: u64,
    pub validation: u64,
    pub test: u64,
    /// Generated expressions are longer than this, in tokens without parentheses.
    pub min_length: u64,
    /// Generated expressions are shorter than this; official ones are cut to it.
    pub max_length: u64,
    /// The deepest a node can lie, the root being at 1: operators lie above it.
    pub max_depth: u64,
    /// Operators have 2 to this many arguments.
    pub max_args: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 0,
            train: 96_000,
            validation: 2_000,
            test: 2_000,
            min_length: 500,
            max_length: 2000,
            max_depth: 10,
            max_args: 10,
        }
    }
}

impl Options {
    pub fn parse(table: &toml::Table) -> Result<Self> {
        let options: Self = section("data", table)?;
        options.check()?;
        Ok(options)
    }

    /// Refuses values that no generator could satisfy.
    pub fn check(&self) -> Result<()> {
        for (key, given, low, high) in [
            ("data.train", self.train, 1, 10_000_000),
            ("data.validation", self.validation, 1, 10_000_000),
            ("data.test", self.test, 1, 10_000_000),
            ("data.max_length", self.max_length, 2, 1 << 20),
            ("data.max_depth", self.max_depth, 1, MAX_NESTING as u64),
            ("data.max_args", self.max_args, 2, 1 << 16),
        ] {
            if !(low..=high).contains(&given) {
                return Err(Error::config(key, format!("{given} given; expected {low} to {high}")));
            }
        }
        if self.min_length >= self.max_length - 1 {
            return Err(Error::config(
                "data.min_length",
                format!(
                    "{} given; expected at most {}: lengths lie strictly between it and \
                     data.max_length = {}",
                    self.min_length,
                    self.max_length - 2,
                    self.max_length
                ),
            ));
        }
        let longest = self.longest();
        if self.min_length >= longest {
            return Err(Error::config(
                "data.min_length",
                format!(
                    "{} given; expected less than {longest}, the length of the largest tree with \
                     data.max_depth = {} and data.max_args = {}",
                    self.min_length, self.max_depth, self.max_args
                ),
            ));
        }
        Ok(())
    }

    /// Length of the largest tree: every operator that can be there, with all arguments.
    fn longest(&self) -> u64 {
        let mut length = 1u64;
        for _ in 1..self.max_depth {
            length = length.saturating_mul(self.max_args).saturating_add(2);
        }
        length
    }

    pub fn total(&self) -> u64 {
        self.train + self.validation + self.test
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options> {
        Options::parse(&text.parse().unwrap())
    }

    #[test]
    fn defaults_and_overrides() {
        assert_eq!(parse("").unwrap(), Options::default());
        assert_eq!(parse("seed = 3\ntrain = 7").unwrap().seed, 3);
        // The largest tree of depth 2 has 12 tokens.
        assert!(parse("max_depth = 2\nmin_length = 11\nmax_length = 13").is_ok());
    }

    #[test]
    fn impossible_values_name_the_key() {
        for (text, key, part) in [
            ("train = 0", "data.train", "0 given; expected 1 to"),
            ("validation = 0", "data.validation", "0 given"),
            ("test = 99999999999", "data.test", "99999999999 given"),
            ("max_args = 1", "data.max_args", "1 given; expected 2 to 65536"),
            ("max_depth = 0", "data.max_depth", "0 given; expected 1 to 10000"),
            ("max_length = 1", "data.max_length", "1 given"),
            ("max_length = 501", "data.min_length", "500 given; expected at most 499"),
            ("max_depth = 1", "data.min_length", "less than 1,"),
            ("max_depth = 3", "data.min_length", "less than 122,"),
            ("max_depth = 2\nmin_length = 12", "data.min_length", "less than 12,"),
            ("train = -1", "data.train", "-1"),
            ("train = 1.5", "data.train", "1.5"),
            ("seed = \"x\"", "data.seed", "string \"x\""),
            ("trains = 1", "data.trains", "unknown; expected one of `seed`, `train`"),
            ("a.b = 1", "data.a", "unknown; expected"),
        ] {
            match parse(text).unwrap_err() {
                Error::Config { key: named, message } => {
                    assert_eq!(named, key, "{text}");
                    assert!(message.contains(part), "{text}: {message}");
                }
                other => panic!("{text}: {other}"),
            }
        }
    }
}
