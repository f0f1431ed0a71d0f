//! One attempt at a tree.
//!
//! From the root at depth 1: above `max_depth` a node is an operator with probability
//! 1/4, with 2 to `max_args` arguments, uniformly; it is a digit otherwise, uniformly.
//! The operator is one of four, uniformly. The length is the number of tokens; a tree is
//! accepted when min_length < length < max_length.
//!
//! An attempt depends on its key alone. It ends as soon as the operators seen make its
//! length certain to reach the bound, which rejects exactly what would be rejected later.
//! The nodes are walked with a stack of its own, at most `max_length / 2` deep.

use super::expression::Tally;
use super::options::Options;
use super::vocabulary::{CLOSE, Operator};
use crate::random::Key;
use rand::RngCore;

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The tree is in [`Grower::symbols`]; this is its value.
    Accepted(u8),
    TooShort,
    TooLong,
}

/// Grows trees one after the other, reusing its memory.
#[derive(Debug, Default)]
pub struct Grower {
    pub symbols: Vec<u8>,
    open: Vec<Frame>,
}

/// An operator whose arguments are being generated.
#[derive(Debug)]
struct Frame {
    /// Where its symbol goes: the operator is drawn after its arguments.
    slot: usize,
    left: u64,
    tally: Tally,
}

/// The two high bits of a word decide between operator and digit; the other 30 choose
/// the number of arguments or the digit, with a bias below 2^16 / 2^30.
const LOW_BITS: u32 = 30;

/// Uniform in `0..n`, from the low bits of a word.
fn below(word: u32, n: u64) -> u64 {
    (u64::from(word & ((1 << LOW_BITS) - 1)) * n) >> LOW_BITS
}

impl Grower {
    pub fn attempt(&mut self, key: Key, options: &Options) -> Outcome {
        let mut words = key.stream();
        self.symbols.clear();
        self.open.clear();
        // What the tree will at least measure: each argument still to come is one token.
        let mut length = 1;
        loop {
            let word = words.next_u32();
            if word >> LOW_BITS == 0 && (self.open.len() as u64) + 1 < options.max_depth {
                let arguments = 2 + below(word, options.max_args - 1);
                length += arguments + 1;
                if length >= options.max_length {
                    return Outcome::TooLong;
                }
                let slot = self.symbols.len();
                self.open.push(Frame { slot, left: arguments, tally: Tally::default() });
                self.symbols.push(CLOSE);
                continue;
            }
            let mut value = below(word, 10) as u8;
            self.symbols.push(value);
            // A digit ends every operator of which it is the last argument.
            loop {
                let Some(frame) = self.open.last_mut() else {
                    return if length > options.min_length {
                        Outcome::Accepted(value)
                    } else {
                        Outcome::TooShort
                    };
                };
                frame.tally.add(value);
                frame.left -= 1;
                if frame.left > 0 {
                    break;
                }
                let operator = Operator::ALL[(words.next_u32() >> LOW_BITS) as usize];
                value = frame.tally.apply(operator);
                self.symbols[frame.slot] = operator.symbol();
                self.symbols.push(CLOSE);
                self.open.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::expression::evaluate;
    use super::*;

    /// The specification once more, recursively and without early ends: the same words
    /// must give the same tree.
    fn node(depth: u64, words: &mut impl RngCore, options: &Options, out: &mut Vec<u8>) {
        let word = words.next_u32();
        if word >> 30 != 0 || depth >= options.max_depth {
            out.push(below(word, 10) as u8);
            return;
        }
        let slot = out.len();
        out.push(0);
        for _ in 0..2 + below(word, options.max_args - 1) {
            node(depth + 1, words, options, out);
        }
        out[slot] = 10 + (words.next_u32() >> 30) as u8;
        out.push(CLOSE);
    }

    #[test]
    fn attempts_are_what_the_recursion_gives() {
        let options = Options::default();
        let (mut grower, mut accepted) = (Grower::default(), 0);
        for i in 0..4000 {
            let key = Key::new(5).index(i);
            let mut whole = Vec::new();
            node(1, &mut key.stream(), &options, &mut whole);
            let expected = match whole.len() as u64 {
                ..=500 => Outcome::TooShort,
                2000.. => Outcome::TooLong,
                _ => Outcome::Accepted(evaluate(&whole).unwrap()),
            };
            assert_eq!(grower.attempt(key, &options), expected, "attempt {i}");
            if let Outcome::Accepted(_) = expected {
                accepted += 1;
                assert_eq!(grower.symbols, whole, "attempt {i}");
            }
        }
        assert!(accepted > 200, "{accepted}");
    }

    #[test]
    fn words_are_used_evenly() {
        assert_eq!((below(0, 10), below(u32::MAX, 10), below(1 << 29, 10)), (0, 9, 5));
        assert_eq!(below(0xC000_0000, 9), 0);
        assert_eq!(below(u32::MAX, 1 << 16), (1 << 16) - 1);
    }

    /// Bounds that only trees of one length pass, and depths without bound, end.
    #[test]
    fn tight_bounds_and_deep_trees_end() {
        let mut grower = Grower::default();
        let narrow = Options { min_length: 500, max_length: 502, ..Options::default() };
        let deep = Options { max_depth: 10_000, ..Options::default() };
        let mut deepest = 0;
        for i in 0..20_000 {
            let key = Key::new(1).index(i);
            if let Outcome::Accepted(_) = grower.attempt(key, &narrow) {
                assert_eq!(grower.symbols.len(), 501);
            }
            grower.attempt(key, &deep);
            deepest = deepest.max(grower.open.capacity());
        }
        assert!(deepest <= 2048, "{deepest}");
    }
}
